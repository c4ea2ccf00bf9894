"""The exact solution of the reduced flow: no steps, every time on its own."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim._curve import evolve, resolution
from jepa_sim._problem import Problem
from jepa_sim._solve.base import AbstractSolver, Observe, Solution, finite_code
from jepa_sim._solve.reduced import observe_gains
from jepa_sim._types import ResultCode


class ClosedForm(AbstractSolver):
    """u̇ = u^a (λ − σ² u^b) solved exactly, from balanced starts, for any real L, M > 0.

    In float64 the relative error is below 1e-12 in u, and near the plateau in 1 − u/u*; the result
    is differentiable in λ, ρ, ε and t. Exact for the matrix flow where moments commute, and the
    reduced theory's approximation where they do not. A run whose fastest transition falls between
    neighbouring floating-point times has the result code `unresolved`; its values still belong to
    the times as given.
    """

    @property
    def is_random(self) -> bool:
        return False

    @property
    def is_exact(self) -> bool:
        return True

    def work(self, problem: Problem, times: Float[Array, " t"]) -> Float[Array, ""]:
        return jnp.ones((), times.dtype)

    def suited(self, work: float) -> "ClosedForm":
        return self

    def prepare(self, problem: Problem) -> Problem:
        return problem.reduced("ClosedForm")

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
