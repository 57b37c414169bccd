"""The workloads in miniature: the same numbers from every engine that is here; how they are taken
in turns, judged and printed."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

import autodiff as ad
from benchmarks import cli
from benchmarks.peers import command, session, table
from benchmarks.peers.engines import ENGINES
from benchmarks.peers.rows import INFER, MODES, ROWS, TRAIN

OTHERS = [name for name in ENGINES if name not in ("autodiff", "compiled")]


def numbers(name, row, mode, count=3):
    engine = ENGINES[name].load(ad.get_num_threads())
    run = engine.program(row, mode)
    return None if run is None else np.array([engine.numbers(run()) for _ in range(count)])


@pytest.mark.parametrize("name", ROWS)
def test_our_side_trains_and_infers(name):
    row = ROWS[name].miniature()
    infer, train = numbers("autodiff", row, INFER), numbers("autodiff", row, TRAIN)
    assert np.isfinite(infer).all() and (infer == infer[0]).all()
    assert np.isfinite(train).all()
    if row.optimizer:
        assert train[2] < train[0]                  # the loss falls
    else:
        assert (train == train[0]).all()            # gradients, the same each time


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("engine", OTHERS)
def test_engines_agree(engine, name):
    if importlib.util.find_spec(ENGINES[engine].package) is None:
        pytest.skip(f"{ENGINES[engine].title} is not installed")
    row = ROWS[name].miniature()
    for mode in MODES:
        theirs = numbers(engine, row, mode)
        if theirs is not None:
            ours = numbers("autodiff", row, mode)
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5 * np.abs(ours).max())


def test_the_chain_has_the_known_gradient():
    row = ROWS["chain"].miniature()
    w, b, steps = 0.999, 0.001, row.sizes["steps"]
    slope = steps * w ** (steps - 1) + b * sum(k * w ** (k - 1) for k in range(steps))
    got = numbers("autodiff", row, TRAIN)[0]
    np.testing.assert_allclose(got, [slope, sum(w ** k for k in range(steps))], rtol=1e-5)


def test_weights_and_data_are_the_same_each_time():
    row, other = ROWS["cnn"], ROWS["cnn"].miniature()
    assert row.weights() is row.weights() and row.batch() is row.batch()
    assert row.weights()["0.weight"].shape != other.weights()["0.weight"].shape


@pytest.mark.parametrize("name, flops", [("mlp", 137e6), ("cnn", 543e6), ("lstm", 437e6),
                                         ("gpt", 3.53e9)])
def test_work_counts_the_products(name, flops):
    forward, moved = ROWS[name].work(INFER)
    assert forward == pytest.approx(flops, rel=0.01)
    training, also = ROWS[name].work(TRAIN)
    assert 2 * forward < training <= 3 * forward and also > moved


def test_a_session_of_real_processes():
    said = []
    found = session.run(ROWS["tiny"], ["autodiff"], 1, 0.05, miniature=True, say=said.append)
    assert found["notes"] == []
    ours = found["engines"]["autodiff"]
    assert ours["first"]["mode"] == TRAIN and 0 < ours["first"]["seconds"] < 60
    for mode in MODES:
        assert 0 < ours[mode]["q1"] <= ours[mode]["median"] <= ours[mode]["q3"]
        assert session.FEWEST <= len(ours[mode]["rounds"]) <= session.ROUNDS
        assert ours["memory"][mode]["counted"] > 0
    assert ours["memory"][TRAIN]["counted"] > ours["memory"][INFER]["counted"]
    assert "tiny: autodiff starts" in said


def test_a_steady_training_step_maps_no_pages_in():
    process = session.Process("autodiff", "mlp", 2)
    try:
        process.ask("ready", mode=TRAIN, count=3)
        blocks = [process.ask("block", mode=TRAIN, seconds=0.05, least=5) for _ in range(4)]
    finally:
        process.close()
    assert min(b["faults"] for b in blocks) == 0


def test_a_worker_that_fails_says_why():
    process = session.Process("autodiff", "tiny", 1, miniature=True)
    try:
        with pytest.raises(session.WorkerError, match="(?s)autodiff, tiny: block failed.*KeyError"):
            process.ask("block", mode=TRAIN, seconds=0.0, least=1)      # nothing built yet
    finally:
        process.close()


class Fake:
    """A worker with known answers; every other block of it is disturbed by `waited`."""

    def __init__(self, values, seconds=0.001, waited=0.0):
        self.values, self.seconds, self.waited, self.blocks = values, seconds, waited, 0

    def ask(self, do, **arguments):
        return self.values

    def block(self, mode, seconds, least):
        self.blocks += 1
        slow = self.waited * (self.blocks % 2)
        return {"times": [self.seconds * (1 + 10 * slow)] * least, "faults": 0, "waited": slow}


def test_an_engine_that_disagrees_is_not_timed():
    workers = {"autodiff": Fake([[1.0, 2.0]]), "eager": Fake([[1.0, 2.0 + 1e-5]]),
               "jax": Fake([[1.0, 2.1]]), "ort": Fake(None), "autograd": Fake([[1.0]])}
    found, notes = {name: {} for name in workers}, []
    able = session._agree(INFER, workers, found, notes)
    assert list(able) == ["autodiff", "eager"]
    assert len(notes) == 2 and "JAX: infer differs from autodiff by 5.0e-02" in notes[0]


def test_a_slow_engine_has_fewer_rounds_and_the_first_block_is_left_out():
    able = {"autodiff": Fake(None), "eager": Fake(None, seconds=100.0)}
    found = {name: {} for name in able}
    session._rounds(TRAIN, able, found, seconds=10.0)
    assert able["autodiff"].blocks == session.ROUNDS + 1
    assert able["eager"].blocks == session.FEWEST + 1
    assert found["eager"][TRAIN]["median"] == 100.0
    assert found["autodiff"][TRAIN]["repetitions"] == session.ROUNDS * session.LEAST


def test_disturbed_blocks_are_taken_again_by_all():
    able = {"autodiff": Fake(None, waited=0.5), "eager": Fake(None)}
    found = {name: {} for name in able}
    session._rounds(TRAIN, able, found, seconds=10.0)
    assert found["autodiff"][TRAIN]["median"] == 0.001
    assert found["autodiff"][TRAIN]["waited"] == 0.0
    assert able["eager"].blocks == able["autodiff"].blocks >= 2 * session.ROUNDS


def test_patience_ends():
    able = {"autodiff": Fake(None, waited=0.5)}
    able["autodiff"].block = lambda **_: {"times": [1.0], "faults": 0, "waited": 0.5}
    found = {"autodiff": {}}
    session._rounds(TRAIN, able, found, seconds=0.0)
    assert found["autodiff"][TRAIN]["blocks"] == session.FEWEST
    assert found["autodiff"][TRAIN]["waited"] == 0.5


@pytest.fixture
def report():
    def timing(ms):
        return {"median": ms / 1e3, "q1": ms / 1e3, "q3": ms / 1e3, "faults": 0.0,
                "waited": 0.01}

    def engine(infer, train, **memory):
        return {"version": "1", "first": {"mode": TRAIN, "seconds": 1.0}, INFER: timing(infer),
                TRAIN: timing(train), "memory": {m: memory for m in MODES}}
    row = {"engines": {"autodiff": engine(2.0, 6.0, counted=10_000_000, resident=12_000_000),
                       "eager": engine(4.0, 9.0, resident=20_000_000),
                       "jax": engine(1.0, 12.0, counted=5_000_000)},
           "notes": [], "missing": ["ONNX Runtime"], "threads": 2, "load_after": 0.1, "took": 1.0,
           "created": "2026-01-01T00:00:00",
           "rates": {"product": {"float32": 100e9}, "stream": [[1 << 14, 50e9], [1 << 26, 10e9]]},
           "machine": {"processor": "P", "cpus_usable": 2, "cpus": 2, "threads": 2, "core": "c",
                       "blas_kernel": "K", "python": "3", "load": 0.0, "governor": None,
                       "versions": {"autodiff": None, "numpy": "2", "scipy-openblas32": "0"}}}
    return {"schema": command.SCHEMA, "rows": {"mlp": row}}


def test_ratios_are_to_the_best_peer(report):
    row = report["rows"]["mlp"]
    assert table.best_peer(row, INFER) == ("jax", 0.001)
    assert table.ratios(row, INFER) == pytest.approx({"autodiff": 0.5})
    assert table.ratios(row, TRAIN) == pytest.approx({"autodiff": 1.5})
    rows = report["rows"]
    assert table.limit("mlp", rows, INFER) == pytest.approx(ROWS["mlp"].work(INFER)[0] / 100e9)
    assert table.limit("tiny", rows, INFER) is None
    assert table.memory_pairs(row, TRAIN) == [
        ("eager", "resident", 20_000_000, 12_000_000), ("jax", "counted", 5_000_000, 10_000_000)]


def test_a_stored_report_prints_its_tables(report, tmp_path, capsys):
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(report))
    assert cli.main(["peers", "--show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "1 JAX" in text and "0.50x" in text and "Not installed: ONNX Runtime." in text
    report["rows"]["mlp"]["notes"] = ["JAX: train differs"]
    path.write_text(json.dumps(report))
    assert cli.main(["peers", "--show", str(path)]) == 1


@pytest.mark.parametrize("options, kept", [([], 0.3), (["--calmest"], 0.01)])
def test_a_run_is_added_to_a_report(options, kept, report, tmp_path, monkeypatch):
    def run(row, *args, **options):
        new = json.loads(json.dumps(report["rows"]["mlp"]))
        for engine in new["engines"].values():
            engine[INFER]["waited"] = engine[TRAIN]["waited"] = 0.3
        return {"engines": new["engines"], "notes": []}
    monkeypatch.setattr(session, "run", run)
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(report))
    assert cli.main(["peers", "--only", "mlp", "--only", "cnn", "--json", str(path), "--append",
                     *options]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert list(rows) == ["mlp", "cnn"]
    assert command.disturbed(rows["mlp"]) == kept and command.disturbed(rows["cnn"]) == 0.3


@pytest.mark.parametrize("arguments, message", [
    (["--append"], "--append needs --json"),
    (["--calmest"], "--calmest needs --append"),
    (["--show", "/nowhere.json"], "nowhere.json"),
    (["--show", __file__], "test_peers.py"),
])
def test_bad_requests_are_refused(arguments, message, capsys):
    assert cli.main(["peers", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--engines", "autodif"], ["--only", "mpl"],
                                       ["--threads", "0"], ["--seconds", "-1"]])
def test_bad_options_are_refused(arguments):
    with pytest.raises(SystemExit) as refused:
        cli.main(["peers", *arguments])
    assert refused.value.code == 2


def test_rows_cover_the_optimizers_and_bounds():
    assert {r.bound for r in ROWS.values()} == {"gemm", "stream", None}
    for row in ROWS.values():
        assert dataclasses.replace(row) == row and set(row.small) <= set(row.sizes)


def test_a_busy_process_ends_with_its_context():
    with session.busy() as child:
        assert child.poll() is None
    assert child.poll() is not None
