"""nn.save and nn.load: round trips, atomic writes, files that are damaged or not ours."""

import json
import os
import pickle
import struct

import numpy as np
import pytest

import autodiff as ad
import nn

safetensors = pytest.importorskip("safetensors.numpy")


def model():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 2))


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_model_round_trip(tmp_path):
    a, b, path = model(), model(), tmp_path / "m.safetensors"
    nn.save(a, path)
    b.load_state_dict(nn.load(path))
    for k, v in a.state_dict().items():
        assert v.numpy().tobytes() == b.state_dict()[k].numpy().tobytes(), k
    other = safetensors.load_file(path)                 # plain keys, for every other reader
    assert set(other) == set(a.state_dict())
    assert other["2.weight"].shape == (2, 3)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float32",
                                   "float64"])
def test_dtypes_and_shapes(tmp_path, dtype):
    arrays = {"a": np.arange(6).reshape(2, 3).astype(dtype), "scalar": np.array(1, dtype),
              "empty": np.zeros((0, 3), dtype)}
    nn.save(arrays, tmp_path / "x")
    back = nn.load(tmp_path / "x")
    for k, v in arrays.items():
        assert back[k].dtype == v.dtype and back[k].shape == v.shape
        assert (back[k].numpy() == v).all()


def test_layouts_are_made_contiguous(tmp_path):
    a = np.arange(12.0).reshape(3, 4)
    nn.save({"t": a.T, "r": ad.tensor(a)[:, 1]}, tmp_path / "x")
    back = nn.load(tmp_path / "x")
    assert (back["t"].numpy() == a.T).all() and back["r"].tolist() == a[:, 1].tolist()


def test_half_precision_is_read_as_float32(tmp_path):
    x = np.array([1.5, -2.0, 65504.0], np.float32)
    bf16 = (x.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = {"h": {"dtype": "F16", "shape": [3], "data_offsets": [0, 6]},
              "b": {"dtype": "BF16", "shape": [3], "data_offsets": [6, 12]}}
    (tmp_path / "x").write_bytes(raw(header, x.astype("<f2").tobytes() + bf16))
    back = nn.load(tmp_path / "x")
    assert back["h"].dtype == np.float32 and back["h"].tolist() == x.tolist()
    assert back["b"].tolist()[:2] == [1.5, -2.0]


def test_nested_contents(tmp_path):
    m = model()
    content = {"model": m.state_dict(), "epoch": 3, "history": [1.5, None, ("a", True)],
               "state": {0: {"x": ad.ones((2,))}}, "model.0.weight": ad.zeros((1,)), "none": {}}
    nn.save(content, tmp_path / "x")
    back = nn.load(tmp_path / "x")
    assert back["epoch"] == 3 and back["history"] == [1.5, None, ("a", True)]
    assert back["state"][0]["x"].tolist() == [1, 1] and back["none"] == {}
    assert back["model.0.weight"].tolist() == [0]
    m.load_state_dict(back["model"])


def test_what_a_file_cannot_hold(tmp_path):
    for bad in ({"x": object()}, {"f": print}, {(1, 2): 3}, {"x": np.array(["a"])},
                {"c": np.zeros(2, complex)}):
        with pytest.raises(ad.ArgumentError, match="save: "):
            nn.save(bad, tmp_path / "x")
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ad.ArgumentError, match="levels of nesting"):
        nn.save(deep, tmp_path / "x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, fails):
    path = tmp_path / "m"
    nn.save({"x": np.ones(3)}, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left on device")
    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match="no space"):
        nn.save({"x": np.zeros(30)}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m"]


def test_links_stay_and_missing_folders_are_named(tmp_path):
    nn.save({"x": np.ones(3)}, tmp_path / "real")
    os.symlink(tmp_path / "real", tmp_path / "link")
    nn.save({"x": np.zeros(3)}, tmp_path / "link")
    assert os.path.islink(tmp_path / "link")
    assert nn.load(tmp_path / "real")["x"].tolist() == [0, 0, 0]
    with pytest.raises(FileNotFoundError):
        nn.save({"x": np.ones(3)}, tmp_path / "nowhere" / "m")
    with pytest.raises(FileNotFoundError):
        nn.load(tmp_path / "nothing")


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "m"
    nn.save({"weight": np.arange(4.0), "bias": np.ones(2, np.float32)}, path)
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(nn.FileFormatError, match="not a valid safetensors file"):
            nn.load(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(nn.FileFormatError):
        nn.load(path)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "huge header": struct.pack("<Q", 2 ** 63) + b"{}",
    "huge shape": raw({"x": entry(shape=(2 ** 40, 2 ** 40))}, b"\0" * 8),
    "overlap": raw({"x": entry(), "y": entry()}, b"\0" * 8),
    "beyond the end": raw({"x": entry(offsets=(0, 800), shape=(200,))}, b"\0" * 8),
    "backwards": raw({"x": entry(offsets=(8, 0))}, b"\0" * 8),
    "wrong size": raw({"x": entry(shape=(3,))}, b"\0" * 8),
    "unknown dtype": raw({"x": entry(dtype="Q7")}, b"\0" * 8),
    "unsupported dtype": raw({"x": entry(dtype="U64", shape=(1,))}, b"\0" * 8),
    "nine dimensions": raw({"x": entry(shape=(1,) * 8 + (2,))}, b"\0" * 8),
    "not json": raw(b"{not json"),
    "not an object": raw([1, 2]),
    "not utf-8": raw(b'{"\xff": 1}'),
    "deep json": raw(b"[" * 100000),
    "deep structure": raw({"__metadata__": {"structure": '{"list":[' * 5000 + "]}" * 5000}}),
    "odd structure": raw({"__metadata__": {"structure": '{"call": "os.system"}'}}),
    "unknown tensor": raw({"__metadata__": {"structure": '{"tensor": "x"}'}}),
    "unhashable key": raw({"__metadata__": {"structure": '{"dict": [[[1], {"value": 1}]]}'}}),
    "hidden value": raw({"__metadata__": {"structure": '{"value": [1]}'}}),
    "zip": b"PK\3\4" + b"\0" * 100,
    "pickle": pickle.dumps({"x": np.ones(3)}),
    "npy": b"\x93NUMPY\1\0" + b"\0" * 100,
    "text": b"hello, this is no model file",
    "empty": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_and_foreign_files(tmp_path, content):
    path = tmp_path / "m"
    path.write_bytes(content)
    with pytest.raises(nn.FileFormatError, match=str(path)):
        nn.load(path)


def test_foreign_files_are_recognised(tmp_path):
    path = tmp_path / "m"
    for name, words in (("zip", "PyTorch .pt"), ("pickle", "never loaded"), ("empty", "empty")):
        path.write_bytes(HOSTILE[name])
        with pytest.raises(nn.FileFormatError, match=words):
            nn.load(path)


def test_shapes_are_checked_when_loaded_into_a_model(tmp_path):
    nn.save(nn.Linear(3, 4), tmp_path / "m")
    with pytest.raises(nn.StateDictError, match=r"weight: expected shape \(4, 5\), got \(4, 3\)"):
        nn.Linear(5, 4).load_state_dict(nn.load(tmp_path / "m"))
