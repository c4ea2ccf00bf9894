"""Sleeping latents that carry two features of nearly equal ρ.

A latent turns from a feature o to a cleaner k at a rate that is proportional to ρ_k − ρ_o. Where
that is small, its predictor is at rest all the while. So it may sleep while it turns: it carries
q = (e_o + r e_k)/√(1 + r²) with r of any size, and `Sleepers.growth` says how r changes.

The live latents have the residual R (1 − q qᵀS/qᵀSq), since the predictor follows R q = 0 at once.
It moves their weights in the direction p ⟂ q alone. The block's column k holds that direction.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jepa_sim.model.objectives import product
from jepa_sim.model.state import column_norms
from jepa_sim.solvers.sleeping.block import Chain, Setting, reflect_columns, reflection
from jepa_sim.solvers.sleeping.sleepers import Sleepers

HELD = 0.5  # the largest ratio to a feature, if other latents carry the rest of that
FULL = 1 - HELD**2  # of the square of a plateau: that rest
MARGIN = 0.4  # of the threshold at which it wakes: below this a latent may fall asleep
TURN = 0.3  # of ln r: the longest step of a latent that turns

# row o, column k: whether the latent of o shares k
Pairs = Bool[Array, "k k"]


def pairs(setting: Setting, sleepers: Sleepers) -> Pairs:
    """Live features k, of ρ near ρ_o, of which the sleeping latent of o carries a large part."""
    large = jnp.abs(sleepers.directions()) > sleepers.most
    return sleepers.asleep[:, None] & ~sleepers.asleep[None, :] & setting.nearly_equal & large


def longest_step(
    setting: Setting, sleepers: Sleepers, of: Pairs, growth: Float[Array, "k k"]
) -> Float[Array, ""]:
    """The time in which ln r of a pair changes by `TURN`.

    Also that in which another ratio grows to the threshold of pairs, and passes it by `TURN`.
    """
    room = jnp.maximum(jnp.log(sleepers.most) - sleepers.log_ratio, 0) + TURN
    counts = of | (setting.nearly_equal & (growth > 0))
    speed = jnp.where(counts, jnp.abs(growth), 0)
    return jnp.min(jnp.where(speed > 0, room / jnp.where(speed > 0, speed, 1), jnp.inf))


def left(setting: Setting, sleepers: Sleepers, of: Pairs) -> Setting:
    """The setting in which the live columns move: λ and σ² of p, less what q takes of them.

    λ_p = pᵀΛp − (pᵀΛq)(pᵀSq)/qᵀSq, and σ_p² likewise.
    """
    own = jnp.diag(of.any(axis=1))
    q = jnp.where(of | own, sleepers.directions(), 0)
    p = _beside(q, ~sleepers.asleep)
    size = q**2 @ setting.variance
    of_variance, of_lam = ((p * x[None, :]) @ q.T for x in (setting.variance, setting.lam))
    share = of_variance / jnp.where(size > 0, size, 1)[None, :]
    lam = p**2 @ setting.lam - jnp.sum(share * of_lam, axis=1)
    variance = p**2 @ setting.variance - jnp.sum(share * of_variance, axis=1)
    is_left = of.any(axis=0)
    return dataclasses.replace(
        setting,
        lam=jnp.where(is_left, lam, setting.lam),
        variance=jnp.where(is_left, variance, setting.variance),
    )


def frame(sleepers: Sleepers) -> Float[Array, "k k"]:
    """Row k: the direction of the live column k, orthogonal to all that sleeping latents carry."""
    q = jnp.where(sleepers.asleep[:, None], sleepers.directions(), 0)
    return _beside(q, ~sleepers.asleep)


def _beside(q: Float[Array, "k k"], live: Bool[Array, " k"]) -> Float[Array, "k k"]:
    """p_k = √(1 − Σ_o q_ok²) e_k − Σ_o q_ok e_o, exact where each k is shared once."""
    shares = jnp.where(live[None, :], q, 0)
    rest = jnp.sqrt(jnp.maximum(1 - jnp.sum(shares**2, axis=0), 0))
    return jnp.diag(rest) - shares.T


def may_share(
    setting: Setting,
    sleepers: Sleepers,
    near: Bool[Array, "c k"],
    ratio: Float[Array, "c k"],
    others: Float[Array, "c k"],
    held: Bool[Array, "c k"],
) -> Bool[Array, "c k"]:
    """Features that candidates for sleep may share, if no other latent carries much of them.

    others: squares of what other live latents carry.  held: features that they carry fully.
    """
    plateau = jnp.prod(sleepers.encoder(setting), axis=0)[None, :]
    coupling = ratio**2 / (1 + ratio**2) * others
    is_free = ~pairs(setting, sleepers).any(axis=0)[None, :]
    is_single = ~(held & (ratio > sleepers.most)).any(axis=1, keepdims=True)
    most = MARGIN * sleepers.most * plateau
    return near & is_free & is_single & (coupling < most**2)


def have_to_wake(setting: Setting, chain: Chain, sleepers: Sleepers) -> Bool[Array, " k"]:
    """Latents that carry more of k than of o by now, or beside which live ones carry much of k.

    Those also that share two features, or whose k another sleeping latent shares. A live latent
    that carries all of k does no harm: then W̄ᵀW̄ is the same for all directions of q.
    """
    plateau = jnp.prod(sleepers.encoder(setting), axis=0)
    found = column_norms(product(setting.encoder(chain)))
    is_full = (found**2 > FULL * plateau**2)[None, :]
    of = pairs(setting, sleepers) & ~(is_full & (sleepers.log_ratio < jnp.log(HELD)))
    has_grown = jnp.abs(sleepers.directions()) * found[None, :] > sleepers.most * plateau[:, None]
    count = of.astype(int)
    is_third = (count.sum(axis=1) > 1)[:, None] | (count.sum(axis=0) > 1)[None, :]
    return (of & (has_grown | is_third | (sleepers.log_ratio > 0))).any(axis=1)


def leave_behind(
    setting: Setting, chain: Chain, before: Sleepers, after: Sleepers, of: Pairs
) -> Chain:
    """The live block, with what latents that turn by Δθ leave of p in it.

    W_1 moves by (row u of B)ᵀ R_u, B = V̄ W_n ⋯ W_2, and R_u turns the latent u. So the other rows
    of W_1 gain B[u, ·]/B[u, u] w_1 Δθ of p, where w_1 is the gain of u in W_1.
    """
    gains = before.layers(setting, before.rest(setting))
    corners = jnp.einsum("os,ao,op->asp", before.place, gains, before.place)
    upper = product(tuple((chain + before.tilt + corners)[1:]))
    rows = before.place @ upper
    own = jnp.sum(rows * before.place, axis=1)
    rows = rows * (gains[0] / jnp.where(own > 0, own, 1))[:, None]
    rows = jnp.where(before.place.any(axis=0)[None, :], 0, rows)

    def angle(sleepers: Sleepers) -> Float[Array, "k k"]:
        return jnp.arctan(sleepers.sign * jnp.exp(sleepers.log_ratio))

    return chain.at[0].add(rows.T @ jnp.where(of, angle(after) - angle(before), 0))


def turned(setting: Setting, sleepers: Sleepers, o: Int[Array, ""], into: bool) -> Sleepers:
    """The ratios of the others, where columns o and k stand for q and p; or no longer do."""
    own = jnp.arange(sleepers.asleep.size) == o
    is_in = own | pairs(setting, sleepers)[o]
    q = jnp.where(is_in, sleepers.directions()[o], 0)
    v = reflection(q / jnp.linalg.norm(q), own)  # turns q into −e_o, and p into e_k
    flip = jnp.where(own, -1, 1).astype(q.dtype)[None, :]
    r = sleepers.sign * jnp.exp(sleepers.log_ratio)
    r = reflect_columns(r, v) * flip if into else reflect_columns(r * flip, v)
    changes = is_in[None, :] & ~own[:, None]
    return dataclasses.replace(
        sleepers,
        log_ratio=jnp.where(changes, jnp.log(jnp.abs(r)), sleepers.log_ratio),
        sign=jnp.where(changes, jnp.where(r < 0, -1, 1).astype(q.dtype), sleepers.sign),
    )
