"""Growth over an axis: exact counts obey exact laws, and the sentences say which."""

import numpy as np
import pytest

import nn
import nn.functional as F
from benchmarks.costs import CostError, growth, laws
from benchmarks.costs.growth import of_batch

from .cost_nets import gpt

N = (2, 4, 8, 16, 32)


def law(f, measured=False, n=N):
    return laws.fit(n, [f(k) for k in n], measured)


@pytest.mark.parametrize("f, terms", [
    (lambda n: 7.0, [[7, 0]]), (lambda n: 3.0 * n, [[3, 1]]), (lambda n: 2.0 * n * n, [[2, 2]]),
    (lambda n: 5.0 + 2 * n, [[5, 0], [2, 1]]), (lambda n: 100.0 * n - 3, [[-3, 0], [100, 1]]),
    (lambda n: 4.0 * n + n * n, [[4, 1], [1, 2]]),
    (lambda n: 9.0 + 4 * n + n * n, [[9, 0], [4, 1], [1, 2]]),
    (lambda n: 3.0 * n ** 1.5, [[3, 1.5]])])
def test_exact_laws_are_found(f, terms):
    found = law(f)
    assert found["error"] < 1e-6
    np.testing.assert_allclose(found["terms"], terms, rtol=1e-6, atol=1e-6)
    assert laws.at(found, 64) == pytest.approx(f(64))


def test_a_law_that_does_not_fit_says_so():
    found = laws.fit(N, [1.0, 50.0, 2.0, 80.0, 3.0])
    assert found["error"] > 0.5
    assert "within" in laws.sentence("This", "B", "depth", found)


def test_times_are_noisy_and_have_no_negative_part():
    rng = np.random.default_rng(0)
    found = law(lambda n: (1e-3 + 1e-4 * n) * rng.uniform(0.97, 1.03), measured=True)
    assert [p for _, p in found["terms"]] == [0, 1]
    assert all(c >= 0 for c, _ in law(lambda n: 1e-4 * n - 1e-4, True)["terms"])


def test_too_few_values_give_no_law_and_three_none_of_three_terms():
    assert laws.fit((1, 2), (1.0, 2.0)) is None
    assert laws.fit((1, 2, 3), (1.0, 0.0, 2.0)) is None
    assert len(laws.fit((1, 2, 3), (6.0, 11.0, 18.0))["terms"]) < 3


@pytest.mark.parametrize("terms, text", [
    ([[8192, 0]], "does not change with depth: 8.19 kB (exactly)"),
    ([[1000, 1]], "grows in proportion to depth: 1.00 kB x depth"),
    ([[1, 2]], "grows as depth^2: 1 B x depth^2"),
    ([[-5, 0], [2000, 1]], "is -5 B + 2.00 kB x depth")])
def test_sentences(terms, text):
    found = {"terms": terms, "error": 0.0, "exponent": 1.0}
    assert text in laws.sentence("Memory", "B", "depth", found)


def test_training_memory_grows_with_depth_and_inference_memory_does_not():
    found = growth(over="depth", values=(1, 2, 3, 4), seconds=0)
    by = {q["name"]: q for q in found["quantities"]}
    saved = by["saved"]["law"]
    assert saved["terms"][1] == pytest.approx([64 * 128 * 4, 1])    # one output of tanh a layer
    assert not laws.grows(by["working_inference"]["law"])
    assert laws.grows(by["working_training"]["law"])
    assert found["sentences"][0].startswith("Training memory grows with depth, inference memory")
    assert max(map(len, str(found).splitlines())) <= 100


@pytest.mark.parametrize("over, values", [("batch", (2, 4, 6)), ("width", (4, 8, 16, 32)),
                                          ("length", (2, 4, 6, 8))])
def test_each_axis_has_a_family(over, values):
    found = growth(over=over, values=values, seconds=0)
    assert found["values"] == list(values)
    for q in found["quantities"]:
        assert len(q["values"]) == len(values) and min(q["values"]) > 0 and q["sentence"]


def test_the_batch_of_a_model_of_ones_own():
    model, batch, loss = gpt()
    found = of_batch((model, batch, loss), seconds=0, values=(1, 2, 4, 8))
    by = {q["name"]: q for q in found["quantities"]}
    assert by["flops_inference"]["law"]["terms"][0][1] == 1
    inference = by["flops_inference"]["values"]
    assert inference == [k * inference[0] for k in (1, 2, 4, 8)]


def test_a_model_that_looks_at_values_is_run_for_its_counts():
    class Looking(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1.0 if float(x.sum()) > 0 else 2.0)

    def build(n):
        return Looking(3, 2), (np.ones((n, 3), np.float32), np.zeros(n, int)), F.cross_entropy
    found = growth(build, values=(2, 4, 8), seconds=0)
    assert found["quantities"][4]["law"] is not None


@pytest.mark.parametrize("wrong, message", [
    ({"over": "height"}, "batch, depth, width, length"), ({"values": (1, 2)}, "at least 3"),
    ({"values": (0, 1, 2)}, "at least 1"), ({"values": (1.5, 2, 3)}, "whole numbers")])
def test_wrong_axes_and_values_are_named(wrong, message):
    with pytest.raises(CostError, match=message):
        growth(**wrong)


def test_a_build_that_returns_something_else_is_named():
    with pytest.raises(CostError, match=r"build\(1\) must return"):
        growth(lambda n: nn.Linear(1, 1), values=(1, 2, 3))
