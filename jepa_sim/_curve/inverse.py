"""The inverse of F_c, by a fixed number of steps of Halley's method."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jepa_sim._curve.family import Family, curve_at, log_logistic

HALLEY_STEPS = 4  # 3 leave 1e-6; from 4 on only rounding is left


def _straighten(family: Family, value: Array) -> tuple[Array, Array, Array]:
    """X(F), a function of F_c that is nearly y, with X' and X''/X'.

    −ln(1 − c E) / c for E = F − γ − ψ(A) < 0, and E above; ln(e^{A F} − 1) / A where n = 0.
    """
    c, remainder = family.c, family.remainder
    left = family.terms == 0
    e = value - family.shift
    negative = (e < 0) & ~left
    e_low = jnp.where(negative, e, 0)
    c_safe = jnp.where(c == 0, 1, c)
    slope_low = 1 / (1 - c * e_low)
    x_low = jnp.where(c == 0, e_low, -jnp.log1p(-c * e_low) / c_safe)
    x_right = jnp.where(negative, x_low, e)
    growth = -jnp.expm1(-remainder * jnp.where(left, value, 1))
    x_left = value + jnp.log(growth) / remainder
    return (
        jnp.where(left, x_left, x_right),
        jnp.where(left, 1 / growth, jnp.where(negative, slope_low, 1)),
        jnp.where(left, -remainder * (1 / growth - 1), jnp.where(negative, c * slope_low, 0)),
    )


def _guess(family: Family, value: Array, straight: Array) -> Array:
    """y to about 0.3: X(F) far from the plateau, and near it the inverse of what F_c is there.

    With h = c + 1/2 and V = h ln(1/q), that is ln h − ln V − V − V²/4 − …, so that V is nearly
    Lambert's W(h e^{−F}). Found by trial: asinh(1.22 W) / 1.22,
    and the logistic function of y as the weight.
    """
    h = jnp.maximum(family.c, 0) + 0.5
    p = jnp.logaddexp(0, jnp.log(h) - value)
    lambert = p * (1 - jnp.log1p(p) / (2 + p))
    late = -jnp.log(jnp.expm1(jnp.arcsinh(1.22 * lambert) / (1.22 * h)))
    late = jnp.where(value > 30, value, late)
    weight = jax.nn.sigmoid(late)
    right = straight + weight * (late - straight)
    left = straight + family.shift * jax.nn.sigmoid(straight)
    return jnp.where(family.terms == 0, left, right)


def invert(family: Family, value: Array) -> Array:
    """y with F_c(y) = value: Halley's method on X(F_c(y)) = X(value)."""
    target, _, _ = _straighten(family, value)

    def step(_: Array, y: Array) -> Array:
        l = log_logistic(y)
        x, slope, bend = _straighten(family, curve_at(family, y, l))
        rate = jnp.exp(-family.c * l)  # dF/dy, and −c (1 − q) its logarithmic derivative
        newton = (x - target) / (slope * rate)
        curvature = family.c * jnp.expm1(l) + bend * rate
        return y - newton / jnp.maximum(1 - newton * curvature / 2, 0.5)

    return lax.fori_loop(0, HALLEY_STEPS, step, _guess(family, value, target))
