"""What training costs over inference, for a model of yours: bytes, seconds, operations.

  autodiff cost my_module:build        build() returns (model, batch, loss) or (model, batch, loss,
  autodiff cost path/model.py:build    optimizer); batch is (inputs, target), loss(output, target)
  autodiff cost --workload cnn         one of the built-in workloads
  autodiff cost --growth depth         curves over batch, depth, width or length, of a built-in
                                       family; with a model of yours: over its batch, and over what
                                       build(depth=8) takes as an argument

The model is copied; nothing of yours changes.  The package's code API is `benchmarks.cost`.
"""

import argparse

from ..cli import UsageError

AXES = ("batch", "depth", "width", "length")


def add_arguments(parser):
    """Options of `cost`."""
    parser.add_argument("target", nargs="?", metavar="MODULE:FUNCTION",
                        help="where the model comes from: my_module:build or file.py:build")
    parser.add_argument("--workload", metavar="NAME", help="a built-in workload instead")
    parser.add_argument("--growth", action="append", choices=AXES, default=[], metavar="AXIS",
                        help=f"also follow the cost over an axis: {', '.join(AXES)} (may be given "
                             "more than once)")
    parser.add_argument("--values", type=_integers, metavar="N,N,N",
                        help="the sizes that --growth goes through")
    parser.add_argument("--seconds", type=_seconds, default=2.0, metavar="S",
                        help="time for measuring, of the step and of each curve (default: 2)")
    parser.add_argument("--steps", type=int, metavar="N",
                        help="steps of the whole training run, to set it beside one prediction")
    parser.add_argument("--json", metavar="FILE", help="also write the report as JSON (-: print "
                                                       "it instead of the tables)")
    parser.add_argument("--trace", metavar="FILE",
                        help="also write a step as a Chrome/Perfetto trace")
    parser.add_argument("--html", metavar="FILE", help="also write the report as one HTML page")
    parser.add_argument("--plots", metavar="DIR", help="also draw plots into this folder")
    parser.add_argument("--svg", action="store_true", help="plots as SVG rather than PNG")


def run(args):
    """Measure, print, write; returns 0."""
    if not (args.target or args.workload or args.growth):
        raise UsageError("say what to measure: my_module:build, --workload NAME or --growth AXIS; "
                         "see autodiff cost --help")
    if args.target and args.workload:
        raise UsageError(f"give either {args.target} or --workload {args.workload}")
    from autodiff.errors import AutodiffError
    try:
        return _run(args)
    except AutodiffError as error:
        raise UsageError(str(error)) from error


def _run(args):
    build, subject, known = _subject(args)
    if subject is None:
        return _only_growth(args)
    from . import cost
    report = cost(*subject, seconds=args.seconds, **{**known, **_given(args)})
    for over in args.growth:
        report.add(_growth(args, over, build, subject))
    _say(args, report, report.save)
    if args.trace:
        from .trace import trace
        print(f"written: {trace(args.trace, *subject)}")
    if args.html:
        print(f"written: {report.page(args.html)}")
    if args.plots:
        _need_matplotlib()
        print("written: " + ", ".join(report.plots(args.plots, "svg" if args.svg else "png")))
    return 0


def _only_growth(args):
    """Curves of the built-in families, without a model."""
    if args.trace or args.html or args.plots:
        raise UsageError("--trace, --html and --plots need a model: my_module:build or "
                         "--workload NAME")
    from . import report, schema
    curves = [_growth(args, over, None, None) for over in args.growth]
    data = {"schema": schema.GROWTH_NAME, "growth": curves}
    _say(args, "\n\n".join(map(str, curves)), lambda path: report.write_json(data, path), data)
    return 0


def _subject(args):
    """(build or None, arguments of cost or None, keywords)."""
    from . import load
    if args.target:
        build = load.load(args.target)
        arguments, known = load.arguments(build)
        return build, arguments, {"name": args.target, **known}
    if args.workload:
        from ..workloads import WORKLOADS
        if args.workload not in WORKLOADS:
            raise UsageError(f"--workload {args.workload}: no such workload; there are "
                             f"{', '.join(WORKLOADS)}")
        workload = WORKLOADS[args.workload]()
        import autodiff as ad
        ad.manual_seed(0)
        model = workload.model()
        batch = next(iter(workload.loader(seed=0)))
        return (None, (model, batch, workload.loss, workload.optimizer(model)),
                {"name": args.workload, "steps": workload.total_steps})
    return None, None, {}


def _given(args):
    return {} if args.steps is None else {"steps": args.steps}


def _growth(args, over, build, subject):
    from . import growth, load
    from .growth import of_batch
    if build is not None and load.takes(build, over):
        return growth(lambda n: load.arguments(build, **{over: n})[0], over, args.values,
                      seconds=args.seconds, family=args.target)
    if over == "batch" and subject is not None:
        return of_batch(subject, args.seconds, args.values, args.target or args.workload)
    if build is not None:
        raise UsageError(f"--growth {over}: {args.target} takes no argument {over}; define "
                         f"{build.__name__}({over}=8), or leave the model out to see the built-in "
                         "family")
    return growth(None, over, args.values, seconds=args.seconds)


def _say(args, what, save, data=None):
    """Print the tables and write the JSON; with `--json -` print the JSON alone."""
    if args.json == "-":
        import json
        print(json.dumps(what.to_dict() if data is None else data, indent=1))
        return
    print(what)
    if args.json:
        print(f"written: {save(args.json)}")


def _need_matplotlib():
    import importlib.util
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plots needs matplotlib: pip install 'autodiff[bench]'")


def _integers(text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers, 8,16,32; got {text!r}") from None


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f"expected seconds, at least 0, got {text!r}")
    return value
