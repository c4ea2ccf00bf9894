"""How a latent falls asleep, and how it wakes: one at a time."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jepa_sim.model.objectives import product
from jepa_sim.model.state import column_norms
from jepa_sim.solvers.sleeping import shared
from jepa_sim.solvers.sleeping.block import Chain, Setting, reflect, reflect_columns, reflection
from jepa_sim.solvers.sleeping.sleepers import Sleepers

SATURATED = 0.997  # of its predictor's value at rest, from where on a latent may sleep
PAUSE = 1.5  # a latent wakes no sooner than a ratio has grown by e^1.5: else it need not sleep
SQUARINGS = 3  # of the Gram matrix: the 8th power shows its largest singular vector


class Turn(NamedTuple):
    """Chain and sleepers after a latent may have fallen asleep or woken, and whether one has."""

    chain: Chain
    sleepers: Sleepers
    changed: Bool[Array, ""]


def _if(
    changed: Bool[Array, ""], after: tuple[Chain, Sleepers], before: tuple[Chain, Sleepers]
) -> Turn:
    chain, sleepers = jax.tree.map(lambda a, b: jnp.where(changed, a, b), after, before)
    return Turn(chain, sleepers, changed)


class Candidates(NamedTuple):
    """Latents that might sleep: unit vectors q of features and u of latents, W̄ q = |W̄ q| u."""

    q: Float[Array, "c k"]
    u: Float[Array, "c k"]

    @property
    def feature(self) -> Int[Array, " c"]:
        return jnp.argmax(jnp.abs(self.q), axis=1)


def _unit(rows: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    size = jnp.sqrt(jnp.sum(rows**2, axis=-1, keepdims=True))
    return rows / jnp.where(size > 0, size, 1)


def candidates(w: Float[Array, "k k"]) -> Candidates:
    """q ∝ W̄ᵀW̄ e and (W̄ᵀW̄)⁸ e for every feature e; the latter finds the largest latent."""
    gram = w.T @ w
    power = gram
    for _ in range(SQUARINGS):
        power = power / jnp.where(jnp.trace(power) > 0, jnp.trace(power), 1)
        power = power @ power
    q = _unit(jnp.concatenate([power, gram]))
    return Candidates(q, _unit(q @ w.T))


def fall_asleep(setting: Setting, chain: Chain, sleepers: Sleepers, t: Float[Array, ""]) -> Turn:
    """The purest latent that may sleep is taken out of the chain, and its feature with it."""
    w = product(setting.encoder(chain))
    found = candidates(w)
    at_rest = setting.at_rest(found.q)
    v = jnp.einsum("ci,ij,cj->c", found.u, product(setting.predictor(chain)), found.u)
    own = jnp.max(jnp.abs(found.q), axis=1)
    ratio = jnp.abs(found.q) / jnp.where(own > 0, own, 1)[:, None]
    near = setting.nearly_equal[found.feature]
    cleaner = (setting.rho[None, :] > setting.rho[found.feature][:, None]) & ~near
    # q is what u carries: else a small q with a trace of a large latent has this latent's u
    carried = found.u @ w
    power = jnp.sum(carried**2, axis=1)
    is_own = jnp.sum(carried * found.q, axis=1) ** 2 * (1 + sleepers.most**2) > power
    # Two latents may share two features of nearly equal ρ, and turn very slowly. If both are
    # learned, one may sleep although it has a part of the other's feature. Then the other is pure.
    others = jnp.sum(w**2, axis=0)[None, :] - carried**2
    at_plateau = jnp.prod(sleepers.encoder(setting), axis=0)[None, :]
    has_plateau = (setting.rho > 0)[None, :]
    held = has_plateau & (ratio < shared.HELD) & (others > shared.FULL * at_plateau**2)
    may_share = shared.may_share(setting, sleepers, near, ratio, others, held)
    is_own_feature = jnp.arange(w.shape[1])[None, :] == found.feature[:, None]
    impure = jnp.where(held | is_own_feature, 0, ratio**2)
    impure = jnp.sum(impure, axis=1) - jnp.max(jnp.where(may_share, impure, 0), axis=1)
    may = (
        is_own
        & (v > SATURATED * at_rest)
        & (at_rest > 0)
        & (impure < sleepers.most**2)
        & jnp.all(~cleaner | (ratio < sleepers.most * jnp.exp(-PAUSE)), axis=1)
    )
    best = jnp.argmax(jnp.where(may, own, 0))
    after = _lay_down(setting, chain, sleepers, t, found.q[best], found.feature[best])
    return _if(may[best], after, (chain, sleepers))


def _lay_down(
    setting: Setting,
    chain: Chain,
    sleepers: Sleepers,
    t: Float[Array, ""],
    q: Float[Array, " k"],
    o: Int[Array, ""],
) -> tuple[Chain, Sleepers]:
    k, n = q.size, setting.moves.size
    path, sizes = [q], []
    for z in chain:
        image = z @ path[-1]
        sizes.append(jnp.linalg.norm(image))
        path.append(image / sizes[-1])
    path[-1] = path[n]  # the predictor's output space is that of the latents
    sizes[-1] = path[-1] @ chain[-1] @ path[-2]
    squares = jnp.stack(sizes) ** 2
    v = jnp.prod(jnp.stack(sizes[n:]))
    slot = jnp.argmax(jnp.abs(path[n]))
    own, place = jnp.arange(k) == o, jnp.arange(k) == slot

    turns = jnp.stack([reflection(path[0], own), *(reflection(p, place) for p in path[1:])])
    left, right = turns[1:], turns[:-1]
    rows = jnp.broadcast_to(place, left.shape)[:, :, None]
    columns = jnp.broadcast_to(place, left.shape).at[0].set(own)[:, None, :]
    chain = reflect(chain, left, right)
    # the reflection of p is e where p[slot] < 0, else −e; and the latent's share of o is positive
    is_same = (jnp.stack(path[1:])[:, slot] < 0) ^ (q[o] < 0)
    row = (chain * jnp.where(is_same, 1, -1).astype(q.dtype)[:, None, None]).at[0].set(0)
    tilt = jnp.where(rows, row, reflect(sleepers.tilt, left, right))
    tilt = jnp.where(columns, 0, tilt)
    chain = jnp.where(rows | columns, 0, chain)

    # a latent that another feature has taken over turns the space by 90°: what the other sleepers
    # carried of the feature that it carried before is now carried of the one that it has now
    before = sleepers.woken_as[slot]
    lost = (before >= 0) & (before != o) & (jnp.arange(k) == before)
    log_ratio = jnp.where(lost[None, :], sleepers.log_ratio[:, o][:, None], sleepers.log_ratio)
    sign = jnp.where(lost[None, :], -sleepers.sign[:, o][:, None], sleepers.sign)

    live = ~sleepers.asleep & ~own
    ratio = q / q[o]
    log_own = jnp.where(live, jnp.log(jnp.abs(ratio)), -jnp.inf)[None, :]
    sign_own = jnp.where(ratio < 0, -1, 1).astype(q.dtype)[None, :]
    sleepers = dataclasses.replace(
        sleepers,
        tilt=tilt,
        asleep=sleepers.asleep | own,
        slot=jnp.where(own, slot, sleepers.slot),
        log_ratio=jnp.where(own[:, None], log_own, log_ratio),
        sign=jnp.where(own[:, None], sign_own, sign),
        kappa=jnp.where(own[None, :], (squares - jnp.min(squares[n:]))[:, None], sleepers.kappa),
        gap=jnp.where(own, setting.at_rest(q) - v, sleepers.gap),
        since=jnp.where(own, t, sleepers.since),
        woken_as=jnp.where(place, -1, sleepers.woken_as),
    )
    return chain, shared.turned(setting, sleepers, o, into=True)


def wake(setting: Setting, chain: Chain, sleepers: Sleepers, due: Float[Array, ""]) -> Turn:
    """The latent whose takeover is next is put back into the chain, if that is within `due`."""
    has_to = shared.have_to_wake(setting, chain, sleepers)
    wait = jnp.where(has_to, 0, sleepers.wait(setting))
    o = jnp.argmin(wait)
    after = _put_back(setting, chain, sleepers, o)
    return _if(wait[o] <= due, after, (chain, sleepers))


def _put_back(
    setting: Setting, chain: Chain, sleepers: Sleepers, o: Int[Array, ""]
) -> tuple[Chain, Sleepers]:
    k = setting.lam.size
    own, place = jnp.arange(k) == o, jnp.arange(k) == sleepers.slot[o]
    r = sleepers.directions()[o]
    # the small rows turn with the features, so that they stay orthogonal to r
    first = reflect_columns(chain[0], reflection(r, own))
    chain = chain.at[0].set(first)
    n = setting.moves.size
    small, v = product(setting.encoder(chain)), product(setting.predictor(chain))
    lam, variance = r * setting.lam, r * setting.variance
    rest = sleepers.rest(setting)
    gains = sleepers.layers(setting, rest)[:, o]
    before = jnp.prod(gains[n:-1])  # of the predictor's layers but the last
    # the predictor of the small rows follows the large latent at once
    held = (small @ lam - v @ (small @ variance)) / (variance @ r * jnp.prod(gains[:n]))
    column = jnp.where(place, rest[o], held) / before
    chain = jnp.where(place[None, :, None], sleepers.tilt, chain)
    last = jnp.where(place[None, :], column[:, None], chain[-1])
    first = jnp.where(place[:, None], gains[0] * r[None, :], first)
    corner = place[None, :, None] & place[None, None, :]
    between = jnp.where(corner, gains[1:-1, None, None], chain[1:-1])
    chain = jnp.concatenate([first[None], between, last[None]])
    has_turned = shared.pairs(setting, sleepers)[o].any()
    sleepers = shared.turned(setting, sleepers, o, into=False)
    return chain, dataclasses.replace(
        sleepers,
        tilt=jnp.where(place[None, :, None], 0, sleepers.tilt),
        asleep=sleepers.asleep & ~own,
        woken_as=jnp.where(place, jnp.where(has_turned, -1, o), sleepers.woken_as),
    )


def gains(
    setting: Setting, chain: Chain, speed: Chain, sleepers: Sleepers, t: Float[Array, ""]
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """The encoder's gain of every feature, but for the square of what sleepers carry of others.

    Also the gain's rate, where `speed` is the chain's velocity. The slow change of the v̄ of
    sleepers is left out.
    """
    live, moved = jax.jvp(lambda z: product(setting.encoder(z)), (chain,), (speed,))
    v = jnp.where(sleepers.asleep, sleepers.predictor(setting, t), 0)
    w = jnp.prod(sleepers.layers(setting, v)[: setting.moves.size], axis=0)
    asleep = jnp.where(sleepers.asleep, w, 0)[:, None] * sleepers.directions()
    growth = sleepers.growth(setting)
    growth = growth - jnp.sum(sleepers.directions() ** 2 * growth, axis=1, keepdims=True)
    frame = shared.frame(sleepers)
    live, moved = live @ frame, moved @ frame
    found, unit = column_norms(jnp.concatenate([live, asleep])), jnp.prod(setting.units)
    rates = jnp.sum(live * moved + asleep**2 * growth, axis=0)
    return found * unit, rates / jnp.where(found > 0, found, 1) * unit


def whole(setting: Setting, chain: Chain, sleepers: Sleepers, t: Float[Array, ""]) -> Chain:
    """The chain with all sleepers put back: live rows are orthogonal to theirs."""
    asleep = sleepers.asleep
    r = jnp.where(asleep[:, None], sleepers.directions(), 0)
    v = jnp.where(asleep, sleepers.predictor(setting, t), 0)
    gains, n = sleepers.layers(setting, v), setting.moves.size
    place = sleepers.place
    first = chain[0] @ shared.frame(sleepers)
    live = chain.at[0].set(first)
    small, small_v = product(setting.encoder(live)), product(setting.predictor(chain))
    # (k, k): live latent, sleeper
    pulled = small @ (r * setting.lam[None, :]).T - small_v @ (
        small @ (r * setting.variance[None, :]).T
    )
    size = jnp.sum(r**2 * setting.variance[None, :], axis=1) * jnp.prod(gains[:n], axis=0)
    held = jnp.where(asleep[None, :], pulled / jnp.where(size > 0, size, 1)[None, :], 0)
    first = first + place.T @ (gains[0][:, None] * r)
    between = chain[1:-1] + jnp.einsum("os,ao,op->asp", place, gains[1:-1], place)
    before = jnp.prod(gains[n:-1], axis=0)
    column = (held + place.T * v[None, :]) / jnp.where(before > 0, before, 1)[None, :]
    return jnp.concatenate([first[None], between, (chain[-1] + column @ place)[None]])
