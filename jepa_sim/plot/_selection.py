"""Plain arrays for figures, from a trajectory or from a selection of a sweep."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.results.evictions import Eviction, evictions, evictions_of
from jepa_sim.results.trajectory import Trajectory
from jepa_sim.results.variables import from_start

Result = xr.Dataset | Trajectory


class Curves(NamedTuple):
    """Gains (t, d) at times (t,), and ρ, λ, plateau (d,) of each feature; losses by `evictions`."""

    times: np.ndarray
    gains: np.ndarray
    rho: np.ndarray
    lam: np.ndarray
    plateau: np.ndarray
    losses: tuple[Eviction, ...]


def curves(run: Result) -> Curves:
    """The curves of one trajectory. ValueError where a dataset has further axes."""
    if isinstance(run, Trajectory):
        features = run.problem.features
        found = (run.times, run.features, features.rho, features.lam, run.problem.plateaus)
        return Curves(*map(np.asarray, found), losses=evictions(run))
    check_axes(run.features, {"time", "feature"}, "be one trajectory")
    gains = run.features.transpose("time", "feature").values
    unknown = np.full(gains.shape[1], np.nan)
    plateau = run.plateau.values if "plateau" in run else unknown
    times, rho, lam = run.t.values, run.rho.values, run.lam.values
    return Curves(times, gains, rho, lam, plateau, evictions_of(times, gains, plateau, rho, lam))


class LearnedTimes(NamedTuple):
    """When each feature is learned: times (objective, d), and ρ, λ (d,) of the features."""

    objectives: tuple[str, ...]
    times: np.ndarray
    rho: np.ndarray
    lam: np.ndarray


def learned(run: Result, fraction: float, times: str = "critical_time") -> LearnedTimes:
    """When features are learned, by every objective.

    Raises ValueError where a dataset has other axes than objective and feature, or lacks the
    fraction.
    """
    if isinstance(run, Trajectory):
        features = run.problem.features
        found = run.learned_times if times == "learned_time" else run.critical_times
        late = np.asarray(found(fraction=fraction))[None]
        late = np.where(late == float(run.times[0]), 0, late)  # see `from_start`
        rho, lam = np.asarray(features.rho), np.asarray(features.lam)
        return LearnedTimes((run.problem.objective.name,), late, rho, lam)
    found = from_start(run, times)
    if "critical_fraction" in found.dims:
        known = found.critical_fraction.values.tolist()
        if fraction not in known:
            checks.fail("fraction", f"be one of {known}", str(fraction))
        found = found.sel(critical_fraction=fraction)
    check_axes(found, {"objective", "feature"}, "have the axes `objective` and `feature` alone")
    if "objective" not in found.dims:
        found = found.expand_dims("objective")
    names = tuple(map(str, np.atleast_1d(found.objective.values)))
    values = found.transpose("objective", "feature").values
    return LearnedTimes(names, values, run.rho.values, run.lam.values)


def check_axes(values: xr.DataArray, wanted: set[str], rule: str, argument: str = "run") -> None:
    """ValueError, with the rule, where a dataset has other axes than those wanted."""
    left = sorted({str(name) for name in values.dims} - wanted)
    if left:
        checks.fail(argument, rule, f"of the axes {left} too")
