"""Matrix products: matmul and linear.

Both run on BLAS, and their gradients are products of transposed views.  Invariant: no operand is
copied for a transposition or a broadcast batch axis; where the right operand is a single matrix,
its gradient is one product over all rows of the left one, not a sum of a product for each entry
of the batch.
"""

from math import prod

from ..errors import ShapeError
from ..infer import broadcast_shape, need_float
from ..op import Plan, op
from ..samples import Bad, Sample
from .shape import broadcast_to

# matmul ---------------------------------------------------------------------------------------

def matmul_infer(x, y):
    need_float("matmul", x=x, y=y)
    a, b = tuple(x.shape), tuple(y.shape)
    if not a or not b:
        raise ShapeError(f"matmul: operands need at least 1 dimension, got {a} @ {b}; use x * y "
                         "to multiply by a scalar")
    if a[-1] != b[-2 if len(b) > 1 else 0]:
        raise ShapeError(f"matmul: inner dimensions differ: {a} @ {b}")
    batch = broadcast_shape("matmul", a[:-2], b[:-2])
    return Plan([(batch + a[-2:-1] + (b[-1:] if len(b) > 1 else ()), x.dtype)])


def matmul_vjp(g, needs, x, y, x_shape, y_shape):
    """out = x y: gx = g y^T, gy = x^T g.  A 1-d x is a row, a 1-d y a column."""
    a = x_shape if len(x_shape) > 1 else (1, *x_shape)
    b = y_shape if len(y_shape) > 1 else (*y_shape, 1)
    if len(x_shape) == 1 or len(y_shape) == 1:
        batch = broadcast_shape("matmul", a[:-2], b[:-2])
        g = g.reshape(*batch, a[-2], b[-1])
    gx = matmul(g, _shaped(y, b).mT) if needs & 1 else None
    gy = _right_gradient(g, _shaped(x, a), b) if needs & 2 else None
    if gx is not None and len(x_shape) == 1:
        gx = gx.reshape(*gx.shape[:-2], a[-1])
    if gy is not None and len(y_shape) == 1:
        gy = gy.reshape(*gy.shape[:-2], b[-2])
    return gx, gy


def _shaped(x, shape):
    return x if x.shape == shape else x.reshape(shape)


def _right_gradient(g, x, b):
    """x^T g; over the batch axes of x at once where y has none of its own."""
    if len(b) == 2 and x.ndim > 2:
        rows = prod(x.shape[:-1])
        return matmul(x.reshape(rows, x.shape[-1]).mT, g.reshape(rows, b[-1]))
    return matmul(x.mT, g)


def matmul_jvp(dx, dy, x, y):
    return matmul(dx, y) + matmul(x, dy)


def matmul_flops(plan, x, y):
    """A multiplication and an addition for each term of each inner product."""
    return 2 * prod(plan.outputs[0][0]) * x.shape[-1]


def matmul_samples(draw):
    shapes = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)),
              ((2, 2, 3), (2, 3, 2)), ((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 1)),
              ((2, 1, 2, 3), (3, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((1, 1), (1, 1)),
              ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 2))]
    return [Sample(draw.normal(*a), draw.normal(*b)) for a, b in shapes]


def matmul_bad(draw):
    return [Bad(ShapeError, r"inner dimensions differ: \(3, 4\) @ \(5, 2\)",
                draw.normal(3, 4), draw.normal(5, 2)),
            Bad(ShapeError, "inner dimensions differ", draw.normal(3), draw.normal(4)),
            Bad(ShapeError, "do not broadcast", draw.normal(2, 3, 4), draw.normal(3, 4, 2)),
            Bad(ShapeError, "at least 1 dimension", draw.normal(), draw.normal(2, 2))]


matmul = op(
    "matmul", "x y", "Matrix product; batch axes broadcast, a 1-d operand is a row or a column.",
    formula="out[..., i, j] = sum_k x[..., i, k] y[..., k, j]", kernel="matmul", layout="matrix",
    infer=matmul_infer, promote="same", saves={"x": "y", "y": "x"}, vjp=matmul_vjp,
    jvp=matmul_jvp, flops=matmul_flops, samples=matmul_samples, bad=matmul_bad,
    source="Python array API standard, matmul")


# linear ---------------------------------------------------------------------------------------

def linear_infer(x, weight, bias):
    need_float("linear", x=x, weight=weight, bias=bias)
    if len(weight.shape) != 2:
        raise ShapeError(f"linear: weight must have 2 dimensions, (out_features, in_features), "
                         f"got shape {tuple(weight.shape)}")
    n, k = weight.shape
    if not x.shape or x.shape[-1] != k:
        raise ShapeError(f"linear: x of shape {tuple(x.shape)} does not end in the {k} features "
                         f"that weight of shape {(n, k)} takes")
    if bias is not None and tuple(bias.shape) != (n,):
        raise ShapeError(f"linear: bias must have shape {(n,)} with weight of shape {(n, k)}, "
                         f"got {tuple(bias.shape)}")
    return Plan([((*x.shape[:-1], n), x.dtype)])


def linear_vjp(g, needs, x, weight):
    """gx = g weight, gweight = g^T x over all rows, gbias = sum of g over rows.

    The rule holds in any order by itself, so no composite is declared: one would need x and
    weight saved even where a single gradient is asked.
    """
    gx = matmul(g, weight) if needs & 1 else None
    gw, gb = None, g if needs & 4 else None     # the engine sums it over rows
    if needs & 2:
        gw, sums = linear_backward_weight(_rows(g), _rows(x), needs & 4 != 0)
        gb = sums if needs & 4 else None
    return gx, gw, gb


def _rows(x):
    """x as a matrix: its last axis, and all others as rows."""
    return x if x.ndim == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])


def linear_jvp(dx, dweight, dbias, x, weight):
    return linear(dx, weight, dbias) + linear(x, dweight)


def linear_flops(plan, x, weight, bias):
    """2 for each weight and row; one addition for each output where there is a bias."""
    size = prod(plan.outputs[0][0])
    return 2 * size * x.shape[-1] + (size if bias is not None else 0)


def linear_samples(draw):
    return [Sample(draw.normal(2, 3), draw.normal(4, 3), draw.normal(4)),
            Sample(draw.normal(2, 3), draw.normal(4, 3)),
            Sample(draw.normal(3), draw.normal(2, 3), draw.normal(2)),
            Sample(draw.normal(2, 2, 3), draw.normal(2, 3), bias=draw.normal(2)),
            Sample(draw.normal(0, 3), draw.normal(2, 3), draw.normal(2)),
            Sample(draw.normal(2, 0), draw.normal(3, 0), draw.normal(3)),
            Sample(draw.normal(2, 3), draw.normal(0, 3), draw.normal(0))]


def linear_bad(draw):
    return [Bad(ShapeError, "does not end in the 4 features", draw.normal(2, 3),
                draw.normal(5, 4)),
            Bad(ShapeError, "weight must have 2 dimensions", draw.normal(2, 3), draw.normal(3)),
            Bad(ShapeError, r"bias must have shape \(4,\)", draw.normal(2, 3), draw.normal(4, 3),
                draw.normal(3)),
            Bad(ShapeError, r"bias must have shape \(4,\)", draw.normal(2, 3), draw.normal(4, 3),
                draw.normal(1))]


linear = op(
    "linear", "x weight bias?", "Affine map of the last axis; weight is (out, in).",
    formula="out = x weight^T + bias", kernel="linear", layout="matrix", infer=linear_infer,
    promote="same", saves={"x": "weight", "weight": "x"}, vjp=linear_vjp, jvp=linear_jvp,
    method=False, flops=linear_flops, samples=linear_samples, bad=linear_bad)


def backward_weight_infer(g, x, with_bias):
    need_float("linear_backward_weight", g=g, x=x)
    if len(g.shape) != 2 or len(x.shape) != 2 or g.shape[0] != x.shape[0]:
        raise ShapeError("linear_backward_weight: g and x must be matrices of as many rows, got "
                         f"{tuple(g.shape)} and {tuple(x.shape)}")
    n = g.shape[1]
    return Plan([((n, x.shape[1]), x.dtype), ((n if with_bias else 0,), x.dtype)],
                ia=(int(bool(with_bias)),))


def backward_weight_vjp(grads, needs, g, x, g_shape, with_bias):
    """dweight = g^T x is linear in both: u is a weight (n, k) that maps one to the other."""
    u, v = grads
    v = v if with_bias else None
    if u is None:
        return broadcast_to(v, g_shape) if needs & 1 and v is not None else None, None
    return linear(x, u, v) if needs & 1 else None, matmul(g, u) if needs & 2 else None


def backward_weight_jvp(dg, dx, g, x, with_bias):
    (one, sums), (two, _) = (linear_backward_weight(dg, x, with_bias),
                             linear_backward_weight(g, dx, False))
    return one + two, sums


def backward_weight_samples(draw):
    shapes = [((3, 2), (3, 4)), ((1, 3), (1, 2)), ((3, 1), (3, 1)), ((0, 3), (0, 2)),
              ((2, 0), (2, 3)), ((2, 3), (2, 0)), ((40, 36), (40, 33))]
    return [Sample(draw.normal(*a), draw.normal(*b), with_bias=with_bias)
            for a, b in shapes for with_bias in (False, True)]


# An operation of its own for the sake of small layers: views of transposed operands cost more than
# their product; and g is read once for both gradients.
linear_backward_weight = op(
    "linear_backward_weight", "g x", "Gradients of linear for its weight and bias, over all rows; "
    "dbias has no element unless with_bias.",
    formula="dweight = g^T x; dbias = sum_rows g", attrs={"with_bias": False},
    outputs="dweight dbias", kernel="linear_backward_weight", layout="matrix",
    infer=backward_weight_infer, promote="same", saves={"g": "x", "x": "g"},
    vjp=backward_weight_vjp, jvp=backward_weight_jvp, method=False,
    flops=lambda plan, g, x, with_bias: 2 * prod(g.shape) * x.shape[1] + with_bias * prod(g.shape),
    samples=backward_weight_samples,
    bad=lambda draw: [Bad(ShapeError, "as many rows", draw.normal(3, 2), draw.normal(2, 2)),
                      Bad(ShapeError, "must be matrices", draw.normal(3), draw.normal(3, 2))])
