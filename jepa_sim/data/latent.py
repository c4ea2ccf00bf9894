"""Latent features in noise, seen twice: at one time (`Static`), or some time apart (`Dynamic`).

Every feature has a signal and a noise, along a column of a common orthogonal basis U:

    static    x = U (z + n_x)          y = U (z + n_y)           λ = s²
    dynamic   x = U (z(t) + n(t))      y = U (z(t+k) + n(t+k))   λ = γ^k s² + γ_n^k n²

and σ² = s² + n², ρ = λ/σ² in both. In `Dynamic` both parts are autoregressive processes of first
order with autocorrelations γ and γ_n. A frozen distractor is noise with γ_n = 1. It has ρ = 1, so a
JEPA learns it first; this is the known failure on slow features (Sobal et al., arXiv 2211.10831).
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
    rotated,
    white,
)
from jepa_sim.data.moments import Moments


class Static(AbstractViews):
    """One thing seen twice under independent noise: x = U z + V n_x, y = U z + V n_y.

    signal, noise: (d,) variances s² and n² along the columns of U and of V, not both zero; a single
    number for the noise holds for every feature.  basis: (d, d) orthogonal U (None: the identity).
    noise_basis: (d, d) orthogonal V (None: the same as U).

    With one basis λ = s², ρ = s²/(s² + n²), and features keep their order. With two the moments
    Σyx = U diag(s²) Uᵀ and Σxx = Σyx + V diag(n²) Vᵀ do not commute.

    >>> js.data.Static(signal=[1.0, 1.0], noise=[0.25, 1.0]).exact_moments().features().rho
    Array([0.8, 0.5], dtype=float64)

    Raises ValueError where shapes do not fit, a variance is negative or zero in all, or a basis is
    not orthogonal.
    """

    signal: Float[Array, " d"]
    noise: Float[Array, " d"]
    basis: Float[Array, "d d"]
    noise_basis: Float[Array, "d d"] | None
    is_exchangeable = True

    def __init__(
        self,
        signal: ArrayLike,
        noise: ArrayLike,
        basis: ArrayLike | None = None,
        noise_basis: ArrayLike | None = None,
    ):
        self.signal, self.noise = _variances(signal, noise)
        d = self.signal.size
        self.basis = basis_of("basis", basis, d)
        self.noise_basis = None if noise_basis is None else basis_of("noise_basis", noise_basis, d)

    def exact_moments(self) -> Moments:
        """Σyx = U diag(s²) Uᵀ, Σxx = Σyy = Σyx + V diag(n²) Vᵀ."""
        if self.noise_basis is None:
            variance = self.signal + self.noise
            return aligned_moments(variance, self.signal, variance, self.basis)
        yx = rotated(self.signal, self.basis)
        xx = yx + rotated(self.noise, self.noise_basis)
        return Moments(xx, yx, xx)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs."""
        u = to_numpy(self.basis)
        v = u if self.noise_basis is None else to_numpy(self.noise_basis)
        z = white(rng, (count, len(u)), self.signal)
        x, y = (z @ u.T + white(rng, z.shape, self.noise) @ v.T for _ in range(2))
        return x, y


class Dynamic(AbstractViews):
    """A stationary process seen now and `lag` steps later, with noise that may be correlated too.

    signal, noise: (d,) variances s² and n².  autocorrelation, noise_autocorrelation: (d,) γ and
    γ_n from one step to the next, in [−1, 1]: 0 is white, 1 frozen.  Except in `signal`, a single
    number holds for every feature.  lag: k ≥ 1 steps, a whole number.
    basis: (d, d) orthogonal U (None: the identity).
    centered_over: T > k, to subtract from every frame the mean of its trajectory of T frames (None:
    nothing is subtracted). What is frozen is then gone: it has no variance within a trajectory.

    λ = γ^k s² + γ_n^k n², ρ = λ/(s² + n²); features keep their order. With `centered_over` γ^k s²
    and s² are means of C[t, t + k] and of C[t, t] over the T − k pairs of frames, C = H Γ H,
    Γ[s, t] = s² γ^|s − t|, H = I − 11ᵀ/T, and those of the noise likewise. This also costs slow
    features most of their variance.

    >>> slow = js.data.Dynamic([1.0], autocorrelation=0.9, noise=0.0, centered_over=10)
    >>> features = slow.exact_moments().features()
    >>> features.variance.round(3), features.rho.round(3)
    (Array([0.255], dtype=float64), Array([0.608], dtype=float64))

    Raises ValueError where shapes do not fit, a variance is negative or zero in all, an
    autocorrelation is out of range, the basis is not orthogonal, or nothing of a feature changes
    within a trajectory over which it is centred.
    """

    signal: Float[Array, " d"]
    autocorrelation: Float[Array, " d"]
    noise: Float[Array, " d"]
    noise_autocorrelation: Float[Array, " d"]
    basis: Float[Array, "d d"]
    lag: int = eqx.field(static=True)
    centered_over: int | None = eqx.field(static=True)
    is_exchangeable = True  # an autoregressive normal process looks the same backwards

    def __init__(
        self,
        signal: ArrayLike,
        autocorrelation: ArrayLike,
        noise: ArrayLike,
        noise_autocorrelation: ArrayLike = 0.0,
        lag: int = 1,
        basis: ArrayLike | None = None,
        centered_over: int | None = None,
    ):
        self.signal, self.noise = _variances(signal, noise)
        d = self.signal.size
        checks.check_between("autocorrelation", autocorrelation, -1, 1)
        checks.check_between("noise_autocorrelation", noise_autocorrelation, -1, 1)
        self.autocorrelation = per_feature("autocorrelation", autocorrelation, d)
        self.noise_autocorrelation = per_feature("noise_autocorrelation", noise_autocorrelation, d)
        self.lag = checks.whole_from("lag", lag, 1)
        self.basis = basis_of("basis", basis, d)
        self.centered_over = centered_over
        if centered_over is not None:
            checks.check_integer_from("centered_over", centered_over, self.lag + 1)
            variance, _ = self._second_moments()
            if is_concrete(variance):
                still = to_numpy(variance) <= 1e-12 * to_numpy(self.signal + self.noise)
                if still.any():
                    rule = "leave some variance of every feature (drop it, or add white noise)"
                    checks.fail("centered_over", rule, f"none of feature {int(still.argmax())}")

    def exact_moments(self) -> Moments:
        """Σyx = U diag(γ^k s² + γ_n^k n²) Uᵀ, Σxx = Σyy = U diag(s² + n²) Uᵀ."""
        variance, lam = self._second_moments()
        return aligned_moments(variance, lam, variance, self.basis)

    def _second_moments(self) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """(d,) σ² and λ."""
        k, gammas = self.lag, (self.autocorrelation, self.noise_autocorrelation)
        if self.centered_over is None:
            kept = [(jnp.ones_like(gamma), gamma**k) for gamma in gammas]
        else:
            kept = [_centered(gamma, self.centered_over, k) for gamma in gammas]
        (s, s_k), (n, n_k) = kept
        return s * self.signal + n * self.noise, s_k * self.signal + n_k * self.noise

    def lag_covariances(self, length: int) -> Float[Array, "{length} d d"]:
        """C(τ) = U diag(γ^τ s² + γ_n^τ n²) Uᵀ for τ = 0, …, length − 1: what `Temporal` takes."""
        checks.check_integer_from("length", length, 1)
        if self.centered_over is not None:
            checks.fail("centered_over", "be None for `lag_covariances`", self.centered_over)
        signal = _powers(self.autocorrelation, length) * self.signal[None, :]
        noise = _powers(self.noise_autocorrelation, length) * self.noise[None, :]
        return jnp.einsum("af,tf,bf->tab", self.basis, signal + noise, self.basis)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs, each from its own run of the process."""
        u, (z, n) = to_numpy(self.basis), self.states(rng, count)
        return (z[0] + n[0]) @ u.T, (z[1] + n[1]) @ u.T

    def states(
        self, rng: np.random.Generator, count: int
    ) -> tuple[tuple[Draws, Draws], tuple[Draws, Draws]]:
        """Signal and noise, each at the first time and `lag` steps later, feature by feature."""
        if self.centered_over is not None:
            first = rng.integers(self.centered_over - self.lag, size=count)
            z, n = (
                self._trajectories(rng, first, self.centered_over, variance, gamma)
                for variance, gamma in (
                    (self.signal, self.autocorrelation),
                    (self.noise, self.noise_autocorrelation),
                )
            )
            return z, n
        z = self._process(rng, count, self.signal, self.autocorrelation)
        return z, self._process(rng, count, self.noise, self.noise_autocorrelation)

    def _process(
        self, rng: np.random.Generator, count: int, variance: Array, autocorrelation: Array
    ) -> tuple[Draws, Draws]:
        now = white(rng, (count, variance.size), variance)
        left = to_numpy(autocorrelation) ** self.lag  # the correlation after k steps
        return now, left * now + white(rng, now.shape, (1 - left**2) * to_numpy(variance))

    def _trajectories(
        self,
        rng: np.random.Generator,
        first: np.ndarray,
        length: int,
        variance: Array,
        autocorrelation: Array,
    ) -> tuple[Draws, Draws]:
        """Frames `first` of as many trajectories, and those `lag` steps later, less the means."""
        gamma, size = to_numpy(autocorrelation), to_numpy(variance)
        frames = [white(rng, (len(first), size.size), size)]
        while len(frames) < length:
            fresh = white(rng, frames[0].shape, (1 - gamma**2) * size)
            frames.append(gamma * frames[-1] + fresh)
        whole = np.stack(frames)
        whole -= whole.mean(axis=0)
        each = np.arange(len(first))
        return whole[first, each], whole[first + self.lag, each]


def _centered(
    gamma: Float[Array, " d"], frames: int, lag: int
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Means of C[t, t] and C[t, t + k] over pairs of frames, C = H Γ H, Γ[s, t] = γ^|s − t|."""
    apart = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    powers = jnp.moveaxis(_powers(gamma, frames)[apart], 2, 0)
    means = jnp.mean(powers, axis=1)
    centered = (
        powers - means[:, None, :] - means[:, :, None] + jnp.mean(means, axis=1)[:, None, None]
    )
    same, later = (jnp.diagonal(centered, k, axis1=1, axis2=2) for k in (0, lag))
    return jnp.mean(same[:, : frames - lag], axis=1), jnp.mean(later, axis=1)


def _variances(signal: ArrayLike, noise: ArrayLike) -> tuple[Array, Array]:
    checks.check_between("signal", signal, 0)
    checks.check_between("noise", noise, 0)
    s2 = per_feature("signal", signal)
    n2 = per_feature("noise", noise, s2.size)
    if is_concrete(s2, n2):
        checks.check_positive("signal + noise", to_numpy(s2) + to_numpy(n2))
    return s2, n2


def _powers(base: Float[Array, " d"], count: int) -> Float[Array, "{count} d"]:
    """base⁰, base¹, …, by products, which have derivatives where the base is 0 too."""
    steps = jnp.broadcast_to(base[None, :], (count - 1, base.size))
    return jnp.cumprod(jnp.concatenate([jnp.ones((1, base.size), base.dtype), steps]), axis=0)
