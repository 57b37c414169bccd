"""Small real data sets: digits, text and autompg are shipped; fashion_mnist is read where it lies.

Shipped files carry a pinned SHA-256, checked at every load, and every split is a fixed rule on the
order of the file, without randomness: the same numbers everywhere. Attribution: files/LICENCES.md.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .characters import CharDataset, CharVocabulary
from .dataset import TensorDataset
from .errors import DataFileError, DataNotFoundError
from .files import read_idx, read_text

FILES = Path(__file__).parent / "files"
FASHION_MNIST_ROOT = "/usr/share/datasets/fashion-mnist"
SHA256 = {  # of the uncompressed content
    "digits-images-idx3-ubyte.gz":
        "359cd13f0f514122884198b78a131df597421cbf5e93a76678fa96fc548f0d96",
    "digits-labels-idx1-ubyte.gz":
        "ce71631c1f31ce56fa54f31d1d498fafacff59b001e6c30c4a5e29508aa277ad",
    "shakespeare.txt.gz":
        "de9ac836ac1f4dc8f85e7ddf3a0f0aeb65418d04bb6db595bb01c62bcfecb558",
    "autompg.csv.gz":
        "9d1d0b584a874d63f91edacc7ae61df0a6f4e37fd60fd25f3fe17eb1e459b043",
}


@dataclass(frozen=True, eq=False, repr=False)
class LabelledData:
    """A data set of inputs `x` and targets `y` with its fixed split.

    `train` and `test` are TensorDatasets of (x, y) at `train_index` and `test_index`. `names` are
    the classes, or for a table the features, whose training `mean` and `std` standardised x.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    train_index: np.ndarray
    test_index: np.ndarray
    train: TensorDataset
    test: TensorDataset
    names: tuple
    mean: np.ndarray = None
    std: np.ndarray = None

    def __repr__(self):
        return (f"<{self.name}: x {self.x.dtype}{list(self.x.shape)}, y {self.y.dtype}"
                f"{list(self.y.shape)}, {len(self.train)} train, {len(self.test)} test>")


@dataclass(frozen=True, eq=False, repr=False)
class TextData:
    """A text as characters: `tokens` (int64) of the whole, and windows of both parts.

    `train` and `test` (or `validation`) are CharDatasets of the first 90 % and of the rest.
    """

    name: str
    text: str
    vocabulary: CharVocabulary
    tokens: np.ndarray
    train: CharDataset
    test: CharDataset

    @property
    def validation(self):
        """`test` by its other name."""
        return self.test

    def __repr__(self):
        return (f"<{self.name}: {len(self.tokens)} characters, {len(self.vocabulary)} distinct, "
                f"{len(self.train.tokens)} train, {len(self.test.tokens)} test>")


def digits():
    """UCI handwritten digits: x float32 (1797, 8, 8) in [0, 1] (16 levels), y int64 (1797,), 0-9.

    Split: of each class, in file order, every fifth image is for the test: 1442 train, 355 test.
    The 13 writers occur on both sides. Source: Alpaydin & Kaynak 1998, doi:10.24432/C50P49.
    """
    images = _shipped("digits-images-idx3-ubyte.gz", read_idx)
    y = _shipped("digits-labels-idx1-ubyte.gz", read_idx).astype(np.int64)
    test = np.zeros(len(y), dtype=bool)
    for c in range(10):
        test[np.flatnonzero(y == c)[4::5]] = True
    return _labelled("digits", images / np.float32(16), y, test, map(str, range(10)))


def autompg():
    """Auto MPG, a regression table of 392 cars: x float32 (392, 7), y float32 (392, 1), mpg.

    Features (`names`) are standardised by the mean and standard deviation of the training rows; the
    car's name is left out. Split: in file order, which is by model year, every fifth row is for the
    test: 314 train, 78 test. Source: Quinlan 1993, doi:10.24432/C5859H.
    """
    header, *lines = _shipped("autompg.csv.gz", read_text).splitlines()
    rows = [line.split(",") for line in lines]
    table = np.array([row[:7] + row[8:] for row in rows], dtype=np.float64)
    raw, y = table[:, :7], table[:, 7:].astype(np.float32)
    test = np.arange(len(y)) % 5 == 4
    mean, std = raw[~test].mean(axis=0), raw[~test].std(axis=0)
    x = ((raw - mean) / std).astype(np.float32)
    return _labelled("autompg", x, y, test, header.split(",")[:7], mean=mean, std=std)


def text(block=64, stride=1):
    """Eight plays of Shakespeare, 1,058,495 characters, 80 distinct, as windows of `block` tokens.

    Hamlet, Julius Caesar, Lear, Macbeth, The Merchant of Venice, A Midsummer Night's Dream,
    Othello, Romeo and Juliet, modern spelling. Split: the first 90 % of the characters are for
    training; the rest, most of Romeo and Juliet, for validation, so that its names are new to the
    model.
    """
    content = _shipped("shakespeare.txt.gz", read_text)
    vocabulary = CharVocabulary(content)
    tokens = vocabulary.encode(content)
    cut = len(tokens) * 9 // 10
    return TextData("text", content, vocabulary, tokens,
                    CharDataset(tokens[:cut], block, stride),
                    CharDataset(tokens[cut:], block, stride))


def fashion_mnist(root=None):
    """Fashion-MNIST: x float32 (70000, 28, 28) in [0, 1], y int64 (70000,); its own split, 60,000 +
    10,000. 220 MB in memory.

    Read from `root`, or else from $AUTODIFF_DATA (or its folder fashion-mnist), or else from where
    Debian installs it; the four IDX files, gzipped or not. Source: Xiao et al., arXiv:1708.07747.

    Raises DataNotFoundError, which says what to install, and DataFileError.
    """
    folder = _fashion_mnist_folder(root)
    parts = {"train": 60000, "t10k": 10000}
    x = np.empty((70000, 28, 28), dtype=np.float32)
    y = np.empty(70000, dtype=np.int64)
    start = 0
    for part, count in parts.items():
        images = read_idx(_idx_path(folder, f"{part}-images-idx3-ubyte"))
        labels = read_idx(_idx_path(folder, f"{part}-labels-idx1-ubyte"))
        if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
            raise DataFileError(
                f"{folder}: expected {count} images of 28 x 28 with labels 0-9 in {part}-*, got "
                f"{images.shape} and {labels.shape}, labels up to {labels.max(initial=0)}")
        here = slice(start, start + count)
        np.divide(images, np.float32(255), out=x[here])
        y[here] = labels
        start += count
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
             "Bag", "Ankle boot")
    cut = parts["train"]  # views, not copies by index as in `_labelled`: 220 MB once
    return LabelledData("fashion_mnist", x, y, np.arange(cut), np.arange(cut, len(y)),
                        TensorDataset(x[:cut], y[:cut]), TensorDataset(x[cut:], y[cut:]), names)


def _labelled(name, x, y, test, names, **statistics):
    train_index, test_index = np.flatnonzero(~test), np.flatnonzero(test)
    return LabelledData(name, x, y, train_index, test_index,
                        TensorDataset(x[train_index], y[train_index]),
                        TensorDataset(x[test_index], y[test_index]), tuple(names), **statistics)


def _shipped(name, read):
    return read(FILES / name, sha256=SHA256[name])


def _fashion_mnist_folder(root):
    if root is not None:
        places = [Path(root)]
    else:
        env = os.environ.get("AUTODIFF_DATA")
        places = [Path(env), Path(env) / "fashion-mnist"] if env else []
        places.append(Path(FASHION_MNIST_ROOT))
    for place in places:
        if _idx_path(place, "train-images-idx3-ubyte").is_file():
            return place
    raise DataNotFoundError(
        "fashion_mnist: no train-images-idx3-ubyte[.gz] in " + ", ".join(map(str, places)) +
        "; install the Debian package dataset-fashion-mnist (apt-get install "
        "dataset-fashion-mnist), or give the folder of the four IDX files as root= or in the "
        "environment variable AUTODIFF_DATA")


def _idx_path(folder, name):
    """The gzipped file where there is one, the plain one otherwise."""
    packed = folder / (name + ".gz")
    return packed if packed.is_file() else folder / name
