"""Label images: a convolutional network on hand-written digits, or on Fashion-MNIST.

    python examples/label.py                 # digits, about 98 %, some seconds
    python examples/label.py --fashion       # Fashion-MNIST where installed: 93 %, minutes
"""

import argparse

import autodiff as ad
import nn
import nn.data
from nn.data import transforms as T
from nn.metrics import Accuracy, TopK


def images(part):
    """A part of a data set with a channel axis: (N, 1, H, W)."""
    x, y = part.tensors
    return nn.data.TensorDataset(x[:, None], y)


def cnn(size, channels, hidden):
    a, b = channels
    return nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1), nn.BatchNorm2d(a), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(b * (size // 4) ** 2, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fashion", action="store_true", help="Fashion-MNIST, 28 x 28")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--checkpoint", help="file to keep the run in; it goes on from there")
    parser.add_argument("--plot", help="write the curves to this file")
    args = parser.parse_args()

    ad.manual_seed(0)
    if args.fashion:
        data, model, epochs, batch = nn.data.fashion_mnist(), cnn(28, (32, 64), 128), 8, 64
        moves = T.Compose([T.RandomCrop(28, padding=1), T.RandomHorizontalFlip()])
    else:
        data, model, epochs, batch = nn.data.digits(), cnn(8, (16, 32), 64), 20, 32
        moves = T.RandomCrop(8, padding=1)
    train = nn.data.DataLoader(T.Transformed(images(data.train), moves), batch_size=batch,
                               shuffle=True, seed=0, prefetch=2)
    test = images(data.test)
    epochs = args.epochs or epochs
    optimizer = nn.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = nn.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3,
                                                total_steps=epochs * len(train) + 1)
    trainer = nn.Trainer(model, nn.CrossEntropyLoss(), optimizer, schedule=schedule,
                         schedule_by="step", metrics=[Accuracy(), TopK(2)],
                         checkpoint=args.checkpoint)
    print(nn.summary(model, test[:1][0]), "\n")
    history = trainer.fit(train, test, epochs, resume=args.checkpoint is not None)
    if args.plot:
        history.plot(args.plot)

    predictor = nn.freeze(model)            # read-only, dropout gone, batch norm folded
    x, y = test[:10]
    found = nn.predict(predictor, x).argmax(axis=1)
    print("\ntrue: ", ", ".join(data.names[k] for k in y))
    print("found:", ", ".join(data.names[k] for k in found))


if __name__ == "__main__":
    main()
