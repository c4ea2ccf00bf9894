"""The labelled result of a sweep: named axes, units, and what made it."""

import dataclasses
import datetime
import importlib.metadata
import json
import platform
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from jepa_sim import __version__
from jepa_sim.results.labels import meaning
from jepa_sim.results.trust import HOLDS_FROM
from jepa_sim.results.variables import (
    OBSERVABLES,
    RISES_ONCE,
    VARIABLES,
    from_start,
    with_learned,
)
from jepa_sim.solvers.base import AbstractSolver
from jepa_sim.sweeps.axes import AXES, attributes
from jepa_sim.sweeps.grid import AbstractTimes, Grid

# Names that an observable of a user cannot have.
TAKEN = (*(VARIABLES.keys() - set(OBSERVABLES)), *AXES, "time")


def label(
    grid: Grid,
    solver: AbstractSolver,
    times: AbstractTimes,
    fractions: tuple[float, ...],
    results: dict[str, np.ndarray],
    *,
    is_random: bool,
) -> xr.Dataset:
    """Name everything in `results`, arrays of axes (objective, depth, …, spectrum, …).

    is_random: whether seeds make a difference.
    """
    variables, results = {}, dict(results)
    lanes = tuple(grid.shape)
    # the same for every scale and seed
    plateau = results.pop("plateau")[:, :, :, 0].take(0, axis=lanes.index("seed") - 1)
    axes = ("objective", "depth", "predictor_depth", *grid.axes, "spectrum", "feature")
    variables["plateau"] = (axes, plateau, meaning("plateau", 1)[1])
    for name, value in results.items():
        inner, attrs = meaning(name, value.ndim - len(lanes))
        seed = lanes.index("seed")
        whole = (*value.shape[:seed], len(grid.seed), *value.shape[seed + 1 :])
        variables[name] = ((*lanes, *inner), np.broadcast_to(value, whole), attrs)
    known = {**variables, **constants(grid)}
    axes = coordinates(grid, times, fractions, is_random=is_random)
    found = with_learned(xr.Dataset(known, axes, provenance(grid, solver)))
    return found.assign_attrs(remarks="\n".join(remarks(found)))


def remarks(dataset: xr.Dataset) -> list[str]:
    """Remarks on what may surprise in a result, one sentence each."""
    found = []
    if dataset.sizes["seed"] > 1 and dataset.seed.attrs.get("is_random", 1) == 0:
        found.append(
            f"Nothing in it is random: all {dataset.sizes['seed']} seeds are copies of one run."
        )
    times = dataset.critical_time
    at_start = int((from_start(dataset, "critical_time") == 0).sum())
    if at_start:
        found.append(
            f"{at_start:,} of {times.size:,} critical times are 0 or the first saved time: there "
            "the start is at or above that fraction of the plateau, and the time says nothing of "
            "learning. Use a smaller ε."
        )
    if "trust" in dataset:
        wrong = int((dataset.trust < HOLDS_FROM).sum())
        if wrong:
            found.append(
                f"In {wrong:,} of {dataset.trust.size:,} cases (runs and fractions) the reduced "
                "theory does not hold: a cleaner feature displaces a noisier one before the theory "
                "has it learned, and some critical time is off by more than 10 %. The variable "
                "`trust` says in which cases. `GradientFlow` computes what happens in them."
            )
    if "learned_time" in dataset and RISES_ONCE not in dataset.attrs:
        last = dataset.learned_time
        lost = int((np.isfinite(times) & (last > times)).sum())
        if lost:
            found.append(
                f"{lost:,} of {times.size:,} critical times are of features that fell below that "
                "fraction again, as where a cleaner feature evicts a noisier one: `learned_time` "
                "says when they were learned for good (inf: not in this run)."
            )
    return found


def constants(grid: Grid) -> dict[str, tuple]:
    """λ and ρ of every spectrum, and θ where some features turn."""
    known = grid.features
    features = {"lam": known.lam, "rho": known.rho}
    if known.angle is not None:
        features["angle"] = known.angle
    labels = {name: meaning(name, 2) for name in features}
    return {name: (dims, np.asarray(features[name]), a) for name, (dims, a) in labels.items()}


def coordinates(
    grid: Grid, times: AbstractTimes, fractions: tuple[float, ...], *, is_random: bool
) -> dict:
    """Every axis by name.  is_random: whether seeds make a difference."""

    values: dict[str, Any] = {
        **grid.values,
        "feature": np.arange(grid.features.lam.shape[-1]),
        "critical_fraction": fractions,
    }
    axes = {
        name: (name, np.asarray(found), grid.labels.get(name) or attributes(name))
        for name, found in values.items()
    }
    seeds = axes["seed"][2]
    seeds["is_random"] = int(is_random)
    if not is_random:
        seeds["long_name"] += " (nothing is random: all are one run)"
    if times.fractions is not None:
        about = "time over the trajectory's own last critical time"
        labels = {"long_name": about, "units": "1"}
        axes["time_fraction"] = ("time", np.asarray(times.fractions), labels)
    return axes


def provenance(grid: Grid, solver: AbstractSolver) -> dict[str, str]:
    """What made a result: versions, precision, device, when, and the grid and solver."""
    device = jax.devices()[0]
    values, kinds = grid.values, {"objective": str, "seed": int}
    spectra = len(values.pop("spectrum"))
    axes = {
        **{name: list(map(kinds.get(name, float), found)) for name, found in values.items()},
        "spectra": spectra,
        "start": repr(grid.start),
        "network": repr(grid.network),
        "training": eqx.tree_pformat(grid.training, short_arrays=False),
    }
    found = {
        "title": "jepa_sim sweep",
        **{f"{package}_version": version for package, version in versions().items()},
        "precision": str(grid.spectrum.xx.dtype),
        "device": f"{device.platform}: {device.device_kind} × {jax.device_count()}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "solver": described(solver),
        "config": json.dumps(axes),
    }
    if solver.is_exact:
        found[RISES_ONCE] = "gains rise once: learned_time is critical_time"
    return found


def versions(*further: str) -> dict[str, str]:
    """Of Python, of the packages that a result depends on, and of `further` packages."""
    packages = ("jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "xarray")
    found = {name: _version(name) for name in (*packages, *further)}
    return {"python": platform.python_version(), "jepa_sim": __version__, **found}


def described(solver: AbstractSolver) -> str:
    """The solver with the values of its fields, arrays of samples by their shapes.

    A field with `repr=False` changes no result and is left out.
    """
    fields = []
    for field in filter(lambda field: field.repr, dataclasses.fields(solver)):
        value = getattr(solver, field.name)
        if isinstance(value, jax.Array) and value.ndim == 0:
            value = float(value)
        fields.append(f"{field.name}={getattr(value, '__name__', None) or value!r}")
    return f"{type(solver).__name__}({', '.join(fields)})"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
