"""RKC2: Runge–Kutta–Chebyshev of order two, with coefficients for any number of stages."""

import functools
from typing import Any, ClassVar

import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jepa_sim.numerics.stabilised.base import AbstractStabilised, Attempt, Field
from jepa_sim.numerics.stabilised.trees import combine, real_dtype

_DAMPING = 2 / 13


class RKC2(AbstractStabilised):
    """Order 2, stable on the real interval [−β, 0] with β = ⅔(s² − 1)(1 − 2/15 · 2/13).

    Sommeijer, Shampine & Verwer, RKC: an explicit solver for parabolic PDEs, J. Comput. Appl.
    Math. 88 (1998) 315–326; its letters, its damping of 2/13 and its estimate of the error.

    spectral_radius: `(t, y, args) -> scalar`, a bound on |λ| of ∂f/∂y; None estimates it at every
    step by power iteration from the last step's vector, at most `max_iterations` products.
    safety: factor on the radius.  max_stages: longer steps are rejected.

    Raises ValueError where `max_stages` is below 2, or another number is not positive.
    """

    max_stages: int = eqx.field(static=True, default=240)
    least_stages: ClassVar[int] = 2

    interval_of_least: ClassVar[float] = 1.9

    def order(self, terms: Any) -> int:
        return 2

    def error_order(self, terms: Any) -> int:
        return 3

    def stages(self, z: Array) -> Array:
        beta = 2 / 3 * (1 - 2 / 15 * _DAMPING)
        s = jnp.ceil(jnp.sqrt(1 + z / beta))
        s = jnp.where(s <= self.max_stages, s, self.max_stages + 1)  # also where z is not finite
        return jnp.maximum(s, 2).astype(jnp.int32)

    def attempt(
        self, field: Field, t0: Any, h: Array, y0: PyTree, f0: PyTree, stages: Array
    ) -> Attempt:
        s, dtype = stages, real_dtype(y0)
        delta = _DAMPING / jnp.maximum(s, 1).astype(dtype) ** 2  # w₀ − 1
        w0, w1 = 1 + delta, jnp.asarray(_w1(self.max_stages), dtype)[s]
        b1 = 1 / (4 * w0**2)  # b₂, for b₀ = b₁ = b₂
        zero = combine((0, y0))

        def unfinished(state: tuple) -> Array:
            return state[0] <= s

        def stage(state: tuple) -> tuple:
            j, c, chebyshev, (b, b_before, a), d, d_before = state
            chebyshev = _next(chebyshev, delta)
            T, dT, ddT = (x[0] for x in chebyshev)
            b_next = ddT / dT**2
            mu, nu, mu_t = 2 * b_next * w0 / b, -b_next / b_before, 2 * b_next * w1 / b
            f = field(t0 + c.astype(h.dtype) * h, combine((1, y0), (1, d)))
            hm = h * mu_t.astype(h.dtype)
            d_next = combine((mu, d), (nu, d_before), (hm, f), (-hm * a.astype(h.dtype), f0))
            a_next = 1 - b_next * T
            return j + 1, w1 * ddT / dT, chebyshev, (b_next, b, a_next), d_next, d

        d1 = combine((h * (b1 * w1).astype(h.dtype), f0))
        one, none = jnp.ones((), dtype), jnp.zeros((), dtype)
        start = ((w0, delta), (one, one), (none, none))  # (T₁, T₁ − T₀) and derivatives
        c1 = b1 * w1
        state = (
            jnp.full_like(s, 2), c1, start, (b1, b1, 1 - b1 * w0), d1, zero,
        )  # fmt: skip
        *_, d, _ = eqxi.while_loop(
            unfinished, stage, state, max_steps=self.max_stages, kind=self.scan_kind
        )
        y1 = combine((1, y0), (1, d))
        f1 = field(t0 + h, y1)
        error = combine((-0.8, d), (0.4 * h, f0), (0.4 * h, f1))
        return Attempt(y1, f1, error, jnp.maximum(s, 1))


def _next(chebyshev: tuple, delta: Any) -> tuple:
    """T, T′, T″ at w₀ = 1 + δ and their first differences, from degree j − 1 to j.

    T_j − T_{j−1} = T_{j−1} − T_{j−2} + 2δ T_{j−1}, and its derivatives: sums of positive terms, so
    that nothing cancels, in float32 either.
    """
    (T, gap), (dT, d_gap), (ddT, dd_gap) = chebyshev
    gap, d_gap, dd_gap = (
        gap + 2 * delta * T,
        d_gap + 2 * delta * dT + 2 * T,
        dd_gap + 2 * delta * ddT + 4 * dT,
    )
    return (T + gap, gap), (dT + d_gap, d_gap), (ddT + dd_gap, dd_gap)


@functools.cache
def _w1(max_stages: int) -> np.ndarray:
    """w₁ = T′_s(w₀)/T″_s(w₀) by s; for s < 2, where there is no method, as for 2."""
    s = np.maximum(np.arange(max_stages + 1), 2)
    delta = _DAMPING / s**2.0
    one, none = np.ones_like(delta), np.zeros_like(delta)
    chebyshev = ((1 + delta, delta), (one, one), (none, none))
    w1 = none
    for j in range(2, max_stages + 1):
        chebyshev = _next(chebyshev, delta)
        w1 = np.where(s == j, chebyshev[1][0] / chebyshev[2][0], w1)
    return w1
