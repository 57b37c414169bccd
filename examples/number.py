"""Predict a number: miles per gallon of a car from seven columns of a table (Auto MPG).

    python examples/number.py                # R² 0.90 on the test rows, in a second
"""

import argparse

import numpy as np

import autodiff as ad
import nn
import nn.data
from nn.metrics import R2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--plot", help="write the curves to this file")
    args = parser.parse_args()

    ad.manual_seed(0)
    table = nn.data.autompg()
    x, y = table.train.tensors
    mean, std = y.mean(), y.std()           # train on standardised targets, answer in miles
    scaled = nn.data.TensorDataset(x, (y - mean) / std)
    train, validation = nn.data.random_split(scaled, [0.85, 0.15], seed=0)

    model = nn.Sequential(nn.Linear(7, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(),
                          nn.Linear(32, 1))
    trainer = nn.Trainer(
        model, nn.MSELoss(), nn.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2),
        metrics=[R2()], callbacks=[nn.EarlyStopping(patience=25)], progress=False)
    history = trainer.fit(nn.data.DataLoader(train, batch_size=32, shuffle=True, seed=0),
                          validation, args.epochs)
    best = history.best()
    print(f"{len(history)} epochs ({trainer.stopped}), best {best['epoch']}: validation R² "
          f"{best['val_R²']:.3f}")
    if args.plot:
        history.plot(args.plot)

    x, y = table.test.tensors
    found = nn.predict(nn.freeze(model), x) * std + mean
    print(f"test: R² {R2()(found, y):.3f}, typical error "
          f"{np.sqrt(((found - y) ** 2).mean()):.2f} miles per gallon")
    for guess, true in zip(found[:5, 0], y[:5, 0], strict=True):
        print(f"  {guess:5.1f} predicted, {true:5.1f} true")


if __name__ == "__main__":
    main()
