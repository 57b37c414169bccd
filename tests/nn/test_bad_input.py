"""Whatever a layer, loss, optimizer, data set or file reader is given, the answer has a name.

Hostile values at every argument of every constructor and of every `forward`; hostile files; and
batches of nothing, which are not an error. Invariant: errors derive from AutodiffError, a failed
load or save changes nothing.
"""

import gzip
import inspect
import json
import os
import pickle
import struct
import sys

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.data as data
import nn.functional as F
from autodiff.errors import ArgumentError, AutodiffError
from nn.errors import FileAccessError, FileFormatError, FileMissingError, StateDictError

pytestmark = pytest.mark.filterwarnings("ignore")


def T(*shape, dtype=np.float32, grad=False):
    values = np.linspace(-1, 1, int(np.prod(shape)), dtype=dtype).reshape(shape)
    return ad.tensor(values, requires_grad=grad)


HOSTILE = [None, "abc", object(), [], {}, -1, 0, 2 ** 62, 1.5, float("nan"), -0.5, 1j, b"x", len,
           np.ones((1,) * 9, np.float32), (-1, 2), ("a",), [[1], [1, 2]], slice(None), True,
           ad.tensor(1.0), T(3), T(2, 3), T(2, 3, 4, 4), T(2, 3, dtype=np.float64),
           ad.tensor([5, -9]), T(0, 3), ad.tensor([True]), np.ones((2, 3), np.float32),
           (2 ** 40, 2 ** 40), (1, 2, 3), nn.ReLU(), float("inf")]

X2, X3, X4 = T(2, 3), T(2, 3, 8), T(2, 3, 6, 6)
CASES = [                                   # class, constructor's arguments, forward's
    (nn.Linear, (3, 4), (X2,)), (nn.Conv1d, (3, 4, 2), (X3,)), (nn.Conv2d, (3, 4, 2), (X4,)),
    (nn.ConvTranspose2d, (3, 4, 2), (X4,)), (nn.BatchNorm1d, (3,), (X2,)),
    (nn.BatchNorm2d, (3,), (X4,)), (nn.LayerNorm, (3,), (X2,)), (nn.GroupNorm, (3, 3), (X4,)),
    (nn.RMSNorm, (3,), (X2,)), (nn.Embedding, (5, 3), (ad.tensor([0, 1]),)),
    (nn.LSTM, (3, 4), (T(4, 2, 3),)), (nn.GRU, (3, 4), (T(4, 2, 3),)),
    (nn.RNN, (3, 4), (T(4, 2, 3),)), (nn.LSTMCell, (3, 4), (X2,)),
    (nn.MultiheadAttention, (4, 2), (T(3, 2, 4), T(3, 2, 4), T(3, 2, 4))),
    (nn.MaxPool2d, (2,), (X4,)), (nn.AvgPool2d, (2,), (X4,)), (nn.AdaptiveAvgPool2d, (2,), (X4,)),
    (nn.AdaptiveMaxPool2d, (2,), (X4,)), (nn.Dropout, (), (X2,)), (nn.Flatten, (), (X4,)),
    (nn.Unflatten, (1, (3, 1)), (X2,)), (nn.ZeroPad2d, (1,), (X4,)), (nn.ReLU, (), (X2,)),
    (nn.GELU, (), (X2,)), (nn.Softmax, (-1,), (X2,)), (nn.PReLU, (), (X2,)),
    (nn.Sequential, (nn.Linear(3, 3),), (X2,)), (nn.CrossEntropyLoss, (), (X2, ad.tensor([0, 1]))),
    (nn.NLLLoss, (), (X2, ad.tensor([0, 1]))), (nn.MSELoss, (), (X2, X2)),
    (nn.L1Loss, (), (X2, X2)), (nn.BCEWithLogitsLoss, (), (X2, F.sigmoid(X2))),
    (nn.KLDivLoss, (), (X2, X2)), (nn.HuberLoss, (), (X2, X2))]


def wrong_in_one(function, good):
    """(args, kwargs), good but for one hostile argument."""
    for k in range(len(good)):
        for hostile in HOSTILE:
            yield (*good[:k], hostile, *good[k + 1:]), {}
    names = [p.name for p in inspect.signature(function).parameters.values()
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)][len(good):]
    for name in names:
        for hostile in HOSTILE:
            yield good, {name: hostile}


def answers(function, good):
    for args, kwargs in wrong_in_one(function, good):
        try:
            function(*args, **kwargs)
        except (AutodiffError, MemoryError) as error:
            assert str(error).strip()


@pytest.mark.parametrize("layer, arguments, inputs", CASES, ids=[c[0].__name__ for c in CASES])
def test_every_argument_of_every_layer(layer, arguments, inputs):
    with np.errstate(all="ignore"):
        answers(layer, arguments)
        answers(layer(*arguments), inputs)
    with pytest.raises(ArgumentError, match=f"{layer.__name__}.*no_such"):
        layer(*arguments, no_such=1)


FUNCTIONS = [
    (F.conv2d, (X4, T(4, 3, 2, 2))), (F.conv_transpose2d, (X4, T(3, 4, 2, 2))),
    (F.max_pool2d, (X4, 2)), (F.adaptive_max_pool2d, (X4, 2)), (F.layer_norm, (X2, (3,))),
    (F.batch_norm, (X4, ad.zeros(3), ad.ones(3))), (F.group_norm, (X4, 3)),
    (F.one_hot, (ad.tensor([0, 1]), 3)), (F.dropout, (X2,)), (F.flatten, (X4,)),
    (F.glu, (T(2, 4),)),
    (F.cross_entropy, (X2, ad.tensor([0, 2]))), (F.gaussian_nll_loss, (X2, X2, ad.ones((2, 3)))),
    (F.interpolate, (X4, (3, 3))), (F.pad, (X4, (1, 1))), (F.attention_weights, (X3, X3)),
    (F.scaled_dot_product_attention, (X3, X3, X3)), (F.softmax, (X2, -1)),
    (nn.init.uniform_, (T(3, 3),)), (nn.init.normal_, (T(3, 3),)),
    (nn.init.trunc_normal_, (T(3, 3),)), (nn.init.kaiming_uniform_, (T(3, 3),)),
    (nn.init.orthogonal_, (T(3, 3),)), (nn.init.xavier_normal_, (T(3, 3),)),
    (nn.init.calculate_gain, ("relu",)), (nn.init.generator, (0,))]


@pytest.mark.parametrize("function, good", FUNCTIONS, ids=[f[0].__name__ for f in FUNCTIONS])
def test_every_argument_of_every_function(function, good):
    with np.errstate(all="ignore"):
        answers(function, good)
    with pytest.raises(ArgumentError, match=f"{function.__name__}.*no_such"):
        function(*good, no_such=1)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_every_argument_of_every_optimizer(name):
    def make(params, **options):
        return getattr(nn.optim, name)(params, **{"lr": 0.1, **options})
    answers(make, ([nn.Parameter([1.0, 2.0])],))
    signature = inspect.signature(getattr(nn.optim, name))
    for option in list(signature.parameters)[1:]:
        for hostile in HOSTILE:
            try:
                make([nn.Parameter([1.0])], **{option: hostile})
            except (AutodiffError, MemoryError) as error:
                assert str(error).strip()


SET = data.TensorDataset(np.ones((6, 2), np.float32), np.arange(6))
DATA = [(data.TensorDataset, (np.ones((2, 2)), np.ones(2))), (data.Subset, (SET, [0, 1])),
        (data.ConcatDataset, ([SET, SET],)), (data.random_split, (SET, [3, 3])),
        (data.CharVocabulary, ("abc",)), (data.CharDataset, (np.arange(10), 3)),
        (data.default_collate, ([1, 2],)), (data.BatchSampler, (data.SequentialSampler(SET), 2)),
        (data.read_idx, ("missing",)), (data.read_text, ("missing",)),
        (data.fashion_mnist, ("missing",)), (data.CharVocabulary("abc").encode, ("abc",)),
        (data.CharVocabulary("abc").decode, ([0],)), (SET.__getitem__, (0,)),
        (data.Subset(SET, [0, 1]).__getitem__, (0,)),
        (data.ConcatDataset([SET, SET]).__getitem__, (0,)),
        (data.CharDataset(np.arange(10), 3).__getitem__, (0,))]


@pytest.mark.parametrize("function, good", DATA, ids=range(len(DATA)))
def test_every_argument_of_data(function, good):
    answers(function, good)


@pytest.mark.parametrize("option", ["batch_size", "shuffle", "sampler", "batch_sampler",
                                    "drop_last", "collate_fn"])
def test_every_argument_of_the_loader(option):
    for hostile in HOSTILE:
        try:
            loader = data.DataLoader(SET, **{option: hostile})
            if option != "collate_fn":          # the user's own function has its own errors
                list(loader)
        except (AutodiffError, MemoryError) as error:
            assert str(error).strip()


def test_the_path_of_the_module():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Softmax(-1), nn.Conv2d(1, 1, 1)))
    with pytest.raises(AutodiffError, match=r"in 1\.1$"):
        model(X2)
    with pytest.raises(AutodiffError, match=r"in 0$"):
        model(T(2, 5))


# Files ----------------------------------------------------------------------------------------

def container(header, body=b"", size=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if size is None else size) + header + body


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def structure(text):
    return container({"__metadata__": {"structure": text}})


HOSTILE_MODELS = {
    "empty": b"", "four bytes": b"\0" * 4, "header claims 2**62": container(b"{}", size=2 ** 62),
    "header cut": container(b"{", size=100), "no JSON": container(b"notjson!"),
    "a list": container(b"[]"), "null": container(b"null"), "deep list": container(b"[" * 200_000),
    "deep dict": container(b'{"a":' * 100_000), "bad utf-8": container(b'{"\xff":1}'),
    "negative size": container({"a": entry(shape=(-1,))}, b"\0" * 4),
    "product overflows": container({"a": entry(shape=(2 ** 32, 2 ** 32), offsets=(0, 0))}),
    "too large": container({"a": entry(shape=(2 ** 40, 2 ** 40))}, b"\0" * 4),
    "overlap": container({"a": entry(), "b": entry()}, b"\0" * 4),
    "hole": container({"a": entry(offsets=(4, 8))}, b"\0" * 8),
    "complex": container({"a": entry("C64", offsets=(0, 8))}, b"\0" * 8),
    "unsigned": container({"a": entry("U64", offsets=(0, 8))}, b"\0" * 8),
    "no dtype": container({"a": {"shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    "text size": container({"a": entry(shape=("1",))}, b"\0" * 4),
    "nine dimensions": container({"a": entry(shape=(1,) * 9)}, b"\0" * 4),
    "structure cut": structure("{"), "structure deep": structure("[" * 5000),
    "structure names nothing": structure('{"tensor": "nope"}'),
    "structure key": structure('{"dict": [[["a"], {"value": 1}]]}'),
    "structure value": structure('{"value": [1]}'), "structure list": structure('{"list": 5}'),
    "pickle": pickle.dumps({"a": 1}), "zip": b"PK\3\4" + b"\0" * 100,
    "npy": b"\x93NUMPY" + b"\0" * 100}


@pytest.mark.parametrize("name", HOSTILE_MODELS)
def test_hostile_model_files(name, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE_MODELS[name])
    with pytest.raises(FileFormatError, match="model.safetensors"):
        nn.load(path)


def test_a_model_file_cut_anywhere(tmp_path):
    path = tmp_path / "model.safetensors"
    nn.save(nn.Linear(2, 2), path)
    whole = path.read_bytes()
    for end in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(FileFormatError):
            nn.load(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(FileFormatError):
        nn.load(path)


@pytest.mark.parametrize("path", [0, 1, True, None, [], 1.5, b"bytes", object()])
def test_a_path_is_no_number(path):
    """open(1) would read a descriptor, and close it."""
    for call in (lambda: nn.load(path), lambda: nn.save({}, path), lambda: data.read_idx(path),
                 lambda: data.read_text(path)):
        with pytest.raises(AutodiffError, match="path"):
            call()
    os.fstat(1)


def test_files_that_cannot_be(tmp_path):
    model = nn.Linear(2, 2)
    for error, call in [
            (FileMissingError, lambda: nn.load(tmp_path / "missing")),
            (FileNotFoundError, lambda: nn.load(tmp_path / "missing")),
            (FileAccessError, lambda: nn.load(tmp_path)),
            (FileAccessError, lambda: nn.load("a\0b")),
            (FileMissingError, lambda: nn.save(model, tmp_path / "no" / "such" / "folder")),
            (FileAccessError, lambda: nn.save(model, tmp_path)),
            (FileAccessError, lambda: nn.save(model, tmp_path / ("x" * 300))),
            (ArgumentError, lambda: nn.save({"a": len}, tmp_path / "x")),
            (ArgumentError, lambda: nn.save({1.5: 1}, tmp_path / "x")),
            (ArgumentError, lambda: nn.save({"\ud800": T(1)}, tmp_path / "x")),
            (ArgumentError, lambda: nn.save({"a": {"b": 10 ** 5000}}, tmp_path / "x")),
            (ArgumentError, lambda: nn.save({"a": np.ones(2, np.float16)}, tmp_path / "x")),
            (data.DataFileError, lambda: data.read_idx(tmp_path)),
            (data.DataNotFoundError, lambda: data.read_text(tmp_path / "missing"))]:
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, AutodiffError)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("hostile", [h for h in HOSTILE if not isinstance(h, ad.Tensor)])
def test_a_state_that_does_not_fit_changes_nothing(hostile):
    model = nn.Linear(3, 4)
    before = model.weight.numpy().copy()
    for state in (hostile, {"weight": ad.ones((4, 3)), "bias": hostile}):
        with pytest.raises(AutodiffError):
            model.load_state_dict(state)
        np.testing.assert_array_equal(model.weight.numpy(), before)


def test_a_state_of_other_shapes_changes_nothing():
    model = nn.Linear(3, 4)
    before = model.weight.numpy().copy()
    with pytest.raises(StateDictError, match="bias"):
        model.load_state_dict({"weight": ad.ones((4, 3)), "bias": ad.ones(5)})
    np.testing.assert_array_equal(model.weight.numpy(), before)


def idx(code=8, shape=(2, 2), body=None, magic=b"\0\0"):
    sizes = b"".join(struct.pack(">I", n) for n in shape)
    body = bytes(int(np.prod(shape))) if body is None else body
    return magic + bytes([code, len(shape)]) + sizes + body


HOSTILE_IDX = {
    "empty": b"", "short": b"\0\0\x08", "magic": idx(magic=b"\1\0"), "code": idx(code=7),
    "no dimensions": b"\0\0\x08\0", "255 dimensions": b"\0\0\x08\xff", "cut": idx()[:-1],
    "longer": idx() + b"x", "claims 2**64": idx(shape=(2 ** 32 - 1,) * 2, body=b""),
    "empty but huge": idx(shape=(0, 2 ** 32 - 1)), "gzip cut": gzip.compress(idx())[:-4],
    "gzip bad": b"\x1f\x8b" + bytes(30), "gzip sum": gzip.compress(idx())[:-8] + bytes(8),
    "gzip only": b"\x1f\x8b",
    "bomb": gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 2 ** 31) + bytes(1_000_000))}


@pytest.mark.parametrize("name", HOSTILE_IDX)
def test_hostile_idx_files(name, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(HOSTILE_IDX[name])
    with pytest.raises(data.DataFileError, match="images"):
        data.read_idx(path)


# Batches of nothing ---------------------------------------------------------------------------

EMPTY = [
    (nn.Linear(3, 4), (0, 3), (0, 4)), (nn.Linear(3, 4), (0, 2, 3), (0, 2, 4)),
    (nn.Conv2d(3, 4, 2), (0, 3, 5, 5), (0, 4, 4, 4)), (nn.Conv1d(3, 4, 2), (0, 3, 5), (0, 4, 4)),
    (nn.ConvTranspose2d(3, 4, 2), (0, 3, 5, 5), (0, 4, 6, 6)),
    (nn.MaxPool2d(2), (0, 3, 4, 4), (0, 3, 2, 2)), (nn.AvgPool2d(2), (0, 3, 4, 4), (0, 3, 2, 2)),
    (nn.AdaptiveAvgPool2d(2), (0, 3, 5, 5), (0, 3, 2, 2)),
    (nn.BatchNorm2d(3).eval(), (0, 3, 4, 4), (0, 3, 4, 4)), (nn.LayerNorm(3), (0, 3), (0, 3)),
    (nn.GroupNorm(3, 3), (0, 3, 4, 4), (0, 3, 4, 4)), (nn.RMSNorm(3), (0, 3), (0, 3)),
    (nn.Dropout(), (0, 3), (0, 3)), (nn.LSTM(3, 4), (5, 0, 3), (5, 0, 4)),
    (nn.LSTM(3, 4), (0, 2, 3), (0, 2, 4)), (nn.GRU(3, 4), (5, 0, 3), (5, 0, 4)),
    (nn.RNN(3, 4), (5, 0, 3), (5, 0, 4)), (nn.ReLU(), (0, 3), (0, 3)), (nn.GLU(), (0, 4), (0, 2)),
    (nn.Softmax(-1), (0, 3), (0, 3)), (nn.Softmax(0), (0, 3), (0, 3)),
    (nn.Flatten(), (0, 3, 2), (0, 6)), (nn.ZeroPad2d(1), (0, 3, 4, 4), (0, 3, 6, 6))]


@pytest.mark.parametrize("layer, shape, expected", EMPTY, ids=range(len(EMPTY)))
def test_no_samples(layer, shape, expected):
    """Shapes as ever, gradients zero, in float32."""
    x = T(*shape, grad=True)
    out = layer(x)
    out = out[0] if isinstance(out, tuple) else out
    assert out.shape == expected and out.dtype == ad.float32
    out.sum().backward()
    assert x.grad.shape == shape
    for p in layer.parameters():
        assert p.grad.dtype == ad.float32 and not p.grad.numpy().any()
        p.grad = None


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss",
                                  "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"])
def test_losses_of_no_samples(name, reduction):
    """The mean of nothing is nan, as in PyTorch; the sum 0."""
    x = T(0, 3, grad=True)
    y = ad.tensor(np.zeros(0, np.int64)) if name in ("CrossEntropyLoss", "NLLLoss") else T(0, 3)
    loss = getattr(nn, name)(reduction=reduction)(x, y)
    assert loss.dtype == ad.float32
    if reduction == "none":
        assert loss.size == 0
    else:
        np.testing.assert_array_equal(loss.numpy(), np.nan if reduction == "mean" else 0)
    loss.sum().backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_optimizers_keep_float32(name):
    model = nn.Linear(3, 2)
    optimizer = getattr(nn.optim, name)(model.parameters(), lr=0.1)
    for _ in range(2):
        model(X2).sum().backward()
        optimizer.step()
    assert {p.dtype for p in model.parameters()} == {ad.float32}
    assert {p.grad.dtype for p in model.parameters()} == {ad.float32}


def test_modules_pickle():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.LSTM(4, 2))
    new = pickle.loads(pickle.dumps(model))
    assert list(new.state_dict()) == list(model.state_dict())
    for a, b in zip(model.parameters(), new.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert b.requires_grad and b.category == "parameter" and b.storage_id != a.storage_id
    new.eval()
    assert new(X2)[0].shape == (2, 2)


@pytest.mark.parametrize("call", [
    lambda m: nn.optim.SGD(m.parameters(), lr=0.1).step(closure="loss"), lambda m: m.apply(None),
    lambda m: m.get_submodule(3), lambda m: m.get_parameter(3),
    lambda m: m.state_dict(prefix=None)],
    ids=["step", "apply", "get_submodule", "get_parameter", "state_dict"])
def test_methods_name_the_wrong_argument(call):
    with pytest.raises(ad.ArgumentError, match="must be"):
        call(nn.Linear(2, 1))


def test_missing_safetensors_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: nn.save(nn.Linear(2, 1), tmp_path / "x"),
                 lambda: nn.load(tmp_path / "x")):
        with pytest.raises(AutodiffError, match=r"pip install 'autodiff\[nn\]'"):
            call()
