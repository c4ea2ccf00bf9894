"""Teachers: they encode the target of a joint embedding objective."""

from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import as_float_array

if TYPE_CHECKING:  # pyright does not know equinox's own (microsoft/pyright#4965)
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


class AbstractTarget(Checked):
    """How the teacher W̄ᵗ follows the encoder, and whether gradients pass through it.

    time_constant: τ, in flow time, where the teacher is a copy that follows the encoder; None where
    the encoder is its own teacher.
    A subclass sets these class attributes. suffix: what the objective's name ends in.
    passes_gradient: whether the loss is differentiated through the target too.
    """

    time_constant: eqx.AbstractVar[Float[Array, ""] | None]
    suffix: AbstractClassVar[str]
    passes_gradient: AbstractClassVar[bool]


class StopGradient(AbstractTarget):
    """The encoder is its own teacher, and no gradient passes through the target."""

    time_constant: Float[Array, ""] | None = eqx.field(init=False, default=None)
    suffix: ClassVar[str] = ""
    passes_gradient: ClassVar[bool] = False


class NoStopGradient(AbstractTarget):
    """The encoder is its own teacher, and gradients pass: a true gradient flow, which collapses."""

    time_constant: Float[Array, ""] | None = eqx.field(init=False, default=None)
    suffix: ClassVar[str] = "_no_stop_gradient"
    passes_gradient: ClassVar[bool] = True


class MovingAverage(AbstractTarget):
    """The teacher is a copy ξ of the layers that follows them: ξ̇ = (W − ξ)/τ, ξ(0) = W(0).

    time_constant: τ, in flow time. `Descent` with learning rate α uses the momentum m = 1 − α/τ.

    Raises ValueError where τ is not positive.
    """

    time_constant: Float[Array, ""] = eqx.field(converter=as_float_array)
    suffix: ClassVar[str] = "_moving_average"
    passes_gradient: ClassVar[bool] = False

    def __check_init__(self):
        checks.check_positive("time_constant", self.time_constant)
