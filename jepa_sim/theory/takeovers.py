"""When features are learned while cleaner ones take over the latents of noisier ones.

Near alignment each latent carries one feature, and little of the others. Its size u, with the gain
w̄ = u^L, grows by the reduced flow. What two latents l and k have in common is p, an entry of
P = (W̄ᵀW̄)^{1/2L} off the diagonal, in the basis of features. With Y = u_l and X = u_k, and to first
order in p,

    d ln p/dt = K_lk + K_kl,      K_lk = T_lk (m_1 λ_k − m_2 σ_k²)
    T_lk = Y (Y^{2L} − X^{2L})/(Y² − X²)
    m_n = (Y^{2L+nM−1} − X^{2L+nM−1})/(Y^{2L} − X^{2L})

At X ≪ Y this is the growth rate of a learned latent's share of another feature, and T has the terms
that count while X grows. Where the predictor is turned from the encoder, p has a source: with
α = (V̄ − V̄ᵀ)/2 in the basis of latents, which fades once one of the two is learned,

    ṗ_kl = … + 2 α_kl/(X^M + Y^M) · (XY)^L (X − Y)/(X^{2L} − Y^{2L})
               · (T_lk Y^{M−1} λ_k − T_kl X^{M−1} λ_l)

For X < Y the ratio r = p (Y^{2L} − X^{2L})/((Y − X) Y^{2L}) is what l carries of k's feature, over
what it carries of its own. It may grow to order 1. Both latents then move by mixed moments, as
λ' = (λ_l + r² λ_k)/(1 + r²) of l, and what l carries of its own changes too. At r = 1 there is a
takeover: from there on l carries k's feature, and k that of l. In its course the plane of the two
turns by 90°, and all that others have in common with them turns along. What l had of a third
feature goes with its old feature to the latent k.

All of it is integrated in steps of ln u and ln r. It is exact to first order in what latents have
in common (but for α where M > 1), and a takeover is that of latents of very different sizes.
`python -m benchmarks.takeovers` measures how far it is right.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jepa_sim.theory.flow import ReducedFlow

STEP = 0.3  # most change of ln r in a step, while moments mix
MIXED = 3.0  # |ln r| up to which moments mix: beyond, r² < 0.25 %
NEAR = 0.02  # of the plateau: a step of ln(u^{1−a}) is at most 2 STEP below, and STEP/2 above it
LEAST = 0.04  # most for `least`: a ratio that stays above e^{−MIXED} would limit steps for ever
RESTS = 5e-3  # a latent that can change ln(u^{1−a}) by no more than this does not limit a step
MOST = 2000  # steps for every feature; about 50 are usual


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


class _Pairs(eqx.Module):
    """What pairs of latents do because of their sizes; l in rows, k in columns, X = u_k, Y = u_l.

    with_lam, with_variance: (d, d) T m_1 and T m_2.  shape: (d, d) Σ_n (X/Y)^n/Y over n < 2L where
    X < Y, else 0.  drive: (d, d) the factor of α λ_k in ṗ.  learns: (d, d) that of σ_l² in
    −d ln α/dt.
    """

    with_lam: Float[Array, "d d"]
    with_variance: Float[Array, "d d"]
    shape: Float[Array, "d d"]
    drive: Float[Array, "d d"]
    learns: Float[Array, "d d"]

    def ratio(self, latents: Latents) -> Float[Array, "d d"]:
        """r_lk where X < Y, else 0."""
        return latents.p * self.shape * jnp.exp(-latents.log_own[:, None])


def takeovers(
    flow: ReducedFlow,
    turned: Float[Array, "d d"],
    least: Float[Array, ""],
    fraction: Float[Array, ""],
) -> Takeovers:
    """The events of a JEPA with b = M and a = 2L + M − 1.

    turned: (d, d) α/u^M at the start, where p is what rounding leaves.  least: ratio r below which
    none falls, since patterns overlap.  fraction: of the plateau, from which on a feature counts as
    learned.
    """
    log_u = flow.log_start + jnp.zeros_like(flow.lam)
    u, features = jnp.exp(flow.log_start), jnp.arange(flow.lam.size)
    rounding = jnp.finfo(u.dtype).eps * u * (1 - jnp.eye(features.size, dtype=u.dtype))
    start = Latents(features, log_u, jnp.zeros_like(log_u), rounding, turned * u**flow.b)
    return _Setting(flow, least, fraction).run(start)


class _Setting(eqx.Module):
    """What does not change from step to step: a step of sizes between two halves of one of p."""

    flow: ReducedFlow
    least: Float[Array, ""]
    fraction: Float[Array, ""]

    def run(self, start: Latents) -> Takeovers:
        """All that happens from these latents on, which carry nothing but their features yet."""
        size, never = start.log_u.size, jnp.full_like(start.log_u, jnp.inf)
        gains = self._gains(start, jnp.zeros((size, size), never.dtype))
        begun = jnp.where(gains >= self._level, 0, never)
        events = Takeovers(begun, begun, jnp.full((size, size), jnp.inf, never.dtype))

        def goes_on(state: tuple) -> Bool[Array, ""]:
            count, now, *_ = state
            return (count < MOST * size) & jnp.isfinite(now)

        def advance(state: tuple) -> tuple:
            count, now, step, latents, gains, events = state
            pairs = self._pairs(latents.log_u)
            latents = self._drift(latents, pairs, step / 2)  # the last step's second half
            ratio = pairs.ratio(latents)
            after = self._gains(latents, ratio)
            events = self._cross(events, now - step, step, gains, after)
            latents, events = self._take(latents, events, ratio, now)
            step = self._step(latents, pairs)
            taken = jnp.where(jnp.isfinite(step), step, 0)
            latents = self._drift(latents, pairs, taken / 2)
            latents = self._grow(latents, pairs.ratio(latents), taken)
            return count + 1, now + step, taken, latents, after, events

        zero = jnp.zeros_like(never[0])
        begin = (0, zero, zero, start, gains, events)
        _, now, *_, events = jax.lax.while_loop(goes_on, advance, begin)
        ended = jnp.isinf(now)
        return jax.tree.map(lambda x: jnp.where(ended | jnp.isfinite(x), x, jnp.nan), events)

    @property
    def _level(self) -> Float[Array, " d"]:
        """(d,) ln of the gain from which on a feature is learned; inf where λ ≤ 0."""
        level = jnp.log(self.fraction) + self.flow.depth * self.flow.log_plateau
        return jnp.where(self.flow.is_learned, level, jnp.inf)

    def _pairs(self, log_u: Float[Array, " d"]) -> _Pairs:
        depth, m = self.flow.depth, self.flow.b
        u, to_m, to_2l = jnp.exp(log_u), jnp.exp(m * log_u), jnp.exp(2 * depth * log_u)
        y, ym = u[:, None], to_m[:, None]
        e, em, e2l = u[None, :] / y, to_m[None, :] / ym, to_2l[None, :] / to_2l[:, None]
        alike = jnp.abs(e - 1) < jnp.finfo(u.dtype).eps ** 0.5

        def over(numerator: Array, denominator: Array, limit: Array) -> Array:
            """Their ratio, each a difference from 1 that is 0 where X = Y."""
            return jnp.where(alike, limit, numerator / jnp.where(alike, 1, denominator))

        both = 2 * depth
        turns = to_2l[:, None] * ym / y**2 * over(e2l - 1, e**2 - 1, depth)  # T Y^{M−1}
        shape = over(e2l - 1, e - 1, both)
        learns = m * to_2l * to_m**3 / u**2
        return _Pairs(
            with_lam=turns * over(e2l * em / e - 1, e2l - 1, 1 + (m - 1) / both),
            with_variance=turns * ym * over(e2l * em**2 / e - 1, e2l - 1, 1 + (2 * m - 1) / both),
            shape=jnp.where(e < 1, shape / y, 0),
            drive=2 / (ym + ym.T) * y * jnp.sqrt(e2l) / shape * turns,
            learns=learns[:, None] / (ym + ym.T),
        )

    def _growth(self, latents: Latents, pairs: _Pairs) -> Float[Array, "d d"]:
        """(d, d) d ln p/dt."""
        lam, variance = self._own(latents)
        half = pairs.with_lam * lam[None, :] - pairs.with_variance * variance[None, :]
        return half + half.T

    def _own(self, latents: Latents) -> tuple[Array, Array]:
        """(d,) λ and σ² of what each latent carries."""
        return self.flow.lam[latents.feature], self.flow.variance[latents.feature]

    def _speed(self, log_u: Array, lam: Array, variance: Array) -> Array:
        """d ln u/dt with these moments."""
        a, b = self.flow.a, self.flow.b
        return jnp.exp((a - 1) * log_u) * (lam - variance * jnp.exp(b * log_u))

    def _mixed(self, latents: Latents, ratio: Array) -> tuple[Array, Array]:
        """(d,) λ' and σ'² of each latent: of what it carries, and of what larger ones took."""
        square = jnp.minimum(ratio**2, 1e6)

        def mix(moment: Array) -> Array:
            carried = (moment + square @ moment) / (1 + square.sum(1))
            return (carried + square.T @ moment) / (1 + square.sum(0))

        lam, variance = self._own(latents)
        return mix(lam), mix(variance)

    def _step(self, latents: Latents, pairs: _Pairs) -> Float[Array, ""]:
        """How far to go: inf where nothing is left to happen."""
        power, b, x = self.flow.a - 1, self.flow.b, latents.log_u
        ratio = pairs.ratio(latents)
        lam, variance = self._mixed(latents, ratio)
        full = variance * jnp.exp(b * x) / jnp.where(lam > 0, lam, 1)  # (u/u*)^b
        moves = (power / b * jnp.abs(1 / full - 1) > RESTS) & (lam > 0)
        most = STEP * jnp.where(full > NEAR**b, 0.5, 2)
        speed = power * jnp.abs(self._speed(x, lam, variance))
        grows = self._growth(latents, pairs) - self._speed(x, *self._own(latents))[:, None]
        log_r = jnp.log(jnp.abs(ratio))
        mixes = jnp.abs(log_r) < MIXED
        later = (log_r <= -MIXED) & (ratio != 0) & (grows > 0)
        change = jnp.where(later, STEP / 2 - MIXED - log_r, STEP)

        def least(change: Array, speed: Array, limits: Array) -> Array:
            return jnp.min(jnp.where(limits, change / jnp.where(limits, speed, 1), jnp.inf))

        return jnp.minimum(least(most, speed, moves), least(change, jnp.abs(grows), mixes | later))

    def _drift(self, latents: Latents, pairs: _Pairs, step: Float[Array, ""]) -> Latents:
        """What latents carry after a step in which their sizes stay."""
        own, x = self._own(latents), latents.log_u
        growth = jnp.exp(jnp.clip(step / 2 * self._growth(latents, pairs), -30, 30))
        halfway = eqx.tree_at(lambda s: s.p, latents, latents.p * growth)
        mixed = self._mixed(latents, pairs.ratio(halfway))
        log_own = latents.log_own + step * (self._speed(x, *own) - self._speed(x, *mixed))
        drive = pairs.drive * own[0][None, :]
        p = halfway.p * growth + step * latents.alpha * (drive.T - drive)
        u = jnp.exp(x)
        floor = jnp.minimum(self.least, LEAST) * jnp.abs(u[:, None] - u[None, :])
        p = jnp.where(p < 0, -1, 1).astype(p.dtype) * jnp.maximum(jnp.abs(p), floor)
        learns = pairs.learns * own[1][:, None]
        alpha = latents.alpha * jnp.exp(-step * (learns + learns.T))
        return Latents(latents.feature, x, log_own, p, alpha)

    def _grow(self, latents: Latents, ratio: Array, step: Float[Array, ""]) -> Latents:
        """Latents of other sizes after a step."""
        lam, variance = self._mixed(latents, ratio)
        a, b, x = self.flow.a, self.flow.b, latents.log_u
        slope = -b * variance * jnp.exp((a + b - 1) * x)
        log_u = _exponential_step(lambda x: self._speed(x, lam, variance), x, slope, a - 1, step)
        return eqx.tree_at(lambda s: s.log_u, latents, log_u)

    def _gains(self, latents: Latents, ratio: Array) -> Float[Array, " d"]:
        """(d,) ln w̄ of the features."""
        square = jnp.minimum(ratio**2, 1e6)
        each = jnp.exp(2 * self.flow.depth * latents.log_u) / (1 + square.sum(1))
        carried = each + square.T @ each
        return jnp.log(jnp.zeros_like(each).at[latents.feature].set(carried)) / 2

    def _cross(
        self, events: Takeovers, now: Array, step: Array, before: Array, after: Array
    ) -> Takeovers:
        """Features that pass their level within the step, in which ln w̄ is linear in time."""
        level = self._level
        passes = (before < level) & (after >= level)
        share = jnp.where(passes, level - before, 0) / jnp.where(passes, after - before, 1)
        time = now + share * step
        first = jnp.where(passes, jnp.minimum(events.first, time), events.first)
        last = jnp.where(passes, time, jnp.where(after < level, jnp.inf, events.last))
        return Takeovers(first, last, events.taken)

    def _take(
        self, latents: Latents, events: Takeovers, ratio: Array, now: Array
    ) -> tuple[Latents, Takeovers]:
        """The takeover of the largest ratio, where it has come to 1."""
        u, size = jnp.exp(latents.log_u), latents.log_u.size
        large, small = jnp.unravel_index(jnp.argmax(jnp.abs(ratio)), ratio.shape)
        found = ratio[large, small]
        happens, sign = jnp.abs(found) >= 1, jnp.where(found < 0, -1, 1).astype(u.dtype)
        pair = jnp.stack([large, small])
        feature = latents.feature.at[pair].set(latents.feature[pair[::-1]])
        log_own = latents.log_own.at[large].add(jnp.log(jnp.abs(found)))
        # e_l → ± e_k and e_k → ∓ e_l
        turn = jnp.ones_like(u).at[pair].set(jnp.stack([sign, -sign]))
        turn = turn[:, None] * turn[None, :]
        p, alpha = latents.p * turn, latents.alpha * turn
        inherited = jnp.where(jnp.arange(size) == small, 0, ratio[large]) * (u[small] - u)
        p = p.at[small].add(inherited).at[:, small].add(inherited)
        mutual = sign * latents.p[large, small] / jnp.where(happens, found, 1)
        p = p.at[pair, pair[::-1]].set(mutual)
        alpha = alpha.at[pair, pair[::-1]].set(0)
        swapped = Latents(feature, latents.log_u, log_own, p, alpha)
        taken = events.taken.at[latents.feature[small], latents.feature[large]].set(now)
        after = swapped, Takeovers(events.first, events.last, taken)
        return jax.tree.map(lambda x, y: jnp.where(happens, x, y), after, (latents, events))


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
