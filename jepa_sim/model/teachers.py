"""Teachers: what encodes the target of a joint embedding objective."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import as_float_array


class AbstractTarget(Checked):
    """How the teacher W̄ᵗ follows the encoder, and whether gradients pass through it.

    time_constant: τ of the copy that the teacher is; None where the encoder is its own teacher.
    """

    time_constant: eqx.AbstractVar[Float[Array, ""] | None]

    @property
    @abc.abstractmethod
    def suffix(self) -> str:
        """What the objective's name ends in."""

    @property
    @abc.abstractmethod
    def passes_gradient(self) -> bool:
        """Whether the loss is differentiated through the target too."""


class StopGradient(AbstractTarget):
    """The encoder is its own teacher, and no gradient passes through the target."""

    time_constant: Float[Array, ""] | None = eqx.field(init=False, default=None)

    @property
    def suffix(self) -> str:
        return ""

    @property
    def passes_gradient(self) -> bool:
        return False


class NoStopGradient(AbstractTarget):
    """The encoder is its own teacher, and gradients pass: a true gradient flow, which collapses."""

    time_constant: Float[Array, ""] | None = eqx.field(init=False, default=None)

    @property
    def suffix(self) -> str:
        return "_no_stop_gradient"

    @property
    def passes_gradient(self) -> bool:
        return True


class MovingAverage(AbstractTarget):
    """The teacher is a copy ξ of the layers that follows them: ξ̇ = (W − ξ)/τ, ξ(0) = W(0).

    time_constant: τ, in flow time. `Descent` with learning rate α uses the momentum m = 1 − α/τ.

    Raises ValueError where τ is not positive.
    """

    time_constant: Float[Array, ""] = eqx.field(converter=as_float_array)

    def __check_init__(self):
        checks.check_positive("time_constant", self.time_constant)

    @property
    def suffix(self) -> str:
        return "_moving_average"

    @property
    def passes_gradient(self) -> bool:
        return False
