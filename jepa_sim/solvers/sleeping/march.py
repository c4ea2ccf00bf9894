"""Steps of the live block, with latents that fall asleep and wake between them."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jepa_sim.numerics.stabilised import ROCK4, PredictiveController
from jepa_sim.solvers.sleeping.block import Chain, Setting
from jepa_sim.solvers.sleeping.sleepers import Sleepers, nobody
from jepa_sim.solvers.sleeping.turns import fall_asleep, wake

RATIO = 1.5  # of √rtol: what sleeping latents may carry of others, whose squares are neglected
FLOOR = 0.3  # of a factor's root mean square: errors of smaller entries are measured in it
AT_ONCE = 1e-9  # of the time that has passed: events within it are one

# of a time, the live block, its velocity, and the sleepers at that time
Save = Callable[[Float[Array, ""], Chain, Chain, Sleepers], PyTree]


class Point(eqx.Module):
    """Where a run is: time, next step, live block, sleepers, and what method and controller keep.

    jumped: whether the block has changed since the last step.  rhs, steps, accepted, woken: counts.
    saved: how many times are saved.  values: what is saved at all times.
    """

    t: Float[Array, ""]
    h: Float[Array, ""]
    chain: Chain
    sleepers: Sleepers
    method: PyTree
    control: PyTree
    jumped: Bool[Array, ""]
    steps: Int[Array, ""]
    accepted: Int[Array, ""]
    rhs: Int[Array, ""]
    woken: Int[Array, ""]
    saved: Int[Array, ""]
    values: PyTree


def march(
    setting: Setting,
    start: Chain,
    times: Float[Array, " t"],
    save: Save,
    rtol: Float[Array, ""],
    max_steps: int,
) -> Point:
    """From time 0 to the last of `times`, or as far as `max_steps` lead."""
    method = ROCK4(max_iterations=10)
    dtype = start.dtype
    end, zero, none = times[-1], jnp.zeros((), dtype), jnp.zeros((), jnp.int32)

    def field(t: Any, chain: Chain, args: Any) -> Chain:
        return setting.velocity(chain)

    term = dfx.ODETerm(field)

    def controller(chain: Chain) -> PredictiveController:
        live = chain != 0
        count = jnp.sum(live, axis=(1, 2), keepdims=True).astype(dtype)
        size = jnp.sqrt(jnp.sum(chain**2, axis=(1, 2), keepdims=True) / jnp.maximum(count, 1))
        size = jnp.where(size > 0, size, 1)
        total = jnp.maximum(jnp.sum(count), 1)

        def norm(scaled: PyTree) -> Array:
            size = jnp.sqrt(jnp.sum(scaled**2) / total)
            return jnp.where(jnp.isnan(size), jnp.inf, size)  # a step too long by far

        return PredictiveController(rtol, rtol * FLOOR * size, norm)

    def unfinished(point: Point) -> Array:
        return (point.t < end) & (point.steps < max_steps) & jnp.isfinite(point.h)

    def advance(point: Point) -> Point:
        t0, sleepers = point.t, point.sleepers
        wait = jnp.min(sleepers.wait(setting))
        h = jnp.minimum(jnp.minimum(point.h, end - t0), jnp.maximum(wait, AT_ONCE * t0))
        t1 = jnp.where(point.h >= end - t0, end, t0 + h)
        chain, error, dense, state, _ = method.step(
            term, t0, t1, point.chain, None, point.method, point.jumped
        )
        rhs = state.rhs - point.method.rhs + point.jumped
        keep, _, next_end, _, control, _ = controller(point.chain).adapt_step_size(
            t0, t1, point.chain, chain, None, error, 4.0, point.control
        )
        next_start = jnp.where(keep, t1, t0)
        growth = sleepers.growth(setting)

        def at(t: Float[Array, ""]) -> tuple[Chain, Chain, Sleepers]:
            curve = dfx.ThirdOrderHermitePolynomialInterpolation(t0=t0, t1=t1, **dense)
            passed = sleepers.log_ratio + growth * (t - t0)
            block = curve.evaluate(t)
            return block, setting.velocity(block), eqx.tree_at(
                lambda s: s.log_ratio, sleepers, passed
            )

        def is_passed(state: tuple) -> Array:
            saved, _ = state
            t = times[jnp.minimum(saved, times.size - 1)]
            return keep & (saved < times.size) & (t <= t1)

        def save_next(state: tuple) -> tuple:
            saved, values = state
            t = times[jnp.minimum(saved, times.size - 1)]
            new = save(t, *at(t))
            return saved + 1, jax.tree.map(lambda x, v: v.at[saved].set(x), new, values)

        saved, values = eqxi.while_loop(
            is_passed,
            save_next,
            (point.saved, point.values),
            max_steps=None,
            kind="lax",
            buffers=lambda state: state[1],
        )

        chain = jnp.where(keep, chain, point.chain)
        passed = sleepers.log_ratio + growth * (next_start - t0)
        sleepers = eqx.tree_at(lambda s: s.log_ratio, sleepers, passed)
        fallen = fall_asleep(setting, chain, sleepers, next_start)
        woken = wake(setting, fallen.chain, fallen.sleepers, AT_ONCE * next_start)
        # after a step that was rejected, the velocity that the method keeps is still an old one
        jumped = fallen.changed | woken.changed | (point.jumped & ~keep)
        stage = method_state(state, point.method, keep, jumped)
        return Point(
            next_start,
            next_end - next_start,
            woken.chain,
            woken.sleepers,
            stage,
            control,
            jumped,
            point.steps + 1,
            point.accepted + keep,
            point.rhs + rhs,
            point.woken + woken.changed,
            saved,
            values,
        )

    f0, all_awake = setting.velocity(start), nobody(setting, RATIO * jnp.sqrt(rtol))
    shape = jax.eval_shape(save, zero, start, f0, all_awake)
    values = jax.tree.map(lambda x: jnp.full((times.size, *x.shape), jnp.nan, x.dtype), shape)
    first, control = controller(start).init(
        term, zero, end, start, None, None, method.func, 4.0
    )
    point = Point(
        zero,
        jnp.asarray(first, dtype),
        start,
        all_awake,
        method.init(term, zero, end, start, None),
        control,
        jnp.asarray(False),
        none,
        none,
        none + 1,
        none,
        none,
        values,
    )
    return eqxi.while_loop(
        unfinished, advance, point, max_steps=None, kind="lax", buffers=lambda p: p.values
    )


def method_state(after: Any, before: Any, keep: Array, jumped: Array) -> Any:
    """What the method keeps: after a jump, an estimate of the radius anew."""
    state = jax.tree.map(lambda a, b: jnp.where(keep, a, b), after, before)
    radius = jnp.where(jumped, 0, state.radius)
    return eqx.tree_at(lambda s: s.radius, state, radius)
