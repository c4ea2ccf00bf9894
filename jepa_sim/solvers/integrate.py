"""One adaptive diffrax solve with observables saved inside it; shared by the flow and the modes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jepa_sim.arguments.types import ResultCode, Times
from jepa_sim.model.state import Weights
from jepa_sim.numerics.stabilised import AbstractStabilised, PredictiveController, rhs_count
from jepa_sim.numerics.unrolled import Unrolled, write_out
from jepa_sim.solvers.base import Observe, Solution, all_finite, blank_unless, finite_code


def integrate(
    velocity: Callable[[Any, PyTree, Any], PyTree],
    start: PyTree,
    times: Times,
    observe: Observe,
    solver: dfx.AbstractSolver,
    rtol: float | Float[Array, ""],
    atol: float | Float[Array, ""],
    max_steps: int,
    adjoint: dfx.AbstractAdjoint,
) -> Solution:
    """Integrate from time 0 to the last of `times`."""

    def save(t: Float[Array, ""], state: PyTree, args: Any) -> dict:
        return {"values": observe(t, state), "finite": all_finite(state)}

    solver = write_out(solver)
    is_stabilised = isinstance(solver, AbstractStabilised)
    if is_stabilised:
        if isinstance(adjoint, dfx.RecursiveCheckpointAdjoint):  # reverse mode alone
            solver = dataclasses.replace(solver, scan_kind="checkpointed")
        controller = PredictiveController(rtol, atol)
    else:
        # Not diffrax's default, a pure I controller: with that, single lanes of a vmapped solve can
        # reject thousands of steps, and the whole batch waits for them.
        controller = dfx.PIDController(rtol, atol, pcoeff=0.4, icoeff=0.3)
    sol = dfx.diffeqsolve(
        dfx.ODETerm(velocity),
        solver,
        t0=jnp.zeros((), times.dtype),
        t1=times[-1],
        dt0=None,
        y0=start,
        saveat=dfx.SaveAt(ts=times, fn=save, solver_state=is_stabilised),
        stepsize_controller=controller,
        max_steps=max_steps,
        adjoint=adjoint,
        throw=False,
    )
    assert sol.ts is not None
    assert isinstance(sol.ys, dict)
    reached = jnp.isfinite(sol.ts)  # diffrax leaves inf at times that it did not reach
    # at a time that was not reached it is not known whether the state was finite
    values, finite = blank_unless(reached, sol.ys["values"]), sol.ys["finite"] | ~reached
    out_of_steps = sol.result == dfx.RESULTS.max_steps_reached
    code = jnp.where(out_of_steps, ResultCode.out_of_steps, ResultCode.not_finite)
    code = jnp.where(sol.result == dfx.RESULTS.successful, ResultCode.success, code)
    stats = {"steps": sol.stats["num_steps"], "accepted": sol.stats["num_accepted_steps"]}
    if is_stabilised:
        stats["rhs"] = rhs_count(sol)
    if isinstance(solver, Unrolled):
        stats["rhs"] = stats["steps"] * solver.rhs
    tolerance = jnp.asarray(atol, times.dtype)
    return Solution(times, values, finite_code(finite, code), stats, atol=tolerance)


def tolerances(
    start: Weights, rtol: float | None, atol: float | None
) -> tuple[float, float | Float[Array, ""]]:
    """(rtol, atol): given, or 1e-8 (1e-5 in float32), and that times the start's smallest scale.

    The smallest scale is the smallest root-mean-square singular value of a factor: an atol that
    does not follow the scale ε of the start gives wrong times.
    """
    factors = (*start.encoder, *start.predictor)
    if rtol is None:
        rtol = 1e-8 if factors[0].dtype == jnp.float64 else 1e-5
    if atol is not None:
        return rtol, atol
    sizes = [jnp.sqrt(jnp.sum(z**2) / min(z.shape)) for z in factors]
    return rtol, rtol * jnp.min(jnp.stack(sizes))
