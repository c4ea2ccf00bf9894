"""Several devices or cores of one machine: lanes in turns, the same numbers as on one device."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.sweeps import batches, program, sweep
from jepa_sim.sweeps.program import Program

CHILD = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
assert len(jax.devices()) == int(sys.argv[2])
import diffrax as dfx
import numpy as np
import jepa_sim as js

def start(scale):
    return js.Balanced(scale, rotated=True)

spectra = [js.Moments.from_features([1.0, 0.5], [0.9, rho]) for rho in (0.3, 0.4, 0.6)]
grid = js.Grid(spectrum=spectra, objective=[js.JEPA(), js.MAE()], seed=range(3), start=start)
found = {}
for solver in (js.Modes(), js.GradientFlow(dfx.Tsit5(), rtol=1e-6)):
    posed = grid if isinstance(solver, js.GradientFlow) else js.Grid(
        spectrum=spectra, objective=[js.JEPA(), js.MAE()], scale=[0.1, 0.2, 0.3])
    run = js.sweep(posed, solver, times=js.CriticalGrid(6), progress=False)
    for name in run.data_vars:
        found[type(solver).__name__ + name] = run[name].values
np.savez(sys.argv[1], **found)
"""


@pytest.mark.release
def test_one_and_four_devices_find_the_same(tmp_path: Path):
    found = {}
    for count in (1, 4):
        flags = os.environ["XLA_FLAGS"] + f" --xla_force_host_platform_device_count={count}"
        settings = {"XLA_FLAGS": flags, "EQX_ON_ERROR": "nan", "TF_CPP_MIN_LOG_LEVEL": "3"}
        file = tmp_path / f"{count}.npz"
        subprocess.run(
            [sys.executable, "-c", CHILD, str(file), str(count)],
            env={**os.environ, **settings},
            check=True,
        )
        with np.load(file) as data:
            found[count] = dict(data)
    for name, value in found[1].items():
        if "critical_time" in name:  # interpolated; see `Program.run`
            np.testing.assert_allclose(found[4][name], value, rtol=5e-16)
        else:
            np.testing.assert_array_equal(found[4][name], value, err_msg=name)


def test_a_chunk_without_memory_is_halved(monkeypatch: pytest.MonkeyPatch):
    """Devices raise RESOURCE_EXHAUSTED where a program does not fit into memory."""
    sizes = []

    def scarce(program, which, lanes):
        sizes.append(which.size)
        if which.size > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return {"depth": lanes.points.depth[which]}

    monkeypatch.setattr(Program, "run", scarce)
    spectra = js.Moments.from_features([1.0, 0.5], [0.9, 0.3])
    grid = js.Grid(spectrum=spectra, objective=[js.MAE()], depth=[1, 2, 3, 4, 5])
    planned = sweep.plan(grid, js.ClosedForm(), times=js.CriticalGrid(4))
    shape = tuple(planned.axes.values())
    found, _ = planned.compute(np.indices(shape).reshape(len(shape), -1), lambda lanes: None)
    assert sizes == [5, 3, 3]  # filled: one shape is one program
    np.testing.assert_array_equal(found["depth"], [1, 2, 3, 4, 5])


@dataclasses.dataclass(frozen=True)
class Fake(batches.Batch):
    """A batch that calls what it has in place of a program."""

    program: Any
    lanes: Any

    def run(self):
        return {"found": self.program(self.size)}


def faked(call, sizes):
    return [Fake(call, None, np.array([size]), size) for size in sizes]


def test_batches_of_a_cpu_run_side_by_side(monkeypatch: pytest.MonkeyPatch):
    """Each waits for the other; one after the other they would wait for ever."""
    both = threading.Barrier(2)

    def meet(size):
        both.wait(timeout=60)
        return size

    monkeypatch.setattr(batches, "cores", lambda: 2)
    found = [(b.size, f["found"]) for b, f in batches.side_by_side(faked(meet, range(4)))]
    assert found == [(i, i) for i in range(4)]


def test_after_a_batch_that_fails_no_other_begins(monkeypatch: pytest.MonkeyPatch):
    begun = []

    def fail(size):
        begun.append(size)
        time.sleep(0.01)
        raise ValueError(f"batch {size}")

    monkeypatch.setattr(batches, "cores", lambda: 2)
    with pytest.raises(ValueError, match="batch 0"):
        list(batches.side_by_side(faked(fail, range(100))))
    assert len(begun) < 10


def test_batches_keep_settings_of_their_thread():
    """As `with jax.enable_x64(False)` makes them, other threads do not have them."""

    def dtype(size):
        return jnp.zeros(size).dtype

    with jax.enable_x64(False):
        [(_, found)] = batches.side_by_side(faked(dtype, [1]))
    assert found["found"] == jnp.float32


@pytest.mark.release
def test_a_program_for_one_core_finds_the_same(monkeypatch: pytest.MonkeyPatch):
    moments = js.Moments.from_features([1.0, 0.5], [0.9, 0.3])
    grid = js.Grid(spectrum=moments, objective=[js.JEPA()], scale=[0.1], start=js.RandomBalanced)
    solver, times = js.GradientFlow(dfx.Tsit5(), rtol=1e-6), js.CriticalGrid(4)
    usual = js.sweep(grid, solver, times=times, progress=False)
    monkeypatch.setattr(program, "MANY", 1)
    found = js.sweep(grid, solver, times=times, progress=False)
    for name, value in usual.data_vars.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=str(name))
