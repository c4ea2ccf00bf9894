"""[data] that is a model with known moments, and what it shares with [data] that is real.

Variances, `signal` and `noise`, are per feature; one number counts for all.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from jepa_sim.arguments.errors import Fault, raise_faults, shown
from jepa_sim.config.tables.base import (
    LIST,
    Correlation,
    Count,
    Each,
    Fraction,
    OneOrEach,
    Positive,
    Seed,
    Table,
    Variance,
)

Angle = Annotated[float, Field(ge=0, le=1)]
Keep = Annotated[float, Field(gt=0, le=1)]
Grid = Annotated[tuple[Count, Count], LIST]  # rows, columns
Target = Literal["whole", "hidden", "remasked"]


class Views(Table):
    """Data of which pairs can be drawn: exact moments, or those of that many pairs."""

    pairs: Count | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits_together(self) -> "Views":
        raise_faults(list(self.faults()))
        return self

    def faults(self) -> Iterator[Fault]:
        """What is wrong with keys together that are right one by one."""
        yield from ()


class Static(Views):
    """Features seen twice under independent noise."""

    kind: Literal["static"]
    signal: Each[Variance]
    noise: OneOrEach[Variance]

    def faults(self) -> Iterator[Fault]:
        """One noise for each signal, and not both zero."""
        return feature_faults(self, "noise")


class Dynamic(Views):
    """Autoregressive features seen now and `lag` steps later."""

    kind: Literal["dynamic"]
    signal: Each[Variance]
    autocorrelation: OneOrEach[Correlation]
    noise: OneOrEach[Variance]
    noise_autocorrelation: OneOrEach[Correlation] = 0.0
    lag: Count = 1

    def faults(self) -> Iterator[Fault]:
        """One of each for each signal, and variances not both zero."""
        return feature_faults(self, "noise", "autocorrelation", "noise_autocorrelation")


class RandomFrames(Table):
    """Any `keep` of the frames are visible."""

    kind: Literal["random"]
    keep: Count


class Suffix(Table):
    """The last `length` frames are hidden."""

    kind: Literal["suffix"]
    length: Count


class BlockFrames(Table):
    """`length` successive frames are hidden."""

    kind: Literal["block"]
    length: Count


class Temporal(Views):
    """Pairs of a visible and a hidden frame of autoregressive sequences.

    positions: whole masked sequences instead, for a predictor that knows positions.
    """

    kind: Literal["temporal"]
    signal: Each[Variance]
    autocorrelation: OneOrEach[Correlation]
    noise: OneOrEach[Variance]
    noise_autocorrelation: OneOrEach[Correlation] = 0.0
    frames: Annotated[int, Field(ge=2)]
    policy: Annotated[RandomFrames | Suffix | BlockFrames, Field(discriminator="kind")]
    positions: bool = False

    def faults(self) -> Iterator[Fault]:
        """As `Dynamic`, and a policy that shows a frame and hides another."""
        yield from feature_faults(self, "noise", "autocorrelation", "noise_autocorrelation")
        key = "keep" if isinstance(self.policy, RandomFrames) else "length"
        value = getattr(self.policy, key)
        if value >= self.frames:
            rule = f"be below `data.frames` = {self.frames}"
            yield Fault(("policy", key), rule, f"is {value}")


class PixelMask(Views):
    """Smooth random images with pixels masked one by one."""

    kind: Literal["pixel_mask"]
    shape: Grid
    length: Positive
    keep: Keep
    target: Target = "whole"
    noise: Variance = 0.0

    def faults(self) -> Iterator[Fault]:
        """A mask that leaves something to learn."""
        return keep_faults(self.keep, self.target)


class BlockMask(Views):
    """Smooth random images with a block masked."""

    kind: Literal["block_mask"]
    shape: Grid
    length: Positive
    block: Grid
    target: Target = "whole"
    noise: Variance = 0.0

    def faults(self) -> Iterator[Fault]:
        """A block that fits and shows all pixels at times."""
        return block_faults(self.block, self.shape, "`data.shape`", self.noise)


class LowRank(Views):
    """Some latent features in many dimensions of white noise, reconstructed or denoised."""

    kind: Literal["low_rank"]
    dimension: Count
    signal: Each[Positive]
    noise: Positive
    denoising: bool = False

    def faults(self) -> Iterator[Fault]:
        """No more features than dimensions."""
        if len(self.signal) > self.dimension:
            rule = f"be at least {len(self.signal)}, the entries of `data.signal`"
            yield Fault(("dimension",), rule, f"is {self.dimension}")


class PowerLaw(Views):
    """s² = i^−exponent and n² = noise · i^−noise_exponent, i = 1, …, dimension."""

    kind: Literal["power_law"]
    dimension: Count
    exponent: float = 1.0
    noise: Variance = 1.0
    noise_exponent: float = 0.0


class NonCommuting(Views):
    """A random pair whose eigenbases are `angle` of the way apart; one spectrum for each angle."""

    kind: Literal["non_commuting"]
    dimension: Annotated[int, Field(ge=2)]
    angle: OneOrEach[Angle]
    basis_seed: Seed = 0
    smallest: Fraction = 0.1

    @property
    def angles(self) -> tuple[float, ...]:
        """All angles."""
        return self.angle if isinstance(self.angle, tuple) else (self.angle,)


def feature_faults(table: Any, *names: str) -> Iterator[Fault]:
    """Whether lists have an entry for each signal, and no feature is without variance."""
    count = len(table.signal)
    for name in names:
        value = getattr(table, name)
        if isinstance(value, tuple) and len(value) != count:
            rule = f"be one number or have {count} entries, as `data.signal` does"
            yield Fault((name,), rule, f"has {len(value)}")
            return
    noise = table.noise if isinstance(table.noise, tuple) else (table.noise,) * count
    for i, (s2, n2) in enumerate(zip(table.signal, noise, strict=True)):
        if s2 + n2 == 0:
            yield Fault(("signal", i), "be above 0 where `data.noise` is 0", f"is {shown(s2)}")


def keep_faults(keep: float, target: str) -> Iterator[Fault]:
    """Whether something is hidden where that is the target."""
    if keep == 1 and target == "hidden":
        yield Fault(("keep",), 'be below 1 with `data.target` = "hidden"', f"is {shown(keep)}")


def block_faults(
    block: Sequence[int], shape: Sequence[int], of_shape: str, noise: float
) -> Iterator[Fault]:
    """Whether a block fits into an image, and if it always hides some pixel there is noise."""
    found = f"is {shown(block)}"
    axes = list(zip(block, shape, strict=True))
    if any(b > n for b, n in axes) or math.prod(block) == math.prod(shape):
        yield Fault(("block",), f"be smaller than {of_shape}, {shown(shape)}", found)
    elif all(2 * b > n for b, n in axes) and noise == 0:
        rule = "leave every pixel visible at times, unless `data.noise` is above 0"
        yield Fault(("block",), rule, f"{found}, of {shown(shape)}")
