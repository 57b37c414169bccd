"""A small training run, to be killed: `python kill_run.py CHECKPOINT [PAUSE]`, which resumes.

Uses whatever could make a resumed run differ: dropout, batch statistics, shuffling, random crops,
a prefetch thread, accumulated gradients.  Prints the SHA-256 of weights and history at the end.
"""

import hashlib
import json
import sys
import time

import autodiff as ad
import nn
import nn.data
from nn.data import transforms as T


class Pause(nn.Callback):
    def __init__(self, seconds):
        self.seconds = seconds

    def on_batch_end(self, trainer, loss):
        time.sleep(self.seconds)


def make(checkpoint=None, pause=0.0, callbacks=()):
    ad.manual_seed(3)
    x, y = nn.data.digits().train.tensors
    crops = T.Transformed(nn.data.TensorDataset(x[:120, None], y[:120]),
                          T.Compose([T.RandomCrop(8, 1), T.RandomHorizontalFlip()]), seed=5)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                          nn.Dropout(0.3), nn.Flatten(), nn.Linear(256, 10))
    trainer = nn.Trainer(
        model, nn.CrossEntropyLoss(), nn.optim.Adam(model.parameters(), lr=0.01),
        metrics=[nn.metrics.Accuracy()], accumulate=2, clip_norm=1.0, checkpoint=checkpoint,
        save_every=None if checkpoint is None else 2, progress=False,
        callbacks=[nn.EarlyStopping(patience=50), Pause(pause), *callbacks])
    train = nn.data.DataLoader(crops, batch_size=16, shuffle=True, seed=1, prefetch=2)
    test = nn.data.TensorDataset(x[120:160, None], y[120:160])
    return trainer, train, test


def fingerprint(trainer):
    """SHA-256 of all weights, and of the history but for its seconds."""
    digest = hashlib.sha256()
    for key, value in trainer.model.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    history = trainer.history.state_dict()
    for entry in history["epochs"]:
        del entry["seconds"]
    digest.update(json.dumps(history).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    trainer, train, test = make(sys.argv[1], float(sys.argv[2]))
    trainer.fit(train, test, epochs=5, resume=True)
    print(fingerprint(trainer))
