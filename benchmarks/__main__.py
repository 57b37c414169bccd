"""`python -m benchmarks [command] ...`: the command `bench` where none is named.

Invariant: the same commands and options as the console command `autodiff`.
"""

import sys

from .cli import COMMANDS, main


def arguments(argv):
    """`argv` with `bench` put in front unless it starts with a command or asks for help."""
    named = argv and (argv[0] in {c.name for c in COMMANDS} or argv[0] in ("-h", "--help"))
    return argv if named else ["bench", *argv]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:]), prog="python -m benchmarks"))
