"""The exact solution of the reduced flow: no steps, every time on its own."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim import _checks as checks
from jepa_sim._curve import LARGEST_C, LEAST_C, evolve, resolution
from jepa_sim._problem import Problem
from jepa_sim._solve.base import AbstractSolver, Observe, Solution, finite_code
from jepa_sim._solve.reduced import observe_gains
from jepa_sim._types import ResultCode, is_concrete


class ClosedForm(AbstractSolver):
    """u̇ = u^a (λ − σ² u^b) solved exactly, from balanced starts, for real depths L, M.

    c = (a − 1)/b must be at least 0 and below 255: JEPA of 2L + M ≥ 2, MAE of L + M ≥ 2; NaN where
    traced depths are not. In float64 the relative error is below 1e-12 in u, and near the plateau
    in 1 − u/u*; the result is differentiable in λ, ρ, ε and t.Exact for the matrix flow where
    moments commute and features stay aligned, which can be unstable (see the concepts, "Beyond
    alignment"); an approximation elsewhere. A run whose fastest
    transition falls between neighbouring floating-point times has the result code `unresolved`;
    its values still belong to the times as given.

    Raises ValueError, in `simulate` and `sweep`, where c is out of range or the problem is not one
    of the reduced theory (see `Problem.reduced`).
    """

    @property
    def is_random(self) -> bool:
        return False

    @property
    def is_exact(self) -> bool:
        return True

    def work(self, problem: Problem, times: Float[Array, " t"]) -> Float[Array, ""]:
        return jnp.ones((), times.dtype)

    def suited(self, work: np.ndarray) -> list[tuple[np.ndarray, AbstractSolver]]:
        return [(np.full(work.shape, True), self)]

    def prepare(self, problem: Problem) -> Problem:
        problem = problem.reduced("ClosedForm")
        a, b = problem.exponents
        c = (a - 1) / b
        if is_concrete(c) and not bool(jnp.all((c > LEAST_C) & (c < LARGEST_C))):
            rule = f"make c = (a − 1)/b of the flow u^a (λ − σ² u^b) be in [0, {LARGEST_C:g})"
            checks.fail("depth", rule, f"{float(problem.depth):g} (c = {float(c):g})")
        return problem

    def solve(
        self,
        problem: Problem,
        times: Float[Array, " t"],
        observe: Observe,
        key: PRNGKeyArray | None,
    ) -> Solution:
        lam, variance = problem.coefficients
        a, b = problem.exponents
        start = (problem.scale, problem.depth, a, b)

        def solve_feature(lam: Array, variance: Array) -> tuple[Array, Array, Array]:
            log_u, gap = jax.vmap(lambda t: evolve(t, lam, variance, *start))(times)
            return log_u, gap, resolution(lam, variance, *start, times.dtype)

        log_u, gap, spacing = jax.vmap(solve_feature)(lam, variance)
        values = observe_gains(problem, times, log_u, gap, observe)
        code = jnp.where(jnp.any(spacing > 1), ResultCode.unresolved, ResultCode.success)
        return Solution(times, values, finite_code(~jnp.isnan(log_u), code), {})
