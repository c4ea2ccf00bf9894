"""The tables [grid], [solve] and [output]."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from jepa_sim.arguments.errors import Fault, raise_faults, shown
from jepa_sim.config.tables.base import (
    Count,
    Depth,
    Fraction,
    Listed,
    NotNegative,
    Positive,
    Seed,
    Table,
)


def _result(path: str) -> str:
    named = Path(path).name and Path(path).suffix in ("", ".nc") and "\0" not in path
    rule = "end in .nc (a file) or have no suffix (a folder)"
    raise_faults([] if named else [Fault((), rule, f"is {shown(path)}")])
    return path


Objective = Literal[
    "jepa", "jepa_moving_average", "jepa_no_stop_gradient", "mae", "barlow_twins", "whitened_joint"
]
# Further axes of the grid, and the key and the name without which they have no meaning.
AXES = {
    "weight_decay": (None, None),
    "encoder_rate": (None, None),
    "predictor_rate": (None, None),
    "time_constant": ("objective", "jepa_moving_average"),
    "imbalance": ("start", "unbalanced"),
    "angle": ("start", "misaligned"),
    "penalty": ("objective", "whitened_joint"),
}


MOST_SEEDS = 10_000_000


class SeedRange(Table):
    """The seeds start, …, stop − 1."""

    start: Seed = 0
    stop: Seed

    @model_validator(mode="after")
    def _has_seeds(self) -> "SeedRange":
        rule = f"be above `grid.seed.start` = {self.start}"
        empty = self.stop <= self.start
        raise_faults([Fault(("stop",), rule, f"is {self.stop}")] if empty else [])
        rule = f"be at most {MOST_SEEDS:,} above `grid.seed.start` = {self.start}"
        many = self.stop - self.start > MOST_SEEDS
        raise_faults([Fault(("stop",), rule, f"is {self.stop}")] if many else [])
        return self


class Grid(Table):
    """The axes of the sweep; every list is one axis."""

    objective: Listed[Objective] = ("jepa", "mae")
    depth: Listed[Depth]
    predictor_depth: Listed[Depth] = (1,)
    scale: Listed[Positive]
    seed: Annotated[
        Annotated[Listed[Seed], Tag("list")] | Annotated[SeedRange, Tag("range")],
        Discriminator(lambda value: "range" if isinstance(value, dict | SeedRange) else "list"),
    ] = (0,)
    start: Literal["balanced", "unbalanced", "misaligned", "orthogonal", "gaussian"] = "balanced"
    rotated: bool = False
    width: Count | None = None
    predictor: Literal["learned", "direct_pred", "fast"] = "learned"
    rate_per_layer: bool = False
    weight_decay: Listed[NotNegative] | None = None
    encoder_rate: Listed[Positive] | None = None
    predictor_rate: Listed[Positive] | None = None
    time_constant: Listed[Positive] | None = None
    imbalance: Listed[float] | None = None
    angle: Listed[float] | None = None
    penalty: Listed[Positive] | None = None

    @property
    def axes(self) -> dict[str, tuple[float, ...]]:
        """The further axes that are given, by name."""
        found = {name: getattr(self, name) for name in AXES}
        return {name: values for name, values in found.items() if values is not None}

    @property
    def seeds(self) -> Sequence[int]:
        """Every seed of the sweep."""
        if isinstance(self.seed, SeedRange):
            return range(self.seed.start, self.seed.stop)
        return self.seed

    @model_validator(mode="after")
    def _fits_together(self) -> "Grid":
        raise_faults(list(self._faults()))
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.rotated and self.start not in ("balanced", "unbalanced"):
            rule = 'be false unless `grid.start` is "balanced" or "unbalanced"'
            yield Fault(("rotated",), rule, "is true")
        for name, (key, value) in AXES.items():
            if key is None:
                continue
            chosen = getattr(self, key)
            if (chosen == value or value in chosen) and getattr(self, name) is None:
                yield Fault((name,), f'be given with `grid.{key}` "{value}"', "is missing")
            if chosen != value and value not in chosen and getattr(self, name) is not None:
                yield Fault((name,), f'be left out unless `grid.{key}` is "{value}"', "is given")
        if self.predictor != "learned":
            for i, objective in enumerate(self.objective):
                if not objective.startswith("jepa"):
                    rule = f'be a JEPA with `grid.predictor` = "{self.predictor}"'
                    yield Fault(("objective", i), rule, f"is {shown(objective)}")


class CriticalTimes(Table):
    """Fractions of each trajectory's own last critical time, up to `last` of it."""

    kind: Literal["critical"]
    count: Annotated[int, Field(ge=2)] = 200
    last: Annotated[float, Field(gt=1e-3)] = 2.0


class LogTimes(Table):
    """The same times for all, evenly spaced in log t, from start to stop."""

    kind: Literal["log"]
    start: Positive
    stop: Positive
    count: Annotated[int, Field(ge=2)] = 200

    @model_validator(mode="after")
    def _ascend(self) -> "LogTimes":
        rule = f"be above `solve.times.start` = {shown(self.start)}"
        empty = self.stop <= self.start
        raise_faults([Fault(("stop",), rule, f"is {shown(self.stop)}")] if empty else [])
        return self


class Solve(Table):
    """What all solvers take."""

    times: Annotated[CriticalTimes | LogTimes, Field(discriminator="kind")]
    precision: Literal["float64", "float32"] = "float64"


class ClosedForm(Solve):
    """The exact solution of the reduced equations."""

    solver: Literal["closed_form"]


class Modes(Solve):
    """The reduced equations by an ODE solver; None leaves a field to the solver."""

    solver: Literal["modes"]
    tolerance: Positive | None = None
    max_steps: Count | None = None


Method = Literal["tsit5", "kvaerno5", "rkc2", "rock4"]


class LayerModes(Solve):
    """One scalar per layer and feature by an ODE solver; None leaves a field to the solver."""

    solver: Literal["layer_modes"]
    method: Method | None = None
    rtol: Positive | None = None
    atol: Positive | None = None
    max_steps: Count | None = None


class GradientFlow(Solve):
    """All matrices by an ODE solver; None leaves a field to the solver."""

    solver: Literal["gradient_flow"]
    method: Method | None = None
    rtol: Positive | None = None
    atol: Positive | None = None
    max_steps: Count | None = None


class Descent(Solve):
    """Steps of an optimiser, on the population loss unless there is a batch size."""

    solver: Literal["descent"]
    learning_rate: Positive
    optimizer: Literal["sgd", "adam"] = "sgd"
    batch_size: Count | None = None
    max_steps: Count | None = None


Observable = Literal[
    "features",
    "predictor_gains",
    "plateau_fraction",
    "loss",
    "effective_rank",
    "alignment",
    "balancedness",
    "off_diagonal_mass",
    "noise_share",
    "probe_risk",
]


class Output(Table):
    """The file or folder to write, what is saved over time, which fractions count as learned."""

    path: Annotated[str, AfterValidator(_result)]
    critical_fraction: Listed[Fraction] = (0.5, 0.9)
    observables: Listed[Observable] = ("features", "loss")
    probe_ridge: Positive = 0.01
