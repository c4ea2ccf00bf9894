"""Steps of the live block in its own time, with latents that fall asleep and wake between them."""

from collections.abc import Callable

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jepa_sim.numerics.stabilised import ROCK4, PredictiveController
from jepa_sim.results.crossings import Saves
from jepa_sim.solvers.sleeping import shared
from jepa_sim.solvers.sleeping.block import Chain, Setting
from jepa_sim.solvers.sleeping.record import Record
from jepa_sim.solvers.sleeping.segment import Pace, Segment
from jepa_sim.solvers.sleeping.sleepers import Sleepers, nobody
from jepa_sim.solvers.sleeping.turns import fall_asleep, gains, wake

RATIO = 0.5  # of √rtol: what sleeping latents may carry of others, whose squares are neglected
FLOOR = 0.3  # of a factor's root mean square: errors of smaller entries are measured in it
FRESH = 4.0  # of rtol^¼: the longest first step, in own time, after a latent fell asleep or woke
METHOD = ROCK4(max_iterations=10, scan_kind="lax")
ORDER = 4.0  # of its error
STRETCH = 32  # steps; then all times within them are saved together
BLOCK = 8  # times, saved at once: 16 and 64 take 1.1 and 1.3 of the time (256 lanes, 300 times)

# of a time, the live block, and the sleepers at that time
Save = Callable[[Float[Array, ""], Chain, Sleepers], PyTree]


class Point(eqx.Module):
    """Where a run is.

    t: time.  h: the next step, in the block's own time.  chain, sleepers: the live block and who
    sleeps.  method, control: what the method and the controller keep.  jumped: whether the block
    has changed since the method last took its velocity.  steps, accepted, rhs: counts.  saved: how
    many times lie behind it.
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
    saved: Int[Array, ""]


class March(eqx.Module):
    """From time 0 to the last of `times`, or as far as `max_steps` lead.

    rtol: of a step, and, by its root, of what sleeping latents may carry of others.
    """

    setting: Setting
    times: Float[Array, " t"]
    save: Save = eqx.field(static=True)
    rtol: Float[Array, ""]
    max_steps: int = eqx.field(static=True)

    @property
    def pace(self) -> Pace:
        return Pace(self.setting, self.times[-1])

    def controller(self, chain: Chain) -> PredictiveController:
        """Errors in units of rtol (|Z| + 0.3 rms Z), root mean square over the live entries.

        That of the clock counts by itself, in units of rtol t.
        """
        live = self.setting.all_moves(len(chain)) & (chain != 0)
        count = jnp.sum(live.astype(chain.dtype), axis=(1, 2), keepdims=True)
        size = jnp.sqrt(jnp.sum(chain**2, axis=(1, 2), keepdims=True) / jnp.maximum(count, 1))
        total = jnp.maximum(jnp.sum(count), 1)

        def norm(scaled: tuple[Array, Array]) -> Array:
            block, clock = scaled
            return jnp.maximum(jnp.sqrt(jnp.sum(block**2) / total), jnp.max(clock))

        floor = self.rtol * FLOOR * jnp.where(size > 0, size, 1)
        return PredictiveController(self.rtol, floor, norm)

    def begin(self, chain: Chain) -> Point:
        zero, none = jnp.zeros_like(self.rtol), jnp.zeros((), jnp.int32)
        sleepers = nobody(self.setting, len(chain), RATIO * jnp.sqrt(self.rtol))
        term, state, unit = dfx.ODETerm(self.pace.velocity), (chain, zero), self.pace.unit(chain)
        h, control = self.controller(chain).init(
            term, zero, zero + 1, state, None, unit, METHOD.func, ORDER
        )
        return Point(
            t=zero,
            h=jnp.asarray(h, zero.dtype),
            chain=chain,
            sleepers=sleepers,
            method=METHOD.init(term, zero, h, state, unit),
            control=control,
            jumped=jnp.asarray(False),
            steps=none,
            accepted=none,
            rhs=none + 1,
            saved=jnp.zeros((), int),
        )

    def run(self, chain: Chain) -> tuple[Point, PyTree, Record]:
        """The end; what is saved at all times, NaN at those not reached; the gains at all steps."""
        start = self.begin(chain)
        shapes = jax.eval_shape(self.save, start.t, chain, start.sleepers)
        values = jax.tree.map(
            lambda x: jnp.full((self.times.size, *x.shape), jnp.nan, x.dtype), shapes
        )
        speed = self.setting.velocity(chain)
        at_start = Saves(start.t, *gains(self.setting, chain, speed, start.sleepers, start.t))
        plateau = jnp.prod(start.sleepers.encoder(self.setting), axis=0)
        return jax.lax.while_loop(
            lambda state: self.is_going(state[0]),
            lambda state: self.stretch(*state),
            (start, values, Record.of(at_start, plateau)),
        )

    def is_going(self, point: Point) -> Bool[Array, ""]:
        return (point.t < self.times[-1]) & (point.steps < self.max_steps)

    def stretch(self, start: Point, values: PyTree, record: Record) -> tuple[Point, PyTree, Record]:
        """`STRETCH` steps, and then the times within them are saved and their gains recorded.

        In a batch each turn of a loop takes as long as in the slowest lane. If every step saved the
        times within it, each would take as long as that with the most times.
        """
        none = Segment.of(start.t, start.chain, start.sleepers)
        segments = jax.tree.map(lambda x: jnp.zeros((STRETCH, *x.shape), x.dtype), none)

        def is_going(state: tuple) -> Bool[Array, ""]:
            point, _ = state
            return self.is_going(point) & (point.accepted < start.accepted + STRETCH)

        def advance(state: tuple) -> tuple:
            before, segments = state
            point, segment = self.advance(before)
            at = before.accepted - start.accepted  # a step that is rejected is written over
            return point, jax.tree.map(lambda x, all: all.at[at].set(x), segment, segments)

        point, segments = eqxi.while_loop(
            is_going,
            advance,
            (start, segments),
            max_steps=None,
            kind="lax",
            buffers=lambda state: state[1],
        )
        count = (point.accepted - start.accepted).astype(int)
        values = self.save_all(segments, count, start.saved, point.saved, values)
        return point, values, record.add(self.record(segments), count)

    def advance(self, point: Point) -> tuple[Point, Segment]:
        """One step, if its error is small enough; then latents fall asleep or wake."""
        t0, before, zero = point.t, point.sleepers, jnp.zeros_like(point.t)
        instant = 10 * jnp.finfo(t0.dtype).eps * t0  # a time as near as this counts as now
        wait = jnp.maximum(jnp.min(before.wait(self.setting)), instant)
        of = shared.pairs(self.setting, before)
        growth = before.growth(self.setting)
        wait = jnp.minimum(wait, shared.longest_step(self.setting, before, of, growth))
        pace = self.pace(point.chain)
        h = jnp.minimum(point.h, wait * pace)
        halfway = before.after(growth, h / (2 * pace))
        growth = halfway.growth(self.setting)
        flow = Pace(shared.left(self.setting, halfway, of), self.times[-1])
        pace, unit = flow(point.chain), flow.unit(point.chain)
        method = eqx.tree_at(lambda s: s.f[1], point.method, unit / pace)
        start, jumped = (point.chain, zero), point.jumped | of.any()
        (after, clock), error, dense, state, _ = METHOD.step(
            dfx.ODETerm(flow.velocity), zero, h, start, unit, method, jumped
        )
        t1: Array = t0 + clock / unit
        rhs = point.rhs + state.rhs - point.method.rhs + jumped.astype(jnp.int32)
        keep, begun, next_end, _, control, _ = self.controller(point.chain).adapt_step_size(
            zero, h, (point.chain, unit * t0), (after, unit * t1), None, error, ORDER, point.control
        )
        next_h: Array = jnp.asarray(next_end - begun)
        # a step that was cut short to end where a latent wakes says little of the next one
        next_h = jnp.where(keep & (h < point.h), jnp.maximum(next_h, point.h), next_h)
        segment = Segment(t0, t1, unit, dense, before, growth)
        behind = jnp.sum(self.times <= t1, dtype=point.saved.dtype)
        saved = jnp.where(keep, behind, point.saved)
        t = jnp.where(keep, t1, t0)
        kept = after, state
        chain, state = jax.tree.map(
            lambda a, b: jnp.where(keep, a, b), kept, (point.chain, point.method)
        )
        asleep = segment.asleep(t)
        chain = shared.leave_behind(self.setting, chain, before, asleep, of)
        fallen = fall_asleep(self.setting, chain, asleep, t)
        woken = wake(self.setting, fallen.chain, fallen.sleepers, instant)
        changed = fallen.changed | woken.changed
        # the spectrum is another one: its radius is to be found anew
        state = eqx.tree_at(lambda s: s.radius, state, jnp.where(changed, 0, state.radius))
        point = Point(
            t=t,
            h=jnp.where(changed, jnp.minimum(next_h, FRESH * self.rtol**0.25), next_h),
            chain=woken.chain,
            sleepers=woken.sleepers,
            method=state,
            control=control,
            # a rejected step has not taken the velocity of a block that had changed before it
            jumped=changed | of.any() | (point.jumped & ~keep),
            steps=point.steps + 1,
            accepted=point.accepted + keep.astype(jnp.int32),
            rhs=rhs,
            saved=saved,
        )
        return point, segment

    def save_all(
        self,
        segments: Segment,
        count: Int[Array, ""],
        first: Int[Array, ""],
        end: Int[Array, ""],
        values: PyTree,
    ) -> PyTree:
        """Save at the times from `first` to before `end`, which the first `count` segments hold."""
        size = min(BLOCK, self.times.size)
        ends = jnp.where(jnp.arange(STRETCH) < count, segments.t1, jnp.inf)

        def save(t: Float[Array, ""]) -> PyTree:
            segment = jax.tree.map(lambda x: x[jnp.sum(ends < t)], segments)
            return self.save(t, segment.live(t), segment.asleep(t))

        def save_block(state: tuple) -> tuple:
            first, values = state
            at = first + jnp.arange(size)
            new = jax.vmap(save)(self.times[jnp.minimum(at, end - 1)])
            at = jnp.where(at < end, at, self.times.size)
            return first + size, jax.tree.map(
                lambda all, x: all.at[at].set(x, mode="drop"), values, new
            )

        return jax.lax.while_loop(lambda state: state[0] < end, save_block, (first, values))[1]

    def record(self, segments: Segment) -> Saves:
        """Time, gains and their rates at the ends of segments."""

        @jax.vmap
        def row(segment: Segment) -> Saves:
            (live, _), (speed, of_clock) = segment.dense["y1"], segment.dense["k1"]
            some = of_clock > 0  # not of segments that are still empty
            speed = speed * (segment.unit / jnp.where(some, of_clock, 1))
            sleepers = segment.asleep(segment.t1)
            return Saves(segment.t1, *gains(self.setting, live, speed, sleepers, segment.t1))

        return row(segments)
