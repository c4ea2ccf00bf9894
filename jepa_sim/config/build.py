"""From a configuration to the plan of a sweep."""

import math

from jepa_sim import config as toml
from jepa_sim.arguments.errors import ConfigError
from jepa_sim.config.tables.data import Data
from jepa_sim.data.moments import Moments
from jepa_sim.sweeps.chunks import host_memory
from jepa_sim.sweeps.sweep import Plan, plan

MATRICES = 6  # Σxx, Σyx and Σyy, and as many to find features


def build(config: toml.Config) -> Plan:
    """The plan of the sweep that a configuration describes.

    ConfigError where its data make no moments, or its tables do not fit each other.
    MemoryError where its moments are larger than the machine's memory.
    """
    _check_memory(config.data)
    grid = config.grid.build(_moments(config.data), config.data.stack)
    solver, times = config.solve.build(config.data), config.solve.times.build()
    observables, fractions = config.output.build(), config.output.critical_fraction
    try:
        return plan(grid, solver, times=times, observables=observables, critical_fraction=fractions)
    except ValueError as error:
        raise ConfigError([f"Tables `data`, `grid` and `solve` must fit. {error}"]) from error


def _moments(data: Data) -> Moments | list[Moments]:
    try:
        return data.build()
    except ConfigError:
        raise
    except (ValueError, ImportError) as error:
        raise ConfigError([f"Table `data` must give moments. {error}"]) from error


def _check_memory(data: Data) -> None:
    """MemoryError where moments of the dimension that a key names cannot fit."""
    for key in ("dimension", "shape"):  # the keys that can make moments large
        size = getattr(data, key, 0)
        d = math.prod(size) if isinstance(size, tuple) else size
        least = MATRICES * 8 * d**2
        if least > host_memory():
            rule = f"moments of {d:,} dimensions take at least {least / 2**30:,.0f} GiB"
            raise MemoryError(f"Key `data.{key}` must be smaller: {rule}.")
