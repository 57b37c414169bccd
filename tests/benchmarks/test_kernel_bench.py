"""Every kernel of the registry gets arguments of the size asked for; figures are what they say."""

import numpy as np
import pytest

import autodiff as ad
from autodiff.samples import Draw
from benchmarks import cli, kernel_bench
from benchmarks.kernel_sizes import SIZES, arguments

pytestmark = pytest.mark.skipif(ad.core.name != "compiled", reason="measures compiled kernels")
NUMBERS = {"increment_", "ravel_index", "rng_next"}     # kernels of a few integers
DRAWN = {"full", "uniform", "normal", "randint", "permutation"}     # all output


@pytest.fixture(scope="module")
def measured():
    return kernel_bench.measure(1 << 14, seconds=0.0, twins=False)


def test_every_kernel_is_measured(measured):
    rows, unknown = measured
    assert set(unknown) <= NUMBERS
    wanted = {name for name, block in ad.registry.items() if block.kernel}
    assert wanted - {r["operation"] for r in rows} <= NUMBERS


def test_backward_kernels_are_heard_in_the_backward_of_their_operation(measured):
    of = {r["operation"]: (r["phase"], r["of"]) for r in measured[0]}
    assert of["conv2d"] == ("forward", "conv2d")
    assert of["conv2d_backward_weight"] == ("backward", "conv2d")
    assert of["lstm_backward"] == ("backward", "lstm")


def test_sizes_name_operations_only():
    assert set(SIZES) <= set(ad.registry)


@pytest.mark.parametrize("nbytes", [1 << 14, 1 << 20])
def test_arguments_fill_about_what_is_asked_for(nbytes):
    for name, block in ad.registry.items():
        found = arguments(block, Draw(0, np.float32), nbytes) if block.kernel else None
        if found is None or name in NUMBERS | DRAWN:
            continue
        arrays = [a for part in found[0] for a in (part if isinstance(part, list) else [part])
                  if isinstance(a, np.ndarray)]
        held = sum(a.nbytes for a in arrays)
        assert nbytes / 50 <= held <= 2.5 * nbytes, name    # outputs are the rest


def test_a_launch_and_its_twin_compute_the_same():
    for name in ("matmul", "softmax", "gelu", "layer_norm"):
        (event, flops, moved), *_ = kernel_bench.heard(ad.registry[name], 1 << 14)
        assert event.op.name == name and flops > 0
        assert moved >= event.outputs[0].nbytes
        twin = kernel_bench.twin(event)()
        twin = twin[0] if isinstance(twin, tuple) else twin
        np.testing.assert_allclose(event.outputs[0].numpy(), twin, rtol=1e-4, atol=1e-5)


def test_the_limit_is_the_slower_of_operations_and_bytes():
    rates = {"product": {"float32": 1e9}, "stream": [[1, 1e9], [1 << 30, 1e9]]}
    row = {"dtype": "float32", "flops": 3e9, "moved": 1e9}
    assert kernel_bench.limit(rates, row) == pytest.approx(3.0)
    assert kernel_bench.limit(rates, {**row, "moved": 5e9}) == pytest.approx(5.0)


def test_levels_grow():
    sizes = list(kernel_bench.levels().values())
    assert list(kernel_bench.levels()) == ["L1", "L2", "L3", "memory"] and sizes == sorted(sizes)


def test_the_command_prints_a_line_a_kernel(capsys, tmp_path):
    path = tmp_path / "kernels.json"
    assert cli.main(["kernels", "--only", "tanh", "--levels", "L1", "--seconds", "0.001",
                     "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert "| tanh | forward | L1 |" in text and "| tanh_backward | backward | L1 |" in text
    assert path.stat().st_size > 100


@pytest.mark.parametrize("arguments, message", [
    (["--only", "tahn"], "--only tahn: no such operation"),
    (["--levels", "L9"], "--levels L9: there are L1, L2, L3, memory"),
])
def test_bad_requests_are_refused(arguments, message, capsys):
    assert cli.main(["kernels", *arguments]) == 2
    assert message in capsys.readouterr().err
