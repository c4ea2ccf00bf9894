"""The labelled result of a sweep: named axes, units, and where it came from."""

import dataclasses
import datetime
import importlib.metadata
import json
import platform

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from jepa_sim.arguments.types import ResultCode
from jepa_sim.results import observables
from jepa_sim.solvers.base import AbstractSolver
from jepa_sim.sweeps.grid import RESERVED, AbstractTimes, Grid

FLOW_TIME = "flow time t = kα, in the units of 1/λ"

# name: (axes after those of the lane, long name, units)
_KNOWN = {
    "t": (("time",), "time at which the trajectory was saved", FLOW_TIME),
    "features": (("time", "feature"), "encoder gain w̄ of each feature", "1"),
    "predictor_gains": (("time", "feature"), "predictor gain v̄ of each feature", "1"),
    "plateau_fraction": (("time", "feature"), "gain over its plateau", "1"),
    "alignment": (("time", "feature"), "cosine between a feature and its image under W̄ᵀW̄", "1"),
    "loss": (("time",), "population loss", "units of y²"),
    "effective_rank": (("time",), "exponential of the entropy of singular values", "1"),
    "noise_share": (("time",), "share of the representation that views do not share", "1"),
    "probe_risk": (("time",), "risk of a linear probe for the signal, of its variance", "1"),
    "balancedness": (("time",), "largest imbalance of neighbouring factors", "1"),
    "off_diagonal_mass": (("time",), "share of features' Gram matrix off its diagonal", "1"),
    "critical_time": (
        ("critical_fraction", "feature"),
        "first time at which w̄ reaches the fraction of its plateau "
        "(0: it starts there or above; inf: not in this run)",
        FLOW_TIME,
    ),
    "order_rho": (("critical_fraction",), "Kendall's τ of being learned early and ρ", "1"),
    "order_lam": (("critical_fraction",), "Kendall's τ of being learned early and λ", "1"),
    "flips": (("critical_fraction",), "pairs of features learned against the order of λ", "1"),
    "first_noisy": (
        ("critical_fraction",),
        "features learned before the first with ρ < 1/2",
        "1",
    ),
    "plateau": (("feature",), "gain at which each feature comes to rest", "1"),
    "result": ((), "how the trajectory ended", "1"),
    "steps": ((), "steps of the solver", "1"),
    "accepted": ((), "accepted steps of the solver", "1"),
    "rhs": ((), "evaluations of the right-hand side", "1"),
}

# names that an observable cannot have in a sweep
TAKEN = (*(_KNOWN.keys() - set(observables.__all__) - {"probe_risk"}), "lam", "rho", *RESERVED)

# further axes that a configuration can name
_AXES = {
    "weight_decay": "weight decay η of all factors",
    "encoder_rate": "learning rate of the encoder, in units of flow time",
    "predictor_rate": "learning rate of the predictor, in units of flow time",
    "time_constant": "time constant τ of the moving-average teacher, in flow time",
    "penalty": "penalty β of whitening",
    "imbalance": "imbalance κ between predictor and encoder at the start",
    "angle": "angle of the predictor's misalignment at the start, in radians",
}


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
    found = xr.Dataset(known, axes, provenance(grid, solver))
    return found.assign_attrs(remarks="\n".join(remarks(found)))


def meaning(name: str, rank: int) -> tuple[tuple[str, ...], dict]:
    """The axes of a result after those of its lane, of which there are `rank`, and attributes."""
    inner, long_name, units = _KNOWN.get(name, (None, name, "unknown"))
    if inner is None:  # an observable of the user's own
        inner = ("time", *(f"{name}_{axis}" for axis in range(1, rank)))
    attrs: dict = {"long_name": long_name, "units": units}
    if name == "result":
        attrs["flag_values"] = np.array([code.value for code in ResultCode], np.int8)
        attrs["flag_meanings"] = " ".join(code.name for code in ResultCode)
    return inner, attrs


def remarks(dataset: xr.Dataset) -> list[str]:
    """What is true of a result but may surprise, a sentence each."""
    found = []
    if dataset.sizes["seed"] > 1 and dataset.seed.attrs.get("is_random", 1) == 0:
        found.append(
            f"Nothing in it is random: all {dataset.sizes['seed']} seeds are copies of one run."
        )
    times = dataset.critical_time
    at_start = int((times == 0).sum())
    if at_start:
        found.append(
            f"{at_start:,} of {times.size:,} critical times are 0: there the start ε is at or "
            "above that fraction of the plateau, and the time says nothing of learning. Use a "
            "smaller ε."
        )
    return found


def constants(grid: Grid) -> dict[str, tuple]:
    """λ and ρ of every spectrum."""
    features, dims = grid.features, ("spectrum", "feature")
    lam, rho = "covariance λ of each feature", "regression coefficient ρ = λ/σ² of each feature"
    return {
        "lam": (dims, np.asarray(features.lam), {"long_name": lam, "units": "units of x y"}),
        "rho": (dims, np.asarray(features.rho), {"long_name": rho, "units": "1"}),
    }


def coordinates(
    grid: Grid, times: AbstractTimes, fractions: tuple[float, ...], *, is_random: bool
) -> dict:
    """Every axis by name.  is_random: whether seeds make a difference."""

    def axis(name: str, values: object, long_name: str, **further: int) -> tuple:
        return name, np.asarray(values), {"long_name": long_name, "units": "1", **further}

    axes = {
        "objective": axis("objective", [o.name for o in grid.objective], "training objective"),
        "depth": axis("depth", grid.depth, "layers L of the encoder"),
        "predictor_depth": axis(
            "predictor_depth", grid.predictor_depth, "layers M of the predictor or decoder"
        ),
        "scale": axis("scale", grid.scale, "encoder gain ε at the start"),
        **{
            name: axis(name, values, _AXES.get(name, "further axis of the grid"))
            for name, values in grid.axes.items()
        },
        "seed": axis(
            "seed",
            grid.seed,
            "seed of all random numbers of a trajectory"
            + ("" if is_random else " (nothing is random: all are one run)"),
            is_random=int(is_random),
        ),
        "spectrum": axis("spectrum", np.arange(grid.shape["spectrum"]), "number of the moments"),
        "feature": axis("feature", np.arange(grid.features.lam.shape[-1]), "number of the feature"),
        "critical_fraction": axis("critical_fraction", fractions, "fraction of the plateau"),
    }
    if times.fractions is not None:
        axes["time_fraction"] = axis(
            "time", times.fractions, "time over the trajectory's own last critical time"
        )
    return axes


def provenance(grid: Grid, solver: AbstractSolver) -> dict[str, str]:
    """What made a result: versions, precision, device, when, and the grid and solver."""
    device = jax.devices()[0]
    axes = {
        "objective": [o.name for o in grid.objective],
        "depth": list(map(float, grid.depth)),
        "predictor_depth": list(map(float, grid.predictor_depth)),
        "scale": list(map(float, grid.scale)),
        **{name: list(map(float, values)) for name, values in grid.axes.items()},
        "seed": list(map(int, grid.seed)),
        "spectra": grid.shape["spectrum"],
        "start": repr(grid.start),
        "network": repr(grid.network),
        "training": eqx.tree_pformat(grid.training, short_arrays=False),
    }
    return {
        "title": "jepa_sim sweep",
        **{f"{package}_version": version for package, version in versions().items()},
        "precision": str(grid.spectrum.xx.dtype),
        "device": f"{device.platform}: {device.device_kind} × {jax.device_count()}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "solver": described(solver),
        "config": json.dumps(axes),
    }


def versions() -> dict[str, str]:
    """Of Python, and of the packages that a result depends on."""
    packages = ("jepa_sim", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "xarray")
    found = {package: _version(package) for package in packages}
    return {**found, "python": platform.python_version()}


def described(solver: AbstractSolver) -> str:
    """The solver with the values of its fields, arrays of samples by their shapes."""
    fields = []
    for field in dataclasses.fields(solver):
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
