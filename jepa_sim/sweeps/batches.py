"""Batches of lanes, each one call of a compiled program; on a CPU several run side by side."""

import collections
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jepa_sim.sweeps.lanes import Lanes
from jepa_sim.sweeps.program import Program


@dataclasses.dataclass(frozen=True)
class Batch:
    """Lanes that run together: which of `lanes`, and to how many they are filled up."""

    program: Program
    lanes: Lanes
    which: np.ndarray
    size: int

    def run(self) -> dict[str, np.ndarray]:
        """Results of its lanes on the host.

        The batch is filled up with copies of its last lane, since every other shape would be
        another program to compile. Lanes are sorted by work; they are dealt to the devices in
        turns, so that all devices get similar work. A batch that does not fit into their memory is
        halved.
        """
        devices = jax.local_device_count()
        size = -(-self.size // devices) * devices
        filled = np.pad(self.which, (0, size - len(self.which)), mode="edge")
        which = filled.reshape(-1, devices).T.ravel()
        try:
            found = jax.device_get(self.program.run(jnp.asarray(which, jnp.int32), self.lanes))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or len(self.which) == 1:
                raise
            half = math.ceil(len(self.which) / 2)
            halves = [
                dataclasses.replace(self, which=some, size=half).run()
                for some in (self.which[:half], self.which[half:])
            ]
            return {name: np.concatenate([one[name] for one in halves]) for name in halves[0]}
        in_turns = np.arange(len(filled)).reshape(devices, -1).T.ravel()[: len(self.which)]
        return {name: value[as_slice(in_turns)] for name, value in found.items()}


def side_by_side(batches: Iterable[Batch]) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """Every batch with its results, in order.

    XLA runs the many small steps of a flow on one core of a CPU. So each core has a thread, which
    runs one batch after another. Some settings of JAX hold in one thread alone, as those made by
    `with jax.enable_x64(True)`: then all batches run in the thread of the caller.
    """
    pool = ThreadPoolExecutor(cores())
    try:
        if pool.submit(_settings).result() != _settings():
            yield from ((batch, batch.run()) for batch in batches)
            return
        running = collections.deque((batch, pool.submit(batch.run)) for batch in batches)
        while running:  # a result that was taken is not kept
            batch, found = running.popleft()
            yield batch, found.result()
    finally:
        pool.shutdown(cancel_futures=True)  # where a batch fails, or Ctrl-C ends the sweep


def _settings() -> dict[str, Any]:
    """The settings of JAX in this thread."""
    return {name: getattr(jax.config, name, None) for name in jax.config.values}


def cores() -> int:
    """How many batches run at a time: the cores of a single CPU device; 1 on other devices."""
    if jax.default_backend() != "cpu" or jax.local_device_count() > 1:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def as_slice(places: np.ndarray) -> np.ndarray | slice:
    """The same places as a slice, where they follow each other: what is taken is not copied."""
    first, last = int(places[0]), int(places[-1]) + 1
    return slice(first, last) if np.array_equal(places, np.arange(first, last)) else places
