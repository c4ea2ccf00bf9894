"""How many lanes run together: chunks of like work that fit into memory and cache."""

import dataclasses
import math
import os
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jepa_sim.solvers.base import split_by_work
from jepa_sim.sweeps.batches import cores
from jepa_sim.sweeps.lanes import Lanes
from jepa_sim.sweeps.program import Program
from jepa_sim.sweeps.schedule import Chunk, schedule

# Most gains that a chunk saves. On a CPU the arrays then stay in the cache: with 2^17 values each
# takes as long as 23 calls of `exp`, with 2^18 as long as 36 (2 cores). For accelerators it is a
# guess that was not tried on a device.
VALUES, ACCELERATOR_VALUES = {"cpu": 2**17}, 2**24
MEMORY_SHARE = 0.25  # of the memory, for the chunks that run at a time
# Memory that a lane needs while it runs, by `memory_analysis` of compiled programs: so many times
# what is saved of it, and so many matrices for every factor.
COPIES, MATRICES = 10, 20
# Most entries of one factor in all lanes of a chunk. On a CPU few lanes wait less for the slowest
# of them: chunks of 2^11 entries take 0.6 to 0.8 of the time of 2^15 (d = 8 and 16; ROCK4, Tsit5
# and sleeping latents, 2 cores). An accelerator needs many to be busy.
MATRIX_ENTRIES, ACCELERATOR_ENTRIES = {"cpu": 2**11}, 2**22
FEWEST = 4  # lanes of a chunk, where matrices are large
LOCKSTEP_LANES = 2048  # of matrices; more lanes would wait too long for the slowest of them
STEP_SECONDS, MATRIX_SECONDS = 5e-7, 1.5e-9  # of a predicted step, and per d³ (2 cores)


def in_chunks(
    program: Program, lanes: Lanes, which: np.ndarray
) -> Iterator[tuple[Program, list[Chunk]]]:
    """The lanes `which`, by the solver that suits them, in chunks of like work."""
    dimension = lanes.spectra.xx.shape[-1]
    fitting = MEMORY_SHARE * memory_bytes() / cores() / _footprint(program, lanes)
    values = VALUES.get(jax.default_backend(), ACCELERATOR_VALUES)
    largest = int(min(values // (program.times.count * dimension), fitting))
    work, at_once = np.ones(len(which)), 1
    if program.networks is not None:
        at_once = cores()
        entries = MATRIX_ENTRIES.get(jax.default_backend(), ACCELERATOR_ENTRIES)
        largest = min(largest, max(entries // dimension**2, FEWEST), LOCKSTEP_LANES)
        work = np.nan_to_num(np.asarray(program.work(jnp.asarray(which), lanes)))
    seconds = STEP_SECONDS + MATRIX_SECONDS * dimension**3
    for suits, solver in split_by_work(program.solver, work):
        chunks = schedule(work[suits], max(largest, 1), seconds, at_once)
        places = which[suits]
        program = dataclasses.replace(program, solver=solver)
        yield program, [(places[chunk], size) for chunk, size in chunks]


def _footprint(program: Program, lanes: Lanes) -> int:
    """Bytes that a lane needs while it runs, if observables are no larger than gains."""
    d, size = lanes.spectra.xx.shape[-1], lanes.spectra.xx.dtype.itemsize
    saved = COPIES * size * program.times.count * (d * len(program.observables) + 1)
    if program.networks is None:
        return saved
    factors = max(program.networks.depths) + program.networks.predictor_depth
    return saved + MATRICES * factors * size * d**2


def memory_bytes() -> float:
    """Memory of the device; of the machine, where the device does not say.

    All of it rather than what is free, which would give chunks other shapes at every run.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return float(stats["bytes_limit"])
    return host_memory()


def host_memory() -> float:
    """Bytes of the machine; infinite where it does not say."""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return math.inf
