"""When features are learned while cleaner ones take over the latents of noisier ones.

Near alignment each latent l carries one feature, and little of the others. Its gain w̄ = u^L grows
by the reduced flow. What two latents have in common is p_lk, off the diagonal of P = (W̄ᵀW̄)^{1/2L}
in the basis of features. To first order in p, with X = u_k and Y = u_l,

    d ln p/dt = K_lk + K_kl,   K_lk = T (m_1 λ_k − m_2 σ_k²),   T = Y (Y^{2L} − X^{2L})/(Y² − X²)
    m_n = (Y^{2L+nM−1} − X^{2L+nM−1})/(Y^{2L} − X^{2L})

If a latent is turned from its predictor, p has a source: with V̄_kl − V̄_lk = 2 α in the basis of
latents, which stays as it is until a latent has learned its feature,

    ṗ = … + 2 α/(X^M + Y^M) · (XY)^L (X − Y)/(X^{2L} − Y^{2L}) · (T_lk Y^{M−1} λ_k − T_kl X^{M−1} λ_l)

For X < Y the ratio r = p (Y^{2L} − X^{2L})/((Y − X) Y^{2L}) is what the latent l carries of k's
feature, over what it carries of its own. It may grow to order 1. Then moments mix:
λ' = (λ_l + Σ r² λ_k)/(1 + Σ r²), σ'² alike, and u follows them. At r = 1 there is a *takeover*:
l carries k's feature from then on, and k that of l. In its course the plane of both turns by 90°.
What l carried of a third feature, relative to its old one, goes to the latent k with the old one;
all else turns along.

All of it is integrated in steps of ln u and of ln r. The formulas are exact to first order
(`tests/test_takeovers.py`), takeovers are those of latents of very different size, and
`python -m benchmarks.takeovers` measures the whole.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jepa_sim.theory.flow import ReducedFlow

STEP = 0.3  # change of ln r in a step, while moments mix; of ln(u^{1−a}), twice that
MIXED = 4.0  # |ln r| up to which moments mix: beyond, r² < 4e-4
RESTS = 5e-3  # a latent that can change ln(u^{1−a}) by no more than this does not limit a step
APART = 0.6  # of the size of a latent: smaller ones can be taken into it
MOST_STEPS = 2000  # for every feature; tens to hundreds are usual


class Takeovers(eqx.Module):
    """first, last: (d,) when each feature is learned for the first time, and for good.

    taken: (d, d) when feature i last took the latent of feature j, at [i, j]. Times are inf where
    there was no such event, and NaN where the computation did not come to an end.
    """

    first: Float[Array, " d"]
    last: Float[Array, " d"]
    taken: Float[Array, "d d"]


class Latents(eqx.Module):
    """The latents at a moment.

    feature: (d,) what each carries.  log_u: (d,) its size.  log_own: (d,) ln of what it carries of
    its own feature, over u: it is 0 until moments mix, and is not normalised.  p: (d, d) what two
    have in common, symmetric.  alpha: (d, d) α_kl, antisymmetric.
    """

    feature: Int[Array, " d"]
    log_u: Float[Array, " d"]
    log_own: Float[Array, " d"]
    p: Float[Array, "d d"]
    alpha: Float[Array, "d d"]


class _Rates(eqx.Module):
    """ratio, grows: (d, d) r_lk for u_k < u_l, else 0, and d ln r/dt.  pair: (d, d) d ln p/dt.

    source: (d, d) of p.  fades: (d, d) −d ln α/dt.
    """

    ratio: Float[Array, "d d"]
    grows: Float[Array, "d d"]
    pair: Float[Array, "d d"]
    source: Float[Array, "d d"]
    fades: Float[Array, "d d"]


def takeovers(
    flow: ReducedFlow,
    ratio: Float[Array, "d d"],
    turned: Float[Array, "d d"],
    fraction: Float[Array, ""],
) -> Takeovers:
    """The events of a JEPA with b = M and a = 2L + M − 1.

    ratio: (d, d) p/u at the start, symmetric.  turned: (d, d) α/u^M.  fraction: of the plateau,
    from which on a feature counts as learned.
    """
    return _Setting(flow, fraction).run(ratio, turned)


class _Setting(eqx.Module):
    """What does not change from step to step."""

    flow: ReducedFlow
    fraction: Float[Array, ""]

    def run(self, ratio: Float[Array, "d d"], turned: Float[Array, "d d"]) -> Takeovers:
        flow, size = self.flow, self.flow.lam.size
        never = jnp.full_like(flow.lam, jnp.inf)
        log_u = flow.log_start + jnp.zeros_like(never)
        u = jnp.exp(log_u[:, None])
        start = Latents(
            jnp.arange(size), log_u, jnp.zeros_like(never), ratio * u, turned * u**flow.b
        )
        gains = jnp.log(flow.scale) + jnp.zeros_like(never)
        begun = jnp.where(gains >= self._level, 0, never)
        events = Takeovers(begun, begun, jnp.full((size, size), jnp.inf, never.dtype))

        def goes_on(state: tuple) -> Bool[Array, ""]:
            count, now, *_ = state
            return (count < MOST_STEPS * size) & jnp.isfinite(now)

        def advance(state: tuple) -> tuple:
            count, now, latents, gains, events = state
            rates = self._rates(latents)
            step = self._step(latents, rates)
            moved = self._move(latents, rates, jnp.where(jnp.isfinite(step), step, 0))
            after = self._gains(moved, self._rates(moved).ratio)
            events = self._cross(events, now, step, gains, after)
            latents, events = self._take(moved, events, now + step)
            return count + 1, now + step, latents, after, events

        begin = (0, jnp.zeros_like(never[0]), start, gains, events)
        _, now, _, _, events = jax.lax.while_loop(goes_on, advance, begin)
        ended = jnp.isinf(now)
        return jax.tree.map(lambda x: jnp.where(ended | jnp.isfinite(x), x, jnp.nan), events)

    @property
    def _level(self) -> Float[Array, " d"]:
        """(d,) ln of the gain from which on a feature is learned; inf where λ ≤ 0."""
        level = jnp.log(self.fraction) + self.flow.depth * self.flow.log_plateau
        return jnp.where(self.flow.is_learned, level, jnp.inf)

    def _rates(self, latents: Latents) -> _Rates:
        depth, m = self.flow.depth, self.flow.b
        lam, variance = self.flow.lam[latents.feature], self.flow.variance[latents.feature]
        x = latents.log_u
        q = x[None, :] - x[:, None]  # ln(X/Y); X at columns
        y = jnp.exp(x)[:, None]
        below = q < 0
        q = jnp.where(jnp.abs(q) < 1e-6, 1e-6, q)  # no 0/0 where X = Y
        whole = jnp.expm1(2 * depth * q)
        turns = y ** (2 * depth - 1) * whole / jnp.expm1(2 * q)  # T
        shape = whole / jnp.expm1(q)  # Σ_n (X/Y)^n, n < 2L

        def power(n: int) -> Array:
            """m_n."""
            return y ** (n * m - 1) * jnp.expm1((2 * depth + n * m - 1) * q) / whole

        half = turns * (power(1) * lam[None, :] - power(2) * variance[None, :])
        pair = half + half.T
        ratio = latents.p * shape * jnp.exp(-latents.log_own[:, None]) / y
        own = self._speed(x, lam, variance)
        drive = turns * y ** (m - 1) * lam[None, :]
        a = 2 * latents.alpha / (y**m + y.T**m)
        learns = y ** (2 * depth + 2 * m - 2) * m * variance[:, None]
        return _Rates(
            ratio=jnp.where(below, ratio, 0),
            grows=pair - own[:, None],
            pair=pair,
            source=a * y * jnp.exp(depth * q) / shape * (drive.T - drive),
            fades=(y**m * learns + (y**m * learns).T) / (y**m + y.T**m),
        )

    def _speed(self, log_u: Array, lam: Array, variance: Array) -> Array:
        """d ln u/dt with these moments."""
        a, b = self.flow.a, self.flow.b
        return jnp.exp((a - 1) * log_u) * (lam - variance * jnp.exp(b * log_u))

    def _mixed(self, latents: Latents, ratio: Array) -> tuple[Array, Array]:
        """(d,) λ' and σ'² of each latent: of what it carries, and of what larger ones took."""
        square = jnp.minimum(ratio**2, 1e6)
        own = self.flow.lam[latents.feature], self.flow.variance[latents.feature]

        def mix(moment: Array) -> Array:
            carried = (moment + square @ moment) / (1 + square.sum(1))
            return (carried + square.T @ moment) / (1 + square.sum(0))

        return mix(own[0]), mix(own[1])

    def _step(self, latents: Latents, rates: _Rates) -> Float[Array, ""]:
        """How far to go: inf where nothing is left to happen."""
        a, b, x = self.flow.a, self.flow.b, latents.log_u
        lam, variance = self._mixed(latents, rates.ratio)
        left = (a - 1) / b * jnp.abs(lam / (variance * jnp.exp(b * x)) - 1)
        speed = (a - 1) * jnp.abs(self._speed(x, lam, variance))
        moves = (left > RESTS) & (lam > 0)
        log_r = jnp.log(jnp.abs(rates.ratio))  # −inf where there is none
        mixes, grows = jnp.abs(log_r) < MIXED, jnp.abs(rates.grows)
        later = (log_r <= -MIXED) & jnp.isfinite(log_r) & (rates.grows > 0)
        missing = jnp.maximum(-MIXED - log_r, 0) + STEP / 2
        return jnp.minimum(
            jnp.min(jnp.where(moves, 2 * STEP / jnp.where(moves, speed, 1), jnp.inf)),
            jnp.min(
                jnp.where(
                    mixes | later,
                    jnp.where(later, missing, STEP) / jnp.where(mixes | later, grows, 1),
                    jnp.inf,
                )
            ),
        )

    def _move(self, latents: Latents, rates: _Rates, step: Float[Array, ""]) -> Latents:
        """The latents after a step."""
        flow, x = self.flow, latents.log_u
        halfway = jnp.exp(jnp.minimum(rates.grows * step / 2, 1))
        lam, variance = self._mixed(latents, rates.ratio * halfway)
        slope = -flow.b * variance * jnp.exp((flow.a + flow.b - 1) * x)
        log_u = _exponential_step(lambda x: self._speed(x, lam, variance), x, slope, flow.a - 1, step)
        feature = latents.feature

        def apart(x: Array) -> Array:
            """d ln(own/u)/dt."""
            own = self._speed(x, flow.lam[feature], flow.variance[feature])
            return own - self._speed(x, lam, variance)

        log_own = latents.log_own + step / 2 * (apart(x) + apart(log_u))
        alpha = latents.alpha * jnp.exp(-rates.fades * step)
        moved = Latents(feature, log_u, log_own, latents.p, alpha)
        then = self._rates(moved)
        growth = jnp.exp(jnp.clip(step / 2 * (rates.pair + then.pair), -300, 300))
        p = (latents.p + step / 2 * rates.source) * growth + step / 2 * then.source
        return eqx.tree_at(lambda s: s.p, moved, p)

    def _gains(self, latents: Latents, ratio: Array) -> Float[Array, " d"]:
        """(d,) ln w̄ of the features."""
        square = jnp.minimum(ratio**2, 1e6)
        each = jnp.exp(2 * self.flow.depth * latents.log_u) / (1 + square.sum(1))
        carried = each + square.T @ each
        return jnp.log(jnp.zeros_like(each).at[latents.feature].set(carried)) / 2

    def _cross(
        self, events: Takeovers, now: Array, step: Array, before: Array, after: Array
    ) -> Takeovers:
        """Features that pass their level within the step, on which u^{1−a} is linear in time."""
        level, power = self._level, (1 - self.flow.a) / self.flow.depth
        passes = (before < level) & (after >= level)
        gap = jnp.where(passes, after - before, 1)
        share = jnp.expm1(power * jnp.where(passes, level - before, 0)) / jnp.expm1(power * gap)
        time = now + share * jnp.where(jnp.isfinite(step), step, 0)
        first = jnp.where(passes, jnp.minimum(events.first, time), events.first)
        last = jnp.where(passes, time, jnp.where(after < level, jnp.inf, events.last))
        return Takeovers(first, last, events.taken)

    def _take(
        self, latents: Latents, events: Takeovers, now: Array
    ) -> tuple[Latents, Takeovers]:
        """The takeover of the largest ratio, where it has come to 1."""
        u, size = jnp.exp(latents.log_u), latents.log_u.size
        ratio = self._rates(latents).ratio
        ratio = jnp.where(u[None, :] < APART * u[:, None], ratio, 0)
        large, small = jnp.unravel_index(jnp.argmax(jnp.abs(ratio)), ratio.shape)
        found = ratio[large, small]
        happens, sign = jnp.abs(found) >= 1, jnp.where(found < 0, -1, 1).astype(u.dtype)
        pair = jnp.stack([large, small])
        feature = latents.feature.at[pair].set(latents.feature[pair[::-1]])
        log_own = latents.log_own.at[large].add(jnp.log(jnp.abs(found)))
        # in the course of it the plane turns by 90°: e_l → ± e_k, e_k → ∓ e_l
        turn = jnp.ones_like(u).at[pair].set(jnp.stack([sign, -sign]))
        turn = turn[:, None] * turn[None, :]
        p, alpha = latents.p * turn, latents.alpha * turn
        inherited = jnp.where(jnp.arange(size) == small, 0, ratio[large]) * (u[small] - u)
        p = p.at[small].add(inherited).at[:, small].add(inherited)
        mutual = -latents.p[large, small] / found**2 * jnp.abs(found)
        p = p.at[pair, pair[::-1]].set(mutual * sign * sign)
        alpha = alpha.at[pair, pair[::-1]].set(0)
        swapped = Latents(feature, latents.log_u, log_own, p, alpha)
        taken = events.taken.at[latents.feature[small], latents.feature[large]].set(now)
        choose = lambda new, old: jnp.where(happens, new, old)  # noqa: E731
        latents = jax.tree.map(choose, swapped, latents)
        return latents, eqx.tree_at(lambda e: e.taken, events, choose(taken, events.taken))


def _exponential_step(
    speed: Callable[[Array], Array], x: Array, slope: Array, power: Array, step: Array
) -> Array:
    """ln u after a step of the third-order method exprb32, applied to w = u^{−power}.

    speed: of ln u, dx/dt.  slope: (d/dw) dw/dt, negative. Exact where u is small or nearly at rest.
    """

    def rate(x: Array) -> Array:
        """dw/dt over the w of the start."""
        return -power * speed(x) * jnp.exp(-power * (x - begin))

    begin, z = x, slope * step
    grown = rate(x) * jnp.expm1(z) / slope
    bend = rate(x - jnp.log1p(grown) / power) - rate(x) - slope * grown
    short = jnp.abs(z) < 0.02
    safe = jnp.where(short, 1, z)
    phi = jnp.where(short, 1 / 6 + z / 24, (jnp.expm1(safe) - safe - safe**2 / 2) / safe**3)
    return x - jnp.log1p(grown + 2 * step * phi * bend) / power
