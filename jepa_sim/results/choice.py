"""Which solver ran, with which method, and why that one."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments.types import is_concrete


class Choice(eqx.Module):
    """Which solver and method ran; `str()` says why that one.

    easy, stiff: the solver with its method, for problems that are easy and that are stiff; the same
    where there was nothing to choose.  relaxations: predicted length of the run in relaxation times
    of its fastest feature; None where nothing was predicted, and `easy` ran.  limit: above so many
    relaxation times a problem is stiff.
    """

    easy: str = eqx.field(static=True)
    stiff: str = eqx.field(static=True)
    relaxations: Float[Array, "*lanes"] | None = None
    limit: float = eqx.field(static=True, default=np.inf)

    @property
    def name(self) -> str:
        """Which of the two ran."""
        is_stiff = self.relaxations is not None and float(self.relaxations) > self.limit
        return self.stiff if is_stiff else self.easy

    def __str__(self) -> str:
        if self.easy == self.stiff:
            return self.easy
        if self.relaxations is None:
            return f"{self.easy}: the problem was traced, so that nothing could be predicted"
        if not is_concrete(self.relaxations) or np.ndim(self.relaxations):
            return f"{self.easy} or {self.stiff}"
        count = float(self.relaxations)
        if count == 0:  # as `stiffness` has it
            return f"{self.easy}: the objective has no reduced flow, so that nothing was predicted"
        words = f"{count:,.0f}" if count >= 100 else f"{count:.2g}"
        sign, a = (">", "a") if self.name == self.stiff else ("≤", "no")
        predicted = f"predicted {words} relaxation times {sign} {self.limit:,.0f}"
        return f"{self.name}: {predicted}, so {a} stabilised method"
