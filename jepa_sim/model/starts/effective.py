"""The aligned start that stands for a random one in the reduced theory, with a gain per feature.

An MAE learns features one after the other, and each takes out of the others' starts what it has in
common with them. What is left of feature i are the residuals of Gram & Schmidt in the order of
learning. From a balanced start with W̄ = F diag(s) Rᵀ and N = L + M layers, these are the norms of
residuals of the columns

    c_i = diag(s^q) Rᵀ p_i,    q = 1 for N = 2 and N/L for N > 2,    effective gain = norm^{1/q}

For N = 2 this follows from the linear flow Ȧ = ΛA + AΛ of A = V̄W̄ before saturation. For N > 2,
where c_i are the columns of V̄W̄, it was found by trial: residuals of other powers of V̄W̄ are worse
(`python -m benchmarks.effective` measures it).
"""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.types import OptionalKey, Scalar
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.starts.base import AbstractStart
from jepa_sim.model.state import Weights


class Effective(AbstractStart):
    """Balanced and aligned, with a gain of its own for every feature.

    gains: (d,) w̄ at time 0, in the order of features.  scale: their root mean square.
    """

    gains: Float[Array, " d"]
    scale: Float[Array, ""]
    is_random: ClassVar[bool] = False
    is_level: ClassVar[bool] = False
    is_balanced: ClassVar[bool] = True
    is_separable: ClassVar[bool] = False

    def __init__(self, gains: Float[Array, " d"]):
        self.gains = gains
        self.scale = jnp.sqrt(jnp.mean(gains**2))

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        depth, predictor_depth = network.whole()
        features = moments.features(network.frames)
        u = jnp.diag(self.gains ** (1 / depth))
        last = objective.output_basis(jnp.eye(len(u), dtype=u.dtype), features.target_patterns) @ u
        first, between = u @ features.patterns.T, [u] * (predictor_depth - 1)
        return Weights((first, *[u] * (depth - 1)), (*between, last))

    def gains_of(self, features: Features) -> Float[Array, " d"]:
        return self.gains

    def misalignment(self, dimension: int) -> Float[Array, ""]:
        """Not known: what it stands for is not aligned."""
        return jnp.full((), jnp.nan)


def effective(
    gains: Float[Array, " d"],
    basis: Float[Array, "d d"],
    features: Features,
    depth: Scalar,
    predictor_depth: Scalar,
) -> Effective:
    """The effective start of an MAE.  gains, basis: s and R of W̄ = F diag(s) Rᵀ at time 0."""
    layers = jnp.asarray(depth + predictor_depth, gains.dtype)
    power = jnp.where(layers > 2, layers / depth, 1)
    order = jnp.argsort(-features.lam)  # of learning, as the leading order of the times has it
    columns = (gains**power)[:, None] * (basis.T @ features.patterns)
    triangle = jnp.linalg.qr(columns[:, order], mode="r")
    norms = jnp.abs(jnp.diagonal(triangle))
    return Effective(jnp.zeros_like(norms).at[order].set(norms ** (1 / power)))
