"""Objectives: what the network is asked to predict, the field that follows, its reduced exponents.

Encoder W̄ = W_L … W_1, predictor (or decoder) V̄ = V_M … V_1, and a target map T:

    JEPA   ½ E ‖V̄ W̄ x − sg[W̄ y]‖²      T = W̄, no gradient through it
    MAE    ½ E ‖V̄ W̄ x − y‖²              T = I

With the residual R = T Σyx − V̄ W̄ Σxx every factor Z moves by
Ż = (product of the factors left of Z)ᵀ R (product of the factors right of Z)ᵀ.

For JEPA this field is the gradient of no function (the target moves too), so objectives own the
field and nothing differentiates a one-argument loss.
"""

import abc
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jepa_sim._moments import Moments
from jepa_sim._types import Scalar

Factors = tuple[Float[Array, "_ _"], ...]


def product(factors: Sequence[Float[Array, "_ _"]]) -> Float[Array, "_ _"]:
    """Z_N … Z_1 of the factors in the order in which they are applied, Z_1 first."""
    return reduce(lambda below, factor: factor @ below, factors)


class AbstractObjective(eqx.Module):
    """An objective owns its target, hence its field, and the exponents of its reduced flow."""

    name: ClassVar[str]

    @abc.abstractmethod
    def target(
        self, encoder: Float[Array, "*shape"], identity: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        """The target map T, from the encoder W̄ and the identity of the same shape.

        Both are (d, d) matrices, or (d,) gains of the features.
        """

    @abc.abstractmethod
    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        """(a, b) of the reduced flow u̇ = u^a (λ − σ² u^b) from a balanced start.

        u is the singular value shared by all factors of a feature; its encoder gain is w̄ = u^L and
        settles at ρ^{L/b}. depth L and predictor_depth M are any positive numbers.
        """

    def field(self, encoder: Factors, predictor: Factors, moments: Moments) -> Factors:
        """Ż of all factors, encoder first, each of the shape of its factor, per unit of time."""
        factors = (*encoder, *predictor)
        below = [jnp.eye(encoder[0].shape[1], dtype=encoder[0].dtype)]  # right of Z_i
        for factor in factors:
            below.append(factor @ below[-1])
        w = below[len(encoder)]
        identity = jnp.eye(w.shape[0], w.shape[1], dtype=w.dtype)
        back = self.target(w, identity) @ moments.yx - below[-1] @ moments.xx  # the residual R
        velocities = []
        for factor, right in zip(reversed(factors), reversed(below[:-1]), strict=True):
            velocities.append(back @ right.T)
            back = factor.T @ back
        return tuple(reversed(velocities))

    def loss(
        self, encoder: Float[Array, "d d"], predictor: Float[Array, "d d"], moments: Moments
    ) -> Float[Array, ""]:
        """½ E ‖V̄ W̄ x − T y‖² for the products W̄ and V̄."""
        prediction = predictor @ encoder
        target = self.target(encoder, jnp.eye(encoder.shape[0], dtype=encoder.dtype))
        return (
            jnp.vdot(prediction, prediction @ moments.xx) / 2
            - jnp.vdot(prediction, target @ moments.yx)
            + jnp.vdot(target, target @ moments.yy) / 2
        )


class JEPA(AbstractObjective):
    """Joint embedding prediction with stop-gradient on the online target (self-distillation).

    Reduced exponents a = 2L + M − 1, b = M; plateau w̄ = ρ^{L/M} (Littwin et al., NeurIPS 2024).
    """

    name: ClassVar[str] = "jepa"

    def target(
        self, encoder: Float[Array, "*shape"], identity: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        return encoder

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return 2 * depth + predictor_depth - 1, predictor_depth


class MAE(AbstractObjective):
    """Masked autoencoding: reconstruct the target itself.

    Reduced exponents a = L + M − 1, b = L + M; plateau w̄ = ρ^{L/(L+M)}. With Σyx = Σxx this is the
    deep linear autoencoder (Saxe et al. 2014).
    """

    name: ClassVar[str] = "mae"

    def target(
        self, encoder: Float[Array, "*shape"], identity: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        return identity

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return depth + predictor_depth - 1, depth + predictor_depth


class OneOf(AbstractObjective):
    """One of several objectives, chosen by a traced number: they become one compiled program."""

    name: ClassVar[str] = "one of several"
    options: tuple[AbstractObjective, ...]
    which: Int[Array, ""]

    def _choose(self, values: Sequence[Array]) -> Array:
        return jax.lax.select_n(self.which, *values) if len(values) > 1 else values[0]

    def target(
        self, encoder: Float[Array, "*shape"], identity: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        return self._choose([option.target(encoder, identity) for option in self.options])

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        pairs = [option.exponents(depth, predictor_depth) for option in self.options]
        a, b = (self._choose([jnp.asarray(x) for x in axis]) for axis in zip(*pairs, strict=True))
        return a, b
