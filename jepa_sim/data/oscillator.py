"""Oscillators seen in noise, now and some steps later: features that turn in pairs.

Every oscillator is a plane. Its signal, of variance s² in both directions, turns by ω and forgets a
share of itself at every step, and each view adds white noise n²:

    z(t+1) = γ R(ω) z(t) + √(1 − γ²) s ξ,   x = z(t) + n,   y = z(t+k) + n'

So Σxx = (s² + n²) I and Σyx = γ^k s² R(kω): a pair of features with

    λ = γ^k s²,   ρ = λ/(s² + n²),   θ = kω     (of kω the angle in (−π, π])
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import ArrayLike, is_concrete, to_numpy
from jepa_sim.data.base import (
    AbstractViews,
    Draws,
    Pair,
    aligned_moments,
    basis_of,
    per_feature,
    white,
)
from jepa_sim.data.moments import Moments


class Oscillator(AbstractViews):
    """Damped oscillators in white noise, seen now and `lag` steps later; see the formulas above.

    signal, noise: (p,) variances s² and n² of each of the two directions of a plane.
    autocorrelation: (p,) γ in (0, 1], what a step keeps.  frequency: (p,) ω, radians a step. Except
    in `signal`, a single number holds for all.  lag: k ≥ 1 steps.
    basis: (d, d) orthogonal, d = 2p; columns 2i and 2i + 1 are a plane (None: the identity).

    With ω = 0 both features of a plane stay what they are. No kω may be an odd multiple of π: λ
    would be negative then, which `Dynamic` has with γ < 0.

    >>> views = js.data.Oscillator([1.0], autocorrelation=0.9, frequency=0.5, noise=0.2, lag=2)
    >>> features = views.exact_moments().features()
    >>> features.rho.round(3), features.angle
    (Array([0.675, 0.675], dtype=float64), Array([ 1., -1.], dtype=float64))

    Raises ValueError where shapes do not fit, a number is out of range, or the basis is not
    orthogonal.
    """

    signal: Float[Array, " p"]
    autocorrelation: Float[Array, " p"]
    frequency: Float[Array, " p"]
    noise: Float[Array, " p"]
    basis: Float[Array, "d d"]
    lag: int = eqx.field(static=True)
    is_exchangeable = False

    def __init__(
        self,
        signal: ArrayLike,
        autocorrelation: ArrayLike,
        frequency: ArrayLike,
        noise: ArrayLike,
        lag: int = 1,
        basis: ArrayLike | None = None,
    ):
        checks.check_positive("signal", signal)
        checks.check_not_negative("noise", noise)
        checks.check_positive("autocorrelation", autocorrelation)
        checks.check_between("autocorrelation", autocorrelation, 0, 1)
        self.signal = per_feature("signal", signal)
        planes = self.signal.size
        self.autocorrelation = per_feature("autocorrelation", autocorrelation, planes)
        self.frequency = per_feature("frequency", frequency, planes)
        self.noise = per_feature("noise", noise, planes)
        self.lag = checks.whole_from("lag", lag, 1)
        self.basis = basis_of("basis", basis, 2 * planes)
        if is_concrete(frequency):
            theta = to_numpy(self.angle)
            if (np.abs(theta) >= np.pi - 1e-9).any():
                checks.fail("frequency", "not turn by π in `lag` steps", frequency)

    @property
    def angle(self) -> Float[Array, " p"]:
        """θ = kω of each plane, in (−π, π)."""
        turn = self.lag * self.frequency
        return turn - 2 * jnp.pi * jnp.round(turn / (2 * jnp.pi))

    def exact_moments(self) -> Moments:
        """Σxx = Σyy = (s² + n²) I and Σyx = γ^k s² R(kω) in every plane."""
        variance, lam, angle = self._features()
        # of the two features of a pair the first has the angle above 0
        flip = jnp.ravel(jnp.stack([self.angle < 0] * 2, 1))
        swapped = jnp.arange(flip.size) ^ 1
        basis = jnp.where(flip[None, :], self.basis[:, swapped], self.basis)
        return aligned_moments(variance, lam, variance, basis, angle)

    def _features(self) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
        """σ², λ and θ > 0, −θ of both features of each plane."""
        lam = self.autocorrelation**self.lag * self.signal
        size = jnp.abs(self.angle)
        variance, lam = (jnp.repeat(x, 2) for x in (self.signal + self.noise, lam))
        return variance, lam, jnp.ravel(jnp.stack([size, 0 - size], 1))

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs, each from its own run of the process."""
        u, turn = to_numpy(self.basis), to_numpy(self.angle)
        kept = to_numpy(self.autocorrelation) ** self.lag
        now = self._plane(rng, count, self.signal)
        fresh = self._plane(rng, count, self.signal * (1 - kept**2))
        later = kept * np.exp(1j * turn) * now + fresh
        noise = (self._plane(rng, count, self.noise) for _ in range(2))
        x, y = (_flat(z + n) @ u.T for z, n in zip((now, later), noise, strict=True))
        return x, y

    def _plane(self, rng: np.random.Generator, count: int, variance: ArrayLike) -> np.ndarray:
        """(count, p) complex numbers, whose two parts have the variance each."""
        shape = (count, self.signal.size)
        return white(rng, shape, variance) + 1j * white(rng, shape, variance)


def _flat(planes: np.ndarray) -> Draws:
    """(count, p) complex numbers as (count, 2p) real ones: of each plane both, side by side."""
    return np.stack([np.real(planes), np.imag(planes)], axis=2).reshape(len(planes), -1)
