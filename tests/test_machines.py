"""Several machines (two processes here) each compute their share of one run."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jepa_sim as js

RECIPE = """
import sys
import jax

path, coordinator, process = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.config.update("jax_enable_x64", True)
jax.distributed.initialize(coordinator, num_processes=2, process_id=process)

import jepa_sim as js

assert jax.process_count() == 2 and jax.device_count() == 2 * jax.local_device_count()
spectra = [js.Moments.from_features([1.0, 0.5], [0.9, rho]) for rho in (0.3, 0.4, 0.6)]
grid = js.Grid(spectrum=spectra, objective=[js.JEPA(), js.MAE()], depth=[1, 2])
planned = js.plan(grid, js.ClosedForm(), times=js.CriticalGrid(4), observables=())
from jepa_sim.campaigns import blocks
blocks.BLOCK_BYTES = 1  # a block for each trajectory
shard = jax.process_index(), jax.process_count()
js.campaign(path, planned, shard=shard, progress=False)
"""


@pytest.mark.release
def test_processes_of_one_cluster_share_a_run(tmp_path: Path):
    """The recipe of docs/large_sweeps.md."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    path = tmp_path / "run"
    command = [sys.executable, "-c", RECIPE, str(path), coordinator]
    children = [subprocess.Popen([*command, str(process)]) for process in (0, 1)]
    assert [child.wait(timeout=300) for child in children] == [0, 0]
    run = js.open_run(path)
    assert (run.result == 0).all()
    spectra = [js.Moments.from_features([1.0, 0.5], [0.9, rho]) for rho in (0.3, 0.4, 0.6)]
    grid = js.Grid(spectrum=spectra, objective=[js.JEPA(), js.MAE()], depth=[1, 2])
    times = js.CriticalGrid(4)
    whole = js.sweep(grid, js.ClosedForm(), times=times, observables=(), progress=False)
    for name in ("plateau", "critical_time"):
        np.testing.assert_allclose(run[name], whole[name], rtol=1e-12)
