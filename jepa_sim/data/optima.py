"""The optimum of reconstruction and that of joint embedding, with few rows, in closed form.

With an encoder of k rows reconstruction keeps the k features of largest λρ, which is how much of
the target's variance they explain. Joint embedding of two views of one law keeps the k features of
largest ρ, whatever their variance (Van Assel et al., arXiv 2505.12477). So a noisy feature of large
variance takes a row in reconstruction, and none in joint embedding.
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
    E = T P_kᵀ C⁻¹ and decoders D = R_k Φ_k T⁻¹, with any invertible T. `MAE` at width k ends there.
    The map is differentiable where the singular values differ.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> js.reconstruction_optimum(moments, rank=1).round(3)
    Array([[0.9, 0. ],
           [0. , 0. ]], dtype=float64)

    Raises ValueError where rank is not a whole number from 1 to min(d, dy), or the moments have
    actions.
    """
    if moments.actions is not None:
        found = f"of {moments.actions.count} actions"
        checks.fail("moments", "have no actions for `reconstruction_optimum` (see `blind`)", found)
    _check_rank(rank, min(moments.dimension, moments.target_dimension))
    factor = jnp.linalg.cholesky(moments.xx)
    whitened = jsl.solve_triangular(factor, moments.yx.T, lower=True).T
    left, singular, right = jnp.linalg.svd(whitened, full_matrices=False)
    kept = (left[:, :rank] * singular[None, :rank]) @ right[:rank]
    return jsl.solve_triangular(factor, kept.T, lower=True, trans=1).T


@checked
def joint_embedding_optimum(moments: Moments, rank: int) -> Float[Array, "{rank} d"]:
    """(rank, d): an encoder W that minimises E ‖W x − W y‖² where W Σxx Wᵀ = I.

    With Σxx = C Cᵀ its rows are those of Q C⁻¹, with Q the eigenvectors of smallest eigenvalue of
    C⁻¹ E[(x−y)(x−y)ᵀ] C⁻ᵀ; any rotation of the rows is as good. If Σyy = Σxx, as for views of one
    law, they are the features of largest ρ. `WhitenedJoint` of width k ends in their span, for any
    penalty under which k features survive. W is differentiable where the eigenvalues differ.

    Raises ValueError where y is not of the dimension of x, or rank is not a whole number from 1 to
    d.
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
