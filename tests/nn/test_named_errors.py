"""What goes wrong most often: each with a named error, the module's path, and the way out."""

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.data


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x, y=None):
        scores = self.head(self.encoder(x))
        return scores if y is None else self.loss(scores, y)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.rnn = nn.Embedding(10, 4), nn.LSTM(4, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x, hidden=True):
        return self.norm(self.rnn(self.table(x) if hidden else x)[0])


def zeros(*shape, dtype=None):
    return ad.zeros(shape, dtype=dtype)


def without(state, key):
    return {k: v for k, v in state.items() if k != key}


NET = Net()
STATE = NET.state_dict()
SAYS = [
    # labels
    (lambda: NET(zeros(3, 1, 4, 4), ad.tensor([0, 1, 10])), nn.LabelError,
     "label 10 of sample 2 is none of the 10 classes", "more outputs; in loss"),
    (lambda: nn.functional.nll_loss(zeros(2, 3, 4), ad.tensor(np.full((2, 4), 3))), nn.LabelError,
     "label 3 of sample (0, 0)", "labels must be in [0, 3), or ignore_index=-100"),
    (lambda: nn.functional.cross_entropy(zeros(3), ad.tensor(5)), nn.LabelError,
     "label 5 of sample 0 is none of the 3 classes", "correct the labels"),
    (lambda: Words()(ad.tensor([[1], [10]])), ad.IndexRangeError,
     "index 10 at place (1, 0) is outside the table", "num_embeddings=10; in table"),
    # the wrong rank, size or kind of input
    (lambda: NET(zeros(5, 4, 4)), ad.ShapeError, "in_channels=1 at axis -3 of the input, got 5",
     "read without a batch axis; add the missing axis of (C, H, W) or (N, C, H, W); in encoder.0"),
    (lambda: NET(zeros(2, 3, 4, 4)), ad.ShapeError, "got 3 (shape (2, 3, 4, 4))",
     "make the layer with in_channels=3, or move the axis of that size there; in encoder.0"),
    (lambda: NET(zeros(1, 4)), ad.ShapeError, "must have 3 or 4 dimensions, (C, H, W) or (N, C, H",
     "add an axis, for instance x[:, None]; in encoder.0"),
    (lambda: NET(zeros(2, 1, 5, 5)), ad.ShapeError, "in_features=64 at axis -1 of the input, got 1",
     "make the layer with in_features=100, or move the axis of that size there; in head.1"),
    (lambda: Words()(zeros(3, 1, 1, 4), False), ad.ShapeError, "got shape (3, 1, 1, 4)",
     "take one away, for instance with x.reshape(...) or nn.Flatten(); in rnn"),
    (lambda: NET(np.zeros((1, 1, 4, 4))), ad.ArgumentError, "input must be a Tensor, got ndarray",
     "make one with ad.tensor(...); in encoder.0"),
    (lambda: NET(zeros(1, 1, 4, 4, dtype="float64")), ad.DtypeError,
     "input is float64, the parameters are float32",
     ".astype(ad.float32), or the model with .double(); in encoder.0"),
    (lambda: Words()(zeros(2, 3)), ad.DtypeError, "input must hold integers, got float32",
     "convert it with .astype(ad.int64); in table"),
    (lambda: nn.Sequential(nn.Linear(2, 2))(ad.tensor(1.0)), ad.ShapeError,
     "in_features=2 at axis -1 of the input, got a scalar", "x.reshape(...); in 0"),
    (lambda: nn.Sequential(nn.LayerNorm(5))(zeros(2, 4)), ad.ShapeError, "last axes are (5,)",
     "normalized_shape=(4,); in 0"),
    (lambda: nn.Sequential(nn.BatchNorm1d(5))(zeros(1, 5)), ad.ShapeError,
     "need more than one value a channel", "leave out a last batch of one example; in 0"),
    # states
    (lambda: NET.load_state_dict(without(STATE, "head.1.bias")), nn.StateDictError,
     "missing keys: head.1.bias", "pass strict=False"),
    (lambda: NET.load_state_dict(STATE | {"head.1.weight": zeros(10, 32)}), nn.StateDictError,
     "head.1.weight: expected shape (10, 64), got (10, 32)", "build the model as it was saved"),
    (lambda: NET.load_state_dict({f"module.{k}": v for k, v in STATE.items()}), nn.StateDictError,
     "unexpected keys: module.encoder.0.weight", "load {k.removeprefix('module.')"),
    (lambda: NET.load_state_dict({"model": STATE, "epoch": 3}), nn.StateDictError,
     "missing keys: encoder.0.weight", "load its entry state['model']"),
    (lambda: nn.Sequential(NET).load_state_dict(STATE), nn.StateDictError,
     "missing keys: 0.encoder.0.weight", "load it into model.0"),
    # building
    (lambda: nn.Sequential(nn.Linear(2, 2), ad.relu), nn.ModuleError,
     "argument 1 must be a Module", "such as nn.ReLU()"),
    (lambda: nn.optim.SGD(nn.Module().parameters()), ad.ArgumentError, "SGD: got no parameters",
     "nn.ModuleList, not in lists"),
    (lambda: nn.optim.SGD(NET), ad.ArgumentError, "got a Net", "pass model.parameters()"),
    (lambda: nn.summary(NET, (1, 1, 4, 4)), ad.ArgumentError, "looks like a shape",
     "such as ad.zeros((1, 1, 4, 4))"),
    (lambda: nn.Module().register_buffer("mean", np.zeros(3)), nn.ModuleError, "got ndarray",
     "make one with ad.tensor(...)"),
    (lambda: nn.data.DataLoader(nn.data.TensorDataset(np.zeros((0, 3)))),
     nn.data.EmptyDatasetError, "got an empty data set", "check the path, filter or split"),
]


@pytest.mark.parametrize("call,error,what,remedy", SAYS)
def test_error(call, error, what, remedy):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, ad.AutodiffError)
    assert what in str(caught.value) and remedy in str(caught.value), caught.value


def trainer():
    return nn.Trainer(NET, nn.CrossEntropyLoss(), nn.optim.SGD(NET.parameters()), progress=False)


def test_fit_says_what_it_was_given():
    data = nn.data.TensorDataset(np.ones((4, 1, 4, 4), np.float32), np.zeros(4, int))
    with pytest.raises(ad.ArgumentError, match="is a data set; put it into nn.data.DataLoader"):
        trainer().fit(data)
    run, loader = trainer(), nn.data.DataLoader(data, batch_size=4)
    run.fit(loader)
    with pytest.warns(UserWarning, match="nothing to do: 1 epochs are done, and epochs=1"):
        run.fit(loader)


def test_a_batch_that_is_no_pair():
    with pytest.raises(nn.BatchError, match=r"\(input, ..., target\), got tuple of 1; .*override"):
        trainer().fit(nn.data.DataLoader(nn.data.TensorDataset(np.zeros((2, 1)))))
