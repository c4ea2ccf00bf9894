"""Data models: pairs of views of one thing.

A data model knows the second moments of its context x and target y in closed form (or, for real
data, over the whole of a data set), and draws pairs of views whose moments converge to those:

    views.exact_moments()          differentiable and vmappable in the model's float fields
    views.pairs(count, seed=0)     batches (x, y) on the host
    views.sampled_moments(count)   as an experimenter would find them

Some views are made from things z ∈ R^d of a source: `Gaussian` here, patches of photographs and
digits in `images`. Variances are called `signal` and `noise` and are in units of the data squared;
names of standard deviations end in `_sd`.
"""

import abc
import contextlib
from collections.abc import Callable, Iterator

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.checks import amplification_expected
from jepa_sim.arguments.covariance import MATRIX_TOLERANCE
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import (
    ArrayLike,
    Number,
    Scalar,
    as_float_array,
    is_concrete,
    to_numpy,
)
from jepa_sim.data.features import common_features, turning
from jepa_sim.data.moments import Moments

Draws = Float[np.ndarray, "count d"]
Covariance = Float[Array | np.ndarray, "d d"]
Pair = tuple[np.ndarray, ...]  # (count, d) and (count, dy); with actions (count,) numbers too


class AbstractViews(Checked):
    """Pairs (x, y) of views with known second moments.

    is_exchangeable: whether (y, x) has the same law as (x, y). A subclass sets it as a class
    attribute or a field.
    """

    is_exchangeable: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def exact_moments(self) -> Moments:
        """Σxx, Σyx and Σyy."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs: x of shape (count, d), y of shape (count, dy)."""

    def pairs(
        self, count: int = 100_000, *, seed: int = 0, batch_size: int = 8192
    ) -> Iterator[Pair]:
        """`count` independent pairs (x, y), in batches of at most `batch_size`."""
        return in_batches(self.draw, count, seed=seed, batch_size=batch_size)

    def sampled_moments(self, count: int = 100_000, *, seed: int = 0) -> Moments:
        """Moments of `count` sampled pairs, less their means, in double precision on the host.

        Exchangeable pairs are counted both as (x, y) and as (y, x): so Σyx is symmetric and
        Σyy = Σxx, as they are in law.
        """
        pairs = self.pairs(count, seed=seed)
        if self.is_exchangeable:
            pairs = (pair for x, y in pairs for pair in ((x, y), (y, x)))
        with one_thread(), amplification_expected():
            return Moments.from_samples(pairs)


class AbstractSource(Checked):
    """A source of things z ∈ R^d of mean zero.  covariance: (d, d) E[z zᵀ].

    `side` raises ValueError where things are not square images.
    """

    covariance: eqx.AbstractVar[Covariance]

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Draws:
        """`count` independent things."""

    @property
    def dimension(self) -> int:
        """The dimension d of a thing."""
        return self.covariance.shape[0]

    @property
    def side(self) -> int:
        """√d, for square images of d pixels, row by row."""
        side = round(self.dimension**0.5)
        if side**2 != self.dimension:
            checks.fail("source", "give square images", f"of {self.dimension} pixels")
        return side


class Gaussian(AbstractSource):
    """Normal things with a given covariance, (d, d), symmetric positive semidefinite.

    Raises ValueError where the covariance is not.
    """

    covariance: Covariance

    def __init__(self, covariance: ArrayLike):
        checks.check_covariance("covariance", covariance, definite=False)
        self.covariance = as_float_array(covariance)

    def draw(self, rng: np.random.Generator, count: int) -> Draws:
        """`count` independent things."""
        return normal(rng, count, self.covariance)


def in_batches(
    draw: Callable[[np.random.Generator, int], Pair], count: int, *, seed: int, batch_size: int
) -> Iterator[Pair]:
    """`count` draws from one generator, at most `batch_size` at a time."""
    checks.check_integer_from("count", count, 1)
    checks.check_integer_from("batch_size", batch_size, 1)
    rng = np.random.default_rng(seed)
    return (draw(rng, min(batch_size, count - first)) for first in range(0, count, batch_size))


def normal(rng: np.random.Generator, count: int, covariance: ArrayLike) -> Draws:
    """`count` normal vectors of mean zero; the covariance may be singular."""
    variance, basis = np.linalg.eigh(to_numpy(covariance))
    root = basis * np.sqrt(np.maximum(variance, 0))  # rounding makes zeros negative
    return rng.standard_normal((count, len(root))) @ root.T


def white(rng: np.random.Generator, shape: tuple[int, ...], variance: ArrayLike) -> Draws:
    """Independent normal numbers, with one variance for all or one for each column."""
    return rng.standard_normal(shape) * np.sqrt(to_numpy(variance))


def aligned_moments(
    variance: Float[Array, " d"],
    lam: Float[Array, " d"],
    target_variance: Float[Array, " d"],
    basis: Float[Array, "d d"],
    angle: Float[Array, " d"] | None = None,
) -> Moments:
    """Moments diagonal in `basis`, whose features are known and keep their order.

    angle: (d,) of pairs of features that turn, where there are any.
    """
    known = common_features(lam, lam / variance, variance, target_variance, basis, angle)
    xx, yx, yy = (rotated(diagonal, basis) for diagonal in (variance, lam, target_variance))
    if angle is not None:
        yx = basis @ turning(lam, angle) @ basis.T
    return Moments(xx, yx, yy).with_features(known)


def rotated(diagonal: Float[Array, " d"], basis: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """U diag(·) Uᵀ."""
    return (basis * diagonal[None, :]) @ basis.T


def per_feature(argument: str, value: ArrayLike, count: int | None = None) -> Float[Array, " d"]:
    """`value` as one number for each of `count` features; a single number holds for all."""
    shape = np.shape(value)
    if len(shape) > 1 or shape == (0,) or (count is None and shape == ()):
        checks.fail(argument, "be a list of at least one number", f"of shape {shape}")
    if count is not None and shape not in ((), (count,)):
        checks.fail(argument, f"be one number or {count}", f"of shape {shape}")
    checks.check_finite(argument, value)
    array = as_float_array(value)
    return array if count is None else jnp.broadcast_to(array, (count,))


def number_between(
    argument: str, value: Scalar, least: Number, most: Number = float("inf")
) -> Float[Array, ""]:
    """`value` as an array, if it lies between `least` and `most`, both included."""
    checks.check_between(argument, value, least, most)
    return as_float_array(value)


def basis_of(argument: str, basis: ArrayLike | None, count: int) -> Float[Array, "d d"]:
    """An orthogonal basis, one feature per column; None: the identity."""
    if basis is None:
        return jnp.eye(count)
    checks.check_square(argument, basis, count)
    checks.check_finite(argument, basis)
    if is_concrete(basis):
        gram = to_numpy(basis).T @ to_numpy(basis)
        error = np.abs(gram - np.eye(count)).max()
        if error > MATRIX_TOLERANCE:
            checks.fail(argument, "be orthogonal, one feature per column", f"off by {error:.3g}")
    return as_float_array(basis)


def one_thread() -> contextlib.AbstractContextManager:
    """A context in which numpy's BLAS has one thread, where threadpoolctl is installed.

    On busy cores several threads are slower, since they wait for each other.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(1, user_api="blas")
