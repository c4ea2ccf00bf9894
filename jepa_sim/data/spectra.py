"""Data models given by their spectra: low rank in noise, power laws, pairs that do not commute."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ArrayLike, Number, Scalar, as_float_array, to_numpy
from jepa_sim.data.base import (
    AbstractViews,
    Pair,
    aligned_moments,
    basis_of,
    number_between,
    per_feature,
    white,
)
from jepa_sim.data.latent import Static
from jepa_sim.data.moments import Moments


class LowRank(AbstractViews):
    """r latent features in d dimensions, in white noise: x = A z + n. The target is x, or A z.

    signal: (r,) variances s² > 0 along the first r columns of the basis.  noise: variance n² > 0
    in each of the d dimensions.  dimension: d ≥ r.  basis: (d, d) orthogonal (None: the identity).
    denoising: whether the target is A z. Else it is x itself, with its noise (an autoencoder; the
    data of greedy-rank learning in Sun et al., arXiv 2107.01301).

    Autoencoding λ = σ² = s² + n², ρ = 1, and the d − r others have λ = n².
    Denoising    λ = s², ρ = s²/(s² + n²), and the d − r others have λ = ρ = 0.
    Features keep their order.

    Raises ValueError where shapes do not fit or a variance is not positive.
    """

    signal: Float[Array, " r"]
    noise: Float[Array, ""]
    basis: Float[Array, "d d"]
    denoising: bool = eqx.field(static=True)
    is_exchangeable = False

    def __init__(
        self,
        signal: ArrayLike,
        noise: Scalar,
        *,
        dimension: int,
        basis: ArrayLike | None = None,
        denoising: bool = False,
    ):
        checks.check_positive("signal", signal)
        checks.check_positive("noise", noise)
        self.signal, self.noise = per_feature("signal", signal), number_between("noise", noise, 0)
        checks.check_integer_from("dimension", dimension, self.signal.size)
        self.basis = basis_of("basis", basis, int(dimension))
        self.denoising = denoising

    def exact_moments(self) -> Moments:
        """Σxx = A Aᵀ + n² I, and Σyx = Σyy = Σxx, or A Aᵀ when denoising."""
        signal = jnp.pad(self.signal, (0, len(self.basis) - self.signal.size))
        variance = signal + self.noise
        target = signal if self.denoising else variance
        return aligned_moments(variance, target, target, self.basis)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs."""
        z = white(rng, (count, self.signal.size), self.signal)
        clean = z @ to_numpy(self.basis)[:, : self.signal.size].T
        x = clean + white(rng, clean.shape, self.noise)
        return x, clean if self.denoising else x


@checked
def power_law(
    dimension: int,
    exponent: ArrayLike = 1.0,
    *,
    noise: Scalar = 1.0,
    noise_exponent: ArrayLike = 0.0,
    basis: ArrayLike | None = None,
) -> Static:
    """Static views with s²_i = i^−α and n²_i = n² i^−β, i = 1, …, d.

    exponent: α.  noise: n² ≥ 0.  noise_exponent: β.  So λ_i = i^−α and ρ_i = 1/(1 + n² i^(α−β)):
    with β < α the features of large λ are the clean ones, with β > α the noisy ones.
    dimension: d.  basis: (d, d) orthogonal, a feature a column (None: the identity).

    Raises ValueError where the dimension is below 1, a number is not finite or the noise negative.
    """
    checks.check_integer_from("dimension", dimension, 1)
    for name, value in (("exponent", exponent), ("noise_exponent", noise_exponent)):
        checks.check_finite(name, value)
    noise = number_between("noise", noise, 0)
    log = jnp.log(jnp.arange(1.0, dimension + 1))
    signal = jnp.exp(-as_float_array(exponent) * log)
    return Static(signal, noise * jnp.exp(-as_float_array(noise_exponent) * log), basis)


@checked
def non_commuting(
    dimension: int, angle: ArrayLike, *, seed: int = 0, smallest: Number = 0.1
) -> Static:
    """Static views whose signal and noise have different eigenbases; `angle` says how different.

    dimension: d ≥ 2.
    angle: from 0, where both have one basis, so that Σxx and Σyx commute, to 1, where they have two
    independent uniformly random bases U and W. Between these, noise has the basis of the geodesic
    V = U exp(angle · log(UᵀW)). The commutator grows with the angle and levels off towards 1.
    seed: of bases and spectra, which do not change with the angle.
    smallest: variances s² and n² are log-uniform in [smallest, 1].

    Σyx = U diag(s²) Uᵀ, Σxx = Σyx + V diag(n²) Vᵀ: positive definite, of condition number at most
    2/smallest, and some pair of views has them at every angle. Differentiable in the angle.

    Raises ValueError where an argument is out of range.
    """
    checks.check_integer_from("dimension", dimension, 2)
    checks.check_between("angle", angle, 0, 1)
    checks.check_open_unit("smallest", smallest)
    rng = np.random.default_rng(seed)
    signal, noise = np.exp(np.log(smallest) * rng.random((2, dimension)))
    start, end = (_haar(rng, dimension) for _ in range(2))
    # a rotation reaches only bases of the same handedness: flip one vector of the others
    if np.linalg.det(start.T @ end) < 0:
        end[:, 0] *= -1
    # a rotation is normal: its Schur form is diagonal, exp(iω), in a unitary basis
    turns, q, *_ = scipy.linalg.schur(start.T @ end, output="complex")
    phase = as_float_array(angle) * jnp.asarray(np.angle(np.diag(turns)))
    cos, sin = jnp.cos(phase)[None, :], jnp.sin(phase)[None, :]
    real, imag = jnp.asarray(q.real), jnp.asarray(q.imag)
    # Re q exp(i·phase) qᴴ
    turn = (real * cos - imag * sin) @ real.T + (real * sin + imag * cos) @ imag.T
    return Static(signal, noise, start, jnp.asarray(start) @ turn)


@checked
def random_basis(dimension: int, *, seed: int = 0) -> Float[np.ndarray, "{dimension} {dimension}"]:
    """(d, d) a uniformly random orthogonal basis, one feature per column.

    dimension: d.  seed: of the random numbers.

    Raises ValueError where the dimension is below 1.
    """
    checks.check_integer_from("dimension", dimension, 1)
    return _haar(np.random.default_rng(seed), dimension)


def _haar(rng: np.random.Generator, dimension: int) -> Float[np.ndarray, "d d"]:
    # the signs of R's diagonal: without them the law of Q depends on the algorithm (Mezzadri 2007)
    q, r = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    return q * np.sign(np.diag(r))
