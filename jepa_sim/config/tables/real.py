"""Real [data]: photographs, digits, time series.

Images have several views, each with its own keys; `view` chooses.
"""

import abc
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

import jepa_sim as js
from jepa_sim.config.faults import Fault
from jepa_sim.config.tables.base import Count, OneTable, Positive, Variance, tables_in
from jepa_sim.config.tables.data import Views
from jepa_sim.config.tables.models import (
    Keep,
    Shape,
    Target,
    block_faults,
    keep_faults,
    masked,
)

DIGIT = 8  # pixels along the edge
STEPS = {"elnino": 732, "sunspots": 309}


class Images(Views):
    """Images, of which `view` chooses the pair of views."""

    @property
    @abc.abstractmethod
    def side(self) -> int:
        """Pixels along the edge of an image."""

    @abc.abstractmethod
    def source(self) -> "js.data.AbstractSource":
        """The images."""


class Lit(Images):
    """Each image under two lights."""

    view: Literal["lighting"] = "lighting"
    brightness_sd: Positive | None = None
    gradient_sd: Positive | None = None
    sensor_sd: Positive | None = None

    def views(self) -> "js.data.AbstractViews":
        keys = self.given("brightness_sd", "gradient_sd", "sensor_sd")
        return js.data.Lit(self.source(), **keys)


class Noisy(Images):
    """Each image under white noise."""

    view: Literal["noise"]
    noise: Positive

    def views(self) -> "js.data.AbstractViews":
        return js.data.Noisy(self.source(), self.noise)


class Shifted(Images):
    """Each image up to `shift` pixels off."""

    view: Literal["shift"]
    shift: int
    noise: Variance = 0.0

    def views(self) -> "js.data.AbstractViews":
        return js.data.Shifted(self.source(), self.shift, noise=self.noise)


class Masked(Images):
    """Each image with pixels masked one by one (`keep`) or in a block (`block`)."""

    view: Literal["mask"]
    of_shape: ClassVar[str]  # the image, in words
    keep: Keep | None = None
    block: Shape | None = None
    target: Target = "whole"
    noise: Variance

    def faults(self) -> Iterator[Fault]:
        """One mask, which fits."""
        if (self.keep is None) == (self.block is None):
            found = "is missing" if self.keep is None else "is given too"
            rule = "be given" if self.keep is None else "be left out where `data.block` is given"
            beside = " (or `data.block`)" if self.keep is None else ""
            yield Fault(("keep",), rule + beside, found)
        elif self.keep is not None:
            yield from keep_faults(self.keep, self.target)
        elif self.block is not None:
            shape = (self.side, self.side)
            yield from block_faults(self.block, shape, self.of_shape, self.noise)

    def views(self) -> "js.data.AbstractViews":
        if self.block is not None:
            mask = js.data.BlockMask((self.side, self.side), self.block)
        else:
            assert self.keep is not None  # `faults` sees to it that one of the two is given
            mask = js.data.PixelMask(self.keep)
        return masked(self.source(), mask, self)


class Photographs(Images):
    """Patches of scikit-learn's photographs, d = patch², of mean variance 1."""

    kind: Literal["images"]
    patch: Annotated[int, Field(ge=2, le=64)] = 8

    @property
    def side(self) -> int:
        return self.patch

    def source(self) -> "js.data.AbstractSource":
        return js.data.Patches(self.patch)


class LitPhotographs(Photographs, Lit):
    """Patches under two lights."""


class NoisyPhotographs(Photographs, Noisy):
    """Patches under white noise."""


class ShiftedPhotographs(Photographs, Shifted):
    """Patches up to `shift` pixels off."""

    shift: Annotated[int, Field(ge=1, le=64)] = 1

    def source(self) -> "js.data.AbstractSource":
        return js.data.Patches(self.patch + self.shift)  # whose windows have `patch` pixels


class MaskedPhotographs(Photographs, Masked):
    """Patches with pixels masked one by one (`keep`) or in a block (`block`)."""

    of_shape = "the patch"
    noise: Variance = 0.0


class Digits(Images):
    """scikit-learn's digits, 8 × 8 pixels. Some pixels never vary, so there has to be noise."""

    kind: Literal["digits"]

    @property
    def side(self) -> int:
        return DIGIT

    def source(self) -> "js.data.AbstractSource":
        return js.data.Digits()


class LitDigits(Digits, Lit):
    """Digits under two lights."""


class NoisyDigits(Digits, Noisy):
    """Digits under white noise."""


class ShiftedDigits(Digits, Shifted):
    """Digits through a window of (8 − shift)² pixels."""

    shift: Annotated[int, Field(ge=1, le=DIGIT - 2)] = 1


class MaskedDigits(Digits, Masked):
    """Digits with pixels masked one by one (`keep`) or in a block (`block`)."""

    of_shape = "the digit"
    noise: Positive


PHOTOGRAPHS = OneTable("view", tables_in(globals(), Photographs, "view"), default="lighting")
DIGITS = OneTable("view", tables_in(globals(), Digits, "view"), default="lighting")


class Series(Views):
    """Windows of a series of statsmodels and what follows `lag` steps later."""

    kind: Literal["series"]
    name: Literal["elnino", "sunspots"]
    window: Count
    lag: Count
    anomalies: bool | None = None
    # runs of older versions do not have the key, and must resume: so false is not written down
    rolled: Annotated[bool, Field(exclude_if=lambda rolled: not rolled)] = False

    def faults(self) -> Iterator[Fault]:
        """Enough windows, and months where seasons are taken off."""
        if self.anomalies is not None and self.name != "elnino":
            rule = 'be left out unless `data.name` is "elnino"'
            yield Fault(("anomalies",), rule, "is given")
        wanted = 2 * self.window + self.lag
        if wanted > STEPS[self.name]:
            rule = f"be such that 2 window + lag is at most {STEPS[self.name]}, the steps there are"
            yield Fault(("window",), rule, f"is {self.window} with a lag of {self.lag}")

    def views(self) -> "js.data.AbstractViews":
        series = {"elnino": js.data.elnino, "sunspots": js.data.sunspots}[self.name]
        values = series(**self.given("anomalies"))
        return js.data.Windows(values, self.window, self.lag, rolled=self.rolled)
