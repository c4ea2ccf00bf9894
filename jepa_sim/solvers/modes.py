"""The reduced flow by diffrax: one scalar system per feature, each with steps of its own.

With z = u^b/ρ, c = (a − 1)/b and κ = b λ ρ^c the reduced flow is ż = κ z^{1+c} (1 − z). In z it is
explosive before the transition and stiff after it. In one of these logarithms, chosen by where it
starts, it is neither, and errors are relative errors of u and of 1 − u/u*:

    0 < z < 1   y = ln(z/(1−z))    ẏ =  κ z^c
    z > 1       y = ln(z − 1)      ẏ = −κ z^{1+c}
    λ ≤ 0       y = ln u           ẏ = e^{(a−1)y} (λ − σ² e^{by})
"""

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import OptionalKey, Times
from jepa_sim.model.problem import Problem
from jepa_sim.solvers.adaptive import check_method, reverse_mode
from jepa_sim.solvers.base import Observe, Solution
from jepa_sim.solvers.integrate import integrate
from jepa_sim.solvers.reduced import AbstractReduced, observe_gains
from jepa_sim.theory import curve_parameter


class Modes(AbstractReduced):
    """The reduced equations, integrated by a diffrax solver with adaptive steps.

    solver: any diffrax ODE solver.  tolerance: of one step, for the relative errors of u and of
    1 − u/u*; None takes 1e-9 in float64 and 1e-5 in float32.  max_steps: per feature.
    adjoint: as for `GradientFlow`.

    Raises ValueError where the tolerance or `max_steps` is not positive; in `simulate` and `sweep`
    where the problem is not one of the reduced theory (see `Problem.reduced`).
    """

    solver: dfx.AbstractSolver = dfx.Tsit5()
    tolerance: float | None = None
    max_steps: int = eqx.field(static=True, default=10_000)
    adjoint: dfx.AbstractAdjoint = reverse_mode()
    is_exact: ClassVar[bool] = False

    def __check_init__(self):
        if self.tolerance is not None:
            checks.check_positive("tolerance", self.tolerance)
        checks.check_integer_from("max_steps", self.max_steps, 1)
        check_method(self.solver)

    @property
    def is_implicit(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the method solves systems of equations in its steps."""
        return isinstance(self.solver, dfx.AbstractImplicitSolver)

    def prepare(self, problem: Problem) -> Problem:
        problem.check_read("Modes")
        return problem.reduced("Modes")

    def solve(self, problem: Problem, times: Times, observe: Observe, key: OptionalKey) -> Solution:
        default = 1e-9 if times.dtype == jnp.float64 else 1e-5
        tolerance = default if self.tolerance is None else self.tolerance
        a, b = problem.exponents
        lam, variance = problem.coefficients
        log_start = jnp.full_like(lam, 1) * jnp.log(problem.start_gains) / problem.depth

        def solve_feature(lam: Array, variance: Array, log_start: Array) -> Solution:
            chart = _Chart(lam, variance, a, b, log_start)
            return integrate(
                chart.velocity,
                chart.start(),
                times,
                lambda t, y: {"mode": chart.mode(y)},
                self.solver,
                0.0,  # y is a logarithm: its absolute errors are relative errors of u
                tolerance,
                self.max_steps,
                self.adjoint,
            )

        solved = jax.vmap(solve_feature)(lam, variance, log_start)
        log_u, gap = solved.values["mode"]
        stats = {name: jnp.sum(count) for name, count in solved.stats.items()}
        values = observe_gains(problem, times, log_u, gap, observe)
        return Solution(times, values, jnp.max(solved.result), stats)


class _Chart(eqx.Module):
    """The logarithm y in which one feature's flow is neither explosive nor stiff."""

    lam: Float[Array, ""]
    variance: Float[Array, ""]
    a: Float[Array, ""]
    b: Float[Array, ""]
    log_start: Float[Array, ""]

    @property
    def learned(self) -> Bool[Array, ""]:
        return self.lam > 0

    @property
    def log_rho(self) -> Float[Array, ""]:
        return jnp.log(jnp.where(self.learned, self.lam / self.variance, 1))

    @property
    def below(self) -> Bool[Array, ""]:
        return self.b * self.log_start < self.log_rho

    def start(self) -> Float[Array, ""]:
        log_z = self.b * self.log_start - self.log_rho
        # ln |z − 1|. The −1 stands for z = 1, where the logarithm and its derivative are infinite.
        distance = jnp.log(jnp.abs(jnp.expm1(jnp.where(log_z == 0, -1, log_z))))
        at_plateau = -jnp.log(jnp.finfo(log_z.dtype).max)  # in place of −∞: z = 1 stays there
        distance = jnp.where(log_z == 0, at_plateau, distance)
        odds = jnp.where(self.below, log_z - distance, distance)
        return jnp.where(self.learned, odds, self.log_start)

    def log_z(self, y: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(self.below, jax.nn.log_sigmoid(y), jax.nn.softplus(y))

    def velocity(self, t: Any, y: Float[Array, ""], args: Any) -> Float[Array, ""]:
        c = curve_parameter(self.a, self.b)
        log_kappa = jnp.log(jnp.where(self.learned, self.b * self.lam, 1)) + c * self.log_rho
        power = jnp.where(self.below, c, 1 + c)
        speed = jnp.exp(log_kappa + power * self.log_z(y))
        decay = jnp.exp((self.a - 1) * y) * (self.lam - self.variance * jnp.exp(self.b * y))
        return jnp.where(self.learned, jnp.where(self.below, speed, -speed), decay)

    def mode(self, y: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """(ln u, 1 − u/u*); the gap is 1 where there is no plateau."""
        log_ratio = self.log_z(y) / self.b
        log_u = jnp.where(self.learned, self.log_rho / self.b + log_ratio, y)
        return log_u, jnp.where(self.learned, -jnp.expm1(log_ratio), 1)
