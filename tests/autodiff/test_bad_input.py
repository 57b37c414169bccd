"""Whatever an entry point is called with, it works or it answers with a named error.

The first test throws the same hostile values at every argument of every registered operation; the
tables below it hold one row a case that once was wrong. Invariant: an error names who was called
and what came; nothing crashes, and nothing comes out of NumPy unnamed.
"""

import numpy as np
import pytest

import autodiff as ad
from autodiff.errors import (
    ArgumentError,
    AutodiffError,
    DtypeError,
    GradcheckError,
    GradientError,
    IndexRangeError,
    InPlaceError,
    ShapeError,
    ValueRangeError,
)
from autodiff.op import registry
from autodiff.samples import Draw

BIG = 2 ** 62


class Foreign:
    """An array of another library, on another device."""
    shape, dtype, ndim = (2, 3), "foreign.float32", 2

    def __array__(self, *args, **kwargs):
        raise TypeError("cannot convert a tensor on device cuda:0")


ARRAYS = [None, "abc", object(), Foreign(), [], [[1, 2], [3]], np.array([1j]),
          np.array([None, 1], object), np.array(["a"]), np.ones((2, 3), np.float16),
          np.ones((2, 3), np.uint32), np.array(["2020"], "M8[Y]"), np.ones((1,) * 9, np.float32),
          {}, b"ab", 2 ** 70, 1j, len, np.zeros(0), True, 3, float("nan"), [None], slice(1),
          np.zeros(2, [("a", "f4")]), np.longdouble(1), np.float32(2), np.ma.array([1.0, 2.0])]

ATTRIBUTES = [None, "abc", object(), float("nan"), float("inf"), -1, 0, BIG, 2 ** 70, -BIG, 1.5, [],
              (), (-1, -1), (BIG, BIG), (2 ** 32, 2 ** 32), (1,) * 9, ("a", "b"), (None, None),
              (1.0, 2.0), (1, 2, 3), True, np.array([1, 0]), np.array([0.5]), {}, np.int64(1), 1j,
              Ellipsis, slice(None), slice("a"), "complex64", (0, 0), b"x", 1, 2, -1.0]


def relatives(x):
    """Arrays that are almost right: of another shape, dtype, order or layout."""
    if not isinstance(x, np.ndarray):
        return
    yield x.astype(x.dtype.newbyteorder())
    yield np.repeat(x, 2, -1)[..., ::2] if x.ndim else x
    yield x[None]
    yield x[0] if x.ndim and len(x) else x.reshape(-1)
    for dtype in (np.float32, np.float64, np.int64, np.uint8, bool):
        yield x.astype(dtype)
    yield x[:0] if x.ndim else x
    yield np.concatenate([x, x], -1) if x.ndim else np.stack([x, x])
    yield np.concatenate([x, x], 0) if x.ndim else np.stack([x, x])
    if x.dtype.kind == "i":
        yield np.full_like(x, np.iinfo(x.dtype).max)
        yield np.full_like(x, np.iinfo(x.dtype).min)
    if x.dtype.kind == "f":
        yield x * np.nan
    frozen = x.copy()
    frozen.setflags(write=False)
    yield frozen
    if x.ndim < 9:
        yield x.reshape((1,) * (9 - x.ndim) + x.shape)
    yield np.broadcast_to(x.dtype.type(1), (1 << 20, 1 << 20, 1 << 10))


def fresh(given):
    def copy(v):
        if isinstance(v, list):
            return [copy(a) for a in v]
        return v.copy() if isinstance(v, np.ndarray) else v
    return {k: copy(v) for k, v in given.items()}


def calls(block):
    """Keyword arguments of calls that are wrong in one argument."""
    sample = block.samples(Draw(0))[0]
    order = (*block.inputs, *block.attrs)
    given = {**dict(zip(order, sample.args, strict=False)), **sample.kwargs}
    for k, name in enumerate(block.inputs):
        value = given.get(name)
        if block.variadic and k == len(block.inputs) - 1:
            for hostile in [*ARRAYS, *relatives(value[0] if value else None)]:
                yield {**fresh(given), name: [hostile, *fresh(given)[name][1:]]}
            for hostile in (None, [], "ab", np.ones(3), 3, [np.ones(3)] * 100):
                yield {**fresh(given), name: hostile}
            continue
        for hostile in [*ARRAYS, *relatives(np.ones(3) if value is None else value)]:
            yield {**fresh(given), name: hostile}
        yield {n: v for n, v in fresh(given).items() if n != name}
    for name in block.attrs:
        for hostile in ATTRIBUTES:
            yield {**fresh(given), name: hostile}
    yield {**fresh(given), "no_such_argument": 1}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", [b for b in registry.values() if b.samples is not None],
                         ids=lambda b: b.name)
def test_every_argument_of_every_operation(block):
    with np.errstate(all="ignore"), ad.no_grad():
        for kwargs in calls(block):
            try:
                block.call(**kwargs)
            except (AutodiffError, MemoryError) as error:
                assert str(error).strip()


@pytest.mark.parametrize("block", list(registry.values()), ids=lambda b: b.name)
def test_too_many_arguments(block):
    with pytest.raises(ArgumentError, match=block.name):
        block.call(*[1.0] * 40)


# One row a case: what runs, the error, what its text must hold -------------------------------

def vector():
    return ad.tensor([1.0, 2.0])


def matrix():
    return ad.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))


def leaf():
    return ad.parameter([1.0, 2.0])


def assign(t, key, value):
    t[key] = value


def setgrad(value):
    p = leaf()
    p.grad = value


def with_function(forward, backward):
    return type("Mine", (ad.Function,), {"forward": staticmethod(forward),
                                         "backward": staticmethod(backward)})


TABLE = [
    # making
    ("tensor ragged", lambda: ad.tensor([[1], [1, 2]]), ArgumentError, "form an array"),
    ("tensor foreign", lambda: ad.tensor(Foreign()), ArgumentError, "Foreign"),
    ("tensor text", lambda: ad.tensor("abc"), DtypeError, "expected numbers"),
    ("tensor complex", lambda: ad.tensor([1j]), DtypeError, "complex"),
    ("tensor nine", lambda: ad.tensor(np.ones((1,) * 9)), ShapeError, "8 dimensions"),
    ("tensor dtype", lambda: ad.tensor([1.0], dtype="float16"), DtypeError, "float16"),
    ("tensor dtype of another kind", lambda: ad.tensor([1.0], dtype=3), ArgumentError, "dtype"),
    ("tensor too large", lambda: ad.tensor(2 ** 70), AutodiffError, "tensor"),
    ("tensor grad", lambda: ad.tensor([1.0], requires_grad="no"), ArgumentError, "bool"),
    ("tensor int grad", lambda: ad.tensor([1], requires_grad=True), DtypeError, "float32"),
    ("from_numpy list", lambda: ad.from_numpy([1.0]), ArgumentError, "ndarray"),
    ("from_numpy swapped", lambda: ad.from_numpy(np.ones(2, ">f4")), DtypeError, "byte order"),
    ("from_numpy f16", lambda: ad.from_numpy(np.ones(2, np.float16)), DtypeError, "float16"),
    ("from_numpy nine", lambda: ad.from_numpy(np.ones((1,) * 9)), ShapeError, "8 dimensions"),
    ("from_dlpack list", lambda: ad.from_dlpack([1.0]), ArgumentError, "__dlpack__"),
    ("zeros negative", lambda: ad.zeros((-1, 2)), ShapeError, "negative"),
    ("zeros huge", lambda: ad.zeros((2 ** 40, 2 ** 40)), ShapeError, "any machine"),
    ("zeros overflow", lambda: ad.zeros(2 ** 62), ShapeError, "any machine"),
    ("zeros nine", lambda: ad.zeros((1,) * 9), ShapeError, "8"),
    ("zeros float", lambda: ad.zeros(1.5), ArgumentError, "integers"),
    ("empty huge", lambda: ad.empty((2 ** 40, 2 ** 40)), ShapeError, "any machine"),
    ("empty nine", lambda: ad.empty((1,) * 9), ShapeError, "8"),
    ("eye", lambda: ad.eye("a"), ArgumentError, "eye"),
    ("arange nan", lambda: ad.arange(float("nan")), ArgumentError, "arange"),
    ("arange step", lambda: ad.arange(0, 1, 0), ValueRangeError, "step"),
    ("arange tensor", lambda: ad.arange(vector()), ArgumentError, "arange"),
    ("linspace tensor", lambda: ad.linspace(vector(), 1, 3), ArgumentError, "linspace"),
    ("linspace num", lambda: ad.linspace(0, 1, -1), ValueRangeError, "negative"),
    ("zeros_like", lambda: ad.zeros_like(3), ArgumentError, "zeros_like"),
    ("randint halves", lambda: ad.random_integers(0, 1.5), ArgumentError, "integer"),
    ("seed", lambda: ad.manual_seed(1.5), ArgumentError, "integer"),
    ("threads", lambda: ad.set_num_threads("two"), ArgumentError, "integer"),
    ("threads 0", lambda: ad.set_num_threads(0), ValueRangeError, "between"),
    ("default dtype", lambda: ad.set_default_dtype("int64"), DtypeError, "float32 or float64"),
    # operations
    ("add strings", lambda: vector() + "a", ArgumentError, "add"),
    ("add shapes", lambda: ad.add(vector(), matrix()), ShapeError, "add: shapes"),
    ("less shapes", lambda: ad.less(vector(), matrix()), ShapeError, "less: shapes"),
    ("list and int64", lambda: ad.tensor([1], dtype="uint8") + 300, ValueRangeError, "fit"),
    ("sum axis", lambda: ad.sum(matrix(), axis=np.array([0, 1])), ArgumentError, "axis"),
    ("tril k", lambda: ad.tril(matrix(), 1.5), ArgumentError, "integer"),
    ("clip nan", lambda: ad.clip(vector(), float("nan")), ValueRangeError, "nan"),
    ("var", lambda: ad.var(vector(), correction=float("nan")), ValueRangeError, "finite"),
    ("dropout p", lambda: ad.dropout(vector(), np.array([0, 0]), "a"), ArgumentError, "number"),
    ("attention causal", lambda: ad.attention(matrix(), matrix(), matrix(), None, "yes"),
     ArgumentError, "bool"),
    ("stack", lambda: ad.stack([vector(), 1]), ArgumentError, "stack"),
    ("moveaxis", lambda: ad.moveaxis(matrix(), "a", 0), ArgumentError, "moveaxis"),
    ("unknown keyword", lambda: ad.roll(matrix(), 1, axes=1), ArgumentError, "axes"),
    ("bits", lambda: ad.tensor([6]) & 3, DtypeError, "bool"),
    ("inverse of numbers", lambda: ~vector(), DtypeError, "logical_not"),
    # what a kernel would have read past its end
    ("mse_backward dtype", lambda: ad.mse_backward(ad.tensor(1.0), np.ones(2), np.ones(2)),
     DtypeError, "float64"),
    ("layer_norm_backward shape", lambda: ad.layer_norm_backward(
        np.ones((2, 3)), np.ones((2, 3)), np.ones(2), np.ones(2), np.ones(2)), ShapeError,
     "weight must have shape"),
    ("cross_entropy_backward", lambda: ad.cross_entropy_backward(
        np.ones(()), np.ones((2, 3)), np.array([0, 1]), None, np.ones(1)), ShapeError, "lse"),
    # keys
    ("key text", lambda: matrix()["a"], ArgumentError, "getitem"),
    ("key float", lambda: matrix()[1.5], ArgumentError, "integers"),
    ("key ragged", lambda: matrix()[[[1], [1, 2]]], ArgumentError, "getitem"),
    ("mask length", lambda: matrix()[np.array([True, False, True])], IndexRangeError, "mask"),
    ("key range", lambda: matrix()[5], IndexRangeError, "out of range"),
    ("list range", lambda: matrix()[[0, 9]], IndexRangeError, "out of range"),
    ("write text", lambda: assign(matrix(), 0, "a"), DtypeError, "setitem"),
    ("write text by index", lambda: assign(matrix(), [0, 1], "a"), DtypeError, "setitem"),
    ("write ragged", lambda: assign(matrix(), 0, [[1], [1, 2]]), ArgumentError, "setitem"),
    ("write shape", lambda: assign(matrix(), 0, [1.0, 2.0]), ShapeError, "broadcast"),
    ("write leaf", lambda: assign(leaf(), 0, 1.0), InPlaceError, "no_grad"),
    ("in", lambda: [1.0, 2.0, 3.0] in vector(), ArgumentError, "number"),
    # gradients
    ("backward twice", lambda: twice(), ad.ReleasedTapeError, "released"),
    ("backward of data", lambda: vector().sum().backward(), GradientError, "require"),
    ("backward of many", lambda: (leaf() * 2).backward(), GradientError, "scalar"),
    ("backward shape", lambda: (leaf() * 2).backward([1.0]), ShapeError, "gradient"),
    ("backward text", lambda: (leaf() * 2).backward("a"), DtypeError, "backward"),
    ("hook", lambda: leaf().register_hook(3), ArgumentError, "function"),
    ("grad of a list", lambda: setgrad([1.0]), ArgumentError, "Tensor"),
    ("grad shape", lambda: setgrad(ad.tensor([1.0])), ShapeError, "grad"),
    ("requires_grad_", lambda: vector().requires_grad_("x"), ArgumentError, "bool"),
    ("gradients of None", lambda: ad.gradients(None, [leaf()]), ArgumentError, "Tensor"),
    ("gradients wrt None", lambda: ad.gradients(leaf().sum(), None), ArgumentError, "Tensor"),
    ("cotangents", lambda: ad.gradients(leaf() * 2, [leaf()], [[]]), ShapeError, "gradient"),
    ("cotangent count", lambda: ad.gradients([leaf() * 2], [leaf()], [1.0, 2.0]), ArgumentError,
     "cotangents"),
    ("unused", lambda: ad.gradients(leaf().sum(), [leaf()]), GradientError, "allow_unused"),
    ("grad of no function", lambda: ad.grad(3), ArgumentError, "function"),
    ("argnums", lambda: ad.grad(ad.sum, "a"), ArgumentError, "argnums"),
    ("argnums range", lambda: ad.grad(ad.sum, -5)(vector()), ArgumentError, "argument -5"),
    ("grad of many", lambda: ad.grad(lambda x: x)(vector()), GradientError, "one element"),
    ("grad of ints", lambda: ad.grad(ad.sum)(ad.tensor([1])), DtypeError, "int64"),
    ("aux", lambda: ad.grad(ad.sum, has_aux=True)(vector()), ArgumentError, "has_aux"),
    ("vjp of None", lambda: ad.vjp(lambda x: None, vector()), ArgumentError, "returns"),
    ("pull", lambda: ad.vjp(ad.exp, vector())[1]("a"), DtypeError, "vjp"),
    ("jvp lists", lambda: ad.jvp(ad.exp, vector(), vector()), ArgumentError, "lists"),
    ("jvp of None", lambda: ad.jvp(lambda x: None, [vector()], [vector()]), ArgumentError,
     "returns"),
    ("hvp", lambda: ad.hvp(ad.sum, 3, [vector()]), ArgumentError, "lists"),
    ("jacobian", lambda: ad.jacobian(lambda x: 3)(vector()), ArgumentError, "Tensor"),
    ("checkpoint", lambda: ad.checkpoint(3), ArgumentError, "callable"),
    ("once", lambda: ad.once_differentiable(3), ArgumentError, "backward"),
    ("Function returns", lambda: with_function(lambda ctx, x: 3, None).apply(leaf()),
     ArgumentError, "Mine.forward"),
    ("Function gradients", lambda: with_function(
        lambda ctx, x: x * 2, lambda ctx, g: (g, g)).apply(leaf()).sum().backward(),
     AutodiffError, "Mine"),
    # study, memory, testing
    ("gradcheck", lambda: ad.testing.gradcheck(3, np.ones(2)), ArgumentError, "function"),
    ("gradcheck None", lambda: ad.testing.gradcheck(lambda x: None, np.ones(2)), ArgumentError,
     "returns"),
    ("gradcheck eps", lambda: ad.testing.gradcheck(ad.exp, np.ones(2), eps=0), ArgumentError,
     "eps"),
    ("gradcheck float32", lambda: ad.testing.gradcheck(ad.exp, np.ones(2, np.float32)),
     ArgumentError, "float64"),
    ("gradcheck wrong", lambda: ad.testing.gradcheck(
        lambda x: with_function(lambda ctx, x: x * 2, lambda ctx, g: g * 3).apply(x), np.ones(2),
        forward=False), GradcheckError, "analytic"),
    ("cases", lambda: ad.testing.cases("exp"), ArgumentError, "block"),
    ("explain", lambda: ad.study.explain("a"), ArgumentError, "explain"),
    ("explain tape", lambda: ad.study.explain((leaf() * 2).sum(), [1]), ArgumentError, "Tape"),
    ("saved", lambda: ad.memory.saved_report("a"), AutodiffError, "Tensor"),
    ("Tape", lambda: ad.Tape("all"), ArgumentError, "keep"),
    ("once_defined", lambda: ad.op("exp", "x", "doc"), ArgumentError, "registered"),
    # protocols
    ("len", lambda: len(ad.tensor(1.0)), ArgumentError, "0-d"),
    ("bool", lambda: bool(vector()), ShapeError, "ambiguous"),
    ("item", lambda: vector().item(), ShapeError, "one element"),
    ("index", lambda: [1, 2][ad.tensor(1.0)], DtypeError, "integer"),
]


def twice():
    loss = (leaf() * leaf()).sum()
    loss.backward()
    loss.backward()


@pytest.mark.parametrize("call, error, text", [row[1:] for row in TABLE],
                         ids=[row[0] for row in TABLE])
def test_named_error(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call()
    assert isinstance(caught.value, AutodiffError)


def test_a_bad_call_leaves_everything_as_it_was():
    """The default dtype, the threads, the grad mode, the values written to."""
    threads, t = ad.get_num_threads(), matrix()
    before = t.numpy().copy()
    for call in (lambda: ad.set_default_dtype("int64"), lambda: ad.set_num_threads(0),
                 lambda: assign(t, (0, [0, 9]), 1.0), lambda: assign(t, 0, [1.0, 2.0])):
        with pytest.raises(AutodiffError):
            call()
    assert (ad.get_num_threads(), ad.get_default_dtype()) == (threads, ad.float32)
    assert ad.is_grad_enabled()
    np.testing.assert_array_equal(t.numpy(), before)


def test_errors_carry_the_module_path():
    with ad.scope("encoder"), ad.scope("0"):
        with pytest.raises(ShapeError, match="in .*0"):
            ad.matmul(matrix(), matrix())
        with pytest.raises(ArgumentError, match="in .*0"):
            ad.stack([vector(), 1])


def test_lists_of_floats_do_not_promote():
    t = vector()
    assert ad.add(t, [1.0, 2.0]).dtype == ad.float32
    assert ad.add([1.0, 2.0], [1.0, 2.0]).dtype == ad.float32
    assert ad.add(ad.astype(t, "float64"), [1.0, 2.0]).dtype == ad.float64
    assert ad.add(t, np.ones(2)).dtype == ad.float64        # an array keeps its own
    assert ad.asarray([1.0]).dtype == ad.grad(ad.square)(2.0).dtype == ad.float32


def test_the_default_dtype_is_asked_at_each_call():
    assert ad.rand(2).dtype == ad.float32
    ad.set_default_dtype("float64")
    assert ad.rand(2).dtype == ad.zeros(2).dtype == ad.float64


def test_a_jacobian_keeps_no_tape():
    assert not ad.jacobian(ad.exp)(vector()).requires_grad


@pytest.mark.parametrize("layout", ["swapped", "strided", "negative", "frozen", "fortran"])
def test_arrays_of_any_layout_are_read_right(layout):
    a = np.arange(12.0).reshape(3, 4)
    b = {"swapped": a.astype(">f8"), "strided": np.repeat(a, 2, 1)[:, ::2],
         "negative": a[::-1, ::-1][::-1, ::-1], "frozen": a.copy(),
         "fortran": np.asfortranarray(a)}[layout]
    b.flags.writeable = layout != "frozen"
    for t in (ad.tensor(b), ad.copy(b), ad.add(b, 0.0)):
        np.testing.assert_array_equal(t.numpy(), a)
