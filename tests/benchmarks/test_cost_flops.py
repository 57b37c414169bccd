"""The operations that a report counts, against counts by hand.

A multiply-add is two; a bias one for each output, its gradient (a sum) one for each term.
"""

import pytest

import nn
from benchmarks.costs import cost

from .cost_nets import cnn, gpt, mlp


def counted(net):
    model, batch, loss = net()
    report = cost(model, batch, loss, nn.optim.SGD(model.parameters(), lr=0.1), seconds=0)
    phases = report["phases"]
    for name, p in phases.items():
        assert p["predicted"]["flops"] == p["flops"], name
    return {name: p["flops"] for name, p in phases.items()}, model


def product(m, k, n):
    """(m, k) @ (k, n)"""
    return 2 * m * k * n


def test_mlp():
    found, model = counted(mlp)
    n, a, b, c = 4, 6, 5, 3
    first, second = product(n, a, b), product(n, b, c)
    forward = first + n * b + n * b + second + n * c        # bias, ReLU, bias
    loss = 5 * n * c                                        # maximum, exp, sum, log, difference
    assert found["inference"] == forward
    assert found["forward"] == forward + loss
    loss_back = 4 * n * c                                   # softmax again, minus one-hot, times g
    second_back = 2 * second + n * c                        # for input, for weight; bias
    relu_back = n * b
    first_back = first + n * b                              # for the weight alone; bias
    assert found["backward"] == loss_back + second_back + relu_back + first_back
    assert found["update"] == 4 * sum(p.size for p in model.parameters())
    assert found["prediction"] == forward // n


def test_cnn():
    found, _ = counted(cnn)
    n, channels, side, taps, classes = 2, 2, 4, 9, 3
    pixels = n * channels * side * side                     # of the convolution's output
    pooled = n * channels * (side // 2) ** 2
    convolution = 2 * pixels * taps                         # one input channel
    linear = product(n, 8, classes)
    forward = (convolution + pixels + pixels                # bias, ReLU
               + 4 * pooled                                 # four taps of each window
               + linear + n * classes)
    assert found["inference"] == forward
    assert found["forward"] == forward + 5 * n * classes
    backward = (4 * n * classes + 2 * linear + n * classes
                + pooled                                    # each gradient to its maximum
                + pixels                                    # ReLU
                + convolution + pixels)                     # for the weight alone; bias
    assert found["backward"] == backward


def test_gpt():
    found, _ = counted(gpt)
    n, t, c, heads, vocabulary = 2, 4, 8, 2, 7
    rows, e = n * t, c // heads
    x = rows * c                                            # numbers in the residual stream

    def linear(a, b):
        return product(rows, a, b)
    qkv, out, up, down = linear(c, 3 * c), linear(c, c), linear(c, 4 * c), linear(4 * c, c)
    head, scores = linear(c, vocabulary), n * heads * t * t
    attention = scores * (2 * e + 2 * e + 5)                # q k^T, softmax, times v
    forward = (x                                            # tokens + positions
               + 8 * x + qkv + rows * 3 * c + attention + out + x + x       # norm ... + x
               + 8 * x + up + 4 * x + 5 * 4 * x + down + x + x              # norm ... + x
               + 8 * x + head + rows * vocabulary)
    assert found["inference"] == forward
    assert found["forward"] == forward + 5 * rows * vocabulary
    backward = (4 * rows * vocabulary
                + 2 * head + rows * vocabulary + 14 * x
                + 2 * down + x + 12 * 4 * x + 2 * up + 4 * x + 14 * x
                + x                                         # the skip's gradient added
                + 2 * out + x
                + scores * (6 * e + 4 * e + 5)              # scores, dp, dq, dk, dv, in one array
                + 2 * qkv + 3 * x + 14 * x
                + x                                         # the skip's gradient added
                + x                                         # positions: summed over the batch
                + x + t * c)                                # rows of the tables added up
    assert found["backward"] == backward


@pytest.mark.parametrize("net", [mlp, cnn])
def test_the_first_layers_missing_gradient_is_what_keeps_the_multiple_below_three(net):
    model, batch, loss = net()
    report = cost(model, batch, loss, seconds=0)
    first = report["first_layer"]
    expected = product(4, 6, 5) if net is mlp else 2 * 64 * 9
    assert first["flops"] == expected and list(first["layers"]) == ["0"]
    assert first["multiple"] < first["multiple_with"]
    inference = report["phases"]["inference"]["flops"]
    assert first["multiple_with"] - first["multiple"] == pytest.approx(expected / inference)


def test_tokens_have_no_gradient_to_leave_out():
    model, batch, loss = gpt()
    report = cost(model, batch, loss, seconds=0)
    assert report["first_layer"] is None
    assert any("integers" in s for s in report["sentences"])
