"""Predictors that are told the action: each one relaxes by itself, at a rate of its own.

Take a JEPA with one linear predictor v_a for every action a, M = 1, from a level balanced start.
The flow keeps w² = Σ_a v_a² of every encoder layer w, so that w̄ = |v|^L, and

    v̇_a = w̄² r_a (ρ_a − v_a),   r_a = p_a σ_a²

In τ with dτ = w̄² dt each v_a goes to ρ_a by itself, so the time is one integral:

    v_a(τ) = ρ_a + (v_a(0) − ρ_a) e^{−r_a τ},   t = ∫ dτ / |v(τ)|^{2L}

Where all r_a are one, v moves on a straight line (`line.py`). Where ρ_a differ in sign, v comes
near 0 before it grows. There it spends most of the time, and the variable of the integral,
τ = c + s sinh y, has its centre c where v is nearest to 0.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jepa_sim.theory.line import gauss

SEARCHED = 512  # places on the way
HALVINGS = 60  # of a bracket of the level
LAST = 40  # the search ends where e^{−40} of the way is left
NEWTON = 4  # steps to the point nearest to 0; from a small start the first is nearly there


class Told(eqx.Module):
    """The predictors of each feature over actions, (d, a).

    rho: ρ_a.  rate: r_a, per unit of flow time.  start: v_a(0).  depth: L.
    """

    rho: Float[Array, "d a"]
    rate: Float[Array, "d a"]
    start: Float[Array, "d a"]
    depth: Float[Array, ""]

    def hitting_time(self, level: Float[Array, " d"]) -> Float[Array, " d"]:
        """(d,) first time at which w̄ reaches a level; 0: it starts there, inf: it never does."""
        one = jax.vmap(lambda rho, rate, start, to: _Way(rho, rate, start).time(to, self.depth))
        return one(self.rho, self.rate, self.start, level ** (2 / self.depth))


class _Way(eqx.Module):
    """That of one feature: ρ_a, r_a and v_a(0) of every action."""

    rho: Float[Array, " a"]
    rate: Float[Array, " a"]
    start: Float[Array, " a"]

    def at(self, tau: Float[Array, ""]) -> Float[Array, " a"]:
        """v(τ)."""
        left = jnp.exp(-self.rate * tau)
        return self.start * left - self.rho * jnp.expm1(-self.rate * tau)

    def square(self, tau: Float[Array, ""]) -> Float[Array, ""]:
        """|v(τ)|²."""
        return jnp.sum(self.at(tau) ** 2)

    def growth(self, tau: Float[Array, ""]) -> Float[Array, ""]:
        """d|v|²/dτ."""
        v = self.at(tau)
        return 2 * jnp.sum(v * self.rate * (self.rho - v))

    def _nearest(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """c ≥ 0, and s = |v|/|v̇| there."""
        tau = jnp.zeros_like(self.rho[0])
        for _ in range(NEWTON):
            v = self.at(tau)
            speed = self.rate * (self.rho - v)
            slope, bend = v @ speed, speed @ speed - v @ (self.rate * speed)
            tau = jnp.maximum(tau - jnp.where(bend > 0, slope / jnp.where(bend > 0, bend, 1), 0), 0)
        v = self.at(tau)
        speed = jnp.linalg.norm(self.rate * (self.rho - v))
        scale = jnp.linalg.norm(v) / jnp.where(speed > 0, speed, 1)
        # not 0, where v passes through 0 and the time is infinite
        return tau, jnp.maximum(scale, jnp.finfo(v.dtype).tiny ** 0.5)

    def _arrival(
        self, wanted: Float[Array, ""], centre: Float[Array, ""], scale: Float[Array, ""]
    ) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        """Whether |v|² comes to be `wanted`, and τ there first; 0 where it does not."""

        def tau(y: Float[Array, "*places"]) -> Float[Array, "*places"]:
            return centre + scale * jnp.sinh(y)

        first = jnp.arcsinh(-centre / scale)
        last = jnp.arcsinh((LAST / jnp.min(self.rate) - centre) / scale)
        y = first + (last - first) * jnp.linspace(0, 1, SEARCHED, dtype=first.dtype)
        # a margin: at the end |v|² is ρ² but for rounding, and must not seem to be above it
        above = jax.vmap(self.square)(tau(y)) > wanted * (1 + 8 * jnp.finfo(y.dtype).eps)
        found = jnp.argmax(above)
        travels = (found > 0) & jnp.any(above)
        low, high = y[jnp.maximum(found - 1, 0)], y[found]

        def halve(_: Any, ends: tuple) -> tuple:
            low, high = ends
            middle = (low + high) / 2
            is_below = self.square(tau(middle)) < wanted
            return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

        _, high = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
        return travels, jnp.where(travels, tau(high), 0)

    def time(self, wanted: Float[Array, ""], depth: Float[Array, ""]) -> Float[Array, ""]:
        """Of |v|² = `wanted`."""
        held, level = jax.lax.stop_gradient((self, wanted))
        centre, scale = held._nearest()
        travels, end = held._arrival(level, centre, scale)
        # one step of Newton, for the derivative
        slope = jnp.where(travels, held.growth(end), 1)
        end = end - jnp.where(travels, self.square(end) - wanted, 0) / slope
        first, last = (jnp.arcsinh((tau - centre) / scale) for tau in (jnp.zeros_like(end), end))

        def slowness(share: Float[Array, ""]) -> Float[Array, ""]:
            y = first + (last - first) * share
            return scale * jnp.cosh(y) * self.square(centre + scale * jnp.sinh(y)) ** -depth

        shares, weights = (jnp.asarray(x, end.dtype) for x in gauss())
        time = (last - first) * (weights @ jax.vmap(slowness)(shares))
        return jnp.where(travels, time, jnp.where(self.square(0 * end) >= wanted, 0, jnp.inf))
