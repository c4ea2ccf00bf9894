"""What runs and sweeps save: inner axes, long name and units of every variable. No JAX.

Datasets and stored runs take their labels from here, the TOML the names of observables.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import xarray as xr

FLOW_TIME = "flow time t = kα, in the units of 1/λ"
FEATURE = "number of the feature"  # the long name of this axis


class Variable(NamedTuple):
    """One variable of the dataset.  is_observable: whether [output] may name it."""

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"
    is_observable: bool = False


def _observable(dims: tuple[str, ...], long_name: str, units: str = "1") -> Variable:
    return Variable(dims, long_name, units, is_observable=True)


OVER_TIME, FEATURES, FRACTIONS = ("time",), ("time", "feature"), ("critical_fraction",)
VARIABLES = {
    "t": Variable(OVER_TIME, "time at which the trajectory was saved", FLOW_TIME),
    "features": _observable(FEATURES, "encoder gain w̄ of each feature"),
    "predictor_gains": _observable(FEATURES, "predictor gain v̄ of each feature"),
    "phases": _observable(FEATURES, "angle by which each feature is turned", "radians"),
    "plateau_fraction": _observable(FEATURES, "gain over its plateau"),
    "loss": _observable(OVER_TIME, "population loss", "units of y²"),
    "effective_rank": _observable(OVER_TIME, "exponential of the entropy of singular values"),
    "alignment": _observable(FEATURES, "cosine between a feature and its image under W̄ᵀW̄"),
    "balancedness": _observable(OVER_TIME, "largest imbalance of neighbouring factors"),
    "off_diagonal_mass": _observable(OVER_TIME, "share of features' Gram matrix off its diagonal"),
    "latent_cosines": _observable(
        ("time", "feature", "other_feature"), "cosine between the latents of two features, ≥ 0"
    ),
    "noise_share": _observable(OVER_TIME, "share of the representation that views do not share"),
    "probe_risk": _observable(OVER_TIME, "risk of a linear probe for the signal, of its variance"),
    "critical_time": Variable(
        ("critical_fraction", "feature"),
        "first time at which w̄ reaches the fraction of its plateau "
        "(0: it starts there or above; inf: not in this run)",
        FLOW_TIME,
    ),
    "learned_time": Variable(
        ("critical_fraction", "feature"),
        "last time at which w̄ rises to the fraction of its plateau, to stay there "
        "(0: it starts there and stays; inf: it is below at the end of this run)",
        FLOW_TIME,
    ),
    "trust": Variable(
        FRACTIONS,
        "time at which a cleaner feature displaces a noisier one, over its critical time in the "
        "reduced theory (below 0.87: some critical time is off by more than 10 %; 0: the start is "
        "not aligned with features; NaN: not known)",
    ),
    "order_rho": Variable(FRACTIONS, "Kendall's τ of being learned early and ρ"),
    "order_lam": Variable(FRACTIONS, "Kendall's τ of being learned early and λ"),
    "flips": Variable(FRACTIONS, "pairs of features learned against the order of λ"),
    "first_noisy": Variable(FRACTIONS, "features learned before the first with ρ < 1/2"),
    "plateau": Variable(("feature",), "gain at which each feature comes to rest"),
    "result": Variable((), "how the trajectory ended"),
    "steps": Variable((), "steps of the solver"),
    "accepted": Variable((), "accepted steps of the solver"),
    "rhs": Variable((), "evaluations of the right-hand side"),
    "lam": Variable(("spectrum", "feature"), "covariance λ of each feature", "units of x y"),
    "rho": Variable(("spectrum", "feature"), "regression coefficient ρ = λ/σ² of each feature"),
    "angle": Variable(("spectrum", "feature"), "angle θ by which each feature turns", "radians"),
}
OBSERVABLES = tuple(name for name, known in VARIABLES.items() if known.is_observable)
ORDERS = ("order_rho", "order_lam", "flips", "first_noisy")  # what is said of an order of learning
VARIABLES |= {  # the same of features that are learned for good
    f"learned_{name}": Variable(
        FRACTIONS, VARIABLES[name].long_name.replace("learned", "learned for good")
    )
    for name in ORDERS
}

# The variables of the last crossings, by those of the first. Gains of the closed form rise once, so
# that both are the same: its sweeps compute and store the first alone.
FOR_GOOD = {"critical_time": "learned_time", **{name: f"learned_{name}" for name in ORDERS}}
RISES_ONCE = "rises_once"  # the attribute of a result of which that holds


def with_learned(dataset: "xr.Dataset") -> "xr.Dataset":
    """Name the first crossings as the last ones too, where a result says that they are the same."""
    if RISES_ONCE not in dataset.attrs:
        return dataset
    found = {}
    for first, last in FOR_GOOD.items():
        meaning = VARIABLES[last]
        attrs = {"long_name": meaning.long_name, "units": meaning.units}
        found[last] = dataset[first].assign_attrs(attrs)
    return dataset.assign(found)


def from_start(dataset: "xr.Dataset", times: str) -> "xr.DataArray":
    """The variable `times`, 0 where a feature of a flow is there at the first saved time already.

    A flow from a random start does not save its start, and has that first time there.
    """
    found = dataset[times]
    if RISES_ONCE in dataset.attrs or "t" not in dataset or "time" not in dataset.t.dims:
        return found
    return found.where(found != dataset.t.isel(time=0), 0)
