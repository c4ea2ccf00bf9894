"""Campaigns: the arrays of `sweep`, however often a run was stopped, split or extended."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import optax
import pytest

import jepa_sim as js
from jepa_sim.campaigns import blocks, campaign
from jepa_sim.campaigns.progress import duration
from jepa_sim.campaigns.store import open_store
from jepa_sim.results.variables import FOR_GOOD

TIMES = np.linspace(0.5, 20, 4)
ADDRESS = re.compile(r"tcp://127\.0\.0\.1:\d+")
SOLVER = js.Descent(optax.sgd, 1e-2)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Blocks of two seeds and both spectra."""
    monkeypatch.setattr(blocks, "UNSAVED_LANES", 4)


def grid(seeds=5, scales=(0.1, 0.2), lam=0.5):
    spectra = [js.Moments.from_features([1.0, lam], [0.9, rho]) for rho in (0.4, 0.6)]
    start = js.RandomGaussian
    return js.Grid(
        spectrum=spectra, objective=[js.JEPA()], scale=scales, seed=range(seeds), start=start
    )


def run(path, *, seeds=5, scales=(0.1, 0.2), lam=0.5, solver=SOLVER, **options):
    return js.campaign(path, planned(seeds, scales, lam, solver), **{"progress": False, **options})


def planned(seeds=5, scales=(0.1, 0.2), lam=0.5, solver=SOLVER):
    observables = (js.observables.features,)
    return js.plan(grid(seeds, scales, lam), solver, times=TIMES, observables=observables)


@pytest.fixture(scope="module")
def whole():
    """What `sweep` finds, at six seeds."""
    observables = (js.observables.features,)
    return js.sweep(grid(6), SOLVER, times=TIMES, observables=observables, padded=False)


def assert_same(found, expected):
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        assert found[name].dims == expected[name].dims
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-13)


def contents(path):
    """Every array of a run, to the last bit."""
    store = open_store(path)
    assert store.pending() == []
    return {b: {n: v.tobytes() for n, v in store.read(b).items()} for b in store.blocks}


class Counted(js.Local):
    """Counts the blocks of all its runs, and is stopped after some of them."""

    def __init__(self, stop=None):
        object.__setattr__(self, "blocks", [])
        object.__setattr__(self, "stop", stop)

    def run(self, task, blocks):
        for mark in super().run(task, blocks):
            self.blocks.append(mark)
            if len(self.blocks) == self.stop:
                raise KeyboardInterrupt
            yield mark


@pytest.mark.slow
def test_it_is_the_sweep_and_goes_on_where_it_was_stopped(tmp_path, whole):
    expected = whole.isel(seed=range(5))
    assert_same(run(tmp_path / "whole"), expected)
    first = Counted(stop=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", engine=first)
    # the third block was being written already
    assert len(open_store(tmp_path / "stopped").pending()) == 3
    second = Counted()
    assert_same(run(tmp_path / "stopped", engine=second), expected)
    assert len(second.blocks) == 3  # the other three blocks are not computed again
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    done = open_store(tmp_path / "whole")
    task = campaign.Task(planned(), str(done.path), again=False)
    arrays, mark = task.compute(done, done.blocks[0])  # as if a worker had died after writing
    assert mark["computed"] == 0
    np.testing.assert_array_equal(arrays["result"], done.read(done.blocks[0])["result"])
    third = Counted()
    run(tmp_path / "stopped", engine=third)
    assert third.blocks == []


@pytest.mark.slow
def test_progress_moves_within_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("jepa_sim.sweeps.chunks.LOCKSTEP_LANES", 2)
    events = []

    class Watcher:
        def computed(self, lanes):
            events.append(lanes)

        def wrote(self, failed):
            events.append("block")

    monkeypatch.setattr(campaign, "watched", lambda *_: contextlib.nullcontext(Watcher()))
    run(tmp_path / "run", seeds=3)  # blocks of 4 and 2 lanes, at two scales
    assert [event for event in events if event != "block"] == [2] * 6
    assert events[:2] == [2, 2]
    assert events.count("block") == 4


def test_axes_may_grow_and_nothing_else(tmp_path, whole):
    path = tmp_path / "run"
    run(path, scales=(0.1,))
    before = contents(path)
    for other in ({"lam": 0.6}, {"solver": js.Descent(optax.sgd, 2e-2)}, {"scales": (0.2,)}):
        with pytest.raises(
            js.StoreError, match=r"but differs: .* in the run, .* asked for"
        ) as error:
            run(path, extend=True, **{"scales": (0.1,), **other})
        assert "extend" not in str(error.value)
    with pytest.raises(js.StoreError, match=r"extend=True\) would add them: axes.scale"):
        run(path)
    assert contents(path) == before
    engine = Counted()
    assert_same(run(path, seeds=6, extend=True, engine=engine), whole)
    assert sum(mark["computed"] for mark in engine.blocks) == 2 * 2 * 6 - 2 * 5  # lanes


def test_shards_make_one_run(tmp_path, whole):
    path = tmp_path / "run"
    for i in range(3):
        run(path, shard=(i, 3))
        assert len(open_store(path).pending()) == 4 - 2 * i  # of six blocks
    assert_same(js.open_run(path), whole.isel(seed=range(5)))
    with pytest.raises(ValueError, match="`shard` must be"):
        run(path, shard=(3, 3))


@pytest.mark.slow
def test_failed_lanes_are_run_again_and_no_others(tmp_path, whole):
    path = tmp_path / "run"
    short = js.Descent(optax.sgd, 1e-2, max_steps=1000)
    found = run(path, solver=short)
    assert (found.result == js.ResultCode.out_of_steps.value).all()
    store = open_store(path)
    [first, *_] = store.blocks
    arrays = store.read(first)
    arrays["result"][..., 0] = 0
    arrays["features"][..., 0, :, :] = 7
    store.write(first, arrays, {"failed": 2})
    fixed = campaign.retry(path, planned(), progress=False)
    assert (fixed.result == 0).all()
    kept = fixed.features.isel(objective=0, scale=0, seed=[0, 1], spectrum=0)
    assert (kept == 7).all()
    others = fixed.features.isel(seed=[2, 3, 4])
    np.testing.assert_allclose(others, whole.features.isel(seed=[2, 3, 4]), rtol=1e-13)


def test_ctrl_c_finishes_what_is_in_hand(tmp_path):
    def interrupt():
        while not (tmp_path / "run/done").exists() or not list((tmp_path / "run/done").iterdir()):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", seeds=200)
    store = open_store(tmp_path / "run")
    assert 0 < len(store.marks()) < len(store.blocks)
    assert not list((tmp_path / "run").rglob("*.partial"))
    with store.lock():
        pass


def test_a_run_that_an_earlier_version_stored_is_continued(tmp_path):
    """Its record has the names of modules that were moved, and `pose` for `customise`.

    It has no variables of last crossings, and keeps to what it has.
    """
    path = tmp_path / "run"
    run(path, seeds=2)
    manifest = json.loads((path / "manifest.json").read_text())
    stored = manifest["configuration"]
    assert stored.pop("customise") == "jepa_sim.apply"
    assert (stored["start"], stored["network"]) == (
        "jepa_sim.RandomGaussian",
        "jepa_sim.DeepLinear",
    )
    stored["start"] = "jepa_sim._start.chance.RandomGaussian"
    stored["network"] = "jepa_sim._network.DeepLinear"
    stored["pose"] = "jepa_sim._grid._as_posed"
    del manifest["configuration_sha256"]
    for name in FOR_GOOD.values():
        shutil.rmtree(path / "data.zarr" / name)
        manifest["arrays"].remove(name)
        del manifest["holds"][name]
    (path / "manifest.json").write_text(json.dumps(manifest))
    for mark in (path / "done").iterdir():  # a checksum is of all arrays
        known = json.loads(mark.read_text())
        del known["sha256"]
        mark.write_text(json.dumps(known))
    found = run(path, seeds=3, extend=True)
    assert found.sizes["seed"] == 3
    assert not set(FOR_GOOD.values()) & set(found.data_vars)


def test_the_manifest_says_what_made_it(tmp_path):
    run(tmp_path / "run", scales=(0.1,))
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["configuration"]["axes"]["seed"] == [0, 1, 2, 3, 4]
    assert manifest["configuration"]["precision"] == "float64"
    assert manifest["provenance"]["jax_version"]
    assert len(manifest["configuration_sha256"]) == 64


@pytest.mark.release
def test_dask_workers_may_die(tmp_path, whole):
    path = tmp_path / "run"
    killed = threading.Event()

    def kill():
        import psutil

        while not (path / "done").exists() or len(list((path / "done").iterdir())) < 2:
            time.sleep(0.01)
        for process in psutil.Process().children(recursive=True):
            if "spawn_main" in " ".join(process.cmdline()):
                process.kill()
                killed.set()
                return

    threading.Thread(target=kill, daemon=True).start()
    found = run(path, engine=js.Dask(workers=2))
    assert killed.is_set()
    assert_same(found, whole.isel(seed=range(5)))
    assert not (path / "task.pickle").exists()


def test_a_cluster_that_is_not_there_is_said_and_the_run_goes_on(tmp_path, whole):
    import dask
    import distributed

    path = tmp_path / "run"
    for address, words in (("tcp://127.0.0.1:9", "Timed out"), ("nowhere", "missing port")):
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
            pytest.raises(ConnectionError, match=f"Dask cluster {address} cannot be .*{words}"),
        ):
            run(path, engine=js.Dask(address))
        with pytest.raises(ValueError, match="No clients found"):
            distributed.default_client()  # reading with Dask would wait for it
    assert_same(run(path), whole.isel(seed=range(5)))


class Lazy(js.Local):
    """An engine that computes some of its blocks and leaves out the rest."""

    def run(self, task, blocks):
        yield from super().run(task, blocks[:2])


class Idle(js.Local):
    """An engine that reports all blocks as written, and writes none."""

    def run(self, task, blocks):
        return iter([{"computed": 1, "failed": 0}] * len(blocks))


@pytest.mark.parametrize(("engine", "left"), [(Lazy(), 4), (Idle(), 6)])
def test_a_run_is_done_when_the_store_says_so(tmp_path, whole, engine, left):
    path = tmp_path / "run"
    rule = f"Run `{path}` must have all blocks written, but {left} of 6 are pending: "
    with pytest.raises(js.StoreError, match=rule):
        run(path, engine=engine)
    assert_same(run(path, shard=(0, 2)), js.open_run(path))  # of a shard, its own blocks
    assert_same(run(path), whole.isel(seed=range(5)))


@pytest.mark.parametrize(
    ("engine", "left"), [pytest.param(Lazy(), 4, marks=pytest.mark.slow), (Idle(), 6)]
)
def test_a_retry_is_done_when_the_store_says_so(tmp_path, engine, left):
    path = tmp_path / "run"
    run(path, solver=js.Descent(optax.sgd, 1e-2, max_steps=1000))
    with pytest.raises(js.StoreError, match=f"but {left} of 6 are pending"):
        campaign.fill(open_store(path), planned(), engine, again=True, progress=False)


def test_coordinates_that_were_damaged_are_written_again(tmp_path):
    import zarr

    path = tmp_path / "run"
    before = run(path, seeds=4).load()
    zarr.open_array(path / "data.zarr/lam", mode="r+")[...] = 7.0
    (path / "data.zarr/features/zarr.json").write_text("{}")
    with pytest.raises(js.StoreError, match="is damaged"):
        js.open_run(path)
    engine = Counted()
    assert run(path, seeds=4, engine=engine).identical(before)
    assert engine.blocks == []
    zarr.open_array(path / "data.zarr/scale", mode="r+")[...] = 7.0
    longer = run(path, seeds=6, extend=True)
    assert longer.isel(seed=range(4)).load().identical(before.assign_attrs(longer.attrs))


def test_a_run_that_is_removed_meanwhile_is_one_sentence(tmp_path):
    path, removed = tmp_path / "run", tmp_path / "removed"

    class Removed(js.Local):
        def run(self, task, blocks):
            for mark in super().run(task, blocks):
                if path.exists():  # a removal can meet a block that is being written
                    path.rename(removed)
                yield mark

    with pytest.raises(js.StoreError) as error:
        run(path, seeds=20, engine=Removed())
    assert "is gone" in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["removed"]


@pytest.mark.release
def test_dask_listens_to_this_machine_alone(tmp_path, whole):
    import psutil

    heard = []

    class Heard(js.Dask):
        def run(self, task, blocks):
            for mark in super().run(task, blocks):
                yield mark
                me = psutil.Process()
                for process in (me, *me.children(recursive=True)):
                    sockets = process.net_connections("inet")
                    heard.extend(s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN)

    assert_same(run(tmp_path / "run", engine=Heard(workers=1)), whole.isel(seed=range(5)))
    assert set(heard) == {"127.0.0.1"}


@pytest.mark.release
def test_a_scheduler_that_dies_is_one_sentence_and_the_run_goes_on(tmp_path, whole, capfd):
    import dask

    path = tmp_path / "run"
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command, cli = [sys.executable, "-m"], "distributed.cli"
    begin = [f"{cli}.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with subprocess.Popen([*command, *begin], **quiet) as scheduler:
        [address] = next(found for line in scheduler.stderr if (found := ADDRESS.findall(line)))
        join = [f"{cli}.dask_worker", address, "--no-dashboard", "--death-timeout", "60"]
        with subprocess.Popen([*command, *join, "--nthreads", "1"], **quiet) as worker:

            def kill():
                while not (path / "done").exists() or len(list((path / "done").iterdir())) < 2:
                    time.sleep(0.01)
                scheduler.kill()

            threading.Thread(target=kill, daemon=True).start()
            words = f"Dask cluster {address} must live until all blocks are written, but was lost"
            soon = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
            with soon, pytest.raises(ConnectionError, match=words):
                run(path, seeds=200, engine=js.Dask(address))
            worker.terminate()
    assert "Traceback" not in capfd.readouterr().err
    assert open_store(path).pending() != []
    run(path, seeds=200)
    assert open_store(path).pending() == []


def test_durations_have_two_units():
    found = [duration(s) for s in (3.0, 75.0, 11100.0, 176400.0, np.inf)]
    assert found == ["3 s", "1 min 15 s", "3 h 05 min", "2 d 1 h", "unknown time"]
