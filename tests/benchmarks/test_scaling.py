"""The slope and the cliffs of known curves, and each family in its smallest sizes."""

import pytest

import autodiff as ad
from benchmarks import cli, scaling
from benchmarks.peers.engines import ENGINES
from benchmarks.peers.rows import MODES


def points(seconds, flops=None):
    sizes = [2 ** k for k in range(len(seconds))]
    return [{"size": n, "seconds": s, "flops": f}
            for n, s, f in zip(sizes, seconds, flops or sizes)]


def test_the_slope_is_the_exponent():
    assert scaling.slope(points([1, 2, 4, 8])) == pytest.approx(1.0)
    assert scaling.slope(points([3, 12, 48])) == pytest.approx(2.0)
    assert scaling.slope(points([5, 5, 5])) == pytest.approx(0.0)


def test_a_cliff_is_time_that_grows_faster_than_the_arithmetic():
    assert scaling.cliffs(points([1, 2, 4, 8])) == []
    assert scaling.cliffs(points([1, 2, 5.3, 10.6])) == [4]
    assert scaling.cliffs(points([1, 4, 16], flops=[1, 4, 16])) == []
    assert "CLIFF at 4" in scaling.describe("batch", "train", {
        "points": points([1, 2, 6]), "slope": 1.3, "cliffs": [4]})


@pytest.mark.parametrize("name", scaling.FAMILIES)
def test_each_family_runs(name):
    chosen = scaling.FAMILIES[name]._replace(sizes=scaling.FAMILIES[name].sizes[:2])
    found = scaling.family(ENGINES["autodiff"].load(ad.get_num_threads()), chosen, 0.0)
    for mode in MODES:
        a, b = found[mode]["points"]
        assert a["seconds"] > 0 and b["flops"] > a["flops"] > 0


@pytest.mark.skipif(ad.core.name != "compiled", reason="speed is the compiled core's")
def test_the_command_prints_slopes(monkeypatch, capsys):
    monkeypatch.setitem(scaling.FAMILIES, "depth",
                        scaling.FAMILIES["depth"]._replace(sizes=(1, 2)))
    assert cli.main(["scaling", "--only", "depth", "--seconds", "0"]) == 0
    text = capsys.readouterr().out
    assert text.count("slope") == 2 and "depth (train)" in text
