"""Results as one file: it is complete, or not written where there is no room."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from jepa_sim.campaigns.store.exporting import check_room, write_netcdf

resource = pytest.importorskip("resource")
MIB = 2**20


def dataset(megabytes):
    values = np.arange(megabytes * MIB / 8).reshape(-1, 8)
    return xr.Dataset(
        {"a": (("x", "y"), values)}, {"objective": ("o", ["jepa", "mae"])}, {"config": "σ" * 70_000}
    )


@pytest.mark.parametrize("dask", [True, False])
def test_what_is_written_is_what_is_read(tmp_path, dask):
    expected = dataset(1)
    path = tmp_path / "new" / "result.nc"
    write_netcdf(expected.chunk(x=10_000) if dask else expected, path)
    xr.testing.assert_identical(xr.load_dataset(path, engine="h5netcdf"), expected)
    assert os.listdir(path.parent) == ["result.nc"]
    assert path.stat().st_size < 1.5 * MIB  # HDF5 released the room that it did not need
    write_netcdf(expected.isel(x=slice(3)), path)  # replaced
    assert xr.load_dataset(path, engine="h5netcdf").sizes["x"] == 3


WRITER = """
import resource, sys
from pathlib import Path
from tests.test_exporting import *
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    write_netcdf(dataset(3), Path(sys.argv[1]))
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [3 * MIB, 5000, 0])
def test_a_file_size_limit_is_one_sentence_and_leaves_the_old_result(tmp_path, limit):
    path = tmp_path / "result.nc"
    path.write_text("old")
    root = os.path.dirname(os.path.dirname(__file__))
    command = [sys.executable, "-c", WRITER]
    done = subprocess.run(
        [*command, str(path), str(limit)],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"File `{path}` must have room for 3.")
    assert done.stdout.endswith("MiB, but has not: File too large.\n")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.nc"]


def test_a_disk_that_fills_up_meanwhile_does_not_matter(tmp_path, monkeypatch):
    """All room is taken before HDF5 writes: it never makes the file longer."""
    lengths, write = [], xr.Dataset.to_netcdf

    def watched(found, path, **options):
        lengths.append(path.stat().st_size)
        write(found, path, **options)
        lengths.append(path.stat().st_size)

    monkeypatch.setattr(xr.Dataset, "to_netcdf", watched)
    write_netcdf(dataset(1), tmp_path / "result.nc")
    assert lengths[0] > lengths[1] > MIB


def test_room_is_looked_for_before_anything_is_computed(tmp_path):
    path = tmp_path / "not" / "yet" / "result.nc"
    check_room(path, MIB)
    with pytest.raises(OSError, match=f"File `{path}` must have room for .* MiB, but has not: "):
        check_room(path, 2**60)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    import platform

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    begin = f".result.nc.{platform.node()}-"
    kept = [
        f"{begin}{os.getppid()}.partial",  # the parent process, which is running
        f".result.nc.elsewhere-{dead.pid}.partial",
        f".other.nc.{platform.node()}-{dead.pid}.partial",
    ]
    for name in (*kept, f"{begin}{dead.pid}.partial"):
        (tmp_path / name).write_text("part")
    write_netcdf(dataset(1), tmp_path / "result.nc")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "result.nc"])
