"""Where mathematics leaves a choice: ties, zeros, infinities, NaN, ignored labels, masked rows.

The choice is PyTorch's unless DIFFERENT says otherwise. Invariant: every difference that is known
stands there with its reason, and a difference that is gone must be taken out.
"""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import autodiff as ad  # noqa: E402
import nn  # noqa: E402
from autodiff.op import registry  # noqa: E402

from .torch_table import ORACLE  # noqa: E402

F = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
nan, inf = np.nan, np.inf


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def run(ours, theirs, *arrays, tol=1e-12):
    """Outputs and gradients (of the sum of outputs times 1, 2, 3, ...) of both, side by side."""
    found = []
    for f, wrap in ((ours, ad.tensor), (theirs, torch.tensor)):
        xs = [wrap(a) for a in arrays]
        wrt = [x for x, a in zip(xs, arrays, strict=True) if a.dtype.kind == "f"]
        for x in wrt:
            x.requires_grad = True
        y = f(*xs)
        weights = 1.0 + np.arange(int(np.prod(tuple(y.shape)))).reshape(tuple(y.shape)) % 7
        y.backward(wrap(weights.astype(arrays[0].dtype)))
        found.append([y.detach().numpy(), *(np.zeros(tuple(x.shape)) if x.grad is None
                                            else x.grad.numpy() for x in wrt)])
    return found


def agree(ours, theirs, *arrays, tol=1e-12):
    got, want = run(ours, theirs, *arrays)
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=f"gradient of input {k - 1}"
                                   if k else "value")


# ---- elementwise operations where floats end

POINTS = np.array([nan, inf, -inf, 0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 1.5, 2.5, -2.5, 3, 1e-8,
                   -1e-8, 1e-200, -1e-200, 1e200, 30, -30, 800, -800])
ATTRS = {"clip": (-1.0, 2.0), "gelu": ("none",)}
INNER = {"pow_slope", "relu_backward", "tanh_backward", "sigmoid_backward", "silu_backward",
         "gelu_backward", "clip_backward"}
ELEMENTWISE = [b for b in registry.values() if b.elementwise and len(b.inputs) < 3
               and b.name in ORACLE and b.name not in INNER]

DIFFERENT = {
    "sign": "NaN stays NaN, as in NumPy",
    "abs": "the derivative at NaN is NaN",
    "relu": "no gradient flows through NaN",
    "maximum": "no gradient flows through NaN", "minimum": "no gradient flows through NaN",
    "gelu": "the limits at infinity, where PyTorch has inf * 0 = NaN; no underflow at -30",
    "remainder": "exact where x / y overflows",
}


def differs(a, b, tiny):
    """Where a and b differ in value, in the sign of zero, or as NaN."""
    if a.dtype.kind != "f":
        return a != b
    with np.errstate(all="ignore"):
        equal = (a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)
        return ~(equal | (np.abs(a - b) <= 1e-12 * np.abs(b)) & (np.abs(b) > tiny))


@pytest.mark.parametrize("block", ELEMENTWISE, ids=lambda b: b.name)
def test_special_values(block):
    """Values with the sign of zeros, and gradients, at and between all special points."""
    arrays = [POINTS]
    if len(block.inputs) == 2:
        arrays = [np.repeat(POINTS, len(POINTS)), np.tile(POINTS, len(POINTS))]
    attrs = ATTRS.get(block.name, ())

    def ours(*xs):
        if block.into:
            xs = (registry["copy"].call(xs[0]), *xs[1:])
        return block.call(*xs, *attrs)
    if block.differentiable and block.name != "astype":
        got, want = run(ours, lambda *xs: ORACLE[block.name](*xs, *attrs), *arrays)
    elif block.name != "astype":
        got = [ours(*map(ad.tensor, arrays)).numpy()]
        want = [ORACLE[block.name](*map(torch.tensor, arrays)).numpy()]
    else:
        return
    wrong = []
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        bad = differs(g, w, 0.0) & ~((g == 0) & (w == 0) & (k > 0))
        wrong += [f"{'gradient ' * (k > 0)}{k} at {[float(a[i]) for a in arrays]}: {g[i]}, "
                  f"in PyTorch {w[i]}" for i in np.flatnonzero(bad)]
    if block.name in DIFFERENT:
        assert wrong, f"{block.name} no longer differs from PyTorch: take it out of DIFFERENT"
    else:
        assert not wrong, "\n".join(wrong[:12])


# ---- ties and bounds

@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("axis", [None, 1])
def test_ties_of_extremes_share_the_gradient(name, axis):
    x = np.array([[1.0, 3, 3, 1], [2, 2, 2, 2], [-inf, -inf, 0, 1]])
    agree(lambda x: getattr(ad, name)(x, axis),
          lambda x: getattr(torch, f"a{name}")(x, () if axis is None else axis), x)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremes_of_nan(name):
    x = np.array([[1.0, nan, 3], [nan, nan, 0], [inf, -inf, 1]])
    want = ORACLE[name](torch.tensor(x), 1, False).numpy()
    np.testing.assert_array_equal(getattr(ad, name)(ad.tensor(x), 1).numpy(), want)


def test_first_of_ties_has_the_index():
    x = np.array([[1.0, 3, 3], [0, 0, 0], [2, 1, 1]])
    for name in ("argmax", "argmin"):
        np.testing.assert_array_equal(getattr(ad, name)(ad.tensor(x), 1).numpy(),
                                      getattr(torch, name)(torch.tensor(x), 1).numpy())


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 1.0), (-1.0, None), (1.0, -1.0), (0, 0)])
def test_clip_passes_the_gradient_at_its_bounds(bounds):
    x = np.array([-2.0, -1, 0, 1, 2, inf, -inf, nan])
    agree(lambda x: ad.clip(x, *bounds), lambda x: torch.clamp(x, *bounds), x)


def test_where_keeps_the_other_branch_out():
    """The gradient of the branch not taken is 0 times NaN in both: the user's to avoid."""
    x = np.array([-1.0, 0, 4])
    agree(lambda x: ad.where(x > 0, ad.sqrt(x), 0.0),
          lambda x: torch.where(x > 0, torch.sqrt(x), 0.0), x)


# ---- powers

POWERS = [0.0, 0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5]


@pytest.mark.parametrize("y", POWERS, ids=repr)
def test_power_by_a_number(y):
    """At -0 and -inf ours is C's pow; PyTorch takes the square root there for y = 0.5."""
    x = np.array([0.0, 1, -1, 2, -2, 0.5, inf, nan, *([-0.0, -inf] if y == int(y) else [])])
    agree(lambda x: x ** y, lambda x: x ** y, x)


def test_second_derivative_of_a_power_at_zero():
    """d2/dx dy of x ** y at (0, 2) is 0 in both. At y = 0 it is 1 / x; PyTorch says 0."""
    def mixed(x0, y0):
        x, y = (ad.tensor(np.array(v), requires_grad=True) for v in (x0, y0))
        first, = ad.gradients([x ** y], [x], create_graph=True)
        return ad.gradients([first], [y])[0].item()
    assert mixed(0.0, 2.0) == 0.0
    assert mixed(2.0, 0.0) == 0.5


# ---- reductions

@pytest.mark.parametrize("rows", [[[0.0, 0, 0]], [[-inf, -inf, -inf]], [[inf, 0, 1]],
                                  [[nan, 0, 1]], [[-inf, 0, 1]], [[800.0, 801, -800]]])
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax", "mean"])
def test_rows_with_infinities(name, rows):
    other = getattr(torch, name)
    agree(lambda x: getattr(ad, name)(x, 1), lambda x: other(x, 1), np.array(rows))


def test_reductions_of_nothing():
    x = np.zeros((2, 0))
    for name in ("sum", "mean", "logsumexp", "any", "all", "var"):
        a = getattr(ad, name)(ad.tensor(x), axis=1)
        b = getattr(torch, name)(torch.tensor(x), dim=1)
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)


def test_standard_deviation():
    """Where it is 0 the derivative does not exist: NaN here, in PyTorch 0 by decree."""
    agree(lambda x: ad.std(x, 1, 1), lambda x: torch.std(x, 1), normal(3, 4))
    got, want = run(lambda x: ad.std(x, 1, 1), lambda x: torch.std(x, 1), np.ones((1, 3)))
    assert got[0] == want[0] == 0 and np.isnan(got[1]).all()
    assert (want[1] == 0).all() or np.isnan(want[1]).all()


# ---- losses

@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3, 2)], ids=repr)
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [-100, 1])
def test_cross_entropy(shape, smoothing, reduction, weighted, ignore):
    logits, rng = normal(*shape) * 3, np.random.default_rng(2)
    target = rng.integers(0, 4, (shape[0], *shape[2:]))
    target.flat[::3] = ignore
    w = rng.uniform(0.5, 2, 4) if weighted else None
    a, b = (None if w is None else wrap(w) for wrap in (ad.tensor, torch.tensor))
    options = {"ignore_index": ignore, "reduction": reduction, "label_smoothing": smoothing}
    agree(lambda x, t: nn.functional.cross_entropy(x, t, a, **options),
          lambda x, t: F.cross_entropy(x, t, b, **options), logits, target)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_without_a_label(reduction):
    agree(lambda x, t: ad.cross_entropy(x, t, reduction=reduction),
          lambda x, t: F.cross_entropy(x, t, reduction=reduction), normal(3, 4), np.full(3, -100))


@pytest.mark.parametrize("row", [[-inf, 0, 1], [0, -inf, -inf], [inf, 0, 0], [nan, 0, 0],
                                 [1e4, -1e4, 0], [-inf, -inf, -inf]], ids=repr)
def test_cross_entropy_of_infinite_logits(row):
    agree(lambda x, t: ad.cross_entropy(x, t), F.cross_entropy, np.array([row, [0.0, 1, 2]]),
          np.array([0, 1]))


# ---- windows

def geometry(kernels=(2, 3, (3, 2)), strides=(1, 2, (1, 3)), paddings=(0, 1, (1, 0))):
    return list(itertools.product(kernels, strides, paddings))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dilation", [1, 2, (2, 1)])
def test_max_pool(dilation, ceil_mode):
    """Ties go to the first element; padding never wins, not even over -inf; NaN does."""
    ties = np.random.default_rng(0).integers(0, 3, (2, 2, 7, 8)).astype(float)
    holes = ties.copy()
    holes[0, 0, :3], holes[1, 1, 4, 4], holes[1, 0, 2, 3] = -inf, nan, inf
    for kernel, stride, padding in geometry():
        options = (kernel, stride, padding, dilation, ceil_mode)
        for x in (ties, holes):
            agree(lambda x, o=options: ad.max_pool2d(x, *o),
                  lambda x, o=options: F.max_pool2d(x, *o), x)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_avg_pool(include, ceil_mode):
    for kernel, stride, padding in geometry():
        options = (kernel, stride, padding, ceil_mode, include)
        agree(lambda x, o=options: ad.avg_pool2d(x, *o),
              lambda x, o=options: F.avg_pool2d(x, *o), normal(2, 2, 7, 8))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2, (2, 1)])
def test_conv(groups, dilation):
    for kernel, stride, padding in geometry((1, 3, (3, 2)), paddings=(0, 2, (1, 0))):
        k = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        options = (stride, padding, dilation, groups)
        agree(lambda x, w, b, o=options: ad.conv2d(x, w, b, *o),
              lambda x, w, b, o=options: F.conv2d(x, w, b, *o), normal(2, 4, 7, 8),
              normal(8, 4 // groups, *k, seed=1), normal(8, seed=2), tol=1e-11)


def test_conv_by_name_of_padding():
    for padding in ("same", "valid"):
        agree(lambda x, w, p=padding: nn.functional.conv2d(x, w, padding=p),
              lambda x, w, p=padding: F.conv2d(x, w, padding=p), normal(1, 2, 5, 6),
              normal(3, 2, 3, 5, seed=1), tol=1e-11)


# ---- attention, normalisation, embedding

def masked(bool_mask):
    keep = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
    return keep if bool_mask else np.where(keep, normal(3, 4, seed=8), -inf)


@pytest.mark.parametrize("bool_mask", [True, False])
def test_attention_row_fully_masked(bool_mask):
    """Zeros, and no NaN in any gradient; PyTorch's mathematical backend agrees."""
    mask = masked(bool_mask)

    def theirs(q, k, v):
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, torch.tensor(mask))
    qkv = normal(2, 3, 2), normal(2, 4, 2, seed=1), normal(2, 4, 5, seed=2)
    a, b = ad.tensor(mask), nn.functional.scaled_dot_product_attention
    got, want = run(lambda q, k, v: b(q, k, v, a), theirs, *qkv)
    assert all(np.isfinite(g).all() for g in got) and (got[0][:, 1] == 0).all()
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", [3, 5])
def test_attention_is_causal_from_the_first_row(length):
    qkv = normal(2, length, 2), normal(2, 4, 2, seed=1), normal(2, 4, 5, seed=2)
    agree(lambda q, k, v: ad.attention(q, k, v, is_causal=True),
          lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *qkv)


def test_norm_of_a_constant():
    x, w, b = np.full((2, 3, 4), 5.0), normal(4, seed=1), normal(4, seed=2)
    agree(ad.layer_norm, lambda x, w, b: F.layer_norm(x, (4,), w, b), x, w, b, tol=1e-9)
    x, w, b = np.full((3, 4), 5.0), normal(4, seed=1), normal(4, seed=2)
    agree(lambda *a: ad.batch_norm(*a)[0],
          lambda x, w, b: F.batch_norm(x, None, None, w, b, True), x, w, b, tol=1e-9)


@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0, None])
def test_running_statistics(momentum):
    """Over steps, between which the layer is evaluated."""
    ours = nn.BatchNorm2d(3, momentum=momentum, dtype="float64")
    theirs = torch.nn.BatchNorm2d(3, momentum=momentum, dtype=torch.float64)
    for step in range(5):
        x = normal(4, 3, 2, 2, seed=step) * (1 + step) + step
        for mode in ("train", "eval"):
            a, b = getattr(ours, mode)()(ad.tensor(x)), getattr(theirs, mode)()(torch.tensor(x))
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-10)
        for k, v in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[k].numpy(), v.numpy(), rtol=1e-12,
                                       err_msg=k)


@pytest.mark.parametrize("padding_idx", [None, 0, 2, -1])
def test_embedding_padding(padding_idx):
    i = np.array([[0, 2, 2], [4, 4, 1]])
    agree(lambda w, i: nn.functional.embedding(i, w, padding_idx),
          lambda w, i: F.embedding(i, w, padding_idx), normal(5, 3), i)


def test_dtypes_combine_as_in_torch():
    """A float keeps its width beside integers, and Python numbers are weak."""
    names = ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]
    for a, b in itertools.product(names, names):
        got = (ad.tensor(np.ones(2, a)) + ad.tensor(np.ones(2, b))).dtype.name
        want = torch.ones(2, dtype=getattr(torch, a)) + torch.ones(2, dtype=getattr(torch, b))
        assert f"torch.{got}" == str(want.dtype), (a, b)
    for a, number in itertools.product(names, (True, 2, 2.5)):
        got = (ad.tensor(np.ones(2, a)) * number).dtype.name
        want = torch.ones(2, dtype=getattr(torch, a)) * number
        assert f"torch.{got}" == str(want.dtype), (a, number)
