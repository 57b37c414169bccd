"""History: what a training run did, as plain data.

`history.epochs` is a list of dicts of numbers.  Invariant: it goes through JSON unchanged, so a
checkpoint holds it and any other program can read it.
"""

import json

from .errors import DependencyError

__all__ = ["History"]


class History:
    """epochs: [{"epoch": 1, "loss": ..., "val_loss": ..., "lr": ..., "seconds": ...}, ...];
    steps: optimizer steps; samples: samples trained on; updates: parameters changed, one by one
    (500,000 parameters and 200 steps make 100,000,000).
    """

    def __init__(self):
        self.epochs, self.steps, self.samples, self.updates = [], 0, 0, 0

    def __getitem__(self, name):
        """A column, one value an epoch: history["val_loss"]; None where an epoch has none."""
        if not any(name in e for e in self.epochs):
            raise KeyError(f"history: no {name!r}; there is {', '.join(self.names()) or 'nothing'}")
        return [e.get(name) for e in self.epochs]

    def __len__(self):
        return len(self.epochs)

    def names(self):
        """The columns, in order."""
        return list(dict.fromkeys(name for e in self.epochs for name in e))

    def best(self, name="val_loss", highest=False):
        """The epoch (dict) with the lowest, or highest, value of a column."""
        self[name]
        with_it = [e for e in self.epochs if e.get(name) is not None]
        return (max if highest else min)(with_it, key=lambda e: e[name])

    def state_dict(self):
        """All of it as plain data."""
        return {"epochs": [dict(e) for e in self.epochs], "steps": self.steps,
                "samples": self.samples, "updates": self.updates}

    def load_state_dict(self, state):
        """Take up what `state_dict` gave."""
        self.epochs = [dict(e) for e in state["epochs"]]
        self.steps, self.samples, self.updates = (state[k] for k in ("steps", "samples", "updates"))

    def to_json(self, path=None):
        """The history as JSON text, also written to `path`."""
        text = json.dumps(self.state_dict(), indent=1)
        if path is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        return text

    def plot(self, path=None, names=None, x="epoch"):
        """Training and validation curves, one panel a quantity; written to `path` if given.

        Returns the matplotlib figure. names: quantities to show (default: all that are numbers);
        x: the column along which: "epoch" or "steps".
        """
        try:
            from matplotlib.figure import Figure  # needs no display, leaves pyplot alone
        except ImportError:
            raise DependencyError("history.plot needs the package matplotlib: "
                                  "pip install 'autodiff[bench]'") from None
        names = [names] if isinstance(names, str) else names
        names = names or [n for n in self.names() if self._shown(n)]
        for name in [x, *names]:
            self[name]
        figure = Figure(figsize=(4.5 * max(len(names), 1), 3.2), layout="constrained")
        for axes, name in zip(figure.subplots(1, max(len(names), 1), squeeze=False)[0], names,
                              strict=False):
            for label, column in (("training", name), ("validation", f"val_{name}")):
                points = [(e[x], e[column]) for e in self.epochs if column in e]
                if points:
                    axes.plot(*zip(*points, strict=True), label=label,
                              marker="o" if len(points) == 1 else None)
            axes.set(xlabel=x, ylabel=name)
            axes.grid(alpha=0.3)
            axes.legend()
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def _shown(self, name):
        values = [e[name] for e in self.epochs if name in e]
        return (name not in ("epoch", "lr", "steps", "seconds") and not name.startswith("val_")
                and all(isinstance(v, (int, float)) for v in values))

    def __str__(self):
        from autodiff.text import columns, count
        names = [n for n in self.names()
                 if not any(isinstance(e.get(n), list) for e in self.epochs)]
        rows = [["" if e.get(n) is None else f"{e[n]:.5g}" for n in names] for e in self.epochs]
        return (columns(names, rows, left=0) + f"\n{self.steps} steps, {self.samples} samples, "
                f"{count(self.updates).strip()} parameter updates")

    def __repr__(self):
        return f"<History: {len(self)} epochs, {self.steps} steps>"
