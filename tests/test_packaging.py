"""What is installed: dependencies, files, the console command, the time an import takes.

The slow ones (marked) build and install a wheel: `make packaging`.  Invariant: nothing here needs
more than this checkout, the installed package and, for the slow ones, pip's package index.
"""

import os
import re
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def run(*command, cwd=ROOT, **environment):
    """The finished process; the caller's switches, and a ban on writing bytecode, stay behind."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("AUTODIFF_") and k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([str(c) for c in command], cwd=cwd, env={**env, **environment},
                          capture_output=True, text=True)


def python(code, cwd, **environment):
    return run(sys.executable, "-c", code, cwd=cwd, **environment)


def succeed(process):
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    return process.stdout


# ---- pyproject.toml

def test_each_dependency_is_named_once_and_with_a_reason():
    groups = {"": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}
    names = [re.match(r"[\w.-]+", text)[0].lower() for texts in groups.values() for text in texts]
    names = [name for name in names if name != "autodiff"]
    assert len(names) == len(set(names))
    source = (ROOT / "pyproject.toml").read_text()
    for name in names:
        assert re.search(rf'"{name}[^"]*"[\],]+ +# \w+', source), f"{name}: no reason given"


def test_every_package_is_shipped_and_no_test():
    setuptools = pytest.importorskip("setuptools")
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = setuptools.find_packages(ROOT, include=include)
    wanted = {".".join(path.parent.relative_to(ROOT).parts)
              for top in ("autodiff", "kernels", "nn", "benchmarks")
              for path in (ROOT / top).rglob("*.py")}
    assert set(found) == wanted


def test_the_command_is_the_one_named():
    import autodiff_command

    assert PROJECT["project"]["scripts"] == {"autodiff": "autodiff_command:main"}
    assert callable(autodiff_command.main)


def test_version_is_the_same_everywhere():
    import autodiff as ad

    assert ad.__version__ == PROJECT["project"]["version"]


# ---- switches

def test_unknown_architecture_is_refused():
    pytest.importorskip("setuptools")
    process = run(sys.executable, "setup.py", "--version", AUTODIFF_ARCH="pentium")
    assert process.returncode and "x86-64-v3" in process.stderr


def test_unknown_core_is_refused(tmp_path):
    process = python("import autodiff", tmp_path, AUTODIFF_CORE="fast")
    assert "AUTODIFF_CORE must be 'compiled' or 'plain'" in process.stderr


def test_missing_compiled_core_says_what_to_do(tmp_path):
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("autodiff.storage", "autodiff.tensor", "autodiff.tape", "autodiff.sweep"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import autodiff
"""
    process = python(code, tmp_path)
    assert "the compiled core is not built" in process.stderr
    assert "AUTODIFF_CORE=plain" in process.stderr
    succeed(python(code, tmp_path, AUTODIFF_CORE="plain"))


# ---- names that others use too

def command():
    path = Path(sys.executable).with_name("autodiff")
    if not path.exists():
        pytest.skip("the package is not installed, so there is no command")
    return path


@pytest.mark.parametrize("path", ["", "."], ids=["", "PYTHONPATH"])
def test_command_works_beside_another_benchmarks(tmp_path, path):
    for package in ("benchmarks", *(() if path else ("kernels",))):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('not this one')")
    text = succeed(run(command(), "bench", "--help", cwd=tmp_path, PYTHONPATH=path))
    assert "--full" in text


@pytest.mark.parametrize("core", ["", "plain"])
@pytest.mark.parametrize("file", ["kernels.py", "kernels/__init__.py"])
def test_foreign_kernels_is_a_named_error(tmp_path, core, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")
    process = python("import autodiff", tmp_path, AUTODIFF_CORE=core)
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: autodiff needs its own package `kernels`")
    assert str(tmp_path / file) in last


# ---- import

@pytest.mark.slow                   # a time: never part of `make test`
@pytest.mark.parametrize("core", ["", "plain"])
def test_import_takes_under_150_ms_over_numpy(tmp_path, core):
    def seconds(code):
        start = time.perf_counter()
        succeed(python(code, tmp_path, AUTODIFF_CORE=core))
        return time.perf_counter() - start

    seconds("import autodiff")          # writes the bytecode, as pip does for what it installs
    pairs = [(seconds("import numpy"), seconds("import numpy, autodiff")) for _ in range(5)]
    assert statistics.median(ours - numpy for numpy, ours in pairs) < 0.150


def test_import_loads_nothing_optional(tmp_path):
    code = """
import sys, autodiff, nn, nn.data
print([m for m in ("scipy", "matplotlib", "rich", "torch", "safetensors", "benchmarks")
       if m in sys.modules])
"""
    assert succeed(python(code, tmp_path)).strip() == "[]"


# ---- slow: a wheel and what becomes of it

@pytest.fixture(scope="module")
def timed_wheel(tmp_path_factory):
    start = time.perf_counter()
    path = build_wheel(tmp_path_factory.mktemp("wheel"))
    return path, time.perf_counter() - start


@pytest.fixture(scope="module")
def wheel(timed_wheel):
    return timed_wheel[0]


def build_wheel(folder, **environment):
    """The wheel that pip builds of a copy of this checkout, in isolation."""
    source = folder / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, files.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    succeed(run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source,
                **environment))
    return next(folder.glob("*.whl"))


def install(folder, *packages):
    """The Python of a fresh environment that holds `packages`."""
    succeed(run(sys.executable, "-m", "venv", folder))
    succeed(run(folder / "bin" / "python", "-m", "pip", "install", *packages))
    return folder / "bin" / "python"


@pytest.mark.slow
def test_build_takes_under_four_minutes(timed_wheel):
    print(f"built in {timed_wheel[1]:.0f} s")
    assert timed_wheel[1] < 240


@pytest.mark.slow
def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert {name.split("/")[0] for name in sizes if ".dist-info" not in name} == {
        "autodiff", "autodiff_command.py", "autodiff_pytest.py", "kernels", "nn",
        "benchmarks"}
    assert not [name for name in sizes if name.endswith((".pyx", ".c", ".o")) or
                name.startswith("test")]
    wanted = [*ROOT.glob("kernels/*.pxd"), *ROOT.glob("kernels/*.h"), *ROOT.glob("autodiff/*.pxd"),
              *ROOT.glob("nn/data/files/*")]
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= set(sizes)
    sources = [*ROOT.glob("kernels/*.pyx"), *ROOT.glob("autodiff/*.pyx")]
    assert ({path.relative_to(ROOT).as_posix()[:-4] + SUFFIX for path in sources}
            == {name for name in sizes if name.endswith(".so")})
    assert sum(sizes.values()) < 15e6


USE = """
import numpy as np
import autodiff as ad, nn, nn.data
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
loss = model(ad.tensor(np.ones((2, 3), np.float32))).sum()
loss.backward()
assert len(nn.data.digits().train) and all(p.grad is not None for p in model.parameters())
print(ad.core.name)
"""

LOOP = """
from kernels.launch cimport Launch, Buf, part_t, parallel, OK
from kernels.ndloop cimport ndloop
from kernels.blas cimport gemm
from kernels.pool cimport pool_alloc, pool_free
from autodiff.storage cimport Storage
from autodiff.tensor cimport Tensor

cdef int none_run(Launch* L) noexcept nogil:
    return OK

def answer(Tensor x):
    cdef char* p = pool_alloc(64)
    pool_free(p, 64)
    return x.ndim
"""

LOOP_SETUP = """
import kernels, os, setuptools, Cython.Build
setuptools.setup(name="mine", ext_modules=Cython.Build.cythonize([setuptools.Extension(
    "mine", ["mine.pyx"], include_dirs=[os.path.dirname(kernels.__file__),
    os.path.join(os.path.dirname(os.path.dirname(kernels.__file__)), "autodiff"),
    __import__("numpy").get_include(), __import__("scipy_openblas32").get_include_dir()])],
    language_level=3))
"""


@pytest.mark.slow
def test_wheel_in_a_fresh_environment(wheel, tmp_path):
    fresh = install(tmp_path / "env", wheel)
    assert succeed(run(fresh, "-c", USE, cwd=tmp_path)).strip() == "compiled"
    assert succeed(run(fresh, "-c", USE, cwd=tmp_path, AUTODIFF_CORE="plain")).strip() == "plain"
    help_without_extras = run(fresh.with_name("autodiff"), "bench", "--help", cwd=tmp_path)
    assert "--full" in succeed(help_without_extras)
    process = run(fresh.with_name("autodiff"), "bench", cwd=tmp_path)
    assert process.returncode == 2 and "autodiff[bench]" in process.stderr


@pytest.mark.slow
def test_others_can_cimport(wheel, tmp_path):
    fresh = install(tmp_path / "env", wheel, "cython>=3.1", "setuptools")
    (tmp_path / "mine.pyx").write_text(LOOP)
    (tmp_path / "setup.py").write_text(LOOP_SETUP)
    succeed(run(fresh, "setup.py", "build_ext", "--inplace", cwd=tmp_path))
    code = "import autodiff as ad, mine; print(mine.answer(ad.tensor([[1.0]])))"
    assert succeed(run(fresh, "-c", code, cwd=tmp_path)).strip() == "2"


@pytest.mark.slow
def test_plain_wheel_needs_no_compiler(tmp_path):
    built = build_wheel(tmp_path, AUTODIFF_CORE="plain", CC="/bin/false", CXX="/bin/false")
    assert built.name.endswith("-py3-none-any.whl")
    fresh = install(tmp_path / "env", built)
    assert succeed(run(fresh, "-c", USE, cwd=tmp_path, AUTODIFF_CORE="plain")).strip() == "plain"
    process = run(fresh, "-c", USE, cwd=tmp_path)
    assert "the compiled core is not built" in process.stderr


@pytest.mark.slow
def test_source_distribution_is_whole(tmp_path):
    source = build_wheel(tmp_path, AUTODIFF_CORE="plain").parent / "source"
    fresh = install(tmp_path / "env", *PROJECT["build-system"]["requires"])
    succeed(run(fresh, "setup.py", "-q", "sdist", "-d", tmp_path / "dist", cwd=source))
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [path for top in ("autodiff", "kernels", "nn", "benchmarks")
              for path in (source / top).rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".h")]
    wanted += [*source.glob("nn/data/files/*"), source / "setup.py", source / "pyproject.toml"]
    assert {path.relative_to(source).as_posix() for path in wanted} <= held
