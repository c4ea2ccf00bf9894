"""The exact solution of the reduced flow: no steps, every time on its own."""

from typing import ClassVar

import jax.numpy as jnp

from jepa_sim.arguments.types import OptionalKey, ResultCode, Times
from jepa_sim.model.problem import Problem
from jepa_sim.solvers.base import Observe, Solution, finite_code
from jepa_sim.solvers.reduced import AbstractReduced, observe_gains


class ClosedForm(AbstractReduced):
    """u̇ = u^a (λ − σ² u^b) solved exactly, from balanced starts, for real depths L, M.

    c = (a − 1)/b must be at least 0 and below 255: 2L + M ≥ 2 for JEPA, L + M ≥ 2 for MAE. Results
    are NaN where traced depths break this rule. Results are exact, to 8 units in the last place,
    for inputs λ, σ², ε and t that differ from the given ones by at most 8 such units; they are
    differentiable in λ, ρ, ε and t. They are exact for the matrix flow where moments commute and
    features stay aligned, and an approximation elsewhere; alignment can be unstable (see the
    concepts, "Beyond alignment"). A run whose fastest transition falls between neighbouring
    floating-point times has the result code `unresolved`; its values still belong to the times as
    given.

    Raises ValueError, in `simulate` and `sweep`, where c is out of range or the problem is not one
    of the reduced theory (see `Problem.reduced`).
    """

    is_exact: ClassVar[bool] = True

    def prepare(self, problem: Problem) -> Problem:
        problem.check_read("ClosedForm")
        return problem.reduced("ClosedForm").with_known_curve()

    def solve(self, problem: Problem, times: Times, observe: Observe, key: OptionalKey) -> Solution:
        flow = problem.flow
        log_u, gap = flow.evolve(times)
        spacing = flow.resolution(times.dtype)
        values = observe_gains(problem, times, log_u, gap, observe)
        code = jnp.where(jnp.any(spacing > 1), ResultCode.unresolved, ResultCode.success)
        is_known = ~jnp.isnan(log_u[:, -1])  # a feature that is not known is so at all times
        return Solution(times, values, finite_code(is_known, code), {})
