"""The fields that solvers with adaptive steps share, and how they choose a method."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import Times
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights
from jepa_sim.numerics.stabilised import ROCK4
from jepa_sim.solvers.base import AbstractMatrixSolver, AbstractSolver, Observe, Solution
from jepa_sim.solvers.integrate import integrate, tolerances
from jepa_sim.solvers.stiffness import EASY_STEPS, stiffness


def reverse_mode() -> Any:
    """The field `adjoint`. It changes no result, so a description of the solver leaves it out."""
    return eqx.field(default=dfx.RecursiveCheckpointAdjoint(), repr=False)


class AbstractAdaptive(AbstractMatrixSolver):
    """A flow by diffrax; see `GradientFlow` for the fields."""

    solver: dfx.AbstractSolver | None = None
    rtol: float | None = None
    atol: float | None = None
    max_steps: int = eqx.field(static=True, default=100_000)
    adjoint: dfx.AbstractAdjoint = reverse_mode()
    is_random: ClassVar[bool] = False
    is_exact: ClassVar[bool] = False

    def __check_init__(self):
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if value is not None:
                checks.check_positive(name, value)
        checks.check_integer_from("max_steps", self.max_steps, 1)
        if self.solver is not None:
            check_method(self.solver)

    @property
    def is_implicit(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the method solves systems of equations in its steps."""
        return isinstance(self.solver, dfx.AbstractImplicitSolver)

    @property
    def method(self) -> dfx.AbstractSolver:
        return dfx.Tsit5() if self.solver is None else self.solver

    @property
    def label(self) -> str:
        return f"{type(self).__name__}({type(self.method).__name__})"

    def run(self, velocity: Callable, start: Weights, times: Times, save: Observe) -> Solution:
        """Integrate from the start, and save at the given times."""
        rtol, atol = tolerances(start, self.rtol, self.atol)
        numbers = (rtol, atol, self.max_steps, self.adjoint)
        return integrate(velocity, start, times, save, self.method, *numbers)

    def work(self, problem: Problem, times: Times) -> Float[Array, ""]:
        return EASY_STEPS + stiffness(problem, times)

    def alternatives(self) -> tuple[AbstractSolver, AbstractSolver]:
        """Tsit5 where problems are easy and ROCK4 where they are stiff, if no method is given."""
        if self.solver is not None:
            return self, self
        easy, stiff = (dataclasses.replace(self, solver=m) for m in (dfx.Tsit5(), ROCK4()))
        return easy, stiff


def check_method(method: dfx.AbstractSolver) -> None:
    """ValueError unless a method of diffrax takes plain ODEs and estimates its error."""
    is_plain = method.term_structure in (dfx.AbstractTerm, dfx.ODETerm)
    if not is_plain or not isinstance(method, dfx.AbstractAdaptiveSolver):
        rule = "be a diffrax method for ODEs that estimates its error, such as `Tsit5()`"
        checks.fail("solver", rule, type(method).__name__)
