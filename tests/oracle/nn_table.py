"""What the comparison of nn with PyTorch runs: each layer, loss and function with its inputs.

LAYERS, LOSSES and FUNCTIONS go from a name to its cases.  Invariant: every public name of nn that
computes something has a case here; test_nn_torch.py fails where one has none.

A case is (arguments, keywords, inputs): an input is a shape, filled with normal numbers, or an
array, or Fixed(array) where it gets no gradient; functions take the inputs first.  A function in
place of the arguments builds the module from a library, torch.nn or nn.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from .torch_gpt import gpt


class Fixed(NamedTuple):
    """An input without a gradient."""
    value: np.ndarray


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def probabilities(*shape, seed=0):
    e = np.exp(normal(*shape, seed=seed))
    return e / e.sum(1, keepdims=True)


X = (3, 4)
IDS = np.array([[1, 2, 0], [5, 1, 5]])


def sequential(lib):
    inner = lib.Sequential(lib.Tanh(), lib.Linear(5, 2))
    return lib.Sequential(OrderedDict(a=lib.Linear(4, 5), b=inner))


def holder(make):
    """A module around a container that is not called itself."""
    def build(lib):
        class Holder(lib.Module):
            def __init__(self):
                super().__init__()
                self.parts = make(lib)

            def forward(self, x):
                return use(self.parts, x)
        return Holder()

    def use(parts, x):
        if hasattr(parts, "items"):
            return parts["a"](x) + parts["b"](x)
        for part in parts:
            x = part(x) if callable(part) else x * part
        return x
    return build


def parameters(lib):
    one = lib.Linear(4, 1).weight           # a parameter of either library
    return lib.ParameterList([one, lib.Linear(1, 4).bias])


def checkpointed(lib):
    model = lib.Sequential(lib.Linear(4, 8), lib.GELU(), lib.Linear(8, 8), lib.Tanh())
    return lib.Checkpointed(model, every=1) if hasattr(lib, "Checkpointed") else model


def encoder(**options):
    return lambda lib: lib.TransformerEncoder(
        lib.TransformerEncoderLayer(8, 2, 16, 0.0, **options), 2, lib.LayerNorm(8))


def decoder(**options):
    return lambda lib: lib.TransformerDecoder(
        lib.TransformerDecoderLayer(8, 2, 16, 0.0, **options), 2)


BLOCKS = [{}, {"batch_first": True, "norm_first": True, "activation": "gelu"}, {"bias": False}]
LAYERS = {
    "Linear": [((3, 4), {}, [(2, 5, 3)]), ((3, 4), {"bias": False}, [(3,)])],
    "Identity": [((7,), {"anything": 1}, [X])],
    "Conv1d": [((4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [(2, 4, 9)]),
               ((4, 4, 5), {"padding": "same", "dilation": 2, "bias": False}, [(4, 9)]),
               ((4, 6, 3), {"padding": 2, "padding_mode": "circular"}, [(2, 4, 9)])],
    "Conv2d": [((4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [(2, 4, 7, 6)]),
               ((2, 3, (3, 1)), {"padding": "same", "dilation": 2, "bias": False}, [(2, 2, 6, 5)]),
               ((4, 8, 3), {"groups": 4, "padding": 1}, [(2, 4, 5, 6)]),        # depthwise
               ((4, 4, (3, 5)), {"groups": 4, "stride": 2, "dilation": (2, 1)}, [(2, 4, 9, 8)]),
               ((2, 3, 3), {"padding": "valid"}, [(2, 5, 6)]),
               ((2, 3, 3), {"padding": (1, 2), "padding_mode": "reflect"}, [(2, 2, 5, 6)]),
               ((2, 3, 3), {"padding": "same", "padding_mode": "replicate"}, [(2, 5, 6)])],
    "ConvTranspose2d": [
        ((4, 6, 3), {}, [(2, 4, 5, 4)]),
        ((4, 6, (3, 2)), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2,
                          "bias": False}, [(2, 4, 5, 4)]),
        ((4, 4, 3), {"dilation": 2, "groups": 4}, [(4, 5, 4)])],
    "ConvTranspose1d": [((4, 6, 4), {"stride": 2, "padding": 1, "output_padding": 1},
                         [(2, 4, 5)])],
    "MaxPool1d": [((3,), {"stride": 2, "padding": 1, "ceil_mode": True}, [(2, 3, 8)]),
                  ((2,), {"dilation": 2}, [(3, 8)])],
    "MaxPool2d": [((3,), {"stride": 2, "padding": 1, "ceil_mode": True}, [(2, 3, 8, 7)]),
                  (((2, 3),), {"stride": 1, "dilation": (2, 1)}, [(2, 3, 8, 7)])],
    "AvgPool1d": [((3,), {"stride": 2, "padding": 1, "ceil_mode": True}, [(2, 3, 8)]),
                  ((3,), {"padding": 1, "count_include_pad": False}, [(3, 8)])],
    "AvgPool2d": [((3,), {"stride": 2, "padding": 1, "count_include_pad": False}, [(2, 3, 8, 7)]),
                  ((3,), {"stride": 2, "padding": 1, "divisor_override": 5}, [(2, 3, 8, 7)])],
    "AdaptiveAvgPool1d": [((4,), {}, [(2, 3, 8)]), ((3,), {}, [(3, 8)])],
    "AdaptiveAvgPool2d": [((1,), {}, [(2, 3, 8, 7)]), (((3, 5),), {}, [(2, 3, 8, 7)]),
                          (((None, 9),), {}, [(3, 8, 7)])],
    "AdaptiveMaxPool1d": [((3,), {}, [(2, 3, 8)]), ((4,), {}, [(3, 8)])],
    "AdaptiveMaxPool2d": [(((3, 7),), {}, [(2, 3, 8, 7)]), ((1,), {}, [(3, 8, 7)])],
    "BatchNorm1d": [((3,), {}, [(5, 3)]), ((3,), {}, [(5, 3, 4)]),
                    ((3,), {"momentum": None, "affine": False}, [(5, 3)])],
    "BatchNorm2d": [((3,), {}, [(4, 3, 2, 2)]),
                    ((3,), {"momentum": None, "affine": False}, [(4, 3, 2, 2)]),
                    ((3,), {"bias": False, "track_running_stats": False}, [(4, 3, 2, 2)])],
    "LayerNorm": [(((3, 4),), {}, [(2, 3, 4)]), ((4,), {"bias": False}, [(2, 3, 4)]),
                  ((4,), {"elementwise_affine": False}, [(2, 3, 4)])],
    "GroupNorm": [((2, 6), {}, [(3, 6, 4, 2)]), ((3, 6), {}, [(3, 6)]),
                  ((6, 6), {"affine": False, "eps": 1e-3}, [(3, 6, 5)])],
    "RMSNorm": [((4,), {}, [(2, 3, 4)]), (((3, 4),), {"eps": 1e-3}, [(2, 3, 4)]),
                ((4,), {"elementwise_affine": False}, [(2, 3, 4)])],
    "Embedding": [((6, 3), {}, [IDS]), ((6, 3), {"padding_idx": 2}, [IDS]),
                  ((6, 3, -1), {}, [np.array(5)])],
    "Dropout": [((0.0,), {"inplace": True}, [X])],              # random masks: tests/nn
    "RNN": [((3, 4), {"nonlinearity": "relu"}, [(5, 2, 3)])],   # options: test_recurrent
    "LSTM": [((3, 4), {}, [(5, 2, 3)])],
    "GRU": [((3, 4), {}, [(5, 2, 3)])],
    "RNNCell": [((3, 4), {}, [(2, 3)]), ((3, 4), {"nonlinearity": "relu", "bias": False}, [(3,)])],
    "LSTMCell": [((3, 4), {}, [(2, 3)]), ((3, 4), {"bias": False}, [(3,)])],
    "GRUCell": [((3, 4), {}, [(2, 3)]), ((3, 4), {"bias": False}, [(3,)])],
    "MultiheadAttention": [                                     # masks: test_attention
        ((8, 2), {}, [(4, 3, 8)] * 3), ((8, 2), {"batch_first": True, "bias": False}, [(4, 8)] * 3),
        ((8, 2), {"kdim": 5, "vdim": 6}, [(4, 3, 8), (7, 3, 5), (7, 3, 6)])],
    "TransformerEncoderLayer": [((8, 2, 16, 0.0), o, [(3, 5, 8)]) for o in BLOCKS],
    "TransformerDecoderLayer": [((8, 2, 16, 0.0), o, [(3, 5, 8), (3, 5, 8)]) for o in BLOCKS],
    "TransformerEncoder": [(encoder(**o), {}, [(3, 5, 8)]) for o in BLOCKS],
    "TransformerDecoder": [(decoder(**o), {}, [(3, 5, 8), (3, 5, 8)]) for o in BLOCKS],
    "ReLU": [((), {}, [X])],
    "LeakyReLU": [((0.2,), {}, [X]), ((), {"inplace": False}, [X])],
    "PReLU": [((), {}, [(3, 4, 2)]), ((4,), {"init": 0.5}, [(3, 4, 2)]), ((4,), {}, [X])],
    "ELU": [((), {}, [X]), ((0.5,), {}, [X])],
    "GELU": [((), {}, [X]), (("tanh",), {}, [X])],
    "SiLU": [((), {}, [X])],
    "Softplus": [((), {}, [X]), ((3.0, 1.5), {}, [(30, 4)])],
    "Hardswish": [((), {}, [(30, 4)])],
    "Tanh": [((), {}, [X])],
    "Sigmoid": [((), {}, [X])],
    "Softmax": [((1,), {}, [X]), ((), {"dim": 0}, [(2, 3, 4)])],
    "LogSoftmax": [((0,), {}, [X]), ((), {"dim": -2}, [(2, 3, 4)])],
    "GLU": [((), {}, [X]), ((1,), {}, [(3, 4, 5)])],
    "Sequential": [(sequential, {}, [X])],
    "ModuleList": [(holder(lambda lib: lib.ModuleList([lib.Linear(4, 4), lib.Tanh()])), {}, [X])],
    "ModuleDict": [(holder(lambda lib: lib.ModuleDict({"b": lib.Linear(4, 2),
                                                       "a": lib.Linear(4, 2)})), {}, [X])],
    "ParameterList": [(holder(parameters), {}, [X])],
    "Flatten": [((), {}, [(2, 3, 4)]), ((0, -2), {}, [(2, 3, 4)])],
    "Unflatten": [((1, (2, -1)), {}, [(3, 4, 2)])],
    "Upsample": [((), {"scale_factor": 2}, [(2, 3, 4, 5)]),
                 ((), {"scale_factor": (2.0, 1.5)}, [(2, 3, 4, 5)]),
                 ((), {"size": (7, 3)}, [(2, 3, 4, 5)]), ((), {"size": 12}, [(2, 3, 4)])],
    "ZeroPad1d": [((2,), {}, [(2, 3, 4)])],
    "ZeroPad2d": [(((1, 2, 0, 3),), {}, [(2, 3, 4, 5)]), (((-1, 2, 1, -2),), {}, [(3, 4, 5)])],
    "ConstantPad1d": [((1, 3.5), {}, [(2, 3, 4)])],
    "ConstantPad2d": [(((1, -1, 2, 0), -1.0), {}, [(2, 3, 4, 5)])],
    "ReflectionPad1d": [((2,), {}, [(2, 3, 4)])],
    "ReflectionPad2d": [(((1, 2, 3, 0),), {}, [(2, 3, 4, 5)])],
    "ReplicationPad1d": [(((3, 1),), {}, [(3, 4)])],
    "ReplicationPad2d": [((2,), {}, [(2, 3, 4, 5)])],
    # Without a counterpart of the name: against the same network written out.
    "GPT": [(gpt, {}, [IDS])],
    "Checkpointed": [(checkpointed, {}, [X])],
}

LABELS = np.array([0, 3, 1, -100, 2])
INSIDE = np.array([0, 3, 1, 2, 2])
WEIGHT = np.array([0.5, 1.0, 2.0, 0.1])
SIGNS = np.where(normal(5, 4, seed=3) > 0, 1.0, -1.0)
TRUTH = (SIGNS > 0) * 1.0
A, B, P, Q = normal(5, 4), normal(5, 4, seed=1), probabilities(5, 4), probabilities(5, 4, seed=1)
# (keywords, inputs), each with all reductions; the arrays among the keywords are weights.
LOSSES = {
    "MSELoss": [({}, [A, B])],
    "L1Loss": [({}, [A, B])],
    "SmoothL1Loss": [({}, [A * 2, B]), ({"beta": 0.3}, [A, B]), ({"beta": 0.0}, [A, B])],
    "HuberLoss": [({}, [A * 2, B]), ({"delta": 0.3}, [A[:, 0], B[:, 0]])],
    "CrossEntropyLoss": [
        ({}, [A, LABELS]), ({"label_smoothing": 0.1}, [A, LABELS]),
        ({"ignore_index": 1}, [A, INSIDE]), ({}, [normal(4), np.array(2)]),
        ({"weight": WEIGHT, "label_smoothing": 0.1}, [A, LABELS]), ({}, [A, P]),
        ({"label_smoothing": 0.2, "weight": WEIGHT}, [A, P]),
        ({"weight": WEIGHT}, [normal(2, 4, 3), probabilities(2, 4, 3)])],
    "NLLLoss": [({}, [A, LABELS]), ({"weight": WEIGHT}, [A, LABELS]),
                ({"ignore_index": 1}, [normal(2, 4, 3), np.array([[0, 1, 2], [3, 1, 1]])]),
                ({}, [normal(4), np.array(2)])],
    "BCELoss": [({}, [P, Q]), ({"weight": WEIGHT}, [P, TRUTH])],
    "BCEWithLogitsLoss": [({}, [A * 10, TRUTH]), ({}, [np.zeros((5, 4)), P]),
                          ({"pos_weight": WEIGHT, "weight": WEIGHT[::-1].copy()}, [A, P])],
    "KLDivLoss": [({}, [A, P]), ({"log_target": True}, [A, B])],
    "GaussianNLLLoss": [({}, [A, B, P]), ({"full": True}, [A, B, P[:, 0]]),
                        ({"eps": 0.2}, [A, B, P])],
    "HingeEmbeddingLoss": [({}, [A * 2, Fixed(SIGNS)]), ({"margin": 0.5}, [A, Fixed(SIGNS)])],
    "MultiMarginLoss": [({}, [A, INSIDE]), ({}, [normal(4), np.array(1)]),
                        ({"p": 2, "margin": 0.5, "weight": WEIGHT}, [A, INSIDE])],
}

IMAGE, SEQUENCE = (2, 4, 7, 6), (2, 4, 9)
FUNCTIONS = {
    "adaptive_avg_pool1d": [((3,), {}, [SEQUENCE])],
    "adaptive_avg_pool2d": [(((3, 2),), {}, [IMAGE])],
    "adaptive_max_pool1d": [((3,), {}, [SEQUENCE])],
    "adaptive_max_pool2d": [(((3, 2),), {}, [IMAGE])],
    "avg_pool1d": [((2,), {"padding": 1}, [SEQUENCE])],
    "avg_pool2d": [((3, 2, 1, True, False), {}, [IMAGE])],
    "max_pool1d": [((2,), {"ceil_mode": True}, [SEQUENCE])],
    "max_pool2d": [((3, 2, 1), {}, [IMAGE])],
    "batch_norm": [((None, None), {"training": True}, [IMAGE])],
    "layer_norm": [(((6,),), {}, [IMAGE])],
    "group_norm": [((2,), {}, [IMAGE])],
    "rms_norm": [(((7, 6),), {}, [IMAGE])],
    "normalize": [((), {"p": p}, [X]) for p in (2.0, 1.0, 3.0)],
    "dropout": [((), {"p": 0.0}, [X]), ((0.5, False), {}, [X])],
    "conv1d": [((), {"padding": 1, "groups": 2}, [SEQUENCE, (6, 2, 3), (6,)])],
    "conv2d": [((), {"padding": "same"}, [IMAGE, (3, 4, 3, 5), (3,)])],
    "conv_transpose1d": [((), {"stride": 2, "padding": 1}, [SEQUENCE, (4, 3, 3), (3,)])],
    "conv_transpose2d": [((None, 2, 1, 1, 2), {}, [IMAGE, (4, 3, 3, 3)])],
    "linear": [((), {}, [X, (5, 4), (5,)])],
    "embedding": [((), {}, [IDS, (6, 3)])],
    "one_hot": [((), {}, [IDS]), ((), {"num_classes": 9}, [IDS])],
    "pad": [(((1, 2, 0, 3),), {"mode": m}, [IMAGE]) for m in ("reflect", "replicate", "circular")]
    + [(((1, -1), "constant", 2.5), {}, [IMAGE]), (((-1, 2), "circular"), {}, [SEQUENCE])],
    "interpolate": [((), {"scale_factor": 3, "mode": "nearest"}, [IMAGE]),
                    (((9, 4),), {}, [IMAGE])],
    "scaled_dot_product_attention": [
        ((), {}, [(2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7)]),
        ((), {"is_causal": True, "scale": 0.3}, [(3, 5, 4)] * 3)],
    "flatten": [((1, 2), {}, [IMAGE])], "unflatten": [((1, (2, 2)), {}, [IMAGE])],
    "softmax": [((-1,), {}, [X])], "log_softmax": [((), {"dim": 0}, [X])],
    "glu": [((), {}, [X])], "elu": [((0.7,), {}, [X])], "gelu": [((), {}, [X])],
    "hardswish": [((), {}, [X])], "leaky_relu": [((0.1,), {}, [X])], "relu": [((), {}, [X])],
    "sigmoid": [((), {}, [X])], "silu": [((), {}, [X])], "tanh": [((), {}, [X])],
    "softplus": [((2.0,), {}, [X])], "prelu": [((), {}, [X, (4,)])],
    "mse_loss": [((), {}, [A, B])], "l1_loss": [((), {}, [A, B])],
    "smooth_l1_loss": [((), {"beta": 0.5}, [A, B])],
    "huber_loss": [((), {"delta": 0.5}, [A, B]), (("none", 2.0), {}, [A, B])],
    "kl_div": [((), {"reduction": "batchmean"}, [A, P])],
    "binary_cross_entropy": [((), {}, [P, Q])],
    "binary_cross_entropy_with_logits": [((), {}, [A, Q])],
    "gaussian_nll_loss": [((), {"full": True}, [A, B, P])],
    "cross_entropy": [((), {"label_smoothing": 0.1}, [A, LABELS])],
    "nll_loss": [((), {}, [A, LABELS])],
    "multi_margin_loss": [((), {}, [A, INSIDE])],
    "hinge_embedding_loss": [((0.5,), {}, [A, Fixed(SIGNS)])],
}
