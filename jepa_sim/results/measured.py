"""What any encoder carries of each feature of the data, from its embeddings of samples.

An input is x = Σ a_i p_i, a_i = v_iᵀ x, with the filters v and unit patterns p of the features
(`Features`). The best linear account of an embedding is h ≈ Σ a_i b_i, with the b_i of the joint
regression of h on all parts a. Its gain of a feature is w̄_i = ‖b_i‖: of a linear encoder h = W̄ x
that is ‖W̄ p_i‖, the gain of the theory.

‖b̂_i‖² of a finite sample is too large by the noise of b̂_i. So the samples are divided into K folds,
each with its own regression b̂^k, and ‖b_i‖² is the mean of ⟨b̂_i^k, b̂_i^l⟩ over pairs k ≠ l, which
has no such bias: the noise of two folds is independent. Its standard error is that of the jackknife
over folds. A fold is a run of neighbours, so that samples which depend on each other, such as crops
of one image, do so within a fold.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ArrayLike, to_numpy
from jepa_sim.data.moments import Moments
from jepa_sim.results.variables import FEATURE, VARIABLES

if TYPE_CHECKING:
    import xarray as xr

LEAST_FOLDS, FOLDS = 3, 10
SAMPLES = 4  # a fold has at least so many for every input dimension


@checked
def measure_gains(
    embeddings: ArrayLike, inputs: ArrayLike, moments: Moments, *, times: ArrayLike | None = None
) -> "xr.Dataset":
    """Gains of the features of `moments` in any encoder, linear or not, at one or many times.

    embeddings: (n, k) what the encoder makes of n inputs, or (t, n, k) at t times of its training.
    inputs: (n, d) these inputs; those that depend on each other, such as crops of one image, must
    stand together.  moments: of the data, as `Moments.from_samples` makes them.  times: (t,)
    ascending times, steps of training or flow times (t = kα, the learning rate times the steps);
    None counts them.

    Returns a dataset with the axes time and feature, which `jepa_sim.plot.trajectories` draws:
    features: gain w̄ = ‖b‖ of the joint linear regression of the embedding on all features; of a
    linear encoder the gain of the theory. 0 where nothing is left above the noise.
    features_error: its standard error.
    variance_share: share of the embedding's variance that is the feature's, σ² w̄² over the sum of
    the variances of all k numbers. It does not depend on the scale of the embedding.
    linear_share: (time,) share of the embedding's variance that is linear in the input at all.

    Gains are estimated without the bias of finite samples (see `jepa_sim.results.measured`), from
    up to 10 folds of at least 4 d samples each. Measure an MAE of the same encoder too: the
    question is which gains are smaller in a JEPA. R² and canonical correlations do not
    depend on the scale of the embedding, so they hardly show that a gain has fallen to 0.03.

    >>> rng = np.random.default_rng(0)
    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> x = rng.normal(size=(1000, 2)) * np.sqrt(moments.features().variance)
    >>> encoder = np.array([[0.8, 0.0], [0.6, 0.1]])  # its columns have lengths 1 and 0.1
    >>> js.measure_gains(x @ encoder.T, x, moments).features.values.round(3)
    array([[1. , 0.1]])

    Raises ValueError where shapes do not fit, numbers are not finite, times do not ascend, or there
    are fewer than 12 d samples.
    """
    h, x = to_numpy(embeddings), to_numpy(inputs)
    h = h[None] if h.ndim == 2 else h
    d = moments.dimension
    if x.ndim != 2 or x.shape[1] != d:
        checks.fail("inputs", f"be of shape (n, {d}), as `moments` are", f"of shape {x.shape}")
    if h.ndim != 3 or h.shape[1] != len(x):
        rule = f"be of shape ({len(x)}, k) or (t, {len(x)}, k), as `inputs` are"
        checks.fail("embeddings", rule, f"of shape {np.shape(embeddings)}")
    least = LEAST_FOLDS * SAMPLES
    if len(x) < least * d:
        checks.fail("inputs", f"hold at least {least} d = {least * d} samples", len(x))
    for name, values in (("embeddings", h), ("inputs", x)):
        if not np.isfinite(values).all():
            checks.fail(name, "be finite", "NaN or infinite in some places")
    t = np.arange(len(h)) if times is None else to_numpy(times)
    if t.shape != (len(h),) or not (np.diff(t) > 0).all():
        checks.fail("times", f"be {len(h)} ascending numbers, one for each embedding", t.tolist())
    return _labelled(t, h, x, moments)


def _labelled(t: np.ndarray, h: np.ndarray, x: np.ndarray, moments: Moments) -> "xr.Dataset":
    import xarray as xr

    features = moments.features()
    parts = (x - x.mean(axis=0)) @ to_numpy(features.basis)
    power, error = map(np.stack, zip(*(_powers(one, parts) for one in h), strict=True))
    gains = np.sqrt(np.maximum(power, 0))
    # of √: half of the relative error; where the power is noise, its error bounds the gain's square
    size = np.maximum(2 * gains, np.sqrt(error))
    gain_error = np.divide(error, size, out=np.zeros_like(error), where=size > 0)
    total = np.var(h, axis=1, ddof=1).sum(axis=-1)[:, None]
    explained = np.maximum(power, 0) * to_numpy(features.variance)
    share = np.divide(explained, total, out=np.zeros_like(explained), where=total > 0)
    over, whole = ("time", "feature"), {"units": "1"}
    variables = {
        "features": (over, gains, {"long_name": VARIABLES["features"].long_name, **whole}),
        "features_error": (over, gain_error, {"long_name": "standard error of w̄", **whole}),
        "variance_share": (
            over,
            share,
            {"long_name": "share of the embedding's variance", **whole},
        ),
        "linear_share": (
            "time",
            share.sum(axis=-1),
            {"long_name": "share of the embedding's variance that is linear in the input", **whole},
        ),
        "lam": ("feature", to_numpy(features.lam), {"long_name": VARIABLES["lam"].long_name}),
        "rho": ("feature", to_numpy(features.rho), {"long_name": VARIABLES["rho"].long_name}),
    }
    coordinates = {
        "t": ("time", t, {"long_name": "time of training", "units": "as given"}),
        "feature": ("feature", np.arange(len(features.lam)), {"long_name": FEATURE, **whole}),
    }
    return xr.Dataset(variables, coordinates, {"title": "gains measured in embeddings"})


def _powers(
    h: Float[np.ndarray, "n k"], parts: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """‖b_i‖² without the bias of noise, and its standard error."""
    n, d = parts.shape
    count = min(FOLDS, n // (SAMPLES * d))
    folds = zip(np.array_split(h, count), np.array_split(parts, count), strict=True)
    b = np.stack([_regression(*fold) for fold in folds])
    squares = np.sum(b**2, axis=2)
    power = _pairs(b.sum(axis=0), squares.sum(axis=0), count)
    without = _pairs(b.sum(axis=0) - b, squares.sum(axis=0) - squares, count - 1)  # one fold
    spread = np.sum((without - without.mean(axis=0)) ** 2, axis=0)
    return power, np.sqrt(spread * (count - 1) / count)


def _pairs(
    sums: Float[np.ndarray, "*folds d k"], squares: Float[np.ndarray, "*folds d"], count: int
) -> Float[np.ndarray, "*folds d"]:
    """The mean of ⟨b^k, b^l⟩ over pairs k ≠ l, from Σ b^k and Σ ‖b^k‖²."""
    return (np.sum(sums**2, axis=-1) - squares) / (count * (count - 1))


def _regression(
    h: Float[np.ndarray, "m k"], parts: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "d k"]:
    """Coefficients of a least-squares fit with an intercept."""
    centred = parts - parts.mean(axis=0)
    return np.linalg.lstsq(centred, h - h.mean(axis=0), rcond=None)[0]
