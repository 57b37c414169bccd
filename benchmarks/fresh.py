"""Run a function of this package in a fresh Python process and get its JSON-able result.

For what must not see this process's history: resident memory, other engines' thread pools.
Invariant: the child imports what the parent imported, whatever folder it is started from.
"""

import json
import subprocess
import sys

_CODE = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
module, _, name = sys.argv[2].partition(":")
result = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[3]))
print()
print(json.dumps(result))
"""


class ChildError(RuntimeError):
    """The child process failed; the message ends with what it printed last."""


def call(function, timeout=300, **arguments):
    """`call("benchmarks.chain:measure", steps=1000)` -> its result.

    Raises ChildError where the child fails, is killed, or takes longer than `timeout` seconds.
    """
    path = [p for p in sys.path if p]
    command = [sys.executable, "-P", "-c", _CODE, json.dumps(path), function,
               json.dumps(arguments)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ChildError(f"{function}: no result after {timeout} s") from None
    if child.returncode:
        last = "\n".join(child.stderr.strip().splitlines()[-4:])
        raise ChildError(f"{function}: exit status {child.returncode}: {last}")
    return json.loads(child.stdout.splitlines()[-1])
