"""The state of the machine that a run was made on: without it no figure can be compared.

Invariant: read, never guessed; what the system does not tell is None.
"""

import os
import platform
import sys
from importlib import metadata

import autodiff as ad
import kernels

PACKAGES = ("autodiff", "numpy", "scipy-openblas32", "rich", "matplotlib")


def state():
    """Processor, threads, BLAS kernel, versions and load, as a JSON-able dict."""
    return {
        "processor": processor(),
        "cpus": os.cpu_count(),
        "cpus_usable": _usable(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
        "core": ad.core.name,
        "threads": ad.get_num_threads(),
        "blas_kernel": kernels.blas_kernel() if ad.core.name == "compiled" else None,
        "versions": {name: version(name) for name in PACKAGES},
        "load": load(),
    }


def load():
    """Load average over the last minute, None where the system has none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def busy(machine):
    """A sentence where other work was under way, else None."""
    value, cpus = machine["load"], machine["cpus_usable"]
    if value is not None and value > 0.5 * cpus:
        return (f"load average {value} on {cpus} processors at the start: other work is running, "
                "so times are too long and spread wide")
    return None


def describe(machine):
    """One or two lines for the head of a report."""
    v = machine["versions"]
    blas = f", BLAS kernel {machine['blas_kernel']}" if machine["blas_kernel"] else ""
    return (f"{machine['processor'] or 'unknown processor'}, {machine['cpus_usable']} of "
            f"{machine['cpus']} processors usable, {machine['threads']} threads{blas}\n"
            f"autodiff {v['autodiff'] or 'from source'} ({machine['core']} core), Python "
            f"{machine['python']}, numpy {v['numpy']}, OpenBLAS {v['scipy-openblas32']}, "
            f"load {machine['load']}")


def processor():
    """The processor's name as the system gives it, or None."""
    text = _read("/proc/cpuinfo") or ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or None


def _usable():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()


def _memory():
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def version(name):
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return None
