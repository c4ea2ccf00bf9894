"""Starts of random factors, which are not aligned with the features."""

from typing import ClassVar

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments.types import OptionalKey
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.starts.base import AbstractScaled
from jepa_sim.model.starts.bases import Bases, first_basis, layer_scale, orthogonal, shapes
from jepa_sim.model.state import Weights

SPREAD = 2.0  # gains of a `RandomBalanced` start lie within this factor of ε


class AbstractRandom(AbstractScaled):
    """A start of random factors; `scale` is ε."""

    is_random: ClassVar[bool] = True
    is_balanced: ClassVar[bool] = False
    is_separable: ClassVar[bool] = True


class RandomBalanced(AbstractRandom):
    """A balanced start whose right basis is random: rotated, and not aligned with the features.

    W̄ = F_L diag(s) F_0ᵀ and V̄ = T diag(s^{M/L}) F_Lᵀ, where T is F_L for JEPA and F_0, taken to the
    target space, for MAE. So the predictor is aligned with the encoder, but neither is aligned with
    the features. All bases F are random and orthogonal. The gains s are independent and log-uniform
    in [ε/2, 2ε]; each factor has the singular values s^{1/L}, so that the flow keeps all factors
    balanced. `Balanced(rotated=True)` turns hidden layers alone: W̄ᵀW̄ = ε² I is aligned with any
    features.

    scale: ε, the geometric mean of gains.

    Raises ValueError where scale is not positive.
    """

    is_level: ClassVar[bool] = False
    knows_basis: ClassVar[bool] = True

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        basis_key, gain_key = jr.split(key)
        bases = Bases(moments, objective, network, basis_key, turned=True)
        gains = self._draw(bases.aligned.shape[1], moments.xx.dtype, gain_key)
        u = gains ** (1 / network.whole()[0])
        return bases.weights(u, u, bases.aligned)

    def right_basis(
        self, features: Features, key: PRNGKeyArray
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        basis_key, gain_key = jr.split(key)
        d, dtype = features.lam.size, features.lam.dtype
        return self._draw(d, dtype, gain_key), first_basis(basis_key, d, dtype)

    def _draw(self, count: int, dtype: jnp.dtype, key: PRNGKeyArray) -> Float[Array, " {count}"]:
        power = jr.uniform(key, (count,), dtype, minval=-1, maxval=1)
        return self.scale.astype(dtype) * SPREAD**power


class Orthogonal(AbstractRandom):
    """Every factor is ε^{1/L} times an independent random orthogonal matrix (Haar's measure).

    Balanced within the encoder and the predictor, but the predictor is not aligned: in the latent
    space it is a random orthogonal matrix, and a JEPA leaves part of the features unlearned for
    very long.

    Raises ValueError where scale is not positive.
    """

    is_level: ClassVar[bool] = True

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        basis_key, last_key = jr.split(key)
        u = layer_scale(self.scale, moments, network)
        bases = Bases(moments, objective, network, basis_key)
        turn = orthogonal(last_key, 1, bases.aligned.shape[1], u.dtype)[0]
        return bases.weights(u, u, bases.aligned @ turn)


class RandomGaussian(AbstractRandom):
    """Independent normal entries of standard deviation ε^{1/L}/√rows in every factor.

    The root mean square of encoder gains is then ε = `scale`. Neither balanced nor aligned: the
    reduced theory does not hold, and a JEPA predictor that starts with negative eigenvalues leaves
    features unlearned for very long.

    Raises ValueError where scale is not positive.
    """

    is_level: ClassVar[bool] = False

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        u = layer_scale(self.scale, moments, network)
        encoder, predictor = shapes(moments, objective, network)
        keys = iter(jr.split(key, len(encoder) + len(predictor)))

        def draw(shape: tuple[int, int]) -> Float[Array, "_ _"]:
            return u / shape[0] ** 0.5 * jr.normal(next(keys), shape, u.dtype)

        return Weights(tuple(map(draw, encoder)), tuple(map(draw, predictor)))
