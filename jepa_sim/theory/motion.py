"""Where features are at given times, whatever the sign of λ, and its derivative."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from jepa_sim.theory import decay as falling
from jepa_sim.theory import rise as rising
from jepa_sim.theory.decay import Fall
from jepa_sim.theory.rise import Start, along_curve, gap_of, is_live, known, signed
from jepa_sim.theory.tables import Curve


class Begin(NamedTuple):
    """Features at time 0, as they are described for λ > 0 and for λ ≤ 0.

    fall: None where the curve says that no feature decays.
    """

    is_learned: Array
    start: Start
    fall: Fall | None


def _where_any(mask: Array, compute: Callable[[Any], Any], otherwise: Any) -> Any:
    """`compute(otherwise)` if the mask holds anywhere, in any lane.

    Most often no feature decays, and then decay is not computed. A branch also stores its result
    once: without branches XLA computed it again for each use, in twenty times the time.
    """
    return lax.cond(eqxi.unvmap_any(mask), compute, lambda found: found, otherwise)


def _way(t: Array, begin: Begin, curve: Curve) -> Array:
    """`rise` where λ > 0, and Δ elsewhere."""
    is_learned, start, fall = begin
    nothing = jnp.zeros(jnp.broadcast_shapes(t.shape, is_learned.shape), t.dtype)
    way = _where_any(is_learned, lambda _: rising.rise(t, start, curve), nothing)
    if fall is None:
        return way
    return _where_any(
        ~is_learned, lambda way: jnp.where(is_learned, way, falling.decay(t, fall, curve)), way
    )


def _place(way: Array, begin: Begin, b: Array) -> tuple[Array, Array]:
    log_u, x = rising.place(way, begin.start, b)
    if begin.fall is None:
        return log_u, x
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

    # dx = speed · later + along · dx_0, and Δ in the same way, with as few arrays as possible
    nothing = jnp.zeros_like(x)
    speed = _where_any(is_learned, lambda _: rising.speed(x, start, curve), nothing)
    exponent, is_end = signed(curve, start.is_above), jnp.isinf(t)
    has_arrived: Array = x == 0
    time = jnp.where(is_end, 0, t)
    begun = cast(Array, jnp.where(has_arrived, 1, start.x))  # it no longer matters, and 1 has a gap
    along_begun = -speed * (1 / (gap_of(begun) * start.rate) - exponent * time)
    rate, d_rate, d_begun, d_base = start.rate, d_start.rate, d_start.x, d_start.log_top
    if fall is not None:

        def falls(found: tuple[Array, Array]) -> tuple[Array, Array]:
            speed, along_p = falling.slopes(t, x, fall, curve)
            return jnp.where(is_learned, found[0], speed), along_p

        speed, along_p = _where_any(~is_learned, falls, (speed, nothing))
        rate, d_rate, d_begun, d_base, along_begun = (
            jnp.where(is_learned, risen, fallen)
            for risen, fallen in (
                (rate, fall.rate),
                (d_rate, d_fall.rate),
                (d_begun, d_fall.p),
                (d_base, d_fall.log_u),
                (along_begun, along_p),
            )
        )
    later = time * (d_rate / rate)
    if not isinstance(dt, SymbolicZero):
        later += dt
    if is_live(d_curve):
        along = along_curve(curve, start.is_above, start.x, jnp.where(has_arrived, 1, x), d_curve)
        if fall is not None:
            delta = jnp.where(is_learned | is_end, 0, x)
            fallen = falling.fall_along_curve(curve, fall.log_p, delta, known(d_curve))
            along = jnp.where(is_learned, along, fallen)
        later -= along / rate
    d_x = speed * later + along_begun * d_begun
    side = jnp.where(is_learned & start.is_above, 1, -1).astype(t.dtype)
    way = jnp.where(is_end, 0, x)
    return (log_u, x), (side / b * (d_x - way * (db / b)) + d_base, d_x)


move.defjvp(_move_jvp, symbolic_zeros=True)
