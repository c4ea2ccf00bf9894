"""What a start is."""

import abc

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar
from jepa_sim.data.moments import Features, Moments
from jepa_sim.model.equilibria import Layers
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.state import Weights


class AbstractStart(Checked):
    """Where training begins.

    scale: ε, the root mean square of the encoder's gains.
    """

    scale: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def is_random(self) -> bool:
        """Whether `weights` needs a key."""

    @property
    @abc.abstractmethod
    def is_level(self) -> bool:
        """Whether all features start with the gain ε, where the network is no bottleneck."""

    @property
    @abc.abstractmethod
    def is_balanced(self) -> bool:
        """Whether the reduced theory applies: every singular value of every factor is the same."""

    @property
    @abc.abstractmethod
    def is_separable(self) -> bool:
        """Whether it says how a single feature starts, as a network of width one."""

    @abc.abstractmethod
    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        """The matrices at time 0."""

    @property
    def keeps_differences(self) -> bool:
        """Whether layers of a feature may differ at the start, as `layers` says."""
        return False

    def layers(
        self, features: Features, objective: AbstractObjective, depth: Scalar
    ) -> Layers | None:
        """How layers of every feature differ at the start, which the flow without decay keeps.

        None where they do not: the reduced theory then says where features come to rest.
        """
        return None
