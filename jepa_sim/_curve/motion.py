"""Where features are at given times, whatever the sign of λ, and its derivative."""

from typing import NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from jepa_sim._curve import decay as falling
from jepa_sim._curve import rise as rising
from jepa_sim._curve.decay import Fall
from jepa_sim._curve.rise import Start, along_curve, gap_of, is_live, known, signed
from jepa_sim._curve.tables import Curve


class Begin(NamedTuple):
    """Features at time 0: what is said of them for λ > 0, and for λ ≤ 0."""

    is_learned: Array
    start: Start
    fall: Fall


def _way(t: Array, begin: Begin, curve: Curve) -> Array:
    """`rise` where λ > 0, and Δ elsewhere.

    Most often nothing decays, which is then not computed. And what a branch returns is stored once:
    else XLA computes it again for each of its uses.
    """
    is_learned, start, fall = begin

    def every() -> Array:
        way = falling.decay(t, fall, curve)
        return jnp.where(is_learned, rising.rise(t, start, curve), way)

    def learned() -> Array:
        return rising.rise(t, start, curve)

    return lax.cond(eqxi.unvmap_any(~is_learned), every, learned)


def _place(way: Array, begin: Begin, b: Array) -> tuple[Array, Array]:
    log_u, x = rising.place(way, begin.start, b)
    log_u = jnp.where(begin.is_learned, log_u, begin.fall.log_u - way / b)
    return log_u, jnp.where(begin.is_learned, x, way)


@jax.custom_jvp
def move(t: Array, begin: Begin, b: Array, curve: Curve) -> tuple[Array, Array]:
    """ln u at time t; and x = |ln z| where λ > 0, Δ elsewhere."""
    return _place(_way(t, begin, curve), begin, b)


def _move_jvp(primals: tuple, tangents: tuple) -> tuple:
    t, begin, b, curve = primals
    dt, d_begin, db, d_curve = tangents
    d_begin, db = known((d_begin, db))
    (is_learned, start, fall), (_, d_start, d_fall) = begin, d_begin
    log_u, x = move(*primals)

    def every() -> tuple[Array, Array]:
        speed, along_p = falling.slopes(t, x, fall, curve)
        return jnp.where(is_learned, rising.speed(x, start, curve), speed), along_p

    def learned() -> tuple[Array, Array]:
        return rising.speed(x, start, curve), jnp.zeros_like(x)

    # dx = speed · later + along · dx_0, and Δ in the same way: as few arrays as can be
    speed, along_p = lax.cond(eqxi.unvmap_any(~is_learned), every, learned)
    exponent, is_end = signed(curve, start.is_above), jnp.isinf(t)
    time = jnp.where(is_end, 0, t)
    rate = jnp.where(is_learned, start.rate, fall.rate)
    later = time * (jnp.where(is_learned, d_start.rate, d_fall.rate) / rate)
    if not isinstance(dt, SymbolicZero):
        later += dt
    if is_live(d_curve):
        along = along_curve(curve, start.is_above, start.x, jnp.where(x == 0, 1, x), d_curve)
        delta = jnp.where(is_learned | is_end, 0, x)
        fallen = falling.fall_along_curve(curve, fall.log_p, delta, known(d_curve))
        later -= jnp.where(is_learned, along, fallen) / rate
    along_x = -speed * (1 / (gap_of(start.x) * start.rate) - exponent * time)
    along, d_begun = (
        jnp.where(is_learned, along_x, along_p),
        jnp.where(is_learned, d_start.x, d_fall.p),
    )
    d_x = speed * later + along * d_begun
    side = jnp.where(is_learned & start.is_above, 1, -1).astype(t.dtype)
    base = jnp.where(is_learned, d_start.log_top, d_fall.log_u)
    way = jnp.where(is_end, 0, x)
    return (log_u, x), (side / b * (d_x - way * (db / b)) + base, d_x)


move.defjvp(_move_jvp, symbolic_zeros=True)
