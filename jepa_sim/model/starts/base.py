"""What a start is."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import OptionalKey, Scalar, as_float_array
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
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

    is_nearly_aligned: whether the start is a balanced one but for `misalignment`, so that the
    reduced theory takes it, with a warning where that does not hold.  knows_basis: whether the
    start is balanced but for its right basis, which `right_basis` then tells.

    `right_basis` raises NotImplementedError where the start does not know its basis.

    Only a start whose layers differ within a feature sets `keeps_differences` and overrides
    `layers`; others leave both as they are.
    """

    scale: eqx.AbstractVar[Float[Array, ""]]
    is_random: AbstractClassVar[bool]
    is_level: AbstractClassVar[bool]
    is_balanced: AbstractClassVar[bool]
    is_separable: AbstractClassVar[bool]
    keeps_differences: ClassVar[bool] = False
    is_nearly_aligned: ClassVar[bool] = False
    knows_basis: ClassVar[bool] = False

    @abc.abstractmethod
    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        """The matrices at time 0."""

    def gains_of(self, features: Features) -> Float[Array, "*d"]:
        """w̄ of the features at time 0 in the reduced theory: ε, or (d,) where features differ."""
        return jnp.asarray(self.scale)

    def right_basis(
        self, features: Features, key: PRNGKeyArray
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """(s, R) of the encoder W̄ = F diag(s) Rᵀ at time 0, for a network that is no bottleneck.

        For starts with `knows_basis`.
        """
        raise NotImplementedError

    def misalignment(self, dimension: int) -> Float[Array, ""]:
        """δ: what a latent carries of other features, as a share of what it carries of its own.

        0 for a start that is aligned but for rounding; 1 or more where it is not aligned at all, so
        that nothing keeps features apart. It is 0 for a start that is balanced or keeps
        differences, else 1; a start that knows better overrides it. dimension: d.
        """
        aligned = self.is_balanced or self.keeps_differences
        return jnp.zeros(()) if aligned else jnp.ones(())

    def layers(
        self, features: Features, objective: AbstractObjective, depth: Scalar
    ) -> Layers | None:
        """How layers of every feature differ at the start, which the flow without decay keeps.

        None where they do not differ: the reduced theory then says where features come to rest.
        """
        return None


class AbstractScaled(AbstractStart):
    """A start that is given its scale ε."""

    scale: Float[Array, ""] = eqx.field(converter=as_float_array)

    def __check_init__(self):
        checks.check_positive("scale", self.scale)
