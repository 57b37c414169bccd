"""The console command `autodiff`: one table of sub-commands, each a module with two functions.

A command's module offers `add_arguments(parser)` and `run(args) -> exit status`.  Invariant: what
is known only to one command lives in its module; importing it is cheap, running it may not be.
"""

import argparse
import importlib
import os
import sys
from typing import NamedTuple


class Command(NamedTuple):
    """A sub-command: its name, the module that implements it, one line of help."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("bench", "benchmarks.bench",
            "train and infer on real data; print what backpropagation costs"),
    Command("cost", "benchmarks.costs.command",
            "what training a model of yours costs over using it"),
    Command("compare", "benchmarks.compare",
            "two reports of cost or bench: what moved outside the noise"),
    Command("trades", "benchmarks.trades.command",
            "what can be traded for memory or time: checkpointing, optimizers, dtypes, ..."),
    Command("peers", "benchmarks.peers.command",
            "this engine beside PyTorch, JAX, ONNX Runtime and HIPS autograd"),
    Command("kernels", "benchmarks.kernel_bench",
            "each kernel beside its NumPy twin and the machine's limit"),
    Command("scaling", "benchmarks.scaling",
            "how a step's time grows with batch, width, depth, length"),
    Command("phone", "benchmarks.phone",
            "a classifier at five widths: accuracy, latency, file, memory; what training cost"),
    Command("ledger", "benchmarks.ledger",
            "what counting memory costs, beside a build that does not count"),
)


class UsageError(Exception):
    """A request that cannot be served; the message says what to do.  Exit status 2."""


def build_parser(prog="autodiff"):
    """The parser of every command in COMMANDS."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Measure what backpropagation costs in time and memory.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        module = importlib.import_module(command.module)
        sub = commands.add_parser(command.name, help=command.help, description=module.__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv=None, prog="autodiff"):
    """Run one command; returns its exit status (2: bad usage, 130: interrupted, 141: nobody reads
    what it prints)."""
    args = build_parser(prog).parse_args(argv)
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:                     # `autodiff cost ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UsageError as error:
        print(f"{prog} {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog} {args.command}: interrupted; nothing was written", file=sys.stderr)
        return 130
