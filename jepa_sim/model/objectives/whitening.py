"""Joint embeddings without a predictor; whitening keeps them from collapse."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import Scalar, as_float_array
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.objectives.base import AbstractObjective, Coefficients
from jepa_sim.model.objectives.maps import Maps


class AbstractWhitened(AbstractObjective):
    """A joint embedding that pulls on the encoder alone."""

    encodes_target: ClassVar[bool] = True
    uses_predictor: ClassVar[bool] = False

    @abc.abstractmethod
    def pull(self, w: Float[Array, "k d"], moments: Moments) -> Float[Array, "k d"]:
        """On the encoder W̄."""

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        nothing = jnp.zeros_like(maps.predictor), jnp.zeros_like(maps.teacher)
        return Maps(self.pull(maps.encoder, moments), *nothing)

    def output_basis(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return latent

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return 2 * depth - 1, 2 * depth


class BarlowTwins(AbstractWhitened):
    """Linear Barlow Twins, ‖W̄ Γ W̄ᵀ − I‖² with Γ = (Σyx + Σyxᵀ)/2; no predictor (Simon et al. 2023).

    The pull on the encoder is −4 (W̄ Γ W̄ᵀ − I) W̄ Γ; the predictor is not used, and stays where it
    starts. Reduced flow u̇ = 4λ u^{2L−1} (1 − λ u^{2L}), plateau w̄ = λ^{−1/2}; at L = 1 the
    gains are w̄² = 1/(λ + (w̄(0)⁻² − λ) e^{−8λt}): features are learned in steps, the largest λ
    first. Every W̄ with W̄ Γ W̄ᵀ = I is at rest, so a bottleneck of k rows ends in the k features
    of largest λ, and also keeps the part of other features that had grown from a small random
    start.
    """

    name: ClassVar[str] = "barlow_twins"

    def pull(self, w: Float[Array, "k d"], moments: Moments) -> Float[Array, "k d"]:
        gamma = (moments.yx + moments.yx.T) / 2
        return -4 * _gap(w, gamma) @ w @ gamma

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        return jnp.sum(_gap(maps.encoder, (moments.yx + moments.yx.T) / 2) ** 2)

    def preference(self, features: Features) -> Float[Array, " d"]:
        """λ."""
        return features.lam

    def coefficients(self, features: Features) -> Coefficients:
        return 4 * features.lam, 4 * features.lam**2


class WhitenedJoint(AbstractWhitened):
    """Joint embedding of two views, kept from collapse by a penalty that whitens; no predictor.

    ½ E ‖W̄ x − W̄ y‖² + (β/4) ‖W̄ Σxx W̄ᵀ − I‖²; the same weights encode both views.
    If both views have the same law, an encoder of k rows ends in the k features of largest ρ, for
    any β under which these survive. For large β the representation is white. That is the
    constrained optimum of Van Assel et al. (2025); see `joint_embedding_optimum`.

    penalty: β; may be traced.
    Reduced flow u̇ = u^{2L−1} (βσ² − δ − βσ⁴ u^{2L}), with δ the variance of the feature's
    difference between the views; plateau w̄² = (1 − δ/(βσ²))/σ². For views of one law (Σyy = Σxx)
    δ = 2(σ² − λ); for moments without Σyy, whose y is a regression, δ = σ²(1 − ρ)².

    Raises ValueError where β is not positive.
    """

    penalty: Float[Array, ""] = eqx.field(converter=as_float_array, default=10.0)
    name: ClassVar[str] = "whitened_joint"

    def __check_init__(self):
        checks.check_positive("penalty", self.penalty)

    def pull(self, w: Float[Array, "k d"], moments: Moments) -> Float[Array, "k d"]:
        whiten = self.penalty.astype(w.dtype) * _gap(w, moments.xx) @ w @ moments.xx
        return -w @ _difference(moments) - whiten

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        w = maps.encoder
        penalty = self.penalty.astype(w.dtype) * jnp.sum(_gap(w, moments.xx) ** 2)
        return jnp.vdot(w, w @ _difference(moments)) / 2 + penalty / 4

    def coefficients(self, features: Features) -> Coefficients:
        variance, penalty = features.variance, self.penalty.astype(features.lam.dtype)
        difference = variance + features.target_variance - 2 * features.lam
        return penalty * variance - difference, penalty * variance**2


def _gap(w: Float[Array, "k d"], covariance: Float[Array, "d d"]) -> Float[Array, "k k"]:
    """W̄ Σ W̄ᵀ − I."""
    return w @ covariance @ w.T - jnp.eye(w.shape[0], dtype=w.dtype)


def _difference(moments: Moments) -> Float[Array, "d d"]:
    """E (x − y)(x − y)ᵀ."""
    return moments.xx + moments.yy - moments.yx - moments.yx.T
