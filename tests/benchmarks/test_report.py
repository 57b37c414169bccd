"""The report: tables that fit, a file that passes its schema, plots that are written whole."""

import copy
import io

import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from rich.console import Console  # noqa: E402

from benchmarks import bench, figures, report, schema, tables  # noqa: E402
from benchmarks.cli import UsageError  # noqa: E402


def timing(seconds):
    return {"median": seconds, "q1": 0.97 * seconds, "q3": 1.04 * seconds, "rounds": 100}


def phase(seconds, size, flops):
    peak = {c: size * (k + 1) for k, c in enumerate(tables.CATEGORIES)}
    return {"seconds": timing(seconds), "peak": {"total": sum(peak.values()), **peak},
            "flops": flops}


@pytest.fixture
def full():
    """A report with large figures in every place."""
    workload = {
        "name": "regression", "title": "a model on data", "batch": 64, "parameters": 12345678,
        "sample": "to be\n\nor not " + "x" * 200,
        "training": {
            "steps": 25000, "seconds": 1234.5, "flops": 10 ** 15,
            "runs": [{"seed": 0, "seconds": 1234.5, "metrics": {"accuracy": 0.98765}}],
            "metrics": {"accuracy": 0.98765},
            "goal": {"metric": "accuracy", "at": "least", "value": 0.97, "met": True},
            "curve": [[1, 2.5], [100, 0.5]]},
        "phases": {"inference": phase(0.123456, 123456789, 1234567890),
                   "forward": phase(0.223456, 123456789, 1234567890),
                   "backward": phase(0.423456, 223456789, 2234567890),
                   "update": phase(0.023456, 23456789, 234567890),
                   "prediction": phase(0.0000123, 12345, 1234567)},
        "multiples": {"step": {"seconds": 123.456, "peak": 23.4, "flops": 3.123},
                      "run": {"seconds": 123456789.0, "flops": 99999999999.0}}}
    engine = {"version": "2.13.0+cpu", "train": timing(0.0113), "infer": timing(0.0024)}
    return {
        "schema": schema.NAME, "version": schema.VERSION, "created": "2026-01-01T00:00:00+00:00",
        "seconds": 80.0, "load_after": 1.0, "options": {"full": False, "seeds": None,
                                                         "only": None},
        "machine": {"processor": "a processor", "cpus": 2, "cpus_usable": 2, "threads": 2,
                    "blas_kernel": "SkylakeX", "core": "compiled", "python": "3.13.0",
                    "versions": {"autodiff": "0.1.0", "numpy": "2.4.0",
                                 "scipy-openblas32": "0.3.34"}, "load": 1.7},
        "workloads": [workload], "skipped": [["fashion", "not installed"]],
        "chain": {"steps": 1000, "operations": 2000, "autodiff": engine, "pytorch": engine,
                  "ratio": {"train": 1.0, "infer": 1.0}},
        "resident": {"title": "a CNN", "batch": 512, "steps": 3, "tracked_peak": 10 ** 9,
                     "resident_growth": 1.05e9, "residual": 5e7, "residual_share": 0.048,
                     "goal": 0.1, "held": 10 ** 8, "slack": 10 ** 7, "high_water_reset": True}}


def printed(full):
    console = Console(width=400, file=io.StringIO())
    tables.show(full, console)
    return console.file.getvalue()


def test_tables_fit_and_hide_nothing(full):
    text = printed(full)
    table_lines = [line.rstrip() for line in text.splitlines()
                   if line.startswith(" ") and "|" not in line]
    assert max(map(len, table_lines)) <= tables.WIDTH
    assert "…" not in text
    for expected in ("train backward", "123Mx", "optim", "regression", "SkylakeX",
                     "skipped fashion: not installed", "4.8 %", "load average 1.7"):
        assert expected in text


def test_a_missed_goal_is_said(full):
    full["workloads"][0]["training"]["goal"]["met"] = False
    assert "MISSED" in printed(full)


@pytest.mark.parametrize("value, text", [
    (0, "0"), (None, "-"), (1234567, "1,234,567"), (123.4, "123"), (12.34, "12.3"),
    (1.234, "1.23"), (0.1234, "0.123"), (0.01234, "0.0123"), (99.99, "100"),
    (9.999, "10.0"), (0.9999, "1.00"), (-2.5, "-2.50")])
def test_figures_have_three_significant_digits(value, text):
    assert tables.figure(value) == text


@pytest.mark.parametrize("value, text", [(3.123, "3.12x"), (123456, "123,456x"),
                                         (12345678, "12.3Mx"), (None, "-")])
def test_multiples_stay_short(value, text):
    assert tables.times(value) == text


def test_a_quantity_takes_the_unit_that_fits():
    assert tables.quantity(1234567, tables.BYTES) == "1.23 MB"
    assert tables.quantity(12, tables.BYTES) == "12 B"       # counted, not measured


def test_the_file_is_read_back_as_written(full, tmp_path):
    path = tmp_path / "bench.json"
    report.write(full, path)
    assert report.read(path) == full
    assert [p.name for p in tmp_path.iterdir()] == ["bench.json"]


def test_not_a_number_is_null_in_the_file(full, tmp_path):
    full["workloads"][0]["multiples"]["run"]["seconds"] = float("inf")
    report.write(full, tmp_path / "bench.json")
    assert report.read(tmp_path / "bench.json")["workloads"][0]["multiples"]["run"][
        "seconds"] is None


def drop(full, *path):
    full = copy.deepcopy(full)
    inner = full
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return full


@pytest.mark.parametrize("path, named", [
    (("machine",), "machine: missing"),
    (("workloads", 0, "phases", "backward", "peak", "saved"),
     r"workloads\[0\].phases.backward.peak.saved: missing"),
    (("schema",), "not a report")])
def test_a_missing_field_is_named(full, path, named, tmp_path):
    broken = drop(full, *path)
    with pytest.raises(schema.SchemaError, match=named):
        schema.check(broken)
    with pytest.raises(schema.SchemaError):
        report.write(broken, tmp_path / "bench.json")
    assert not list(tmp_path.iterdir())


def test_another_version_or_type_is_refused(full, tmp_path):
    with pytest.raises(schema.SchemaError, match="version"):
        schema.check({**full, "version": 99})
    with pytest.raises(schema.SchemaError, match="seconds: expected"):
        schema.check({**full, "seconds": "long"})
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(schema.SchemaError, match="not JSON"):
        report.read(tmp_path / "x.json")


def test_every_field_of_the_schema_is_documented():
    text = schema.docs()
    assert "workloads[].phases.update.peak.optimizer state: bytes" in text
    assert all(": " in line and not line.endswith(": ") for line in text.splitlines())


def test_plots_are_png_files(full, tmp_path):
    paths = figures.draw(full, tmp_path)
    assert len(paths) == 4
    for path in paths:
        with open(path, "rb") as f:
            assert f.read(8) == b"\x89PNG\r\n\x1a\n"
    assert len(list(tmp_path.iterdir())) == 4


def test_the_output_folder_keeps_itself_out_of_version_control(tmp_path):
    folder = report.open_folder(tmp_path / "a" / "b")
    assert (folder / ".gitignore").read_text() == "*\n"
    assert report.open_folder(tmp_path / "a") == tmp_path / "a"
    assert not (tmp_path / "a" / ".gitignore").exists()     # it was there before
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="--out"):
        report.open_folder(tmp_path / "f")


def test_bench_end_to_end(tmp_path, monkeypatch, capsys):
    from benchmarks.workloads import WORKLOADS
    from benchmarks.workloads.mlp import DigitsMLP

    class Tiny(DigitsMLP):
        steps, seeds, widths = 3, 1, (64, 16, 12, 10)
    monkeypatch.setitem(WORKLOADS, "mlp", Tiny)
    monkeypatch.setattr("benchmarks.bench.CHECKS", ())
    out = tmp_path / "out"
    args = ["bench", "--only", "mlp", "--out", str(out)]
    from benchmarks.cli import main
    assert main(args) == 1                                   # the goal cannot be met
    assert {p.name for p in out.iterdir()} == {".gitignore", "bench.json", "time.png",
                                               "memory.png", "multiples.png", "training.png"}
    got = report.read(out / "bench.json")
    assert got["workloads"][0]["name"] == "mlp" and got["options"]["only"] == ["mlp"]
    assert "train backward" in capsys.readouterr().out
    assert bench.OUT == "autodiff-bench"


def test_data_that_is_not_installed_is_skipped_with_the_reason(tmp_path, monkeypatch):
    from benchmarks.workloads import cnn
    monkeypatch.setenv("AUTODIFF_DATA", str(tmp_path))
    monkeypatch.setattr("nn.data.sets.FASHION_MNIST_ROOT", str(tmp_path))
    cnn.fashion.cache_clear()
    got = bench.measure(["fashion"], {"full": True, "seeds": None, "only": None})
    assert got["workloads"] == [] and got["skipped"][0][0] == "fashion"
    assert "dataset-fashion-mnist" in got["skipped"][0][1]
