"""What an objective is."""

import abc

from jaxtyping import Array, Float

from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar
from jepa_sim.data.moments import Features, Moments
from jepa_sim.model.objectives.maps import Maps
from jepa_sim.model.teachers import AbstractTarget


class AbstractObjective(Checked):
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
