"""nn.data: values, splits, order by seed, named errors, hostile files.

Batches are compared through `as_np`, so that the tests hold with the engine's tensors and without.
"""

import gzip
import hashlib
import os
import struct
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import nn.data as data
from nn.data import sets
from nn.data.collate import _tensor_maker


def as_np(t):
    return t.numpy() if hasattr(t, "numpy") else np.asarray(t)


def batches(loader):
    return [tuple(as_np(t) for t in batch) for batch in loader]


def pairs(n=10):
    return data.TensorDataset(np.arange(n * 2, dtype=np.float32).reshape(n, 2), np.arange(n))


def order(loader):
    return np.concatenate([y for _, y in batches(loader)]).tolist()


def prefetch_threads():
    return [t for t in threading.enumerate() if t.name == "nn.data prefetch"]


class Augmented(data.TensorDataset):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + 100, y


# Data sets

def test_tensor_dataset():
    ds = pairs()
    assert len(ds) == 10
    x, y = ds[3]
    assert x.tolist() == [6, 7] and y == 3
    assert [int(y) for _, y in ds] == list(range(10))
    x = np.zeros((4, 2))
    assert data.TensorDataset(x).tensors[0] is x
    assert data.TensorDataset([1.0, 2.0]).tensors[0].dtype == np.float32


@pytest.mark.parametrize("arrays", [(), (np.zeros(3), np.zeros(4)), (np.zeros(3), np.float32(1))])
def test_tensor_dataset_refuses(arrays):
    with pytest.raises(data.LengthMismatchError, match="expected.*got"):
        data.TensorDataset(*arrays)


def test_subset_and_concat():
    part = data.Subset(pairs(), [4, 2, -1])
    assert [int(y) for _, y in part] == [4, 2, 9]
    both = part + pairs(2)
    assert isinstance(both, data.ConcatDataset) and len(both) == 5
    assert [int(both[i][1]) for i in range(-5, 5)] == [4, 2, 9, 0, 1] * 2
    with pytest.raises(IndexError, match="got 5"):
        both[5]
    assert order(data.DataLoader(both, 2)) == [4, 2, 9, 0, 1]
    with pytest.raises(data.EmptyDatasetError):
        data.ConcatDataset([])


@pytest.mark.parametrize("indices", [[10], [-11], [0.5], np.ones(10, dtype=bool)])
def test_subset_refuses(indices):
    with pytest.raises(data.DatasetIndexError, match="Subset: expected"):
        data.Subset(pairs(), indices)


def test_random_split_disjoint_and_by_seed():
    parts = data.random_split(pairs(), [7, 3], seed=1)
    taken = [p.indices.tolist() for p in parts]
    assert [len(t) for t in taken] == [7, 3]
    assert sorted(taken[0] + taken[1]) == list(range(10))
    again = data.random_split(pairs(), [7, 3], generator=np.random.default_rng(1))
    assert [p.indices.tolist() for p in again] == taken
    other = data.random_split(pairs(), [7, 3], seed=2)
    assert [p.indices.tolist() for p in other] != taken
    assert [len(p) for p in data.random_split(pairs(), [0.5, 0.25, 0.25], seed=0)] == [6, 2, 2]
    assert [len(p) for p in data.random_split(pairs(), [10, 0], seed=0)] == [10, 0]


@pytest.mark.parametrize("lengths", [[], [5, 4], [0.5, 0.4], [11, -1], [float("nan"), 1]])
def test_random_split_refuses(lengths):
    with pytest.raises(data.SplitError, match="expected.*got"):
        data.random_split(pairs(), lengths)


# Samplers

def test_random_sampler():
    a = data.RandomSampler(range(10), seed=3)
    b = data.RandomSampler(range(10), generator=3)
    first, second = list(a), list(a)
    assert sorted(first) == list(range(10)) and first != second
    assert [list(b), list(b)] == [first, second]
    drawn = list(data.RandomSampler(range(3), replacement=True, num_samples=50, seed=0))
    assert len(drawn) == 50 and set(drawn) == {0, 1, 2}
    longer = list(data.RandomSampler(range(3), num_samples=7, seed=0))
    assert sorted(longer[:3]) == sorted(longer[3:6]) == [0, 1, 2] and len(longer) == 7


def test_random_sampler_state_continues():
    a, b = data.RandomSampler(range(10), seed=3), data.RandomSampler(range(10), seed=99)
    list(a)
    b.load_state_dict(a.state_dict())
    assert list(a) == list(b)


def test_batch_sampler():
    s = data.SequentialSampler(range(5))
    assert list(data.BatchSampler(s, 2)) == [[0, 1], [2, 3], [4]]
    assert list(data.BatchSampler(s, 2, drop_last=True)) == [[0, 1], [2, 3]]
    assert len(data.BatchSampler(s, 2)) == 3 and len(data.BatchSampler(s, 2, True)) == 2


@pytest.mark.parametrize("make", [
    lambda: data.RandomSampler(range(3), generator=np.random.default_rng(0), seed=0),
    lambda: data.RandomSampler(range(3), seed="x"),
    lambda: data.RandomSampler(range(3), seed=-1),
    lambda: data.RandomSampler(range(3), num_samples=0),
])
def test_sampler_refuses(make):
    with pytest.raises(data.LoaderArgumentError, match="expected.*got"):
        make()


# Collating

def test_collate_structure_and_dtypes():
    Point = namedtuple("Point", "x y")
    batch = [{"p": Point(np.float64(1), 2.5), "s": "a", "b": True, "l": [1, np.ones(2, np.float32)]}
             for _ in range(3)]
    out = data.numpy_collate(batch)
    assert isinstance(out["p"], Point)
    assert out["p"].x.dtype == np.float64 and out["p"].y.dtype == np.float32
    assert out["s"] == ["a"] * 3 and out["b"].dtype == np.bool_
    assert out["l"][0].dtype == np.int64 and out["l"][1].shape == (3, 2)
    assert data.numpy_collate([1, 2.5]).tolist() == [1, 2.5]


@pytest.mark.parametrize("batch", [
    [], [np.zeros(2), np.zeros(3)], [(1, 2), (1,)], [{"a": 1}, {"b": 1}], [object()], [1, None],
    [1, "a"]])
def test_collate_refuses(batch):
    with pytest.raises(data.CollateError, match="expected"):
        data.numpy_collate(batch)


def test_batches_are_tensors_where_the_engine_is_installed():
    if _tensor_maker() is None:
        pytest.skip("the engine is not importable")
    import autodiff as ad
    x, y = next(iter(data.DataLoader(pairs(), 4)))
    assert isinstance(x, ad.Tensor) and isinstance(y, ad.Tensor)
    assert as_np(x).dtype == np.float32 and as_np(y).dtype == np.int64
    items = [(ad.tensor([1.0, 2.0]), 1)] * 3
    assert as_np(data.default_collate(items)[0]).shape == (3, 2)


# The loader

def test_loader_values_and_length():
    loader = data.DataLoader(pairs(), batch_size=4)
    got = batches(loader)
    assert len(loader) == 3 and [len(x) for x, _ in got] == [4, 4, 2]
    assert got[1][0].tolist() == [[8, 9], [10, 11], [12, 13], [14, 15]]
    dropped = data.DataLoader(pairs(), batch_size=4, drop_last=True)
    assert len(dropped) == 2 and [len(x) for x, _ in batches(dropped)] == [4, 4]
    with pytest.warns(UserWarning, match="drop_last leaves no batch"):
        data.DataLoader(pairs(), batch_size=11, drop_last=True)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_loader_order_by_seed(prefetch):
    a = data.DataLoader(pairs(), 3, shuffle=True, seed=5)
    b = data.DataLoader(pairs(), 3, shuffle=True, generator=np.random.default_rng(5),
                        prefetch=prefetch)
    first, second = order(a), order(a)
    assert sorted(first) == list(range(10)) and first != second
    assert [order(b), order(b)] == [first, second]
    assert order(data.DataLoader(pairs(), 3, shuffle=True, seed=6)) != first


def test_fast_path_equals_item_by_item():
    ds = data.Subset(data.Subset(pairs(), range(9, -1, -1)), [1, 3, 5, 7, 8])
    fast = data.DataLoader(ds, 2)
    slow = data.DataLoader(ds, 2, collate_fn=data.default_collate)
    assert fast._gather is not None and slow._gather is None
    for (xa, ya), (xb, yb) in zip(batches(fast), batches(slow), strict=True):
        assert np.array_equal(xa, xb) and np.array_equal(ya, yb)
        assert xa.dtype == xb.dtype and ya.dtype == yb.dtype
    array = np.arange(5.0)
    assert [as_np(b).tolist() for b in data.DataLoader(array, 2)] == [[0, 1], [2, 3], [4]]


def test_fast_path_does_not_bypass_an_override():
    for ds in (Augmented(*pairs().tensors), data.Subset(Augmented(*pairs().tensors), range(10))):
        assert batches(data.DataLoader(ds, 5))[0][0][0].tolist() == [100, 101]


def test_batches_do_not_share_memory_with_the_data():
    ds = pairs()
    for x, _ in batches(data.DataLoader(ds, 5)):
        assert not np.shares_memory(x, ds.tensors[0])


def test_loader_samplers_getitems_and_unbatched():
    assert order(data.DataLoader(pairs(), 2, sampler=[5, 1, 7])) == [5, 1, 7]
    assert [y.tolist() for _, y in batches(data.DataLoader(pairs(), batch_sampler=[[3], [1, 2]]))] \
        == [[3], [1, 2]]
    singles = batches(data.DataLoader(pairs(3), batch_size=None))
    assert [x.shape for x, _ in singles] == [(2,)] * 3

    class Many(data.Dataset):
        def __len__(self):
            return 4

        def __getitems__(self, indices):
            return [i * 10 for i in indices]
    assert [as_np(b).tolist() for b in data.DataLoader(Many(), 3)] == [[0, 10, 20], [30]]


def test_loader_stream():
    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(5))
    loader = data.DataLoader(Stream(), 2, prefetch=1)
    assert [as_np(b).tolist() for b in loader] == [[0, 1], [2, 3], [4]]
    assert [as_np(b).tolist() for b in loader] == [[0, 1], [2, 3], [4]]
    with pytest.raises(TypeError, match="no number of batches"):
        len(loader)
    with pytest.raises(data.LoaderArgumentError, match="its own order"):
        data.DataLoader(Stream(), shuffle=True)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_loader_state_continues_within_an_epoch(prefetch):
    def make(seed):
        return data.DataLoader(pairs(), 2, shuffle=True, seed=seed, prefetch=prefetch)
    a, b = make(1), make(2)
    order(a)
    seen = []
    for i, (_, y) in enumerate(a):
        seen += as_np(y).tolist()
        if i == 1:
            state = a.state_dict()
            break
    b.load_state_dict(state)
    assert b.state_dict() == state and state["batches"] == 2
    rest = order(b)
    assert sorted(seen + rest) == list(range(10))
    c = make(1)
    order(c)
    assert order(c) == seen + rest and order(c) == order(b)
    assert c.state_dict() == b.state_dict() and c.state_dict()["batches"] == 0


@pytest.mark.parametrize("size", [0, -1, 2.5, "4", True])
def test_loader_refuses_batch_size(size):
    with pytest.raises(data.BatchSizeError, match="batch_size: expected an integer >= 1, got"):
        data.DataLoader(pairs(), batch_size=size)


@pytest.mark.parametrize("kwargs", [
    {"shuffle": True, "sampler": [0]}, {"batch_sampler": [[0]], "batch_size": 2},
    {"batch_sampler": [[0]], "shuffle": True}, {"batch_size": None, "drop_last": True},
    {"prefetch": -1}, {"shuffle": True, "generator": 1, "seed": 1}])
def test_loader_refuses_arguments(kwargs):
    with pytest.raises(data.LoaderArgumentError):
        data.DataLoader(pairs(), **kwargs)


@pytest.mark.parametrize("shuffle", [False, True])
def test_loader_refuses_an_empty_data_set(shuffle):
    with pytest.raises(data.EmptyDatasetError, match="at least one sample"):
        data.DataLoader(pairs(0), shuffle=shuffle)


# Prefetching

class Failing(data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            raise KeyError("sample 5")
        return index


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_prefetch_raises_in_place(prefetch):
    got = []
    with pytest.raises(KeyError, match="sample 5"):
        for batch in data.DataLoader(Failing(), 2, prefetch=prefetch):
            got.append(as_np(batch).tolist())
    assert got == [[0, 1], [2, 3]]
    assert not prefetch_threads()


def test_prefetch_thread_ends_with_its_consumer():
    loader = data.DataLoader(pairs(1000), 1, prefetch=2)
    for _ in loader:
        assert len(prefetch_threads()) == 1
        break
    assert not prefetch_threads()
    with pytest.raises(RuntimeError, match="mine"):
        for _ in loader:
            raise RuntimeError("mine")
    assert not prefetch_threads()
    it = iter(loader)
    next(it)
    del it
    assert not prefetch_threads()
    assert len(list(loader)) == 1000 and not prefetch_threads()


def test_prefetch_works_ahead_but_bounded():
    made = []

    class Logged(data.Dataset):
        def __len__(self):
            return 50

        def __getitem__(self, index):
            made.append(index)
            return index
    it = iter(data.DataLoader(Logged(), 1, prefetch=3))
    next(it)
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) == 5  # one consumed, three waiting, one in hand
    it.close()


# IDX and text files

def idx(array, code=0x08, shape=None):
    shape = array.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + array.tobytes()


def write(path, content, packed):
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("code,dtype", [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"),
                                        (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_read_idx(tmp_path, packed, code, dtype):
    array = np.arange(-3, 9).astype(dtype).reshape(3, 2, 2)
    got = data.read_idx(write(tmp_path / "a", idx(array, code), packed))
    assert np.array_equal(got, array) and got.dtype.isnative and got.flags.writeable
    assert got.dtype == np.dtype(dtype).newbyteorder("=")


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
HOSTILE = {
    "empty": (b"", "empty file"),
    "magic": (b"\x89PNG" + GOOD[4:], "expected an IDX file"),
    "dtype code": (b"\0\0\x0a\x02" + GOOD[4:], "expected an IDX file"),
    "no dimensions": (b"\0\0\x08\0" + GOOD[4:], "dimensions, got 0"),
    "255 dimensions": (b"\0\0\x08\xff" + GOOD[4:], "dimensions, got 255"),
    "cut header": (GOOD[:9], "header ends"),
    "cut body": (GOOD[:-1], "truncated|expected 6 bytes of values"),
    "one byte more": (GOOD + b"\0", "got more"),
    "terabytes": (idx(np.zeros(9, np.uint8), 8, (2**32 - 1, 2**10)), "larger than max_bytes"),
    "overflow": (idx(np.zeros(9, np.uint8), 0x0E, (2**32 - 1,) * 8), "larger than max_bytes"),
    "zero times huge": (idx(np.zeros(0, np.uint8), 8, (0, 2**32 - 1, 2**32 - 1)), "max_bytes"),
    "0.9 GiB": (idx(np.zeros(9, np.uint8), 8, (900, 2**20)), "truncated or hostile"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_read_idx_refuses(tmp_path, case, packed):
    content, message = HOSTILE[case]
    with pytest.raises(data.DataFileError, match=message):
        data.read_idx(write(tmp_path / "a", content, packed))


def test_read_idx_allocates_what_is_there_not_what_is_claimed(tmp_path):
    import tracemalloc
    # Packed, 3 MB of noise make a claim of 900 MB plausible, though not true.
    noise = np.random.default_rng(0).integers(256, size=3_000_000).astype(np.uint8)
    content = idx(noise, 8, (900_000_000,))
    path = write(tmp_path / "a", content, True)
    claim = write(tmp_path / "b", idx(np.zeros(9, np.uint8), 8, (900, 2**20)), False)
    tracemalloc.start()
    with pytest.raises(data.DataFileError, match="expected 900000000 bytes.*got 3000000"):
        data.read_idx(path)
    with pytest.raises(data.DataFileError):
        data.read_idx(claim)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("damage", [
    lambda b: b[:-12], lambda b: b[:len(b) // 2], lambda b: b[:12] + b"\xff" * 8 + b[20:],
    lambda b: b[:-8] + b"\0\0\0\0" + b[-4:]])
def test_damaged_gzip(tmp_path, damage):
    path = tmp_path / "a"
    path.write_bytes(damage(gzip.compress(idx(np.random.default_rng(0).integers(
        256, size=1000).astype(np.uint8)))))
    for read in (data.read_idx, data.read_text):
        with pytest.raises(data.DataFileError):
            read(path)


def test_read_text(tmp_path):
    content = "ä\r\nb".encode()
    for packed in (False, True):
        path = write(tmp_path / "a", content, packed)
        digest = hashlib.sha256(content).hexdigest()
        assert data.read_text(path, sha256=digest) == "ä\r\nb"
        with pytest.raises(data.ChecksumError, match="expected content with SHA-256 000"):
            data.read_text(path, sha256="0" * 64)
        with pytest.raises(data.DataFileError, match="ascii"):
            data.read_text(path, encoding="ascii")
        with pytest.raises(data.DataFileError, match="max_bytes"):
            data.read_text(path, max_bytes=4)
    with pytest.raises(FileNotFoundError) as e:
        data.read_text(tmp_path / "none")
    assert isinstance(e.value, data.DataError) and "no such file" in str(e.value)


# Characters

def test_vocabulary():
    v = data.CharVocabulary("hello, wörld 😀")
    assert v.chars == "".join(sorted(set("hello, wörld 😀"))) and len(v) == 11
    ids = v.encode("wörld 😀")
    assert ids.dtype == np.int64 and v.decode(ids) == "wörld 😀"
    assert v.decode([]) == "" and v.encode("").shape == (0,)
    for bad in ("z", "helloA", "~"):
        with pytest.raises(data.VocabularyError, match="at position"):
            v.encode(bad)
    for bad in ([-1], [11], [0.5], [[1]]):
        with pytest.raises(data.VocabularyError, match="decode: expected"):
            v.decode(bad)


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_char_dataset(stride):
    tokens = np.arange(11, dtype=np.uint8)
    ds = data.CharDataset(tokens, 4, stride)
    starts = list(range(0, 11 - 4, stride))
    assert len(ds) == len(starts)
    for i, s in enumerate(starts):
        x, y = ds[i]
        assert x.tolist() == list(range(s, s + 4)) and y.tolist() == list(range(s + 1, s + 5))
        assert x.dtype == y.dtype == np.int64
    x, y = ds.gather(np.arange(len(ds)))
    assert np.array_equal(y, x + 1) and x[:, 0].tolist() == starts
    assert x.flags.c_contiguous and y.flags.c_contiguous


def test_char_dataset_refuses():
    with pytest.raises(data.EmptyDatasetError, match="block \\+ 1 = 5 tokens, got 4"):
        data.CharDataset(np.arange(4), 4)
    with pytest.raises(data.VocabularyError, match="encode first"):
        data.CharDataset(np.zeros(9), 4)
    with pytest.raises(data.LoaderArgumentError, match="block"):
        data.CharDataset(np.arange(9), 0)


# The data sets shipped

def check_split(d):
    both = np.concatenate([d.train_index, d.test_index])
    assert np.array_equal(np.sort(both), np.arange(len(d.x)))  # disjoint, and all of it
    for part, index in ((d.train, d.train_index), (d.test, d.test_index)):
        assert np.array_equal(part.tensors[0], d.x[index])
        assert np.array_equal(part.tensors[1], d.y[index])


def test_digits():
    d = data.digits()
    assert d.x.shape == (1797, 8, 8) and d.x.dtype == np.float32 and d.y.dtype == np.int64
    assert d.x.min() == 0 and d.x.max() == 1
    assert (d.x[0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and d.y[0] == 0
    assert np.bincount(d.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (len(d.train), len(d.test)) == (1442, 355)
    check_split(d)
    assert np.array_equal(np.bincount(d.test.tensors[1]), np.bincount(d.y) // 5)  # stratified


def test_autompg():
    d = data.autompg()
    assert d.x.shape == (392, 7) and d.y.shape == (392, 1)
    assert d.x.dtype == d.y.dtype == np.float32
    assert d.names == ("cylinders", "displacement", "horsepower", "weight", "acceleration",
                       "model_year", "origin")
    assert (len(d.train), len(d.test)) == (314, 78)
    check_split(d)
    assert np.isfinite(d.x).all() and d.y[0, 0] == 18
    raw = d.x * d.std + d.mean
    np.testing.assert_allclose(raw[0], [8, 307, 130, 3504, 12, 70, 1], rtol=1e-5)
    np.testing.assert_allclose(d.train.tensors[0].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(d.train.tensors[0].std(axis=0), 1, atol=1e-5)
    assert abs(d.test.tensors[0].mean(axis=0)).max() > 1e-3  # by the training rows only


def test_text():
    d = data.text(block=32)
    assert len(d.text) == 1_058_495 and len(d.vocabulary) == 80
    assert d.text.startswith("HAMLET, PRINCE OF DENMARK\n") and d.text.endswith("[Exeunt.]\n")
    assert d.vocabulary.decode(d.tokens[:6]) == "HAMLET"
    assert len(d.train.tokens) == 952_645 and d.validation is d.test
    assert np.array_equal(np.concatenate([d.train.tokens, d.test.tokens]), d.tokens)
    x, y = next(iter(data.DataLoader(d.train, 8, shuffle=True, seed=0)))
    x, y = as_np(x), as_np(y)
    assert x.shape == y.shape == (8, 32) and np.array_equal(x[:, 1:], y[:, :-1])
    assert "ROMEO" in d.text and d.vocabulary.decode(x[0]) in d.text


@pytest.mark.parametrize("name,load", [
    ("digits-images-idx3-ubyte.gz", data.digits), ("digits-labels-idx1-ubyte.gz", data.digits),
    ("autompg.csv.gz", data.autompg), ("shakespeare.txt.gz", data.text)])
def test_a_tampered_file_is_refused(tmp_path, monkeypatch, name, load):
    for f in sets.FILES.glob("*.gz"):
        (tmp_path / f.name).write_bytes(f.read_bytes())
    content = bytearray(gzip.decompress((sets.FILES / name).read_bytes()))
    content[-2] ^= 1
    (tmp_path / name).write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setattr(sets, "FILES", tmp_path)
    with pytest.raises(data.ChecksumError, match=name):
        load()


def test_shipped_files_are_attributed():
    licences = (sets.FILES / "LICENCES.md").read_text(encoding="utf-8")
    assert set(sets.SHA256) == {f.name for f in sets.FILES.glob("*.gz")}
    for name, digest in sets.SHA256.items():
        assert name in licences and digest in licences


# Fashion-MNIST: the reader on small stand-ins, and on the real files where they are installed

def test_fashion_mnist_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "FASHION_MNIST_ROOT", str(tmp_path / "system"))
    monkeypatch.setenv("AUTODIFF_DATA", str(tmp_path / "env"))
    with pytest.raises(data.DataNotFoundError, match="dataset-fashion-mnist") as e:
        data.fashion_mnist()
    for place in ("env", "env/fashion-mnist", "system"):
        assert str(tmp_path / place) in str(e.value)
    with pytest.raises(data.DataNotFoundError) as e:
        data.fashion_mnist(tmp_path / "mine")
    assert "system" not in str(e.value)


def test_fashion_mnist_of_the_wrong_size(tmp_path, monkeypatch):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    write(folder / "train-images-idx3-ubyte", idx(np.zeros((2, 28, 28), np.uint8)), False)
    write(folder / "train-labels-idx1-ubyte.gz", idx(np.zeros(2, np.uint8)), True)
    monkeypatch.setenv("AUTODIFF_DATA", str(tmp_path))
    with pytest.raises(data.DataFileError, match="expected 60000 images"):
        data.fashion_mnist()


def test_fashion_mnist_itself():
    root = Path(os.environ.get("AUTODIFF_DATA") or sets.FASHION_MNIST_ROOT)
    if not any(root.rglob("train-images-idx3-ubyte*")):
        pytest.skip("dataset-fashion-mnist is not installed")
    d = data.fashion_mnist()
    assert d.x.shape == (70000, 28, 28) and d.x.dtype == np.float32 and d.y.dtype == np.int64
    assert (len(d.train), len(d.test)) == (60000, 10000)
    assert d.x.min() == 0 and d.x.max() == 1 and np.bincount(d.y).tolist() == [7000] * 10
    assert d.y[:5].tolist() == [9, 0, 0, 3, 0] and d.names[9] == "Ankle boot"
    assert np.shares_memory(d.x, d.train.tensors[0]) and np.shares_memory(d.x, d.test.tensors[0])
    assert np.isclose(d.train.tensors[0].mean(dtype=np.float64), 0.2860, atol=1e-4)
