"""The table [grid]: what to sweep."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

import jepa_sim as js
from jepa_sim.config.faults import Fault, shown
from jepa_sim.config.tables.base import (
    Count,
    Depth,
    Listed,
    Name,
    OneOf,
    Positive,
    Seed,
    Table,
)
from jepa_sim.config.tables.objectives import OBJECTIVES
from jepa_sim.config.tables.starts import STARTS
from jepa_sim.sweeps.axes import AXES, FURTHER, Axis, apply, retrained

if TYPE_CHECKING:
    from jepa_sim.arguments.types import Scalar

MOST_SEEDS = 10_000_000
PREDICTORS = {
    "learned": lambda: js.Learned(),
    "direct_pred": lambda: js.DirectPred(),
    "fast": lambda: js.FastPredictor(),
    "given": lambda: js.GivenPredictor(1.0),  # the axis `predictor_gain` sets the number
    "identity": lambda: js.IdentityPredictor(),
}


class SeedRange(Table):
    """The seeds start, …, stop − 1."""

    start: Seed = 0
    stop: Seed

    def faults(self) -> Iterator[Fault]:
        """At least one seed, and not too many."""
        found = f"is {self.stop}"
        if self.stop <= self.start:
            yield Fault(("stop",), f"be above `grid.seed.start` = {self.start}", found)
        if self.stop - self.start > MOST_SEEDS:
            rule = f"be at most {MOST_SEEDS:,} above `grid.seed.start` = {self.start}"
            yield Fault(("stop",), rule, found)


Seeds = Annotated[
    tuple[int, ...] | SeedRange,
    OneOf(
        {"list": Listed[Seed], "range": SeedRange},
        lambda value: "range" if isinstance(value, dict | SeedRange) else "list",
    ),
]


def _about(axis: str) -> Any:
    return Field(description=AXES[axis].long_name)


class GridTable(Table):
    """The axes of the sweep (each list is one), and what all its problems share."""

    objective: Listed[Annotated[str, Name(OBJECTIVES)]] = ("jepa", "mae")
    depth: Annotated[Listed[Depth], _about("depth")]
    predictor_depth: Annotated[Listed[Depth], _about("predictor_depth")] = (1,)
    scale: Annotated[Listed[Positive], _about("scale")]
    seed: Annotated[Seeds, Field(description="a list, or { [start = 0], stop }")] = (0,)
    start: Annotated[str, Name(STARTS)] = "balanced"
    rotated: Annotated[bool, Field(description="rotate all layers of the start at random")] = False
    width: Annotated[
        Count | None, Field(description="entries of every hidden layer; below d, a bottleneck")
    ] = None
    predictor: Annotated[str, Name(PREDICTORS)] = "learned"
    rate_per_layer: Annotated[
        bool, Field(description="rates of 1/(L + M), so that networks of all depths relax alike")
    ] = False

    @property
    def axes(self) -> dict[str, tuple[float, ...]]:
        """The further axes that are given, by name."""
        return self.given(*FURTHER)

    @property
    def seeds(self) -> Sequence[int]:
        """Every seed of the sweep."""
        if isinstance(self.seed, SeedRange):
            return range(self.seed.start, self.seed.stop)
        return self.seed

    def faults(self) -> Iterator[Fault]:
        """Axes and rules that the start and the objectives need, and no others."""
        if self.rotated and not STARTS[self.start].can_rotate:
            names = " or ".join(shown(name) for name in STARTS if STARTS[name].can_rotate)
            yield Fault(("rotated",), f"be false unless `grid.start` is {names}", "is true")
        for name, axis in FURTHER.items():
            if axis.needs is None:
                continue
            key, value = axis.needs
            chosen, is_given = getattr(self, key), name in self.axes
            is_needed = chosen == value if isinstance(chosen, str) else value in chosen
            if is_needed and not is_given:
                yield Fault((name,), f'be given with `grid.{key}` "{value}"', "is missing")
            if is_given and not is_needed:
                yield Fault((name,), f'be left out unless `grid.{key}` is "{value}"', "is given")
        if self.predictor != "learned":
            for i, objective in enumerate(self.objective):
                if not OBJECTIVES[objective].has_rule:
                    rule = f'be a JEPA with `grid.predictor` = "{self.predictor}"'
                    yield Fault(("objective", i), rule, f"is {shown(objective)}")

    def build(
        self, spectrum: "js.Moments | Sequence[js.Moments]", frames: tuple[int, int]
    ) -> "js.Grid":
        """The grid over moments of which x and y are stacks of so many `frames`."""
        return js.Grid(
            spectrum=spectrum,
            objective=[OBJECTIVES[name].build() for name in self.objective],
            depth=self.depth,
            predictor_depth=self.predictor_depth,
            scale=self.scale,
            seed=self.seeds,
            start=STARTS[self.start].build(self.rotated),
            network=partial(js.DeepLinear, width=self.width, frames=frames),
            training=js.Training(predictor=PREDICTORS[self.predictor]()),
            axes=self.axes,
            customise=_rates_per_layer if self.rate_per_layer else None,
        )


def _rates_per_layer(
    problem: "js.Problem",
    encoder_rate: "Scalar | None" = None,
    predictor_rate: "Scalar | None" = None,
    **values: "Scalar",
) -> "js.Problem":
    """The further axes, with rates over L + M, so that networks of all depths relax alike."""
    rate = 1 / (problem.depth + problem.predictor_depth)
    encoder_rate = rate if encoder_rate is None else encoder_rate * rate
    predictor_rate = rate if predictor_rate is None else predictor_rate * rate
    changed = apply(problem, **values)
    return retrained(changed, encoder_rate=encoder_rate, predictor_rate=predictor_rate)


def _values(axis: Axis) -> Any:
    """The type of a further axis' key."""
    return Listed[Annotated[float, Field(gt=axis.above, ge=axis.at_least)]] | None


_FIELDS: Any = {
    name: (_values(axis), Field(None, description=axis.long_name)) for name, axis in FURTHER.items()
}
Grid = create_model("Grid", __base__=GridTable, __doc__=GridTable.__doc__, **_FIELDS)
