"""The base of stabilised methods: how many stages a step takes, and what the next step reuses."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jepa_sim.arguments.checks import check_integer_from, check_positive, fail
from jepa_sim.numerics.stabilised.radius import frozen, power_iteration
from jepa_sim.numerics.stabilised.trees import combine, norm, real_dtype, waves

if TYPE_CHECKING:  # pyright does not know equinox's own (microsoft/pyright#4965)
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar

ScanKind = Literal["lax", "checkpointed", "bounded"]
Field = Callable[[Any, PyTree], PyTree]


class State(eqx.Module):
    """f: the right-hand side at the current point.  radius, vector: of the spectrum there.

    rhs: right-hand sides of all accepted steps, products with the Jacobian counted as such.
    """

    f: PyTree
    radius: Array
    vector: PyTree
    rhs: Array


class Attempt(eqx.Module):
    """y1 and f(t1, y1), the estimate of the error, and the right-hand sides spent."""

    y1: PyTree
    f1: PyTree
    error: PyTree
    rhs: Array


class AbstractStabilised(dfx.AbstractAdaptiveSolver):
    """A step: the spectral radius, from it the number of stages, the stages, and the estimate.

    A step longer than the stability interval of `max_stages` is not tried: its error is infinite,
    so that the step size controller rejects it, for the cost of the spectral radius alone.

    scan_kind: of the loop over stages, as in diffrax's Runge–Kutta methods: "bounded" has forward
    and reverse mode, "checkpointed" reverse mode alone, and is faster; "lax" forward mode alone.
    """

    spectral_radius: Callable[[Any, PyTree, Any], Any] | None = None
    safety: float = 1.1
    max_stages: int = eqx.field(static=True, default=0)  # every method has its own default
    max_iterations: int = eqx.field(static=True, default=30)
    scan_kind: ScanKind = eqx.field(static=True, default="bounded", repr=False)

    least_stages: AbstractClassVar[int]
    interval_of_least: AbstractClassVar[float]  # the stability interval of the fewest stages

    term_structure: ClassVar = dfx.ODETerm
    interpolation_cls: ClassVar = dfx.ThirdOrderHermitePolynomialInterpolation

    def __check_init__(self):
        check_integer_from("max_stages", self.max_stages, self.least_stages)
        check_integer_from("max_iterations", self.max_iterations, 1)
        check_positive("safety", self.safety)

    @abc.abstractmethod
    def stages(self, z: Array) -> Array:
        """The least number of stages that is stable on [−z, 0]; over `max_stages` if none is."""

    @abc.abstractmethod
    def attempt(
        self, field: Field, t0: Any, h: Array, y0: PyTree, f0: PyTree, stages: Array
    ) -> Attempt:
        """One step of length h from y0 with so many stages."""

    def init(self, terms: dfx.AbstractTerm, t0: Any, t1: Any, y0: PyTree, args: Any) -> State:
        f0 = terms.vf(t0, y0, args)
        dtype = real_dtype(y0)
        vector = frozen(combine((1 / _not_zero(norm(f0)), f0), (1, waves(y0))))
        return State(f0, jnp.zeros((), dtype), vector, jnp.ones((), jnp.int32))

    def step(
        self,
        terms: dfx.AbstractTerm,
        t0: Any,
        t1: Any,
        y0: PyTree,
        args: Any,
        solver_state: State,
        made_jump: Any,
    ) -> tuple[PyTree, PyTree, dict, State, dfx.RESULTS]:
        def field(t: Any, y: PyTree) -> PyTree:
            return terms.vf(t, y, args)

        f0 = solver_state.f
        if made_jump is not False:
            f0 = jax.lax.cond(
                eqxi.unvmap_any(jnp.asarray(made_jump)), lambda: field(t0, y0), lambda: f0
            )
        h = jnp.asarray(terms.contr(t0, t1))
        dtype = real_dtype(y0)
        length = frozen(jnp.abs(h).astype(dtype))

        if self.spectral_radius is None:
            radius, vector, products = power_iteration(
                terms.vf, t0, y0, f0, args, solver_state.vector, solver_state.radius,
                self.max_iterations, self.interval_of_least / (2 * self.safety * length),
            )  # fmt: skip
        else:
            radius = frozen(jnp.asarray(self.spectral_radius(t0, y0, args)).astype(dtype))
            vector, products = solver_state.vector, jnp.zeros((), jnp.int32)
        z = length * radius * self.safety

        stages = self.stages(z)
        stable = stages <= self.max_stages
        made = self.attempt(field, t0, h, y0, f0, jnp.where(stable, stages, 0))
        error = jax.tree.map(lambda e: jnp.where(stable, jnp.abs(e), jnp.inf), made.error)
        rhs = solver_state.rhs + products + made.rhs
        state = State(made.f1, radius, vector, rhs)
        dense = {"y0": y0, "y1": made.y1, "k0": combine((h, f0)), "k1": combine((h, made.f1))}
        return made.y1, error, dense, state, dfx.RESULTS.successful

    def func(self, terms: dfx.AbstractTerm, t0: Any, y0: PyTree, args: Any) -> PyTree:
        return terms.vf(t0, y0, args)


def rhs_count(solution: dfx.Solution) -> Array:
    """Right-hand sides of a solve with `SaveAt(..., solver_state=True)`.

    Those of accepted steps are counted one by one. diffrax keeps no count for a rejected step, so
    each of these is taken to cost as much as the mean accepted one.
    """
    state = solution.solver_state
    if not isinstance(state, State):
        rule = "be of a stabilised solver and `SaveAt(solver_state=True)`"
        fail("solution", rule, f"one with the solver state {type(state).__name__}")
    stats = solution.stats
    accepted = jnp.maximum(stats["num_accepted_steps"], 1)
    ratio = (stats["num_steps"] / accepted).astype(float)
    return jnp.ceil(state.rhs.astype(float) * ratio).astype(state.rhs.dtype)


def _not_zero(x: Array) -> Array:
    return jnp.where(x > 0, x, jnp.ones_like(x))
