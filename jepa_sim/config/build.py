"""From a configuration to the objects that it names."""

from typing import NamedTuple

from jepa_sim import config as toml
from jepa_sim.arguments.errors import ConfigError
from jepa_sim.config.tables.data import Data
from jepa_sim.data.moments import Moments
from jepa_sim.results.observables import Observable
from jepa_sim.solvers.base import AbstractSolver
from jepa_sim.sweeps.grid import AbstractTimes, Grid
from jepa_sim.sweeps.sweep import host_memory

MATRICES = 6  # Σxx, Σyx and Σyy, and as many to find features


class Run(NamedTuple):
    """What `sweep` takes."""

    grid: Grid
    solver: AbstractSolver
    times: AbstractTimes
    observables: tuple[Observable, ...]
    critical_fraction: tuple[float, ...]


def build(config: toml.Config) -> Run:
    """The objects that a configuration names.

    ConfigError where its data make no moments, or do not fit its networks and objectives.
    MemoryError where its moments are larger than the machine's memory.
    """
    _check_memory(config.data)
    grid = config.grid.build(_moments(config.data), config.data.stack)
    solver = config.solve.build(config.data)
    try:
        for problem in grid.problems():
            solver.prepare(problem)
    except ValueError as error:
        raise ConfigError([f"Tables `data`, `grid` and `solve` must fit. {error}"]) from error
    saved, times = config.output.build(), config.solve.times.build()
    return Run(grid, solver, times, saved, config.output.critical_fraction)


def _moments(data: Data) -> Moments | list[Moments]:
    try:
        return data.build()
    except ConfigError:
        raise
    except (ValueError, ImportError) as error:
        raise ConfigError([f"Table `data` must give moments. {error}"]) from error


def _check_memory(data: Data) -> None:
    """MemoryError where moments of the dimension that a key names cannot fit."""
    if data.large is None:
        return
    key, d = data.large
    least = MATRICES * 8 * d**2
    if least > host_memory():
        rule = f"moments of {d:,} dimensions take at least {least / 2**30:,.0f} GiB"
        raise MemoryError(f"Key `data.{key}` must be smaller: {rule}.")
