"""Over-fitting and what cures it: one network on 100, 1,000 and all digits, with and without
weight decay, dropout, augmentation and early stopping.

    python examples/generalization.py        # half a minute; writes generalization.png
"""

import argparse

import autodiff as ad
import nn
import nn.data
from nn.data import transforms as T
from nn.metrics import Accuracy

CURES = ("nothing", "weight decay", "dropout", "augmentation", "early stopping")


def train(cure, data, validation, steps):
    """The Trainer after `steps` updates on `data`, validated 30 times on the way."""
    ad.manual_seed(0)
    p = 0.5 if cure == "dropout" else 0.0
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(p),
        nn.Linear(128, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 10))
    if cure == "augmentation":              # half of the images move by up to one pixel
        data = T.Transformed(data, T.RandomApply(T.RandomCrop(8, padding=1)))
    decay = 0.3 if cure == "weight decay" else 0.0
    batch, points = 32, 30
    drawn = nn.data.RandomSampler(data, num_samples=steps // points * batch, seed=0)
    trainer = nn.Trainer(
        model, nn.CrossEntropyLoss(),
        nn.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=decay), metrics=[Accuracy()],
        callbacks=[nn.EarlyStopping(patience=5)] if cure == "early stopping" else [],
        progress=False)
    trainer.fit(nn.data.DataLoader(data, batch_size=batch, sampler=drawn), validation,
                points)
    return trainer


def plot(runs, path):
    """Training and validation loss of all runs, a row a size of the training set."""
    from matplotlib.figure import Figure
    sizes = list(dict.fromkeys(n for n, _ in runs))
    figure = Figure(figsize=(3 * len(CURES), 2.6 * len(sizes)), layout="constrained")
    grid = figure.subplots(len(sizes), len(CURES), sharex=True, sharey="row", squeeze=False)
    for (n, cure), history in runs.items():
        axes = grid[sizes.index(n)][CURES.index(cure)]
        for name, label in (("loss", "training"), ("val_loss", "validation")):
            axes.semilogy(history["steps"], history[name], label=label)
        axes.set_title(f"{n} samples, {cure}", fontsize=9)
        axes.grid(alpha=0.3)
    grid[0][0].legend()
    grid[-1][0].set(xlabel="updates", ylabel="loss")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--plot", default="generalization.png")
    args = parser.parse_args()
    digits, runs = nn.data.digits(), {}
    validation, test = nn.data.random_split(digits.test, [0.5, 0.5], seed=0)
    print(f"{'samples':>8}  {'cure':<15} {'train loss':>10} {'test loss':>10} {'accuracy':>9}")
    for n in (100, 1000, len(digits.train)):
        some = nn.data.random_split(digits.train, [n, len(digits.train) - n], seed=1)[0]
        for cure in CURES:
            trainer = train(cure, some, validation, args.steps)
            seen, new = trainer.evaluate(some), trainer.evaluate(test)
            runs[n, cure] = trainer.history
            print(f"{n:>8}  {cure:<15} {seen['loss']:>10.4f} {new['loss']:>10.4f} "
                  f"{new['accuracy']:>9.3f}", flush=True)
    plot(runs, args.plot)


if __name__ == "__main__":
    main()
