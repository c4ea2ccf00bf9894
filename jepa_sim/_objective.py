"""Objectives: what the network is asked to do, the field that follows, its reduced flow.

Encoder W̄ = W_L … W_1, predictor (or decoder) V̄ = V_M … V_1, and a target map T:

    JEPA   ½ E ‖V̄ W̄ x − sg[W̄ᵗ y]‖²     T = W̄ᵗ, the teacher: the encoder itself or a copy of it
    MAE    ½ E ‖V̄ W̄ x − y‖²              T = I

An objective pulls on the products W̄ and V̄; every factor Z of a product takes its share
Ż = (product of the factors left of Z)ᵀ pull (product of the factors right of Z)ᵀ.
With the residual R = T Σyx − V̄ W̄ Σxx the pulls of a prediction are V̄ᵀR on W̄ and R W̄ᵀ on V̄.

For JEPA this field is the gradient of no function (the target moves too), so objectives own the
field and nothing differentiates a one-argument loss.
"""

import abc
from collections.abc import Sequence
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jepa_sim import _checks as checks
from jepa_sim._moments import Features, Moments
from jepa_sim._target import AbstractTarget, StopGradient
from jepa_sim._types import Scalar, as_float_array

Factors = tuple[Float[Array, "*lanes _ _"], ...]


def product(factors: Sequence[Float[Array, "_ _"]]) -> Float[Array, "_ _"]:
    """Z_N … Z_1 of the factors in the order in which they are applied, Z_1 first."""
    return reduce(lambda below, factor: factor @ below, factors)


def shares(factors: Factors, pull: Float[Array, "_ _"]) -> Factors:
    """Ż of all factors of a product, from the pull on the product."""
    below = [None, *(product(factors[: i + 1]) for i in range(len(factors) - 1))]  # right of Z_i
    velocities = []
    for factor, right in zip(reversed(factors), reversed(below), strict=True):
        velocities.append(pull if right is None else pull @ right.T)
        pull = factor.T @ pull
    return tuple(reversed(velocities))


class Maps(eqx.Module):
    """The products of a network's factors; or the pulls on them, of the same shapes.

    encoder: (k, d) W̄.  predictor: (o, k) V̄.  teacher: (k, dy) W̄ᵗ, what encodes the target y. Of
    stacks of n_c and n_t frames all are block matrices, (n_c k, n_c d) and so on.
    """

    encoder: Float[Array, "k d"]
    predictor: Float[Array, "o k"]
    teacher: Float[Array, "kt dy"]


class AbstractObjective(eqx.Module):
    """An objective owns its pulls, its loss, and its reduced flow u̇ = u^a (λ − σ² u^b)."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What the objective is called in a sweep's result."""

    @property
    @abc.abstractmethod
    def teacher(self) -> AbstractTarget:
        """How the teacher follows the encoder, and whether gradients pass through it."""

    @abc.abstractmethod
    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        """Minus the gradient with respect to each of the maps by itself."""

    @abc.abstractmethod
    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        """The population loss."""

    @property
    @abc.abstractmethod
    def encodes_target(self) -> bool:
        """Whether y goes through an encoder too, so that it must be of the dimension of x."""

    @property
    @abc.abstractmethod
    def uses_predictor(self) -> bool:
        """Whether a predictor (or decoder) is part of the objective."""

    @abc.abstractmethod
    def output_frame(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        """Where an aligned predictor sends the directions `latent` of the latent space.

        target: the directions of the same features in the target space.
        """

    @abc.abstractmethod
    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        """(a, b) of the reduced flow u̇ = u^a (λ − σ² u^b) from a balanced start.

        u is the singular value shared by all factors of a feature; its encoder gain is w̄ = u^L.
        depth L and predictor_depth M are any positive numbers.
        """

    @abc.abstractmethod
    def coefficients(
        self, features: Features
    ) -> tuple[Float[Array, "*lanes d"], Float[Array, "*lanes d"]]:
        """(λ, σ²) of the reduced flow of every feature."""


class AbstractPrediction(AbstractObjective):
    """Squared error of a prediction: ½ E ‖V̄ W̄ x − T y‖²."""

    @abc.abstractmethod
    def encode_target(
        self, teacher: Float[Array, "kt _"], moment: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        """T times a moment of y: the target map T is the teacher's, or the identity."""

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        target = self.encode_target(maps.teacher, moments.yx)
        held = _prediction_pulls(target, maps, moments)
        if not self.teacher.passes_gradient:
            return held
        back = maps.predictor @ maps.encoder @ moments.yx.T - maps.teacher @ moments.yy
        return Maps(held.encoder, held.predictor, back)

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        prediction = maps.predictor @ maps.encoder
        size = self.encode_target(maps.teacher, self.encode_target(maps.teacher, moments.yy).T)
        return (
            jnp.vdot(prediction, prediction @ moments.xx) / 2
            - jnp.vdot(prediction, self.encode_target(maps.teacher, moments.yx))
            + jnp.trace(size) / 2
        )

    def coefficients(
        self, features: Features
    ) -> tuple[Float[Array, "*lanes d"], Float[Array, "*lanes d"]]:
        return features.lam, features.variance


class JEPA(AbstractPrediction):
    """Joint embedding prediction: the target is the representation of y by a teacher.

    target: `StopGradient()`, the encoder itself without gradient (the default);
    `MovingAverage(τ)`, an exponential moving average of its layers (self-distillation);
    `NoStopGradient()`, the encoder with gradient, which collapses.

    Reduced exponents a = 2L + M − 1, b = M; plateau w̄ = ρ^{L/M} (Littwin et al., NeurIPS 2024). A
    moving average has the same plateaus and reaches them later.
    """

    target: AbstractTarget = StopGradient()

    @property
    def name(self) -> str:
        return "jepa" + self.target.suffix

    @property
    def teacher(self) -> AbstractTarget:
        return self.target

    def encode_target(
        self, teacher: Float[Array, "kt _"], moment: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return teacher @ moment

    @property
    def encodes_target(self) -> bool:
        return True

    @property
    def uses_predictor(self) -> bool:
        return True

    def output_frame(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return latent

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return 2 * depth + predictor_depth - 1, predictor_depth


class MAE(AbstractPrediction):
    """Masked autoencoding: reconstruct the target itself.

    Reduced exponents a = L + M − 1, b = L + M; plateau w̄ = ρ^{L/(L+M)}. With Σyx = Σxx this is the
    deep linear autoencoder (Saxe et al. 2014).
    """

    @property
    def name(self) -> str:
        return "mae"

    @property
    def teacher(self) -> AbstractTarget:
        return StopGradient()

    def encode_target(
        self, teacher: Float[Array, "kt _"], moment: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return moment

    @property
    def encodes_target(self) -> bool:
        return False

    @property
    def uses_predictor(self) -> bool:
        return True

    def output_frame(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return target

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return depth + predictor_depth - 1, depth + predictor_depth


class BarlowTwins(AbstractObjective):
    """Linear Barlow Twins, ‖W̄ Γ W̄ᵀ − I‖² with Γ = (Σyx + Σyxᵀ)/2; no predictor (Simon et al. 2023).

    The pull on the encoder is −4 (W̄ Γ W̄ᵀ − I) W̄ Γ; what stands in the predictor's place stays
    where it starts. Reduced flow u̇ = 4λ u^{2L−1} (1 − λ u^{2L}), plateau w̄ = λ^{−1/2}; at L = 1 the
    gains are w̄² = 1/(λ + (w̄(0)⁻² − λ) e^{−8λt}): features are learned in steps, the largest λ
    first. Every W̄ with W̄ Γ W̄ᵀ = I is at rest, so a bottleneck of k rows ends in the k features of
    largest λ only up to what a small random start has let grow of the others.
    """

    @property
    def name(self) -> str:
        return "barlow_twins"

    @property
    def teacher(self) -> AbstractTarget:
        return StopGradient()

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        w = maps.encoder
        gamma = (moments.yx + moments.yx.T) / 2
        pull = -4 * self._gap(w, gamma) @ w @ gamma
        return Maps(pull, jnp.zeros_like(maps.predictor), jnp.zeros_like(maps.teacher))

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        gamma = (moments.yx + moments.yx.T) / 2
        return jnp.sum(self._gap(maps.encoder, gamma) ** 2)

    def _gap(self, w: Float[Array, "k d"], gamma: Float[Array, "d d"]) -> Float[Array, "k k"]:
        return w @ gamma @ w.T - jnp.eye(w.shape[0], dtype=w.dtype)

    @property
    def encodes_target(self) -> bool:
        return True

    @property
    def uses_predictor(self) -> bool:
        return False

    def output_frame(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return latent

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return 2 * depth - 1, 2 * depth

    def coefficients(
        self, features: Features
    ) -> tuple[Float[Array, "*lanes d"], Float[Array, "*lanes d"]]:
        return 4 * features.lam, 4 * features.lam**2


class WhitenedJoint(AbstractObjective):
    """Joint embedding of two views, kept from collapse by a penalty that whitens; no predictor.

    ½ E ‖W̄ x − W̄ y‖² + (β/4) ‖W̄ Σxx W̄ᵀ − I‖²; the same weights encode both views.
    For any β that lets them live an encoder of k rows ends, of views of one law, in the k features
    of largest ρ, and for large β whitened: the constrained optimum of Van Assel et al. (2025), see
    `joint_embedding_optimum`.

    penalty: β; may be traced.
    Reduced flow u̇ = u^{2L−1} (βσ² − δ − βσ⁴ u^{2L}), with δ the variance of the feature's
    difference between the views; plateau w̄² = (1 − δ/(βσ²))/σ². For views of one law (Σyy = Σxx)
    δ = 2(σ² − λ); for moments without Σyy, whose y is a regression, δ = σ²(1 − ρ)².

    Raises ValueError where β is not positive.
    """

    penalty: Float[Array, ""] = eqx.field(converter=as_float_array, default=10.0)

    def __check_init__(self):
        checks.check_positive("penalty", self.penalty)

    @property
    def name(self) -> str:
        return "whitened_joint"

    @property
    def teacher(self) -> AbstractTarget:
        return StopGradient()

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        w = maps.encoder
        whiten = self.penalty.astype(w.dtype) * self._gap(w, moments) @ w @ moments.xx
        pull = -w @ _difference(moments) - whiten
        return Maps(pull, jnp.zeros_like(maps.predictor), jnp.zeros_like(maps.teacher))

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        w = maps.encoder
        penalty = self.penalty.astype(w.dtype) * jnp.sum(self._gap(w, moments) ** 2)
        return jnp.vdot(w, w @ _difference(moments)) / 2 + penalty / 4

    def _gap(self, w: Float[Array, "k d"], moments: Moments) -> Float[Array, "k k"]:
        return w @ moments.xx @ w.T - jnp.eye(w.shape[0], dtype=w.dtype)

    @property
    def encodes_target(self) -> bool:
        return True

    @property
    def uses_predictor(self) -> bool:
        return False

    def output_frame(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return latent

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return 2 * depth - 1, 2 * depth

    def coefficients(
        self, features: Features
    ) -> tuple[Float[Array, "*lanes d"], Float[Array, "*lanes d"]]:
        variance, penalty = features.variance, self.penalty.astype(features.lam.dtype)
        difference = variance + features.target_variance - 2 * features.lam
        return penalty * variance - difference, penalty * variance**2


class OneOf(AbstractObjective):
    """One of several objectives, chosen by a traced number: they become one compiled program.

    The matrix flow takes those that `can_share`; the reduced theory takes any.
    """

    options: tuple[AbstractObjective, ...]
    which: Int[Array, ""]

    @staticmethod
    def can_share(objectives: Sequence[AbstractObjective]) -> bool:
        """Whether the matrix flows of these objectives differ in their target map alone."""
        return all(
            isinstance(objective, AbstractPrediction)
            and isinstance(objective.teacher, StopGradient)
            for objective in objectives
        )

    @property
    def name(self) -> str:
        return "one of several"

    @property
    def teacher(self) -> AbstractTarget:
        return StopGradient()

    def _choose(self, values: Sequence[Array]) -> Array:
        return jax.lax.select_n(self.which, *values) if len(values) > 1 else values[0]

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        targets = [
            option.encode_target(maps.teacher, moments.yx)
            for option in self.options
            if isinstance(option, AbstractPrediction)
        ]
        return _prediction_pulls(self._choose(targets), maps, moments)

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        return self._choose([option.loss(maps, moments) for option in self.options])

    @property
    def encodes_target(self) -> bool:
        return any(option.encodes_target for option in self.options)

    @property
    def uses_predictor(self) -> bool:
        return any(option.uses_predictor for option in self.options)

    def output_frame(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return self._choose([option.output_frame(latent, target) for option in self.options])

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        pairs = [option.exponents(depth, predictor_depth) for option in self.options]
        a, b = (self._choose([jnp.asarray(x) for x in axis]) for axis in zip(*pairs, strict=True))
        return a, b

    def coefficients(
        self, features: Features
    ) -> tuple[Float[Array, "*lanes d"], Float[Array, "*lanes d"]]:
        pairs = [option.coefficients(features) for option in self.options]
        lam, variance = (self._choose(axis) for axis in zip(*pairs, strict=True))
        return lam, variance


def _prediction_pulls(target: Float[Array, "o d"], maps: Maps, moments: Moments) -> Maps:
    """The pulls of ½ E ‖V̄ W̄ x − T y‖² with target = T Σyx held."""
    w, v = maps.encoder, maps.predictor
    residual = target - v @ (w @ moments.xx)
    return Maps(v.T @ residual, residual @ w.T, jnp.zeros_like(maps.teacher))


def _difference(moments: Moments) -> Float[Array, "d d"]:
    """E (x − y)(x − y)ᵀ."""
    return moments.xx + moments.yy - moments.yx - moments.yx.T
