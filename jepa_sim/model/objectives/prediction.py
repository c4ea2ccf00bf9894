"""Predictions: of a representation, or of the input itself."""

import abc
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.types import Scalar
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.objectives.base import AbstractObjective, Coefficients, Rest
from jepa_sim.model.objectives.maps import Maps
from jepa_sim.model.teachers import AbstractTarget, StopGradient
from jepa_sim.numerics.products import transposed


class AbstractPrediction(AbstractObjective):
    """Squared error of a prediction: ½ E ‖V̄ W̄ x − T y‖².

    With actions it is ½ Σ_a p_a E[‖V_a W̄ x − T y‖² | a], V̄ being the V_a one below the other.
    """

    @abc.abstractmethod
    def encode_target(
        self, teacher: Float[Array, "kt _"], moment: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        """T times a moment of y: the target map T is the teacher's, or the identity."""

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        target = self.encode_target(maps.teacher, moments.yx)
        held = prediction_pulls(target, maps, moments)
        if not self.teacher.passes_gradient:
            return held
        # the pull on the teacher's map W̄ᵗ
        back = maps.predictor @ maps.encoder @ moments.yx.T - maps.teacher @ moments.yy
        return Maps(held.encoder, held.predictor, back)

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        prediction = maps.predictor @ maps.encoder
        # T Σyy Tᵀ
        size = self.encode_target(maps.teacher, self.encode_target(maps.teacher, moments.yy).T)
        return (
            jnp.vdot(prediction, predicted_moment(maps, moments)) / 2
            - jnp.vdot(prediction, self.encode_target(maps.teacher, moments.yx))
            + jnp.trace(size) / 2
        )

    def coefficients(self, features: Features) -> Coefficients:
        return features.lam, features.variance

    @property
    def moves_straight(self) -> bool:
        """Whether the teacher is the encoder itself, without gradient."""
        return isinstance(self.teacher, StopGradient)


class JEPA(AbstractPrediction):
    """Joint embedding prediction: the target is the representation of y by a teacher.

    target: `StopGradient()`, the encoder itself without gradient (the default);
    `MovingAverage(τ)`, an exponential moving average of its layers (self-distillation);
    `NoStopGradient()`, the encoder with gradient, which collapses.

    Reduced exponents a = 2L + M − 1, b = M; plateau w̄ = ρ^{L/M} (Littwin et al., NeurIPS 2024). A
    moving average has the same plateaus and reaches them later.
    """

    target: AbstractTarget = StopGradient()
    encodes_target: ClassVar[bool] = True
    uses_predictor: ClassVar[bool] = True

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`jepa`, and how its teacher differs from the encoder with stop-gradient."""
        return "jepa" + self.target.suffix

    @property
    def teacher(self) -> AbstractTarget:
        return self.target

    def encode_target(
        self, teacher: Float[Array, "kt _"], moment: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return teacher @ moment

    def output_basis(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return latent

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return 2 * depth + predictor_depth - 1, predictor_depth

    def preference(self, features: Features) -> Float[Array, " d"]:
        """ρ: cleaner features take over the latents of noisier ones, to the cleanest."""
        if self.teacher.passes_gradient:
            return super().preference(features)
        return features.rho

    def turning(
        self,
        lam: Float[Array, " d"],
        variance: Float[Array, " d"],
        depth: Scalar,
        predictor_depth: Scalar,
    ) -> Float[Array, "d d"]:
        """g_ji = A σ_i² (ρ_i − ρ_j), A = ρ_j^{1 + 2(L−1)/M}: latents turn towards larger ρ.

        The rate at M = 1 is Goh's (Lemma 7.1, 2026). A teacher of time constant τ turns late: what
        it carries of i follows by ξ̇ = (r − ξ)/τ, where ṙ = A (λ_i ξ − ρ_j σ_i² r). So g_ji is the
        positive root of τ g² + (1 + τ A ρ_j σ_i²) g = A σ_i² (ρ_i − ρ_j), about (ρ_i/ρ_j − 1)/τ for
        slow teachers.
        """
        rho = jnp.maximum(lam / variance, 0)
        power = (rho ** (1 + 2 * (depth - 1) / predictor_depth))[:, None]
        return self._root(power * lam[None, :], power * rho[:, None] * variance[None, :])

    def turning_at(
        self, lam: Float[Array, " d"], variance: Float[Array, " d"], rest: Rest
    ) -> Float[Array, "d d"]:
        """g_ji = A (λ_i − v̄_j σ_i²) − η_w, A = w_j^{2(L−1)} v̄_j; a teacher is as in `turning`.

        At rest A (λ_j − v̄_j σ_j²) = η_w, so g_ji = A (λ_i − λ_j − v̄_j (σ_i² − σ_j²)). Latents turn
        towards features that rest at a larger v̄.
        """
        power = (rest.inner_encoder**2 * rest.predictor)[:, None]
        back = power * rest.predictor[:, None] * variance[None, :] + rest.encoder_decay
        return self._root(power * lam[None, :], back)

    def turning_from(
        self, rate: Float[Array, "d d"], log_rise: Float[Array, " d"], depth: Scalar
    ) -> Float[Array, "d d"]:
        """g_ji (1 − e^{2L})/(1 − e²), with e = u_i/u_j*: this is T_lk of `theory/takeovers.py`.

        At L = 4 and ε = 1e-3 u_i is 0.18 at the start, so e is 0.3 at u_j* = 0.6.
        """
        twice = jnp.maximum(2 * log_rise, 1e-3)  # the quotient is L where e = 1
        # by exp, which is quicker than expm1
        return rate * ((1 - jnp.exp(-depth * twice)) / (1 - jnp.exp(-twice)))[:, None]

    def _root(self, ahead: Float[Array, "d d"], back: Float[Array, "d d"]) -> Float[Array, "d d"]:
        """g of ṙ = ahead ξ − back r, where a teacher's copy has ξ̇ = (r − ξ)/τ; else ξ = r."""
        gain = ahead - back
        if self.teacher.time_constant is None:
            return gain
        tau = self.teacher.time_constant.astype(gain.dtype)
        middle = 1 + tau * back
        # the form of the root that does not cancel; below 0 (λ_i < 0) roots are complex, and decay
        return 2 * gain / (middle + jnp.sqrt(jnp.maximum(middle**2 + 4 * tau * gain, 0)))


class MAE(AbstractPrediction):
    """Masked autoencoding: reconstruct the target itself.

    Reduced exponents a = L + M − 1, b = L + M; plateau w̄ = ρ^{L/(L+M)}. With Σyx = Σxx this is the
    deep linear autoencoder (Saxe et al. 2014).
    """

    name: ClassVar[str] = "mae"
    encodes_target: ClassVar[bool] = False
    uses_predictor: ClassVar[bool] = True
    has_effective_starts: ClassVar[bool] = True

    def encode_target(
        self, teacher: Float[Array, "kt _"], moment: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return moment

    def output_basis(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return target

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return depth + predictor_depth - 1, depth + predictor_depth

    def preference(self, features: Features) -> Float[Array, " d"]:
        """λρ, by which a feature lowers the loss: the optimum is reduced-rank regression."""
        return features.lam * features.rho

    def turning(
        self,
        lam: Float[Array, " d"],
        variance: Float[Array, " d"],
        depth: Scalar,
        predictor_depth: Scalar,
    ) -> Float[Array, "d d"]:
        """Latents turn towards larger ρλ where N = L + M > 2; with two layers i grows faster alone.

        g_ji is the larger eigenvalue of [[−A, C], [C, −B]], A = u^{2N−2} σ_i², B = u^{2N−2} σ_j²,
        C = u^{N−2} λ_i, u = ρ_j^{1/N}.
        """
        layers = jnp.asarray(depth + predictor_depth, lam.dtype)
        rho = jnp.maximum(lam / variance, 0)
        cross = rho ** ((layers - 2) / layers)
        own = cross * rho
        a, b = own[:, None] * variance[None, :], (own * variance)[:, None]
        c = cross[:, None] * lam[None, :]
        rate = _larger_eigenvalue(a, b, c**2)
        return jnp.where(layers > 2, rate, jnp.zeros_like(rate))

    def turning_at(
        self, lam: Float[Array, " d"], variance: Float[Array, " d"], rest: Rest
    ) -> Float[Array, "d d"]:
        """g_ji is the larger eigenvalue of [[−A, C], [q C, −B]] where N > 2, with q = α_v/α_w.

        A = (w^{L−1} v̄)² σ_i² + η_w, B = q (v^{M−1} w̄)² σ_j² + η_v, C = w^{L−1} v^{M−1} λ_i.
        """
        w, v = rest.inner_encoder, rest.inner_predictor
        a = ((w * rest.predictor) ** 2)[:, None] * variance[None, :] + rest.encoder_decay
        b = (rest.pace * (v * rest.encoder) ** 2 * variance)[:, None] + rest.predictor_decay
        c = (w * v)[:, None] * lam[None, :]
        rate = _larger_eigenvalue(a, b, rest.pace * c**2)
        return jnp.where(rest.depth + rest.predictor_depth > 2, rate, jnp.zeros_like(rate))


def _larger_eigenvalue(
    a: Float[Array, "d d"], b: Float[Array, "d 1"], square: Float[Array, "d d"]
) -> Float[Array, "d d"]:
    """Of matrices [[−a, c], [c', −b]] with c c' = `square`."""
    root = jnp.sqrt(((a - b) / 2) ** 2 + square)
    # −(a + b)/2 + root, without its cancellation
    sum_ = (a + b) / 2 + root
    return (square - a * b) / jnp.where(sum_ > 0, sum_, 1)


def prediction_pulls(target: Float[Array, "o d"], maps: Maps, moments: Moments) -> Maps:
    """The pulls of ½ E ‖V̄ W̄ x − T y‖², with target = T Σyx held fixed."""
    w, v = maps.encoder, maps.predictor
    residual = target - predicted_moment(maps, moments)
    of_encoder, of_predictor = transposed(v) @ residual, residual @ transposed(w)
    return Maps(of_encoder, of_predictor, jnp.zeros_like(maps.teacher))


def predicted_moment(maps: Maps, moments: Moments) -> Float[Array, "o d"]:
    """V̄ W̄ Σxx; with actions, which the moments of y are weighted by too, the V_a W̄ E[1_a x xᵀ]."""
    w, v = maps.encoder, maps.predictor
    if moments.actions is None:
        return v @ (w @ moments.xx)
    by_action = v.reshape(moments.actions.count, -1, v.shape[-1])
    return (by_action @ (w @ moments.actions.xx)).reshape(v.shape[0], -1)
