"""What the system says of a process: resident memory and its highest value, time on processors.

Invariant: read from /proc, never guessed; None where the system does not tell.  Imports no engine.
"""

import os
import resource


def resident():
    """Resident bytes of this process, or None."""
    return _status("VmRSS")


def high_water():
    """The highest resident bytes since the start, or since `reset_high_water`."""
    peak = _status("VmHWM")
    return peak if peak is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_high_water():
    """Start the highest anew at the resident size; False where the system does not offer it."""
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        return True
    except OSError:
        return False


def minor_faults():
    """Pages that the system had to map in for this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def scheduled(pid):
    """Seconds that the threads of process `pid` ran, and that they waited for a processor.

    None where the system does not tell.
    """
    ran = waited = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
                a, b, _ = f.read().split()
                ran, waited = ran + int(a), waited + int(b)
    except OSError:
        return None
    return ran / 1e9, waited / 1e9


def _status(name):
    """Bytes of the field `name` in /proc/self/status; None where there is none."""
    try:
        with open("/proc/self/status") as lines:
            for line in lines:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
