"""What reconstruction and joint embedding aim at with an encoder of few rows, in closed form.

Of a bottleneck of k rows reconstruction keeps the k features of largest λρ, what they explain of
the target's variance; joint embedding of two views of one law keeps the k of largest ρ, whatever
their variance (Van Assel et al., arXiv 2505.12477). A noisy feature of large variance therefore
fills a row of the one and none of the other.
"""

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.data.moments import Moments


@checked
def reconstruction_optimum(moments: Moments, rank: int) -> Float[Array, "dy d"]:
    """(dy, d): the map D E that minimises E ‖D E x − y‖² over encoders E of `rank` rows.

    With Σxx = C Cᵀ and the singular values Σyx C⁻ᵀ = R Φ Pᵀ it is R_k Φ_k P_kᵀ C⁻¹: the encoders
    E = T P_kᵀ C⁻¹ and decoders D = R_k Φ_k T⁻¹, with any invertible T. The end of `MAE` at width k;
    differentiable where the singular values differ.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> js.reconstruction_optimum(moments, rank=1).round(3)
    Array([[0.9, 0. ],
           [0. , 0. ]], dtype=float64)

    Raises ValueError where rank is not a whole number from 1 to min(d, dy).
    """
    _check_rank(rank, min(moments.dimension, moments.target_dimension))
    factor = jnp.linalg.cholesky(moments.xx)
    whitened = jsl.solve_triangular(factor, moments.yx.T, lower=True).T
    left, singular, right = jnp.linalg.svd(whitened, full_matrices=False)
    kept = (left[:, :rank] * singular[None, :rank]) @ right[:rank]
    return jsl.solve_triangular(factor, kept.T, lower=True, trans=1).T


@checked
def joint_embedding_optimum(moments: Moments, rank: int) -> Float[Array, "{rank} d"]:
    """(rank, d): an encoder W that minimises E ‖W x − W y‖² where W Σxx Wᵀ = I.

    With Σxx = C Cᵀ its rows are those of Q C⁻¹, Q the eigenvectors of C⁻¹ E[(x−y)(x−y)ᵀ] C⁻ᵀ of
    smallest eigenvalue; any rotation of the rows is as good. Of two views of one law, Σyy = Σxx,
    they are the features of largest ρ. The subspace in which `WhitenedJoint` of width k ends, for
    any penalty under which k features survive; differentiable where the eigenvalues differ.

    Raises ValueError where y is not of the dimension of x, or rank no whole number from 1 to d.
    """
    d = moments.dimension
    if moments.target_dimension != d:
        checks.fail("moments.yx", f"be of shape ({d}, {d})", f"of shape {moments.yx.shape}")
    _check_rank(rank, d)
    factor = jnp.linalg.cholesky(moments.xx)
    difference = moments.xx + moments.yy - moments.yx - moments.yx.T
    half = jsl.solve_triangular(factor, difference, lower=True)
    _, rotation = jnp.linalg.eigh(jsl.solve_triangular(factor, half.T, lower=True))
    return jsl.solve_triangular(factor, rotation[:, :rank], lower=True, trans=1).T


def _check_rank(rank: int, most: int) -> None:
    checks.check_integer_from("rank", rank, 1)
    if rank > most:
        checks.fail("rank", f"be at most {most}", rank)
