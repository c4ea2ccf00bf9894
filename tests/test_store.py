"""The store of campaigns has complete blocks or none, whatever happens to the writer."""

import errno
import json
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray as xr

from jepa_sim.arguments.errors import StoreError
from jepa_sim.campaigns.store import create, differences, open_run, open_store, status, verify
from jepa_sim.campaigns.store import store as writing

AXES = ("objective", "depth", "predictor_depth", "scale", "seed", "spectrum")
VARIABLES = {
    "features": (("time", "feature"), (3, 2), np.dtype(float), {"units": "1"}),
    "plateau": (("feature",), (2,), np.dtype(float), {}),
    "steps": ((), (), np.dtype(np.int32), {}),
    "result": ((), (), np.dtype(np.int8), {}),
}


def known(seeds, spectra):
    coordinates = {
        "objective": ["jepa", "mae"],
        "depth": [1.0],
        "predictor_depth": [1.0],
        "scale": [0.1],
        "seed": np.arange(seeds),
        "spectrum": np.arange(spectra),
    }
    lam = ("spectrum", "feature"), np.arange(2.0 * spectra).reshape(spectra, 2)
    return xr.Dataset({"lam": lam}, coordinates)


def made(path, seeds=3, spectra=5, block=(1, 1, 1, 1, 2, 5)):
    manifest = {"seeds": list(range(seeds)), "provenance": {"title": "a test"}}
    return create(path, VARIABLES, known(seeds, spectra), AXES, block, manifest)


def arrays(store, block):
    """The arrays of a block. Every number identifies its lane."""
    lanes = np.indices(store.lane_shape)[(slice(None), *store.region(block))]
    number = np.tensordot([1e5, 0, 0, 0, 1e2, 1], lanes, axes=1)
    return {
        "features": number[..., None, None] + np.arange(6.0).reshape(3, 2) / 10,
        "plateau": number[..., None] + np.arange(2.0),
        "steps": number.astype(np.int32),
        "result": np.zeros(number.shape, np.int8),
    }


def write_all(store, blocks=None):
    for block in store.pending() if blocks is None else blocks:
        store.write(block, arrays(store, block), {"failed": 0})


def chunk(store, name, block):
    """The file of a block's part of an array."""
    inner = len(VARIABLES[name][1])
    return store.path / "data.zarr" / name / ".".join(map(str, ("c", *block, *(0,) * inner)))


def assert_right(store):
    assert store.pending() == []
    for block in store.blocks:
        for name, value in arrays(store, block).items():
            np.testing.assert_array_equal(store.read(block)[name], value)


def test_what_is_written_is_what_is_read_by_xarray_alone_too(tmp_path):
    store = made(tmp_path / "run")
    assert len(store.pending()) == len(store.blocks) == 4
    write_all(store)
    assert_right(store)
    ours = open_run(tmp_path / "run")
    plain = xr.open_zarr(tmp_path / "run/data.zarr", consolidated=False)
    np.testing.assert_array_equal(ours.features, plain.features)
    assert ours.features.dims == plain.features.dims == (*AXES, "time", "feature")
    np.testing.assert_array_equal(
        ours.sel(objective="mae", seed=2, spectrum=4).features.squeeze(),
        arrays(store, (1, 0, 0, 0, 1, 0))["features"][0, 0, 0, 0, 0, 4],
    )
    assert ours.lam.dims == ("spectrum", "feature")
    assert ours.attrs["title"] == "a test"
    assert ours.features.chunksizes["seed"] == (2, 1)  # dask is there


def test_what_is_pending_is_blank_even_where_a_torn_write_lies(tmp_path):
    store = made(tmp_path / "run")
    first, second, *_ = store.blocks
    write_all(store, [first, second])
    store.mark_path(second).unlink()
    chunk(store, "plateau", second).write_bytes(b"torn")
    run = open_run(tmp_path / "run")
    assert (run.result.sel(objective="jepa").isel(seed=[0, 1]) == 0).all()
    assert (run.result.isel(objective=0, seed=2) == -1).all()
    assert np.isnan(run.features.isel(objective=0, seed=2)).all()
    assert (run.steps.isel(objective=1) == 0).all()
    assert len(store.pending()) == 3
    write_all(store)
    assert_right(store)


@pytest.mark.parametrize("dask", [True, False])
def test_nothing_is_read_but_what_is_asked_for(tmp_path, monkeypatch, dask):
    if not dask:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    store = made(tmp_path / "run")
    write_all(store)
    for block in store.blocks[1:]:
        chunk(store, "features", block).write_bytes(b"damaged")
    run = open_run(tmp_path / "run")
    found = run.features.sel(objective="jepa").isel(seed=[0, 1])
    np.testing.assert_array_equal(found, arrays(store, store.blocks[0])["features"][0])
    with pytest.raises(Exception, match=r"corrupt|size|checksum|buffer|bytes"):
        run.features.load()


# One process imports all that a writer needs. At one line of input it forks a writer, which prints
# its process number. At the next line it waits until that writer has ended.
NURSERY = """
import os, sys
sys.path.insert(0, sys.argv[2])
from tests.test_store import *
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        store = open_store(sys.argv[1])
        with store.lock():
            store.clean()
            print(os.getpid(), flush=True)
            write_all(store)
        os._exit(0)
    sys.stdin.readline()
    os.waitpid(child, 0)
    print("over", flush=True)
"""


def kill_writers(path, kills, seed):
    """Kill writers at random moments; return how many had finished before."""
    draw, ended, seen = random.Random(seed), 0, set()
    root = os.path.dirname(os.path.dirname(__file__))
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(path), root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with nursery:
        assert nursery.stdout.readline() == "ready\n"
        for _ in range(kills):
            if not path.exists():
                made(path, seeds=30, spectra=200, block=(1, 1, 1, 1, 1, 200))
            print(file=nursery.stdin, flush=True)
            writer = int(nursery.stdout.readline())
            time.sleep(draw.uniform(0, 0.4))
            os.kill(writer, signal.SIGKILL)  # it may have ended
            print(file=nursery.stdin, flush=True)
            assert nursery.stdout.readline() == "over\n"
            store = open_store(path)
            marks = set(store.marks())
            done = not store.pending()
            for block in marks if done else marks - seen:
                found = store.read(block)
                for name, value in arrays(store, block).items():
                    np.testing.assert_array_equal(found[name], value)
            seen = marks
            if done:
                ended, seen = ended + 1, set()
                path.rename(path.with_name(f"ended-{ended}"))
        nursery.stdin.close()
    return ended


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.release)])
def test_a_writer_may_be_killed_at_any_moment(tmp_path, kills):
    path = tmp_path / "run"
    kill_writers(path, kills, seed=kills)
    store = open_store(path) if path.exists() else made(path)
    with store.lock():  # the lock is free once its process has ended
        store.clean()
        assert not list(path.rglob("*.partial"))
        write_all(store)
    assert_right(store)


def test_damage_is_found_and_written_again(tmp_path):
    store = made(tmp_path / "run")
    write_all(store)
    short, flipped, lost, _ = store.blocks
    file = chunk(store, "features", short)
    file.write_bytes(file.read_bytes()[:-7])
    file = chunk(store, "plateau", flipped)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    chunk(store, "steps", lost).unlink()
    marks = ("", "{", "[]", "null", '{"shape": 1}', '{"shape": [1], "failed": 0}')
    for text in marks:  # a damaged mark counts as none
        store.mark_path(store.blocks[3]).write_text(text)
        assert store.pending() == [store.blocks[3]]
    with pytest.raises(StoreError, match=r"Array `plateau` of run .* is damaged"):
        store.read(flipped)
    found = verify(store)
    assert sorted(found.blocks) == sorted([short, flipped, lost])
    assert (found.arrays, found.unchecked) == ({}, 0)
    assert store.pending() == store.blocks
    write_all(store)
    assert_right(store)


def test_one_writer_or_the_shards_of_one_array(tmp_path, monkeypatch):
    store = made(tmp_path / "run")
    short = store.lock()  # like a process that reads the status
    short.__enter__()
    threading.Timer(0.2, short.__exit__, (None, None, None)).start()
    with store.lock():
        monkeypatch.setattr(sys.modules["jepa_sim.campaigns.store.lock"], "PATIENCE", 0.0)
    with store.lock():
        for shard in (None, (0, 2)):
            with pytest.raises(StoreError, match=f"process {os.getpid()} on .* since"):
                store.lock(shard).__enter__()
    with store.lock((0, 2)), store.lock((1, 2)):
        for shard in (None, (0, 2)):
            with pytest.raises(StoreError, match="one process at a time"):
                store.lock(shard).__enter__()
        with pytest.raises(StoreError, match=r"of one number, not of 3: process .* `lock-0-of-2`"):
            store.lock((1, 3)).__enter__()
    assert "no process" in status(store)
    with store.lock():
        monkeypatch.setattr(
            os, "access", lambda *_: False
        )  # like a folder with read permission only
        assert f"process {os.getpid()} on" in status(store)
    with (
        pytest.raises(ConnectionError),
        store.lock(),
    ):  # an error under the lock is not an error of the lock
        raise ConnectionError


def test_axes_grow_at_their_ends_and_what_was_there_stays(tmp_path):
    store = made(tmp_path / "run")
    write_all(store)
    manifest = {**store.manifest, "seeds": list(range(6))}
    store.extend(known(6, 5), manifest)
    store = open_store(tmp_path / "run")
    assert store.lane_shape == (2, 1, 1, 1, 6, 5)
    assert store.pending() == [(o, 0, 0, 0, s, 0) for o in (0, 1) for s in (1, 2)]
    part = store.read((0, 0, 0, 0, 1, 0))
    np.testing.assert_array_equal(part["result"][0, 0, 0, 0, :, 0], [0, -1])
    old = arrays(store, (0, 0, 0, 0, 1, 0))["features"][:, :, :, :, :1]
    np.testing.assert_array_equal(part["features"][:, :, :, :, :1], old)
    assert np.isnan(part["features"][:, :, :, :, 1:]).all()
    write_all(store)
    assert_right(store)
    np.testing.assert_array_equal(open_run(tmp_path / "run").seed, range(6))


def test_an_extension_that_was_stopped_can_be_repeated(tmp_path, monkeypatch):
    store = made(tmp_path / "run")
    write_all(store)

    def stop(*_):
        raise KeyboardInterrupt

    for name in ("flush_tree", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(writing, name, stop)
            with pytest.raises(KeyboardInterrupt):
                store.extend(known(6, 5), store.manifest)
        store = open_store(tmp_path / "run")
        assert store.lane_shape == (2, 1, 1, 1, 3, 5)
        assert_right(store)
        left = open_run(tmp_path / "run")
        assert left.sizes["seed"] == left.seed.size == 3
        assert left.features.sel(seed=2).notnull().all()
    store.extend(known(6, 5), store.manifest)
    assert open_store(tmp_path / "run").lane_shape == (2, 1, 1, 1, 6, 5)


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only")]
)
def test_a_disk_that_refuses_is_one_sentence_and_the_store_goes_on(
    tmp_path, monkeypatch, code, words
):
    def refuse(*_):
        raise OSError(code, os.strerror(code), str(tmp_path / "run"))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreError, match=f"`{tmp_path}/run.*` cannot be .*{words}"):
            made(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    store = made(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreError, match=words):
            write_all(store)
    assert store.marks() == {}
    write_all(store)
    assert_right(store)


def test_a_run_that_two_make_at_once_is_one(tmp_path, monkeypatch):
    """As the jobs of a job array do, which start together."""
    path, describe = tmp_path / "run", writing.describe
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".run.{platform.node()}-{dead.pid}.partial" / "done").mkdir(parents=True)

    def slowly(*arguments):
        monkeypatch.setattr(writing, "describe", describe)
        write_all(made(path))  # it must leave what the slower one is still writing
        return describe(*arguments)

    monkeypatch.setattr(writing, "describe", slowly)
    store = made(path)
    assert_right(store)  # the run of the faster one
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_what_is_no_run_is_said_in_one_sentence(tmp_path):
    with pytest.raises(StoreError, match="must exist, but does not"):
        open_store(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"has no manifest\.json"):
        open_store(tmp_path / "folder")
    manifest = tmp_path / "folder/manifest.json"
    whole = json.loads((made(tmp_path / "run").path / "manifest.json").read_text())
    torn = [json.dumps({**whole, key: 1}) for key in whole if key != "format"]
    for text in ("{", "[]", "{}", '{"format": 1}', "\0", *torn):
        manifest.write_text(text)
        with pytest.raises(StoreError, match="damaged"):
            open_store(tmp_path / "folder")
    manifest.write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match="must be of format 1, but is of 99"):
        open_store(tmp_path / "folder")


def test_differences_are_named_key_by_key():
    there = {"grid": {"depth": [1, 2], "scale": [0.1]}, "solver": "Modes()"}
    asked = {"grid": {"depth": [1, 2, 3], "scale": [0.1]}, "solver": "Modes()", "new": 1}
    assert differences(there, there) == []
    assert differences(there, asked) == [
        "grid.depth: [1, 2] in the run, [1, 2, 3] asked for",
        "new: nothing in the run, 1 asked for",
    ]
