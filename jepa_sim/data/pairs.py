"""Pairs of features that turn between context and target: Σyx that is not symmetric.

Let a plane have one variance, Σxx = σ² I, and turn by θ, Σyx = λ R(θ). As a complex number its
regression coefficient is ρ e^{iθ}, ρ = λ/σ², and that of its other half ρ e^{−iθ}. Both halves are
features of the modulus ρ, with the angles θ and −θ. They exist where Σyx is normal (it commutes
with its transpose) and commutes with Σxx. Then the normal matrix

    N = Σyx/‖Σyx‖ + c Σxx/‖Σxx‖

has a block-diagonal real Schur form. For almost every c its blocks tell all features apart, also
those of one ρ and different σ²; these blocks are those of Σyx and Σxx too.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import ArrayLike, as_float_array, is_concrete, to_numpy
from jepa_sim.data.features import Features, common_features, partners, turning

MIXED = 0.6180339887  # c, which no moments are likely to know
ROUNDING = 1e4  # moments that commute do so within this many units of rounding


class Pairs(NamedTuple):
    """Features of moments in a common basis, of which neighbours may be pairs.

    lam, rho, variance, angle: (d,).  basis: (d, d) orthogonal, one feature a column.
    rest: what is left out of Σxx and Σyx, as a share of each; the larger of the two.
    """

    lam: np.ndarray
    rho: np.ndarray
    variance: np.ndarray
    angle: np.ndarray
    basis: np.ndarray
    rest: float


def may_turn(xx: np.ndarray, yx: np.ndarray, eps: float) -> bool:
    """Whether Σyx is not symmetric, but commutes with its transpose and with Σxx, but for rounding.

    It takes four products of matrices, where `find_pairs` takes as long as an eigenproblem.
    """
    norm = np.linalg.norm
    rounding, size = ROUNDING * eps, norm(yx)
    if norm(yx - yx.T) <= rounding * size or norm(xx @ yx - yx @ xx) > rounding * size * norm(xx):
        return False
    return bool(norm(yx @ yx.T - yx.T @ yx) <= rounding * size**2)


def find_pairs(xx: np.ndarray, yx: np.ndarray, eps: float) -> Pairs:
    """The features of (d, d) Σxx and Σyx, by falling ρ: the nearest ones, as `rest` says.

    eps: the rounding of the moments.
    """
    normal = yx / np.linalg.norm(yx) + MIXED * xx / np.linalg.norm(xx)
    form, basis, *_ = scipy.linalg.schur(normal, output="real")
    in_x, in_y = (basis.T @ matrix @ basis for matrix in (xx, yx))
    lam, variance, angle = in_y.diagonal().copy(), in_x.diagonal().copy(), np.zeros(len(xx))
    kept_x, kept_y = np.diag(variance), np.diag(lam)
    order = np.arange(len(xx))  # pairs stay neighbours
    for i in np.flatnonzero(form.diagonal(-1)):
        both = slice(i, i + 2)
        cos, sin = lam[both].mean(), (in_y[i + 1, i] - in_y[i, i + 1]) / 2
        if abs(sin) <= ROUNDING * eps * np.linalg.norm(yx):
            continue  # two features of one real ρ
        kept_y[both, both] = [[cos, -sin], [sin, cos]]
        kept_x[both, both] = variance[both].mean() * np.eye(2)
        lam[both], variance[both] = np.hypot(cos, sin), variance[both].mean()
        angle[both] = abs(np.arctan2(sin, cos)) * np.array([1, -1])
        if sin < 0:  # the other way round it turns by a positive angle
            order[both] = [i + 1, i]
    lefts = (
        np.linalg.norm(kept - found) / np.linalg.norm(found)
        for kept, found in ((kept_x, in_x), (kept_y, in_y))
    )
    rho, basis = lam / variance, basis[:, order]
    falling = np.argsort(-rho, kind="stable")
    numbers = (x[falling] for x in (lam, rho, variance, angle))
    return Pairs(*numbers, basis=basis[:, falling], rest=float(max(lefts)))


def turned_features(
    xx: Float[Array, "d d"], yx: Float[Array, "d d"], yy: Float[Array, "d d"]
) -> Features | None:
    """Features of which some are pairs; None where none turns, or they are no pairs."""
    eps, known = float(jnp.finfo(xx.dtype).eps), (to_numpy(xx), to_numpy(yx))
    if not may_turn(*known, eps):
        return None
    found = find_pairs(*known, eps)
    return _features_of(found, yy) if found.rest <= ROUNDING * eps else None


def nearest_pairs(
    xx: Float[Array, "d d"], yx: Float[Array, "d d"], yy: Float[Array, "d d"], tolerance: float
) -> tuple[Array, Array, Array, Features]:
    """Σxx, Σyx, Σyy and features of the nearest moments with pairs; see `Moments.paired`."""
    found = find_pairs(to_numpy(xx), to_numpy(yx), float(jnp.finfo(xx.dtype).eps))
    if found.rest > tolerance:
        rule = f"turn features in pairs, but for a share of {tolerance:g}"
        checks.fail("yx", rule, f"off by {found.rest:.3g}")
    known = _features_of(found, yy)
    least = known.lam * known.rho  # what x predicts of y
    power = jnp.maximum(known.target_variance, least)
    known = dataclasses.replace(known, target_variance=power)
    assert known.angle is not None
    u = known.basis
    xx, yy = ((u * size[None, :]) @ u.T for size in (known.variance, power))
    return xx, u @ turning(known.lam, known.angle) @ u.T, yy, known


def _features_of(found: Pairs, yy: Float[Array, "d d"]) -> Features:
    """Pairs as `Features`, with the power of each in y; both of a pair have the mean of theirs."""
    numbers = (jnp.asarray(x, yy.dtype) for x in found[:-1])
    lam, rho, variance, angle, basis = numbers
    power = jnp.sum(basis * (yy @ basis), axis=0)
    power = (power + power[partners(angle)]) / 2
    return common_features(lam, rho, variance, power, basis, angle)


def planes(features: Features, angle: Float[Array, " d"]) -> tuple[Array, Array, Array]:
    """(d, 2, 2) σ² I, λ R(|θ|) and vᵀΣyy v I of every feature: both of a pair have the same."""
    cos, sin = jnp.cos(angle), jnp.sin(jnp.abs(angle))
    rotation = jnp.stack([jnp.stack([cos, -sin], 1), jnp.stack([sin, cos], 1)], 1)
    identity = jnp.eye(2, dtype=angle.dtype)[None]
    variance, power = (
        x[:, None, None] * identity for x in (features.variance, features.target_variance)
    )
    return variance, features.lam[:, None, None] * rotation, power


def angles(
    angle: ArrayLike,
    lam: Float[Array, " d"],
    rho: Float[Array, " d"],
    target_variance: Float[Array, " d"],
) -> Float[Array, " d"]:
    """The angles of features. ValueError where those that turn are no pairs."""
    if np.shape(angle) != np.shape(lam):
        checks.fail("angle", f"be of the shape of `lam`, {np.shape(lam)}", f"of {np.shape(angle)}")
    checks.check_finite("angle", angle)
    if is_concrete(angle, lam, rho, target_variance):
        theta = to_numpy(angle)
        if (np.abs(theta) >= np.pi).any():
            checks.fail("angle", "be above −π and below π (a half turn is a negative ρ)", theta)
        rule = "be θ > 0 and then −θ for the two features of a pair, of one λ, ρ and vᵀΣyy v"
        same = np.stack([to_numpy(x) for x in (np.abs(theta), lam, rho, target_variance)])
        first = 0
        while first < theta.size:
            turns = theta[first] != 0
            pair = theta[first : first + 2]
            alike = pair.size == 2 and (same[:, first] == same[:, first + 1]).all()
            if turns and not (alike and pair[0] > 0 > pair[1] and to_numpy(lam)[first] > 0):
                checks.fail("angle", rule, f"{theta[first]:.6g} for feature {first}")
            first += 1 + turns
    return as_float_array(angle)
