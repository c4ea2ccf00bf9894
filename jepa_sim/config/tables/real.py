"""[data] that is real: photographs, digits, time series.

Images have several views, each with its own keys; `view` chooses.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from jepa_sim.arguments.errors import Fault, shown
from jepa_sim.config.tables.base import Count, Positive, Variance
from jepa_sim.config.tables.models import Grid, Keep, Target, Views, block_faults, keep_faults

DIGIT = 8  # pixels along the edge
STEPS = {"elnino": 732, "sunspots": 309}


class Lit(Views):
    """Each image under two lights; None leaves a standard deviation to the view."""

    view: Literal["lighting"] = "lighting"
    brightness_sd: Positive | None = None
    gradient_sd: Positive | None = None
    sensor_sd: Positive | None = None


class Photographs(Views):
    """Patches of scikit-learn's photographs, d = patch², of mean variance 1."""

    kind: Literal["images"]
    patch: Annotated[int, Field(ge=2, le=64)] = 8


class LitPhotographs(Photographs, Lit):
    """Patches under two lights."""


class NoisyPhotographs(Photographs):
    """Patches under white noise."""

    view: Literal["noise"]
    noise: Positive


class ShiftedPhotographs(Photographs):
    """Patches up to `shift` pixels off."""

    view: Literal["shift"]
    shift: Annotated[int, Field(ge=1, le=64)] = 1
    noise: Variance = 0.0


class MaskedPhotographs(Photographs):
    """Patches with pixels masked one by one (`keep`) or in a block (`block`)."""

    view: Literal["mask"]
    keep: Keep | None = None
    block: Grid | None = None
    target: Target = "whole"
    noise: Variance = 0.0

    def faults(self) -> Iterator[Fault]:
        """One mask, which fits."""
        return _mask_faults(self, self.patch, "the patch")


class Digits(Views):
    """scikit-learn's digits, 8 × 8 pixels, some of which never vary: there has to be noise."""

    kind: Literal["digits"]


class LitDigits(Digits, Lit):
    """Digits under two lights."""


class NoisyDigits(Digits):
    """Digits under white noise."""

    view: Literal["noise"]
    noise: Positive


class ShiftedDigits(Digits):
    """Digits through a window of (8 − shift)² pixels."""

    view: Literal["shift"]
    shift: Annotated[int, Field(ge=1, le=DIGIT - 2)] = 1
    noise: Variance = 0.0


class MaskedDigits(Digits):
    """Digits with pixels masked one by one (`keep`) or in a block (`block`)."""

    view: Literal["mask"]
    noise: Positive
    keep: Keep | None = None
    block: Grid | None = None
    target: Target = "whole"

    def faults(self) -> Iterator[Fault]:
        """One mask, which fits."""
        return _mask_faults(self, DIGIT, "the digit")


class Series(Views):
    """Windows of a series of statsmodels and what follows `lag` steps later."""

    kind: Literal["series"]
    name: Literal["elnino", "sunspots"]
    window: Count
    lag: Count
    anomalies: bool | None = None

    def faults(self) -> Iterator[Fault]:
        """Enough windows, and months where seasons are taken off."""
        if self.anomalies is not None and self.name != "elnino":
            rule = 'be left out unless `data.name` is "elnino"'
            yield Fault(("anomalies",), rule, "is given")
        wanted = 2 * self.window + self.lag
        if wanted > STEPS[self.name]:
            rule = f"be such that 2 window + lag is at most {STEPS[self.name]}, the steps there are"
            yield Fault(("window",), rule, f"is {self.window} with a lag of {self.lag}")


def view(value: Any) -> Any:
    """The view that a table of images chooses."""
    chosen = value.get("view", "lighting") if isinstance(value, dict) else value.view
    return chosen if isinstance(chosen, str) else shown(chosen)


VIEWS_OF = {
    "images": {
        "lighting": LitPhotographs,
        "noise": NoisyPhotographs,
        "shift": ShiftedPhotographs,
        "mask": MaskedPhotographs,
    },
    "digits": {
        "lighting": LitDigits,
        "noise": NoisyDigits,
        "shift": ShiftedDigits,
        "mask": MaskedDigits,
    },
}
AnyPhotographs = Annotated[
    Annotated[LitPhotographs, Tag("lighting")]
    | Annotated[NoisyPhotographs, Tag("noise")]
    | Annotated[ShiftedPhotographs, Tag("shift")]
    | Annotated[MaskedPhotographs, Tag("mask")],
    Discriminator(view),
]
AnyDigits = Annotated[
    Annotated[LitDigits, Tag("lighting")]
    | Annotated[NoisyDigits, Tag("noise")]
    | Annotated[ShiftedDigits, Tag("shift")]
    | Annotated[MaskedDigits, Tag("mask")],
    Discriminator(view),
]


def _mask_faults(
    table: MaskedPhotographs | MaskedDigits, side: int, of_shape: str
) -> Iterator[Fault]:
    if (table.keep is None) == (table.block is None):
        found = "is missing" if table.keep is None else "is given too"
        rule = "be given" if table.keep is None else "be left out where `data.block` is given"
        beside = " (or `data.block`)" if table.keep is None else ""
        yield Fault(("keep",), rule + beside, found)
    elif table.keep is not None:
        yield from keep_faults(table.keep, table.target)
    elif table.block is not None:
        yield from block_faults(table.block, (side, side), of_shape, table.noise)
