"""The command line: one table of commands, and requests that cannot be served."""

import importlib
import subprocess
import sys

import pytest

from benchmarks import cli
from benchmarks.__main__ import arguments


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda c: c.name)
def test_each_command_is_a_module_with_two_functions(command):
    module = importlib.import_module(command.module)
    assert callable(module.add_arguments) and callable(module.run) and module.__doc__


def test_python_m_benchmarks_is_bench_unless_a_command_is_named():
    assert arguments([]) == ["bench"]
    assert arguments(["--full"]) == ["bench", "--full"]
    assert arguments(["bench", "--full"]) == ["bench", "--full"]
    assert arguments(["--help"]) == ["--help"]


def test_an_unknown_workload_is_named_with_what_there_is(tmp_path, capsys):
    assert cli.main(["bench", "--only", "mlpp", "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert "mlpp" in error and "mlp, cnn" in error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("seeds", ["0", "-1", "many"])
def test_seeds_must_be_positive(seeds, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "--seeds", seeds])
    assert stop.value.code == 2 and "at least 1" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["bench", "--only", "mlp", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["bench", "--out", str(tmp_path / "x")]) == 2
    assert "pip install 'autodiff[bench]'" in capsys.readouterr().err


def test_interrupted_leaves_nothing(monkeypatch, tmp_path, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")

    def interrupt(names, options):
        raise KeyboardInterrupt
    monkeypatch.setattr("benchmarks.bench.measure", interrupt)
    assert cli.main(["bench", "--only", "mlp", "--out", str(tmp_path / "x")]) == 130
    assert [p.name for p in (tmp_path / "x").iterdir()] == [".gitignore"]


def test_a_reader_that_leaves_early_is_no_error():
    code = ("from benchmarks import bench, cli\n"
            "bench.run = lambda args: [print('x' * 100) for _ in range(100_000)] and 0\n"
            "raise SystemExit(cli.main(['bench']))")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    assert child.stdout.read(10) == "x" * 10
    child.stdout.close()
    assert (child.wait(), child.stderr.read()) == (141, "")
