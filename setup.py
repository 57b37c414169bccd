"""Build of the compiled modules; everything else about the package is in pyproject.toml.

Every `kernels/*.pyx` and `autodiff/*.pyx` is one extension module, found by globbing: a new file
needs no entry here.  Invariant: compiler directives, flags and build switches live in this file
and nowhere else.

Switches (environment variables, read at build time):
    AUTODIFF_ARCH      native (default) | x86-64-v3 | baseline
    AUTODIFF_DEBUG=1   bounds and wraparound checks, assertions, -O1 -g
    AUTODIFF_SANITIZE=1  address and undefined-behaviour sanitizers
    AUTODIFF_LEDGER=0  no count of bytes, only to measure what counting costs (`autodiff ledger`)
    AUTODIFF_CORE=plain  no extension at all: the core in Python over NumPy
    AUTODIFF_ONLY=kernels.conv,kernels.pool   only these modules (also: `--only kernels.conv`)
"""

import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOT = os.path.dirname(os.path.abspath(__file__))
ARCH = os.environ.get("AUTODIFF_ARCH", "native")
DEBUG = os.environ.get("AUTODIFF_DEBUG", "0") == "1"
SANITIZE = os.environ.get("AUTODIFF_SANITIZE", "0") == "1"
LEDGER = os.environ.get("AUTODIFF_LEDGER", "1") != "0"
PLAIN = os.environ.get("AUTODIFF_CORE", "") == "plain"
ONLY = [name for name in os.environ.get("AUTODIFF_ONLY", "").split(",") if name]
VARIANT = "plain" if PLAIN else (ARCH + "-debug" * DEBUG + "-sanitize" * SANITIZE
                                 + "-no-ledger" * (not LEDGER))
JOBS = min(2, os.cpu_count() or 1)

for at, word in enumerate(sys.argv):
    if word == "--only":
        ONLY += sys.argv[at + 1].split(",")
        del sys.argv[at:at + 2]
        break

MARCH = {"native": ["-march=native", "-mprefer-vector-width=512"],
         "x86-64-v3": ["-march=x86-64-v3"],
         "baseline": []}
if ARCH not in MARCH:
    sys.exit(f"AUTODIFF_ARCH={ARCH}: expected one of {', '.join(MARCH)}")

# No -ffast-math: kernels must respect NaN, infinity and signed zero.
FLAGS = ["-fno-math-errno", "-fno-trapping-math", "-fno-semantic-interposition",
         "-Wno-unused-function", "-Wno-unreachable-code", *MARCH[ARCH]]
FLAGS += ["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-O3", "-g0"]
LINK_FLAGS = ["-pthread"]
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
if not LEDGER:
    MACROS.append(("AD_LEDGER", "0"))
if SANITIZE:
    FLAGS += ["-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    LINK_FLAGS += ["-fsanitize=address,undefined"]
AS_NEEDED = ["-Wl,--as-needed"] if sys.platform == "linux" else []

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
    "legacy_implicit_noexcept": False,
}


def extensions():
    """One Extension for every .pyx file, all with the same options."""
    import numpy
    import scipy_openblas32

    paths = sorted(glob.glob("kernels/*.pyx", root_dir=ROOT)
                   + glob.glob("autodiff/*.pyx", root_dir=ROOT))
    headers = sorted(glob.glob("kernels/*.h", root_dir=ROOT)
                     + glob.glob("autodiff/*.h", root_dir=ROOT))
    names = {path[:-4].replace("/", "."): path for path in paths}
    unknown = set(ONLY) - set(names)
    if unknown:
        sys.exit(f"no such module: {', '.join(sorted(unknown))}")
    return [
        Extension(
            name, [path],
            include_dirs=["kernels", numpy.get_include(), scipy_openblas32.get_include_dir()],
            define_macros=MACROS,
            # A module that calls no BLAS does not depend on the library; no run path is needed,
            # since kernels/__init__.py loads it by path.
            extra_link_args=[*LINK_FLAGS, *AS_NEEDED, "-L" + scipy_openblas32.get_lib_dir(),
                             "-l" + scipy_openblas32.get_library()],
            depends=headers,
        )
        for name, path in names.items() if not ONLY or name in ONLY
    ]


class Build(build):
    """build in a folder of the variant's own: objects of one are never mistaken for another's."""

    def initialize_options(self):
        super().initialize_options()
        self.build_base = os.path.join("build", VARIANT)


class BuildExt(build_ext):
    """build_ext that runs Cython first, in parallel, and only passes flags the compiler takes."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or JOBS

    def run(self):
        from Cython.Build import cythonize

        # Parallel Cython forks workers; one module is quicker without.
        generated = os.path.join("build", VARIANT, "cython")
        stale = cythonize([Extension(e.name, list(e.sources)) for e in self.extensions],
                          build_dir=generated,
                          compiler_directives=DIRECTIVES,
                          nthreads=JOBS if len(self.extensions) > 1 else 0)
        sources = {e.name: e.sources for e in stale}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        # Cython copies headers beside what it generates, but leaves old copies of those that only
        # other headers include.
        for header in {h for e in self.extensions for h in e.depends}:
            copy = os.path.join(generated, header)
            if os.path.exists(copy):
                shutil.copyfile(header, copy)
        super().run()
        if not ONLY:
            self.remove_orphans()

    def remove_orphans(self):
        """Delete compiled modules whose source is gone: they would be loaded or shipped still."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        made = {e.name.replace(".", "/") for e in self.extensions}
        for top in {self.build_lib, ROOT if self.inplace else self.build_lib}:
            for folder in ("kernels", "autodiff"):
                for path in glob.glob(f"{folder}/*{suffix}", root_dir=top):
                    if path[:-len(suffix)] not in made:
                        os.remove(os.path.join(top, path))

    def build_extensions(self):
        flags = [flag for flag in FLAGS if self.compiler_takes(flag)]
        for extension in self.extensions:
            extension.extra_compile_args = flags
        super().build_extensions()

    def compiler_takes(self, flag):
        """True if the compiler accepts `flag` on an empty file."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "empty.c")
            with open(path, "w") as file:
                file.write("int empty;\n")
            command = [*self.compiler.compiler_so, "-Werror", flag, "-c", path, "-o", path + ".o"]
            return subprocess.run(command, capture_output=True).returncode == 0


setup(ext_modules=[] if PLAIN else extensions(), cmdclass={"build": Build, "build_ext": BuildExt})
