"""What a start is."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar
from jepa_sim.data.moments import Features, Moments
from jepa_sim.model.equilibria import Layers
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.state import Weights

if TYPE_CHECKING:  # pyright does not know equinox's own (microsoft/pyright#4965)
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


class AbstractStart(Checked):
    """Where training begins.

    scale: ε, the root mean square of the encoder's gains.
    A subclass sets these class attributes, or has properties of the same names where they depend
    on its fields. is_random: whether `weights` needs a key.  is_level: whether all features start
    with the gain ε, where the network is no bottleneck.  is_balanced: whether the reduced theory
    applies, because every singular value of every factor is the same.  is_separable: whether the
    start says how a single feature starts, as a network of width one.

    Only a start whose layers differ within a feature sets `keeps_differences` and overrides
    `layers`; others leave both as they are.
    """

    scale: eqx.AbstractVar[Float[Array, ""]]
    is_random: AbstractClassVar[bool]
    is_level: AbstractClassVar[bool]
    is_balanced: AbstractClassVar[bool]
    is_separable: AbstractClassVar[bool]
    keeps_differences: ClassVar[bool] = False

    @abc.abstractmethod
    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        """The matrices at time 0."""

    def layers(
        self, features: Features, objective: AbstractObjective, depth: Scalar
    ) -> Layers | None:
        """How layers of every feature differ at the start, which the flow without decay keeps.

        None where they do not differ: the reduced theory then says where features come to rest.
        """
        return None
