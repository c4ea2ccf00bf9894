"""[data] that is a model with known moments, and what it shares with [data] that is real.

Variances, `signal` and `noise`, are per feature; one number counts for all.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

import jepa_sim as js
from jepa_sim.config.faults import Fault, shown
from jepa_sim.config.tables.base import (
    LIST,
    Angles,
    Correlations,
    Count,
    Each,
    Fraction,
    Frequencies,
    Kept,
    Matrix,
    Name,
    OneTable,
    Positive,
    Seed,
    Table,
    Variance,
    Variances,
    registry,
)
from jepa_sim.config.tables.data import Views

Keep = Annotated[float, Field(gt=0, le=1)]
Shape = Annotated[tuple[Count, Count], LIST]  # rows, columns
TARGETS = {
    "whole": lambda: js.data.Whole(),
    "hidden": lambda: js.data.Hidden(),
    "remasked": lambda: js.data.Remasked(),
}
Target = Annotated[str, Name(TARGETS)]


class Static(Views):
    """Features seen twice under independent noise."""

    kind: Literal["static"]
    signal: Each[Variance]
    noise: Variances

    def faults(self) -> Iterator[Fault]:
        """One noise for each signal, and not both of them zero."""
        return feature_faults(self, "noise")


class Autoregressive(Views):
    """The keys of autoregressive features."""

    signal: Each[Variance]
    autocorrelation: Correlations
    noise: Variances
    noise_autocorrelation: Correlations = 0.0

    def faults(self) -> Iterator[Fault]:
        """One entry for each signal, and signal and noise not both zero."""
        return feature_faults(self, "noise", "autocorrelation", "noise_autocorrelation")


class Dynamic(Autoregressive):
    """Autoregressive features seen now and `lag` steps later."""

    kind: Literal["dynamic"]
    lag: Count = 1
    # runs of older versions do not have the key, and must resume
    centered_over: Annotated[Count | None, Field(exclude_if=lambda frames: frames is None)] = None

    def faults(self) -> Iterator[Fault]:
        """As above, and trajectories longer than the lag."""
        yield from super().faults()
        if self.centered_over is not None and self.centered_over <= self.lag:
            yield Fault(("centered_over",), "be above `data.lag`", shown(self.centered_over))


class Oscillator(Views):
    """Damped oscillators in white noise, a plane each, seen now and `lag` steps later."""

    kind: Literal["oscillator"]
    signal: Each[Positive]
    autocorrelation: Kept
    frequency: Frequencies
    noise: Variances
    lag: Count = 1

    def faults(self) -> Iterator[Fault]:
        """One entry for each signal, and no half turns."""
        yield from feature_faults(self, "noise", "autocorrelation", "frequency")
        turns = self.frequency if isinstance(self.frequency, tuple) else (self.frequency,)
        for i, turn in enumerate(turns):
            if abs(math.remainder(turn * self.lag, 2 * math.pi)) >= math.pi - 1e-9:
                at = (i,) if isinstance(self.frequency, tuple) else ()
                yield Fault(("frequency", *at), "not turn by π in `data.lag` steps", shown(turn))


class Controlled(Autoregressive):
    """Features that an agent's actions multiply, turn in pairs, or leave alone.

    effect: what each action multiplies each feature by, a list for each action.  turn: angles by
    which each action turns features 0 and 1, 2 and 3, ….  probability: of each action; all alike
    where it is left out.  blind: one predictor for all actions, in place of one for each.
    """

    kind: Literal["controlled"]
    autocorrelation: Correlations = 1.0
    effect: Matrix
    turn: Matrix | None = None
    probability: Each[Positive] | None = None
    blind: bool = False

    def views(self) -> "js.data.Controlled":
        return js.data.Controlled(**self.own(("kind", "blind", *Views.model_fields)))

    @property
    def stack(self) -> tuple[int, int]:
        return (1, 1) if self.blind else (1, len(self.effect))

    def moments(self, views: "js.data.AbstractViews") -> "js.Moments":
        if not self.blind:
            return super().moments(views)
        return (
            self.views().blind_moments() if self.pairs is None else super().moments(views).blind()
        )

    def faults(self) -> Iterator[Fault]:
        """As `Dynamic`, and for every action an effect on each feature and a probability."""
        yield from super().faults()
        counts = {"effect": len(self.signal), "turn": len(self.signal) // 2}
        for name, count in counts.items():
            rows = getattr(self, name) or ()
            if rows and len(rows) != len(self.effect):
                rule = f"have {len(self.effect)} lists, as `data.effect` does"
                yield Fault((name,), rule, f"has {len(rows)}")
            for i, row in enumerate(rows):
                if len(row) != count:
                    yield Fault((name, i), f"have {count} entries", f"has {len(row)}")
        if self.probability is not None and len(self.probability) != len(self.effect):
            rule = f"have {len(self.effect)} entries, one for each action"
            yield Fault(("probability",), rule, f"has {len(self.probability)}")


class Policy(Table):
    """Which frames of a sequence are hidden."""

    def build(self) -> "js.data.AbstractMask":
        """The mask: its class has the name of the table, and the same keys."""
        return getattr(js.data, type(self).__name__)(**self.own({"kind"}))


class RandomFrames(Policy):
    """Any `keep` of the frames are visible."""

    kind: Literal["random"]
    keep: Count


class Suffix(Policy):
    """The last `length` frames are hidden."""

    kind: Literal["suffix"]
    length: Count


class BlockFrames(Policy):
    """`length` successive frames are hidden."""

    kind: Literal["block"]
    length: Count


class Temporal(Autoregressive):
    """Pairs of a visible and a hidden frame of autoregressive sequences.

    positions: whole masked sequences instead, for a predictor that is given the positions.
    """

    kind: Literal["temporal"]
    frames: Annotated[int, Field(ge=2)]
    policy: Annotated[Policy, OneTable("kind", registry(RandomFrames, Suffix, BlockFrames))]
    positions: bool = False

    def faults(self) -> Iterator[Fault]:
        """As `Dynamic`, and a policy that leaves one frame visible and hides another."""
        yield from super().faults()
        key = "keep" if isinstance(self.policy, RandomFrames) else "length"
        value = getattr(self.policy, key)
        if value >= self.frames:
            rule = f"be below `data.frames` = {self.frames}"
            yield Fault(("policy", key), rule, f"is {value}")

    def views(self) -> "js.data.Temporal":
        numbers = (self.signal, self.autocorrelation, self.noise, self.noise_autocorrelation)
        covariances = js.data.Dynamic(*numbers).lag_covariances(self.frames)
        return js.data.Temporal(covariances, self.policy.build())

    @property
    def stack(self) -> tuple[int, int]:
        return self.views().frames if self.positions else (1, 1)

    def build(self) -> "js.Moments":
        views = self.views()
        if not self.positions:
            return self.moments(views)
        if self.pairs is None:
            return views.stacked_moments()
        return views.sampled_stacked_moments(self.pairs, seed=self.seed)


class Smooth(Views):
    """The keys of masked images that are smooth and random: pixels correlate over `length`."""

    shape: Shape
    length: Positive
    target: Target = "whole"
    noise: Variance = 0.0

    def masked(self, mask: "js.data.AbstractMask") -> "js.data.AbstractViews":
        """Such images under a mask."""
        covariance = js.data.grid_covariance(self.shape, self.length)
        return masked(js.data.Gaussian(covariance), mask, self)


class PixelMask(Smooth):
    """Smooth random images with pixels masked one by one."""

    kind: Literal["pixel_mask"]
    keep: Keep

    def faults(self) -> Iterator[Fault]:
        """A mask that leaves a part visible."""
        return keep_faults(self.keep, self.target)

    def views(self) -> "js.data.AbstractViews":
        return self.masked(js.data.PixelMask(self.keep))


class BlockMask(Smooth):
    """Smooth random images with a block masked."""

    kind: Literal["block_mask"]
    block: Shape

    def faults(self) -> Iterator[Fault]:
        """A block that fits and shows all pixels at times."""
        return block_faults(self.block, self.shape, "`data.shape`", self.noise)

    def views(self) -> "js.data.AbstractViews":
        return self.masked(js.data.BlockMask(self.shape, self.block))


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
    """Variances i^−exponent of the signal, and noise · i^−noise_exponent of its noise."""

    kind: Literal["power_law"]
    dimension: Count
    exponent: float = 1.0
    noise: Variance = 1.0
    noise_exponent: float = 0.0

    def views(self) -> "js.data.AbstractViews":
        keys = {"noise": self.noise, "noise_exponent": self.noise_exponent}
        return js.data.power_law(self.dimension, self.exponent, **keys)


class NonCommuting(Views):
    """Signal and noise with different eigenbases: `angle` 0 is the same, 1 independent ones."""

    kind: Literal["non_commuting"]
    dimension: Annotated[int, Field(ge=2)]
    angle: Angles
    basis_seed: Seed = 0
    smallest: Fraction = 0.1

    def views(self) -> "js.data.AbstractViews":
        return self._turned(self._angles[0])

    def build(self) -> "list[js.Moments]":
        return [self.moments(self._turned(angle)) for angle in self._angles]

    @property
    def _angles(self) -> tuple[float, ...]:
        return self.angle if isinstance(self.angle, tuple) else (self.angle,)

    def _turned(self, angle: float) -> "js.data.AbstractViews":
        keys = {"seed": self.basis_seed, "smallest": self.smallest}
        return js.data.non_commuting(self.dimension, angle, **keys)


def masked(
    source: "js.data.AbstractSource", mask: "js.data.AbstractMask", data: Any
) -> "js.data.AbstractViews":
    """Masked images, with the target and the noise of the table `data`."""
    return js.data.Masked(source, mask, TARGETS[data.target](), noise=data.noise)


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
    """Where the hidden pixels are the target, some must be hidden."""
    if keep == 1 and target == "hidden":
        yield Fault(("keep",), 'be below 1 with `data.target` = "hidden"', f"is {shown(keep)}")


def block_faults(
    block: Sequence[int], shape: Sequence[int], of_shape: str, noise: float
) -> Iterator[Fault]:
    """A block must fit into the image. Without noise it must leave every pixel visible at times."""
    found = f"is {shown(block)}"
    axes = list(zip(block, shape, strict=True))
    if any(b > n for b, n in axes) or math.prod(block) == math.prod(shape):
        yield Fault(("block",), f"be smaller than {of_shape}, {shown(shape)}", found)
    elif all(2 * b > n for b, n in axes) and noise == 0:
        rule = "leave every pixel visible at times, unless `data.noise` is above 0"
        yield Fault(("block",), rule, f"{found}, of {shown(shape)}")
