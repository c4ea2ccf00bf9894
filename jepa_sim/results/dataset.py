"""One run as a labelled dataset. Names and units are those of a sweep's dataset."""

from typing import TYPE_CHECKING

import jax
import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import is_concrete
from jepa_sim.numerics.display.numbers import described
from jepa_sim.results.labels import meaning
from jepa_sim.results.variables import FEATURE

if TYPE_CHECKING:
    from jepa_sim.results.trajectory import Trajectory


def dataset_of(run: "Trajectory") -> xr.Dataset:
    """See `Trajectory.to_xarray`."""
    if not is_concrete(run.result, run.times) or np.ndim(run.result) or np.ndim(run.times) != 1:
        checks.fail("run", "be one trajectory outside of `jit` and `vmap`", "several or traced")
    features, problem = run.problem.features, run.problem
    lasting = {"plateau": problem.plateaus, "lam": features.lam, "rho": features.rho}
    if features.angle is not None:
        lasting["angle"] = features.angle
    # of an observable that is a pytree, every array by its place in it
    observed = {
        name + jax.tree_util.keystr(path): leaf
        for name, value in run.values.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(value)
    }
    saved = {**observed, **lasting, "result": run.result, **run.stats}
    variables = {name: _labelled(name, np.asarray(value)) for name, value in saved.items()}
    numbers = np.arange(features.lam.size)
    coordinates = {
        "t": _labelled("t", np.asarray(run.times)),
        "feature": ("feature", numbers, {"long_name": FEATURE, "units": "1"}),
    }
    about = {
        "title": "jepa_sim run",
        "objective": problem.objective.name,
        "depth": float(problem.depth),
        "predictor_depth": float(problem.predictor_depth),
        "scale": float(problem.scale),
        "start": described(problem.start),
        "network": described(problem.network),
        "training": described(problem.training, type(problem.training)()),
        "solver": str(run.solver),
    }
    return xr.Dataset(variables, coordinates, about)


def _labelled(name: str, value: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, dict]:
    dims, attrs = meaning(name, value.ndim)
    # one run has one spectrum
    return tuple(dim for dim in dims if dim != "spectrum"), value, attrs
