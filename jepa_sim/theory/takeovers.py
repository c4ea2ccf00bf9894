"""When features are learned while cleaner ones take over the latents of noisier ones.

From a start that is aligned but for small ratios r_ji (what latent j carries of feature i, over
what it carries of its own), training is a sequence of two kinds of events, each in closed form.

- A rise: the latent of a feature grows by the reduced flow. On the way r_ji changes by

      ln r_ji(t) = ln r_ji(0) + (λ_i/λ_j − 1) ln(u_j(t)/u_j(0))
                   + (σ_i²/σ_j²) (ρ_i/ρ_j − 1) (1/M) [−ln((1 − z(t))/(1 − z(0)))]

  with z = (u_j/u_j*)^M.

- A takeover: r_ji has grown to 1 while i is not learned. The latent then carries i. In its
  course, with the predictor at its best, v(r) = (r² λ_i + λ_j)/(r² σ_i² + σ_j²),

      d ln r/dt = v^{1+2(L−1)/M} (λ_i − λ_j − v (σ_i² − σ_j²)),   gains  v^{L/M} (r, 1)/√(1 + r²)

  The small latent that would have learned i carries j from then on, and learns it again. What
  other latents carry of j is what they carried of i: the takeover turns the space by 90°.

Each latent is followed by itself. So products of several small ratios are left out, and the sizes
of latents that are still small. The formulas were found by trial and are measured by
`python -m benchmarks.takeovers`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jepa_sim.theory.flow import ReducedFlow

SATURATED = 1e-4  # 1 − u/u* from which on 1 − z falls exponentially
NODES, EARLY, LATE = 200, -5.0, 6.0  # of the quadrature of a takeover, in ln r


class Takeovers(eqx.Module):
    """first, last: (d,) when each feature is learned for the first time, and for good.

    taken: (d, d) when feature i last took the latent of feature j, at [i, j]. Times are inf where
    there was no such event.
    """

    first: Float[Array, " d"]
    last: Float[Array, " d"]
    taken: Float[Array, "d d"]


class _Latents(eqx.Module):
    """The latents at a moment.

    feature: (d,) what each carries.  risen: (d,) whether it has learned that.
    since, log_u: (d,) a time, and ln u of its feature at that time; it moves by the reduced flow
    from there.  log_ratio: (d, d) ln r_ji at that time, for latent j and feature i.
    """

    feature: Int[Array, " d"]
    risen: Bool[Array, " d"]
    since: Float[Array, " d"]
    log_u: Float[Array, " d"]
    log_ratio: Float[Array, "d d"]


class _Event(NamedTuple):
    """When, of which latent, and which feature it carries from then on."""

    time: Float[Array, ""]
    latent: Int[Array, ""]
    feature: Int[Array, ""]


def takeovers(
    flow: ReducedFlow,
    predictor_depth: Float[Array, ""],
    turning: Float[Array, "d d"],
    log_ratio: Float[Array, "d d"],
    fraction: Float[Array, ""],
) -> Takeovers:
    """The events of a JEPA, from (d, d) ln r_ji at the start.

    turning: (d, d) g_ji, the rate at which r_ji grows once j is learned.  fraction: of the
    plateau, from which on a feature counts as learned.
    """
    return _Setting(flow, predictor_depth, turning, fraction).run(log_ratio)


class _Setting(eqx.Module):
    """What does not change from event to event."""

    flow: ReducedFlow
    predictor_depth: Float[Array, ""]
    turning: Float[Array, "d d"]
    fraction: Float[Array, ""]

    def run(self, log_ratio: Float[Array, "d d"]) -> Takeovers:
        size, never = self.flow.lam.size, jnp.full_like(self.flow.lam, jnp.inf)
        start = _Latents(
            jnp.arange(size),
            jnp.zeros(size, bool),
            jnp.zeros_like(never),
            self.flow.log_start + jnp.zeros_like(never),
            log_ratio,
        )
        course = self._course()
        most = 2 * size * size  # of d features, d (d − 1)/2 pairs can meet, each a few times

        def goes_on(state: tuple) -> Bool[Array, ""]:
            count, now, *_ = state
            return (count < most) & jnp.isfinite(now)

        def happen(state: tuple) -> tuple:
            count, now, latents, events = state
            saturates, learns = self._ahead(latents)
            event = self._next(latents, now, saturates, learns, course)
            is_takeover = latents.risen[event.latent].astype(int)
            kind = jnp.isfinite(event.time).astype(int) * (1 + is_takeover)
            latents, events = jax.lax.switch(
                kind,
                [
                    lambda: (latents, events),
                    lambda: self._rise(latents, events, event),
                    lambda: self._take(latents, events, event, saturates),
                ],
            )
            return count + 1, event.time, latents, events

        events = Takeovers(never, never, jnp.full((size, size), jnp.inf, never.dtype))
        begin = (0, jnp.zeros_like(never[0]), start, events)
        return jax.lax.while_loop(goes_on, happen, begin)[3]

    def _ahead(self, latents: _Latents) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """(d,) when each latent comes within `SATURATED` of its plateau, and when it has learned.

        inf where λ ≤ 0.
        """
        own = self._flow_of(latents)
        ahead = latents.log_u - own.log_plateau
        saturated = jnp.log1p(-jnp.asarray(SATURATED, ahead.dtype))
        begin = jnp.minimum(ahead, saturated)

        def reach(goal: Array) -> Array:
            wait = own.travel_time(begin, jnp.full_like(begin, goal))
            return latents.since + jnp.where(jnp.isnan(wait), jnp.inf, wait)

        return tuple(jax.vmap(reach)(jnp.stack([saturated, jnp.log(self.fraction) / own.depth])))

    def _next(
        self,
        latents: _Latents,
        now: Float[Array, ""],
        saturates: Float[Array, " d"],
        learns: Float[Array, " d"],
        course: Float[Array, "d d"],
    ) -> _Event:
        """The next event; its time is inf where there is none."""
        rise = jnp.where(latents.risen, jnp.inf, learns)
        carried = jnp.zeros_like(latents.risen).at[latents.feature].max(latents.risen)
        rate = self.turning[latents.feature]
        can = latents.risen[:, None] & ~carried[None, :] & (rate > 0)
        # from there on the logarithm of the ratio is a straight line
        missing = jnp.maximum(-self._at_saturation(latents), 0) / jnp.where(can, rate, 1)
        take = saturates[:, None] + missing + course[latents.feature]
        every = jnp.concatenate([rise[:, None], jnp.where(can, take, jnp.inf)], axis=1)
        latent, which = jnp.unravel_index(jnp.argmin(every), every.shape)
        time = jnp.maximum(every[latent, which], now)
        return _Event(time, latent, jnp.where(which == 0, latents.feature[latent], which - 1))

    def _rise(
        self, latents: _Latents, events: Takeovers, event: _Event
    ) -> tuple[_Latents, Takeovers]:
        """A latent has learned its own feature."""
        risen = latents.risen.at[event.latent].set(True)
        return eqx.tree_at(lambda x: x.risen, latents, risen), self._learn(events, event)

    def _take(
        self,
        latents: _Latents,
        events: Takeovers,
        event: _Event,
        saturates: Float[Array, " d"],
    ) -> tuple[_Latents, Takeovers]:
        """The latent carries the feature from now on, and another one carries what it carried."""
        time, latent, feature = event
        lost, small = latents.feature[latent], jnp.argmax(latents.feature == feature)
        log_u, log_ratio = self._at(latents, time, saturates)
        # the takeover turns the space by 90°
        log_ratio = log_ratio.at[:, lost].set(log_ratio[:, feature])
        pair, swapped = jnp.stack([latent, small]), jnp.stack([feature, lost])
        log_ratio = log_ratio.at[pair[:, None], swapped].set(-jnp.inf)
        moved = _Latents(
            latents.feature.at[pair].set(swapped),
            latents.risen.at[small].set(False),
            jnp.full_like(latents.since, time),
            log_u.at[latent].set(self.flow.log_plateau[feature]),
            log_ratio,
        )
        events = self._learn(events, event)
        last, taken = events.last.at[lost].set(jnp.inf), events.taken.at[feature, lost].set(time)
        return moved, eqx.tree_at(lambda x: (x.last, x.taken), events, (last, taken))

    def _learn(self, events: Takeovers, event: _Event) -> Takeovers:
        time, _, feature = event
        first, last = events.first.at[feature].min(time), events.last.at[feature].set(time)
        return eqx.tree_at(lambda x: (x.first, x.last), events, (first, last))

    def _flow_of(self, latents: _Latents) -> ReducedFlow:
        """The reduced flow of what each latent carries, from where it is."""
        flow = self.flow
        return ReducedFlow(
            flow.lam[latents.feature],
            flow.variance[latents.feature],
            jnp.exp(latents.log_u * flow.depth),
            flow.depth,
            flow.a,
            flow.b,
            flow.curve,
        )

    def _at(
        self, latents: _Latents, time: Float[Array, ""], saturates: Float[Array, " d"]
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """(d,) ln u of all latents at a time, and (d, d) ln r_ji."""
        own = self._flow_of(latents)
        late = jnp.maximum(time - saturates, 0)
        # each latent has gone on for a time of its own
        moved, left = own.evolve(jnp.where(late > 0, 0, time - latents.since))
        log_u = jax.lax.select(late > 0, own.log_plateau, jnp.diagonal(moved))
        gap = jnp.where(late > 0, SATURATED, jnp.maximum(jnp.diagonal(left), SATURATED))
        straight = late[:, None] * self.turning[latents.feature]
        return log_u, self._on_the_way(latents, own, log_u, gap) + straight

    def _at_saturation(self, latents: _Latents) -> Float[Array, "d d"]:
        """(d, d) ln r_ji when each latent comes within `SATURATED` of its plateau."""
        own = self._flow_of(latents)
        gap = jnp.full_like(own.lam, SATURATED)
        return self._on_the_way(latents, own, own.log_plateau, gap)

    def _on_the_way(
        self,
        latents: _Latents,
        own: ReducedFlow,
        log_u: Float[Array, " d"],
        gap: Float[Array, " d"],
    ) -> Float[Array, "d d"]:
        """(d, d) ln r_ji when latents have come to u, with 1 − u/u* = `gap`."""
        flow, m = self.flow, self.predictor_depth

        def log_rest(gap: Array) -> Array:
            """ln(1 − z)."""
            return jnp.log(-jnp.expm1(m * jnp.log1p(-gap)))

        begun = jnp.maximum(-jnp.expm1(latents.log_u - own.log_plateau), SATURATED)
        risen, fallen = log_u - latents.log_u, log_rest(begun) - log_rest(gap)
        lam = flow.lam[None, :] / jnp.where(own.lam == 0, 1, own.lam)[:, None]
        variance = flow.variance[None, :] / own.variance[:, None]
        rho = flow.rho[None, :] / own.rho[:, None]
        grown = (lam - 1) * risen[:, None] + variance * (rho - 1) / m * fallen[:, None]
        return latents.log_ratio + grown

    def _course(self) -> Float[Array, "d d"]:
        """(d, d) how much later than r_ji = 1, by its straight line, i is learned."""
        flow, m = self.flow, self.predictor_depth
        lam_j, lam_i = flow.lam[:, None, None], flow.lam[None, :, None]
        var_j, var_i = flow.variance[:, None, None], flow.variance[None, :, None]
        log_r = jnp.linspace(EARLY, LATE, NODES, dtype=flow.lam.dtype)[None, None, :]
        square = jnp.exp(2 * log_r)
        v = (square * lam_i + lam_j) / (square * var_i + var_j)
        v = jnp.maximum(v, jnp.finfo(v.dtype).tiny)
        rate = v ** (1 + 2 * (flow.depth - 1) / m) * (lam_i - lam_j - v * (var_i - var_j))
        turns = (self.turning > 0)[:, :, None]
        slowness = 1 / jnp.where(turns, rate, 1)
        step = (LATE - EARLY) / (NODES - 1)
        time = jnp.cumsum((slowness[..., 1:] + slowness[..., :-1]) / 2 * step, axis=-1)
        time = jnp.concatenate([jnp.zeros_like(time[..., :1]), time], axis=-1)
        gain = v ** (flow.depth / m) * jnp.sqrt(square / (1 + square))
        wanted = self.fraction * flow.rho ** (flow.depth / m)
        reached = jnp.sum(gain < wanted[None, :, None], axis=-1)  # gains of i rise with r
        after = jnp.take_along_axis(time, jnp.minimum(reached, NODES - 1)[..., None], -1)[..., 0]
        return after + EARLY / jnp.where(self.turning > 0, self.turning, 1)
