"""Several objectives as one program."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jepa_sim.arguments.types import Scalar
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.objectives.base import AbstractObjective, Coefficients, Rest
from jepa_sim.model.objectives.maps import Maps
from jepa_sim.model.objectives.prediction import AbstractPrediction, prediction_pulls
from jepa_sim.model.teachers import StopGradient


class SwitchedObjective(AbstractObjective):
    """One of several objectives, chosen by a traced number: they become one compiled program.

    The matrix flow takes those that `can_share`; the reduced theory takes any.
    """

    options: tuple[AbstractObjective, ...]
    which: Int[Array, ""]
    name: ClassVar[str] = "one of several"

    @staticmethod
    def can_share(objectives: Sequence[AbstractObjective]) -> bool:
        """Whether the matrix flows of these objectives differ in their target map alone."""
        return all(
            isinstance(objective, AbstractPrediction)
            and isinstance(objective.teacher, StopGradient)
            for objective in objectives
        )

    def _choose(self, values: Sequence[Any]) -> Any:
        """That of the chosen option, from one value or tuple of values of each."""
        if len(values) == 1:
            return values[0]
        return jax.tree.map(
            lambda *each: jax.lax.select_n(self.which, *map(jnp.asarray, each)), *values
        )

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        # `can_share` has checked that all are predictions; the condition is for type checkers
        targets = [
            option.encode_target(maps.teacher, moments.yx)
            for option in self.options
            if isinstance(option, AbstractPrediction)
        ]
        return prediction_pulls(self._choose(targets), maps, moments)

    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        return self._choose([option.loss(maps, moments) for option in self.options])

    @property
    def encodes_target(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether one of them does."""
        return any(option.encodes_target for option in self.options)

    @property
    def uses_predictor(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether one of them does."""
        return any(option.uses_predictor for option in self.options)

    def output_basis(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        return self._choose([option.output_basis(latent, target) for option in self.options])

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        return self._choose([option.exponents(depth, predictor_depth) for option in self.options])

    def coefficients(self, features: Features) -> Coefficients:
        return self._choose([option.coefficients(features) for option in self.options])

    @property
    def has_reduced_flow(self) -> bool:
        return all(option.has_reduced_flow for option in self.options)

    def preference(self, features: Features) -> Float[Array, " d"]:
        return self._choose([option.preference(features) for option in self.options])

    @property
    def moves_straight(self) -> bool:
        return all(option.moves_straight for option in self.options)

    def turning(
        self,
        lam: Float[Array, " d"],
        variance: Float[Array, " d"],
        depth: Scalar,
        predictor_depth: Scalar,
    ) -> Float[Array, "d d"]:
        return self._choose(
            [option.turning(lam, variance, depth, predictor_depth) for option in self.options]
        )

    def turning_at(
        self, lam: Float[Array, " d"], variance: Float[Array, " d"], rest: Rest
    ) -> Float[Array, "d d"]:
        return self._choose([option.turning_at(lam, variance, rest) for option in self.options])

    def turning_from(
        self, rate: Float[Array, "d d"], log_rise: Float[Array, " d"], depth: Scalar
    ) -> Float[Array, "d d"]:
        return self._choose([each.turning_from(rate, log_rise, depth) for each in self.options])
