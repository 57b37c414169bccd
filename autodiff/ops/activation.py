"""Activation functions, each with its derivative as one kernel.

tanh, sigmoid and relu keep their output alone.  Invariant: a `_backward` is the derivative times
g, fused, and can itself be differentiated (by its rule or its composite).
"""

import math

from ..errors import ValueRangeError
from ..infer import same
from ..op import Plan, op
from ..samples import Bad, Sample
from .elementwise import erf, exp, function, joint, negative, per_output, square

__all__ = []


def backward_op(name, inputs, doc, formula, flops=3, infer=None, samples=None, **fields):
    """Derivative times g of the activation `name`, as one operation."""
    def drawn(draw):
        return [Sample(draw.normal(*s), draw.uniform(0.1, 0.9, *s)) for s in [(), (2, 3), (0, 2)]]
    name += "_backward"
    return op(name, inputs, doc, formula=formula, kernel=name, layout="strided",
              infer=infer or joint(name), promote="same", elementwise=True, method=False,
              flops=per_output(flops), samples=samples or drawn, **fields)


def tanh_vjp(g, needs, out):
    """tanh = sinh / cosh, so tanh' = (cosh^2 - sinh^2) / cosh^2 = 1 - tanh^2 = 1 - out^2."""
    return tanh_backward(g, out)


tanh = function("tanh", "Hyperbolic tangent.", "(e^x - e^-x) / (e^x + e^-x)", tanh_vjp, "out")


def tanh_backward_vjp(gg, needs, g, out):
    return (tanh_backward(gg, out) if needs & 1 else None,
            gg * g * (out * -2.0) if needs & 2 else None)


tanh_backward = backward_op("tanh", "g out", "Gradient of tanh from its output.",
                            "g (1 - out^2)", saves={"g": "out", "out": "g out"},
                            vjp=tanh_backward_vjp, outputs="dx")


def sigmoid_vjp(g, needs, out):
    """s = 1 / (1 + e^-x), so s' = e^-x / (1 + e^-x)^2 = s (1 - s)."""
    return sigmoid_backward(g, out)


sigmoid = function("sigmoid", "Logistic function.", "1 / (1 + e^-x)", sigmoid_vjp, "out", flops=3)


def sigmoid_backward_vjp(gg, needs, g, out):
    return (sigmoid_backward(gg, out) if needs & 1 else None,
            gg * g * (1 - (out + out)) if needs & 2 else None)


sigmoid_backward = backward_op("sigmoid", "g out", "Gradient of sigmoid from its output.",
                               "g out (1 - out)", saves={"g": "out", "out": "g out"},
                               vjp=sigmoid_backward_vjp, outputs="dx")


def relu_vjp(g, needs, out):
    """max(x, 0) has slope 1 where x > 0, which is where the output is positive, and else 0."""
    return relu_backward(g, out)


relu = function("relu", "Rectified linear unit; the derivative at 0 is 0.", "max(x, 0)", relu_vjp,
                "out", avoid=(0.0,), promote=None)


def relu_backward_vjp(gg, needs, out):
    return relu_backward(gg, out) if needs & 1 else None, None


relu_backward = backward_op("relu", "g out", "Gradient of relu from its output.",
                            "out > 0 ? g : 0", flops=1, saves={"g": "out"},
                            vjp=relu_backward_vjp, outputs="dx")


# ---- x times a smooth gate: these keep x

def silu_vjp(g, needs, x):
    return silu_backward(g, x)


def silu_composite(x):
    return x * sigmoid(x)


silu = function("silu", "Sigmoid linear unit (swish).", "x / (1 + e^-x)", silu_vjp, "x", flops=4,
                composite=silu_composite,
                source="Elfwing, Uchibe, Doya 2018, arXiv:1702.03118")


def silu_backward_composite(g, x):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def silu_backward_vjp(gg, needs, g, x):
    gx = None
    if needs & 2:
        s = sigmoid(x)
        gx = gg * g * (sigmoid_backward(2 + x * (1 - (s + s)), s))
    return silu_backward(gg, x) if needs & 1 else None, gx


silu_backward = backward_op("silu", "g x", "Gradient of silu.", "g s (1 + x (1 - s))", flops=8,
                            saves={"g": "x", "x": "g x"}, vjp=silu_backward_vjp,
                            composite=silu_backward_composite, outputs="dx")

ROOT_2_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def gelu_form(approximate):
    if approximate not in ("none", "tanh"):
        raise ValueRangeError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return (int(approximate == "tanh"),)


def gelu_infer(x, approximate):
    return Plan(same(x).outputs, ia=gelu_form(approximate))


def gelu_vjp(g, needs, x, approximate):
    return gelu_backward(g, x, approximate)


def gelu_composite(x, approximate="none"):
    if approximate == "tanh":
        return x * 0.5 * (1 + tanh((x + CUBIC * (x * x * x)) * ROOT_2_PI))
    return x * 0.5 * (1 + erf(x * math.sqrt(0.5)))


def gelu_samples(draw):
    return [Sample(draw.uniform(-3, 3, *s), a)
            for s in [(), (2, 3), (2, 0)] for a in ("none", "tanh")]


gelu = op("gelu", "x", 'Gaussian error linear unit, exact or (approximate="tanh") by tanh.',
          formula="x Phi(x)", attrs={"approximate": "none"}, kernel="gelu", layout="strided",
          infer=gelu_infer, promote="float", elementwise=True, saves={"x": "x"}, vjp=gelu_vjp,
          composite=gelu_composite, flops=per_output(5), samples=gelu_samples,
          bad=lambda draw: [Bad(ValueRangeError, "approximate", draw.normal(3), "fast")],
          source="Hendrycks, Gimpel 2016, arXiv:1606.08415")


def gelu_backward_infer(g, x, approximate):
    return Plan(joint("gelu_backward")(g, x).outputs, ia=gelu_form(approximate))


def gelu_backward_composite(g, x, approximate="none"):
    if approximate == "tanh":
        t = tanh((x + CUBIC * (x * x * x)) * ROOT_2_PI)
        inner = (1 + 3 * CUBIC * square(x)) * ROOT_2_PI
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - square(t)) * inner)
    density = exp(square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))
    return g * (0.5 * (1 + erf(x * math.sqrt(0.5))) + x * density)


def gelu_backward_vjp(gg, needs, g, x, approximate):
    gx = None
    if needs & 2 and approximate == "tanh":
        t = tanh((x + CUBIC * (x * x * x)) * ROOT_2_PI)
        d1 = (1 + 3 * CUBIC * square(x)) * ROOT_2_PI
        gx = gg * g * (1 - square(t)) * (d1 + x * (3 * CUBIC * ROOT_2_PI * x - t * square(d1)))
    elif needs & 2:
        density = exp(square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))
        gx = gg * g * density * (2 + negative(square(x)))
    return gelu_backward(gg, x, approximate) if needs & 1 else None, gx


def gelu_backward_samples(draw):
    return [Sample(draw.normal(*s), draw.uniform(-3, 3, *s), a)
            for s in [(), (2, 3), (2, 0)] for a in ("none", "tanh")]


gelu_backward = backward_op("gelu", "g x", "Gradient of gelu.", "g (Phi(x) + x phi(x))", flops=12,
                            attrs={"approximate": "none"}, infer=gelu_backward_infer,
                            saves={"g": "x", "x": "g x"}, vjp=gelu_backward_vjp,
                            composite=gelu_backward_composite, samples=gelu_backward_samples,
                            outputs="dx")
