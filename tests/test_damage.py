"""Damaged runs: no reader returns wrong values, and all damage is found and repaired."""

import errno
import json
import shutil

import numpy as np
import pytest

from jepa_sim.arguments.errors import StoreError
from jepa_sim.campaigns.store import mend, open_run, open_store, verify
from tests.test_store import VARIABLES, arrays, assert_right, chunk, known, made, write_all


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "run")
    write_all(store)
    return store


def healed(store):
    mend(store, lambda: VARIABLES, known(3, 5))
    return verify(open_store(store.path))


@pytest.mark.parametrize("dask", [True, False])
def test_a_marked_block_without_a_chunk_is_damage(store, monkeypatch, dask):
    if not dask:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    first, _, third, _ = store.blocks
    chunk(store, "features", third).unlink()
    run = open_run(store.path)
    lines = rf"Array `features` of run `{store.path}` is damaged: block .* has no file\. `jepa-sim"
    with pytest.raises(StoreError, match=lines):
        run.features.load()
    with pytest.raises(StoreError, match=lines):
        store.read(third)
    kept = run.features.sel(objective="jepa")  # undamaged files can be read
    np.testing.assert_array_equal(kept[..., :2, :, :, :], arrays(store, first)["features"][0])
    assert verify(store).blocks == [third]
    assert np.isnan(open_run(store.path).features.isel(objective=1, seed=0)).all()


def test_chunks_that_changed_places_are_damage(store):
    """Each passes the checksum of zarr."""
    one, _, other, _ = store.blocks
    files = [chunk(store, "features", block) for block in (one, other)]
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, reversed(contents), strict=True):
        file.write_bytes(content)
    assert verify(store).blocks == [one, other]
    write_all(store)
    assert_right(store)
    assert verify(store).blocks == []


def test_a_block_of_an_older_version_has_no_checksum_and_that_is_said(store):
    first, second, *_ = store.blocks
    for block in (first, second):
        mark = json.loads(store.mark_path(block).read_text())
        del mark["sha256"]
        store.mark_path(block).write_text(json.dumps(mark))
    manifest = {key: value for key, value in store.manifest.items() if key != "holds"}
    manifest["configuration"] = {"axes": {"scale": [0.1], "seed": [0, 1, 2]}}
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    old = open_store(store.path)
    assert_right(old)
    assert open_run(old.path).features.notnull().all()
    chunk(store, "plateau", second).unlink()
    found = verify(old)
    assert (found.arrays, found.blocks, found.unchecked) == ({}, [second], 2)
    damage_values(old, "scale", 7.0)  # the configuration knows its values
    assert "axis in the configuration" in str(verify(old).arrays["scale"])
    assert (healed(old).arrays, open_run(old.path).scale.values) == ({}, [0.1])


def test_a_grown_block_is_compared_over_what_was_written(store):
    store.extend(known(6, 5), {**store.manifest, "seeds": list(range(6))})
    store = open_store(store.path)
    grown = (0, 0, 0, 0, 1, 0)
    assert (store.read(grown)["result"][..., 1:, :] == -1).all()
    assert verify(store).blocks == []
    shutil.copy(chunk(store, "plateau", (0, 0, 0, 0, 0, 0)), chunk(store, "plateau", grown))
    assert verify(store).blocks == [grown]


def damage_values(store, name, value):
    import zarr

    zarr.open_array(store.path / "data.zarr" / name, mode="r+")[...] = value


def edit(file, change):
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def relabel(metadata):
    metadata["dimension_names"][-2:] = metadata["dimension_names"][:-3:-1]


DAMAGE = {
    "value of a coordinate": ("seed", lambda s: damage_values(s, "seed", 3)),
    "value of a constant": ("lam", lambda s: damage_values(s, "lam", 3.0)),
    "words": ("objective", lambda s: damage_values(s, "objective", "mae")),
    "chunk of a coordinate": ("lam", lambda s: (s.path / "data.zarr/lam/c/0/0").unlink()),
    "garbage": ("lam", lambda s: (s.path / "data.zarr/lam/c/0/0").write_bytes(b"garbage")),
    "coordinate": ("depth", lambda s: shutil.rmtree(s.path / "data.zarr/depth")),
    "type": (
        "features",
        lambda s: edit(
            s.path / "data.zarr/features/zarr.json", lambda m: m.update(data_type="int64")
        ),
    ),
    "shape": (
        "features",
        lambda s: edit(
            s.path / "data.zarr/features/zarr.json",
            lambda m: m.update(shape=[*m["shape"][:-1], 1]),
        ),
    ),
    "lanes": (
        "features",
        lambda s: edit(
            s.path / "data.zarr/features/zarr.json", lambda m: m.update(shape=[1, *m["shape"][1:]])
        ),
    ),
    "axes": ("features", lambda s: edit(s.path / "data.zarr/features/zarr.json", relabel)),
    "units": (
        "features",
        lambda s: edit(
            s.path / "data.zarr/features/zarr.json", lambda m: m["attributes"].update(units="m")
        ),
    ),
    "metadata": ("plateau", lambda s: (s.path / "data.zarr/plateau/zarr.json").write_text("{")),
    "no metadata": ("plateau", lambda s: (s.path / "data.zarr/plateau/zarr.json").unlink()),
    "null metadata": ("scale", lambda s: (s.path / "data.zarr/scale/zarr.json").write_text("null")),
    "group": ("data.zarr", lambda s: (s.path / "data.zarr/zarr.json").write_text("[]")),
    "no group": ("data.zarr", lambda s: (s.path / "data.zarr/zarr.json").unlink()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_of_an_array_is_told_and_mended(store, kind):
    name, damage = DAMAGE[kind]
    before = open_run(store.path).load()
    damage(store)
    with pytest.raises(StoreError, match=f"`{name}` of run .* is damaged: ") as error:
        open_run(store.path)
    assert "\n" not in str(error.value)
    found = verify(store)
    assert (list(found.arrays), found.blocks) == ([name], [])  # no block is lost by it
    found = healed(store)
    assert (found.arrays, found.blocks) == ({}, [])
    assert open_run(store.path).identical(before)


def test_a_manifest_that_was_changed_is_damage(tmp_path):
    from hashlib import sha256

    store = made(tmp_path / "run")
    configuration = {"axes": {"scale": [0.1]}, "solver": "Modes()"}
    whole = sha256(json.dumps(configuration).encode()).hexdigest()
    manifest = {
        **store.manifest,
        "configuration": configuration,
        "configuration_sha256": whole,
    }
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    assert verify(open_store(store.path)).arrays == {}
    configuration["solver"] = "ClosedForm()"
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    assert "`manifest.json`" in str(verify(open_store(store.path)).arrays["manifest.json"])


def test_a_run_that_is_gone_is_one_sentence(store):
    blocks = {block: arrays(store, block) for block in store.blocks}
    shutil.rmtree(store.path)
    with pytest.raises(StoreError, match=f"Run `{store.path}` must stay where it is") as error:
        store.write(store.blocks[0], blocks[store.blocks[0]], {"failed": 0})
    assert "\n" not in str(error.value)
    assert not store.path.exists()


def test_a_disk_that_fails_is_not_taken_for_damage(store, monkeypatch):
    """Else `verify` would delete blocks that cannot be read at the moment."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("zarr.open_array", refuse)
    with pytest.raises(StoreError, match="cannot be read or written: Permission denied"):
        verify(store)
    monkeypatch.undo()
    assert store.pending() == []
