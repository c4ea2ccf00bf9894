"""Predictors: learned by their own flow, set by a formula at every time, or given once."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import as_float_array, is_concrete
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA, AbstractObjective, Maps

if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar  # see microsoft/pyright#4965

    from jepa_sim.model.training import Training
else:
    from equinox import AbstractClassVar


class AbstractPredictor(Checked):
    """How the predictor V̄ is found.

    A subclass sets these class attributes, or has properties of the same names where they depend
    on its fields. is_learned: whether the predictor moves by the flow; else `formula` sets it at
    every time. is_separable: whether the formula for one feature is known to depend on no other.
    is_fixed: whether the formula gives one matrix at all times.
    """

    is_learned: AbstractClassVar[bool]
    is_separable: AbstractClassVar[bool]
    is_fixed: ClassVar[bool] = False

    @abc.abstractmethod
    def formula(self, maps: Maps, moments: Moments) -> Float[Array, "o k"]:
        """The predictor for the encoder (and teacher) in `maps`."""

    def check(self, objective: AbstractObjective, network: DeepLinear, dimension: int) -> None:
        """ValueError where it does not fit the objective or the network, for d = `dimension`.

        Here it fits all of them.
        """

    def plateaus(
        self, features: Features, objective: AbstractObjective, training: "Training"
    ) -> Float[Array, " d"] | None:
        """w̄* where the formula says it, NaN where it is not known; None where the flow decides."""
        return None


class Learned(AbstractPredictor):
    """The predictor follows its own flow."""

    is_learned: ClassVar[bool] = True
    is_separable: ClassVar[bool] = True

    def formula(self, maps: Maps, moments: Moments) -> Float[Array, "o k"]:
        return maps.predictor


class DirectPred(AbstractPredictor):
    """V̄ = U diag(√s + boost · max s) Uᵀ from the latent covariance W̄ Σxx W̄ᵀ = U diag(s) Uᵀ.

    Tian, Chen & Ganguli (2021), with the population covariance in place of its moving average.
    For one layer of predictor and JEPA. A feature's flow then is that of v̄ = σ w̄, with the plateau
    w̄ = ρ/σ where boost = 0.

    boost: ≥ 0; couples all features through the largest s.

    Raises ValueError where boost is negative; in `simulate` and `sweep` where the objective or the
    network does not fit.
    """

    boost: float = 0.0
    is_learned: ClassVar[bool] = False

    def __check_init__(self):
        checks.check_not_negative("boost", self.boost)

    @property
    def is_separable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the boost is known to be 0: a boost couples the features."""
        return is_concrete(self.boost) and float(self.boost) == 0

    def formula(self, maps: Maps, moments: Moments) -> Float[Array, "o k"]:
        w = maps.encoder
        s, basis = jnp.linalg.eigh(w @ moments.xx @ w.T)
        s = jnp.maximum(s, 0)  # rounding makes zeros negative
        return (basis * (jnp.sqrt(s) + self.boost * jnp.max(s))[None, :]) @ basis.T

    def check(self, objective: AbstractObjective, network: DeepLinear, dimension: int) -> None:
        _check_single("DirectPred", network)
        _check_formula("DirectPred", objective, network, dimension)

    def plateaus(
        self, features: Features, objective: AbstractObjective, training: "Training"
    ) -> Float[Array, " d"] | None:
        """ρ/σ, where v̄ = σ w̄ is ρ; NaN with weight decay or without stop-gradient.

        None where a boost couples features.
        """
        if self.boost != 0:
            return None
        found = jnp.maximum(features.rho, 0) / jnp.sqrt(features.variance)
        falls = (training.encoder_decay > 0) | objective.teacher.passes_gradient
        return jnp.where(falls, jnp.nan, found)


class FastPredictor(AbstractPredictor):
    """V̄ = T Σyx W̄ᵀ (W̄ Σxx W̄ᵀ)⁻¹, the best linear predictor: the limit of a fast predictor.

    For one layer of predictor and JEPA. Where W̄ is invertible there is no residual left: nothing
    moves the encoder but weight decay.

    Raises ValueError, in `simulate` and `sweep`, where the objective or the network does not fit.
    """

    is_learned: ClassVar[bool] = False
    is_separable: ClassVar[bool] = True

    def formula(self, maps: Maps, moments: Moments) -> Float[Array, "o k"]:
        w, cross = maps.encoder, maps.teacher @ moments.yx @ maps.encoder.T
        if moments.actions is None:
            return jnp.linalg.solve(w @ moments.xx @ w.T, cross.T).T
        latent = w @ moments.actions.xx @ w.T  # of each action
        by_action = cross.reshape(latent.shape[0], -1, latent.shape[-1])
        return (
            jnp.linalg.solve(latent, by_action.swapaxes(1, 2)).swapaxes(1, 2).reshape(cross.shape)
        )

    def check(self, objective: AbstractObjective, network: DeepLinear, dimension: int) -> None:
        _check_formula("FastPredictor", objective, network, dimension)


class GivenPredictor(AbstractPredictor):
    """V̄ = V, a given matrix that never changes, as in a network with a frozen predictor.

    For one layer of predictor and JEPA. Where V = v · 1, the flow of a feature is

        u̇ = v σ² (ρ − v) u^{2L−1}

    A feature with v between 0 and ρ grows without bound, and with L > 1 in finite time. One with
    v = ρ rests wherever it starts. All others collapse. The same holds feature by feature where V
    has a v_i for the latent of each feature; from other starts features share the directions of V.

    matrix: (k, k), for a latent of k numbers; or one number v, for V = v · 1 of any size.
    `LayerModes` needs one number: it does not know which latent a feature has.

    Raises ValueError where the matrix is not square or not finite; in `simulate` and `sweep` where
    its size, the objective or the network does not fit.
    """

    matrix: Float[Array, ""] | Float[Array, "k k"] = eqx.field(converter=as_float_array)
    is_learned: ClassVar[bool] = False
    is_fixed: ClassVar[bool] = True

    def __check_init__(self):
        if self.matrix.ndim:
            checks.check_square("matrix", self.matrix)
        checks.check_finite("matrix", self.matrix)

    @property
    def is_separable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether V is v · 1, which is the same for every feature."""
        return self.matrix.ndim == 0

    def formula(self, maps: Maps, moments: Moments) -> Float[Array, "o k"]:
        v = self.matrix.astype(maps.encoder.dtype)
        return v if v.ndim else v * jnp.eye(len(maps.encoder), dtype=v.dtype)

    def check(self, objective: AbstractObjective, network: DeepLinear, dimension: int) -> None:
        _check_single("GivenPredictor", network)
        _check_formula("GivenPredictor", objective, network, dimension)
        if self.matrix.ndim:
            checks.check_square("matrix", self.matrix, network.latent(dimension))

    def plateaus(
        self, features: Features, objective: AbstractObjective, training: "Training"
    ) -> Float[Array, " d"] | None:
        """0 where v (ρ − v) < 0, ∞ where it is positive, and 0 everywhere without stop-gradient.

        NaN where the start decides: where v = 0 or v = ρ, where weight decay works against growth,
        and for a matrix, where it depends on the latent that a feature has.
        """
        rho = features.rho
        if self.matrix.ndim:
            return jnp.full_like(rho, jnp.nan)
        v = self.matrix.astype(rho.dtype)
        pull = v * (rho - v)
        if objective.teacher.passes_gradient:
            pull = -((rho - v) ** 2)  # the loss is at least ½ σ² (ρ − v)² w̄², and least at w̄ = 0
        grows = jnp.where(training.encoder_decay > 0, jnp.nan, jnp.inf)
        return jnp.where(pull < 0, 0, jnp.where(pull > 0, grows, jnp.nan))


class IdentityPredictor(AbstractPredictor):
    """V̄ = 1: the latent of x itself is the prediction, as in a Siamese network without predictor.

    This is `GivenPredictor(1.0)`. The flow of a feature is u̇ = −σ² (1 − ρ) u^{2L−1}: everything
    collapses but what is predicted perfectly, ρ = 1. A feature with ρ > 1 grows without bound.

    Raises ValueError, in `simulate` and `sweep`, where the objective or the network does not fit.
    """

    is_learned: ClassVar[bool] = False
    is_separable: ClassVar[bool] = True
    is_fixed: ClassVar[bool] = True

    def formula(self, maps: Maps, moments: Moments) -> Float[Array, "o k"]:
        return jnp.eye(len(maps.encoder), dtype=maps.encoder.dtype)

    def check(self, objective: AbstractObjective, network: DeepLinear, dimension: int) -> None:
        _check_single("IdentityPredictor", network)
        _check_formula("IdentityPredictor", objective, network, dimension)

    def plateaus(
        self, features: Features, objective: AbstractObjective, training: "Training"
    ) -> Float[Array, " d"] | None:
        """Those of `GivenPredictor(1.0)`: 0 where ρ < 1."""
        return GivenPredictor(1.0).plateaus(features, objective, training)


def _check_single(rule: str, network: DeepLinear) -> None:
    if network.frames != (1, 1):
        checks.fail("network.frames", f"be (1, 1) with {rule}", network.frames)


def _check_formula(
    rule: str, objective: AbstractObjective, network: DeepLinear, dimension: int
) -> None:
    """What every formula needs: JEPA, one layer of predictor, and no more rows than columns."""
    _, predictor_depth = network.whole()
    if predictor_depth != 1:
        checks.fail("network.predictor_depth", f"be 1 with {rule}", predictor_depth)
    if not isinstance(objective, JEPA):
        checks.fail("objective", f"be JEPA with {rule}", objective.name)
    if network.latent(dimension) > dimension:
        found = network.latent(dimension)
        checks.fail("network.width", f"be at most d = {dimension} with {rule}", found)
