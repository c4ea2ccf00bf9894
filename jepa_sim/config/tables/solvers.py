"""The table [solve]: how to solve, and when to save."""

import abc
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import Field

import jepa_sim as js
from jepa_sim.config.faults import Fault, shown
from jepa_sim.config.tables.base import Count, Name, OneTable, Positive, Table, registry, tables_in
from jepa_sim.config.tables.data import Data
from jepa_sim.config.tables.grid import GridTable
from jepa_sim.config.tables.objectives import OBJECTIVES
from jepa_sim.config.tables.starts import STARTS
from jepa_sim.sweeps.axes import FURTHER


class Times(Table):
    """The times at which a trajectory is saved."""

    count: Annotated[int, Field(ge=2)] = 200

    @abc.abstractmethod
    def build(self) -> "js.CriticalGrid | js.LogGrid":
        """The times."""


class CriticalTimes(Times):
    """Fractions of each trajectory's own last critical time, up to `last` of it."""

    kind: Literal["critical"]
    last: Annotated[float, Field(gt=1e-3)] = 2.0

    def build(self) -> "js.CriticalGrid":
        return js.CriticalGrid(count=self.count, last=self.last)


class LogTimes(Times):
    """The same times for all, evenly spaced in log t, from start to stop."""

    kind: Literal["log"]
    start: Positive
    stop: Positive

    def faults(self) -> Iterator[Fault]:
        """They ascend."""
        if self.stop <= self.start:
            rule = f"be above `solve.times.start` = {shown(self.start)}"
            yield Fault(("stop",), rule, f"is {shown(self.stop)}")

    def build(self) -> "js.LogGrid":
        return js.LogGrid(start=self.start, stop=self.stop, count=self.count)


class Solver(Table):
    """The keys of all solvers."""

    solver: Any  # a name, in every solver another
    times: Annotated[Times, OneTable("kind", registry(CriticalTimes, LogTimes))]
    precision: Literal["float64", "float32"] = "float64"

    @property
    def named(self) -> str:
        """For rules: the solver as the TOML names it."""
        return f'with `solve.solver` = "{self.solver}"'

    def build(self, data: Data) -> "js.AbstractSolver":
        """The solver: its class has the name of the table, and the table's keys as arguments.

        data: what [data] names, for solvers that draw samples.
        """
        return getattr(js, type(self).__name__)(**self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the solver."""
        return self.own(Solver.model_fields)

    def grid_faults(self, grid: GridTable) -> Iterator[Fault]:
        """The keys of [grid] that the solver cannot take: matrices have whole numbers of layers."""
        for name in ("depth", "predictor_depth"):
            for i, depth in enumerate(getattr(grid, name)):
                if not isinstance(depth, int):
                    rule = f"be a whole number {self.named}"
                    yield Fault(("grid", name, i), rule, f"is {shown(depth)}")


class ReducedSolver(Solver):
    """A solver of the reduced flow, which has real depths and does not take many other keys."""

    def grid_faults(self, grid: GridTable) -> Iterator[Fault]:
        start = STARTS[grid.start]
        effective = all(OBJECTIVES[name].has_effective_starts for name in grid.objective)
        if not (start.is_reduced or (start.is_effective and effective)):
            names = [name for name, known in STARTS.items() if known.is_reduced]
            found = f"is {shown(grid.start)}"
            if start.is_effective:
                found += f" with `grid.objective` = {shown(grid.objective)}"
            yield Fault(("grid", "start"), f"be one of {shown(names)} {self.named}", found)
        for i, objective in enumerate(grid.objective):
            if not OBJECTIVES[objective].is_reduced:
                rule = f"be an objective whose encoder is its own teacher {self.named}"
                yield Fault(("grid", "objective", i), rule, f"is {shown(objective)}")
        not_reduced = [name for name, axis in FURTHER.items() if not axis.is_reduced]
        for name in grid.given(*not_reduced, "width"):
            yield Fault(("grid", name), f"be left out {self.named}", "is given")
        if grid.predictor != "learned":
            found = f"is {shown(grid.predictor)}"
            yield Fault(("grid", "predictor"), f'be "learned" {self.named}', found)


class ClosedForm(ReducedSolver):
    """The exact solution of the reduced flow."""

    solver: Literal["closed_form"]


class Modes(ReducedSolver):
    """The reduced flow by an ODE solver."""

    solver: Literal["modes"]
    tolerance: Positive | None = None
    max_steps: Count | None = None


METHODS = {  # libraries that load JAX are imported when a method is made
    "tsit5": lambda: import_module("diffrax").Tsit5(),
    "kvaerno5": lambda: import_module("diffrax").Kvaerno5(),
    "rkc2": lambda: js.RKC2(),
    "rock4": lambda: js.ROCK4(),
}


class ODESolver(Solver):
    """A method of an ODE solver and its tolerances."""

    method: Annotated[str, Name(METHODS)] | None = None
    rtol: Positive | None = None
    atol: Positive | None = None
    max_steps: Count | None = None

    @property
    def options(self) -> dict[str, Any]:
        method = None if self.method is None else METHODS[self.method]()
        return {"solver": method, **self.given("rtol", "atol", "max_steps")}


class LayerModes(ODESolver):
    """One number for every layer and feature, by an ODE solver."""

    solver: Literal["layer_modes"]

    def grid_faults(self, grid: GridTable) -> Iterator[Fault]:
        if not STARTS[grid.start].is_separable:
            rule = f"say how a single feature starts {self.named}"
            yield Fault(("grid", "start"), rule, f"is {shown(grid.start)}")
        yield from super().grid_faults(grid)


class GradientFlow(ODESolver):
    """All matrices, by an ODE solver."""

    solver: Literal["gradient_flow"]


class SleepingFlow(Solver):
    """The matrices of the latents that still change; learned ones are left out until a takeover."""

    solver: Literal["sleeping_flow"]
    rtol: Positive | None = None
    max_steps: Count | None = None


OPTIMIZERS = {
    "sgd": lambda: import_module("optax").sgd,
    "adam": lambda: import_module("optax").adam,
}


class Descent(Solver):
    """Steps of an optimiser, on the population loss unless there is a batch size."""

    solver: Literal["descent"]
    learning_rate: Positive
    optimizer: Annotated[str, Name(OPTIMIZERS)] = "sgd"
    batch_size: Count | None = None
    max_steps: Count | None = None

    def build(self, data: Data) -> "js.AbstractSolver":
        return js.Descent(
            OPTIMIZERS[self.optimizer](),
            self.learning_rate,
            samples=None if self.batch_size is None else data.samples(),
            **self.given("batch_size", "max_steps"),
        )


AnySolver = Annotated[Solver, OneTable("solver", tables_in(globals(), Solver, "solver"))]
