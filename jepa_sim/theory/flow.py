"""The reduced flow of features as one object."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from jepa_sim.theory.decay import Fall
from jepa_sim.theory.motion import Begin, move
from jepa_sim.theory.rise import Start, level, signed, travel
from jepa_sim.theory.tables import Curve

SHORT_DIGITS = {4: 10, 8: 24}  # bits, by bytes of a float: the product of two such is exact


class ReducedFlow(eqx.Module):
    """The flow u̇ = u^a (λ − σ² u^b), u(0) = ε^{1/L}, of d features, with the curve of a and b.

    lam, variance: (d,) λ and σ² > 0, per unit of flow time.  scale, depth: ε and L.  a, b: the
    exponents; c = (a − 1)/b from 0 to below 255.  curve: `make_curve(c)`; where it has `decays`
    False, all λ must be positive.

    Results are exact for λ, σ², ε and t (or the target) that differ from those given by at most 8
    units in the last place each, in float64 and in float32, and rounded to within 8 such units.
    All is differentiable, and elementwise: other arguments broadcast with λ.
    """

    lam: Array
    variance: Array
    scale: Array
    depth: Array
    a: Array
    b: Array
    curve: Curve

    @property
    def is_learned(self) -> Array:
        """(d,) whether λ > 0: elsewhere a feature decays to 0."""
        return self.lam > 0

    @property
    def rho(self) -> Array:
        """(d,) λ/σ² where λ > 0, and 1 elsewhere."""
        return jnp.where(
            self.is_learned, jnp.where(self.is_learned, self.lam, 1) / self.variance, 1
        )

    @property
    def log_plateau(self) -> Array:
        """(d,) ln u*, u* = ρ^{1/b}; 0 where λ ≤ 0."""
        return jnp.log(self.rho) / self.b

    @property
    def log_start(self) -> Array:
        """ln u(0)."""
        return jnp.log(self.scale) / self.depth

    def speed(self, log_u: Array) -> Array:
        """(d,) d ln u/dt at u."""
        return jnp.exp((self.a - 1) * log_u) * (self.lam - self.variance * jnp.exp(self.b * log_u))

    @property
    def stiffness(self) -> Array:
        """(d,) the fastest rate of relaxation, at the start or at the plateau.

        |∂u̇/∂u| is |a λ u^{a−1} − (a + b) σ² u^{a+b−1}|: b λ ρ^c at the plateau.
        """
        a, b, u = self.a, self.b, jnp.exp(self.log_start)
        at_plateau = jnp.where(self.is_learned, b * self.lam * self.rho**self.curve.c, 0)
        at_start = a * self.lam * u ** (a - 1) - (a + b) * self.variance * u ** (a + b - 1)
        return jnp.maximum(at_plateau, jnp.abs(at_start))

    def evolve(self, times: Array) -> tuple[Array, Array]:
        """(d, t) ln u, and 1 − u/u*, at (t,) times ≥ 0.

        1 − u/u* keeps its relative precision near the plateau, down to the smallest float; it is
        negative above it, and −inf where λ ≤ 0.
        """
        fall = self.fall if self.curve.decays else None
        begin = jax.tree.map(lambda value: value[:, None], Begin(self.is_learned, self.start, fall))
        log_u, x = move(times[None, :], begin, self.b, self.curve)
        side = jnp.where(begin.start.is_above, 1, -1).astype(x.dtype)
        gap = -jnp.expm1(side / self.b * jnp.where(begin.is_learned, x, 1))
        return log_u, jnp.where(begin.is_learned, gap, -jnp.inf)

    def hitting_time(self, log_ratio: Array) -> Array:
        """(d,) first time at which u ≥ u* e^{log_ratio}.

        0 where u starts there or above. inf where u never gets there: to a target at or above the
        plateau, from a start below it, and to any target where λ ≤ 0.
        """
        there = self.is_learned & (self.log_start - self.log_plateau >= log_ratio)
        travels = self.is_learned & ~there & (log_ratio < 0)
        # where nothing travels, some path that does: else derivatives would be NaN
        target = jnp.where(travels, -self.b * log_ratio, 0.5)
        start, below = self.start, jnp.zeros_like(travels)
        x = jnp.where(travels, start.x, 1)
        time = travel(self.curve, below, x, target, start.level) / start.rate
        return jnp.where(travels, time, jnp.where(there, 0, jnp.inf))

    def travel_time(self, log_ratio_from: Array, log_ratio_to: Array) -> Array:
        """(d,) time from u* e^{log_ratio_from} to u* e^{log_ratio_to}, negative against the flow.

        inf to the plateau, −inf from it, 0 from a point to itself; NaN across the plateau and where
        λ ≤ 0, where there is no u*.
        """
        learned = self.is_learned
        connected = learned & (jnp.sign(log_ratio_from) * jnp.sign(log_ratio_to) > 0)
        above = connected & (log_ratio_from > 0)
        x_from, x_to = (
            jnp.where(connected, self.b * jnp.abs(log_ratio), other)
            for log_ratio, other in ((log_ratio_from, 1), (log_ratio_to, 0.5))
        )
        lam = jnp.where(connected, self.lam, 1)
        log_rate = jnp.log(self.b * lam) + self.curve.c * jnp.log(self.rho)
        log_rate -= signed(self.curve, above) * x_from
        begin = level(self.curve, above, x_from)
        time = travel(self.curve, above, x_from, x_to, begin) * jnp.exp(-log_rate)
        apart = jnp.where(log_ratio_from == 0, -jnp.inf, jnp.nan)
        apart = jnp.where(log_ratio_to == 0, jnp.inf, apart)
        apart = jnp.where(log_ratio_from == log_ratio_to, 0, apart)
        return jnp.where(connected, time, jnp.where(learned, apart, jnp.nan))

    def resolution(self, dtype: DTypeLike) -> Array:
        """(d,) change of ln(z/(1 − z)) between neighbouring times at the transition.

        It is the spacing of floats of type `dtype` at the time of the transition, F_c = κ, times
        b λ ρ^c. Where it is above 1, no time falls within the transition. It is 0 for features that
        do not rise: those from above the plateau, or with λ ≤ 0.
        """
        start = self.start
        rises = self.is_learned & ~start.is_above
        transition = jnp.abs(start.level) * jnp.exp(self.curve.c * start.x)
        return jnp.where(rises, float(jnp.finfo(dtype).eps) * transition, 0)

    @property
    def start(self) -> Start:
        """(d,) features with λ > 0 at time 0; elsewhere λ = 1 stands in."""
        lam = jnp.where(self.is_learned, self.lam, 1)
        log_ratio = self.b / self.depth * jnp.log(self.scale) - jnp.log(lam / self.variance)
        above = log_ratio > 0
        # at the plateau x would be 0, which has no logarithm
        x = jnp.maximum(jnp.where(above, log_ratio, -log_ratio), jnp.finfo(lam.dtype).tiny)
        power = self._start_to(self.a - 1 + jnp.where(above, self.b, 0))
        rate = self.b * jnp.where(above, self.variance, lam) * power
        # `travel` and `move` have their own derivatives, in x and in the rate
        begin = lax.stop_gradient(level(self.curve, above, x))
        log_top = jnp.log(lam / self.variance) / self.b
        late_rate = self.b * lam * (lam / self.variance) ** self.curve.c
        return Start(above, x, rate, begin, self.log_start + 0 * x, log_top, late_rate)

    @property
    def fall(self) -> Fall:
        """(d,) features with λ ≤ 0 at time 0; elsewhere λ = 0 stands in."""
        lam = jnp.where(self.is_learned, 0, self.lam)
        p = -lam / self.variance * jnp.exp(-self.b * self.log_start)
        log_p = jnp.log(-lam / self.variance) - self.b * self.log_start
        log_p = lax.stop_gradient(log_p)  # −inf at λ = 0; derivatives go through p
        rate = self.b * self.variance * self._start_to(self.a - 1 + self.b)
        return Fall(p, log_p, rate, self.log_start + 0 * p)

    def _start_to(self, power: Array) -> Array:
        """u_0^power = ε^{power/L}.

        The rounding of power/L would count ln ε times: up to 25 units in the last place at
        ε = 1e-12. So power is divided by L with a remainder. The quotient has so few bits that its
        product with L is exact.
        """
        digits = SHORT_DIGITS[self.scale.dtype.itemsize]
        quotient, depth = (
            lax.stop_gradient(lax.reduce_precision(x, 8, digits))
            for x in (power / self.depth, self.depth)
        )
        rest = power - quotient * depth - quotient * (self.depth - depth)
        return self.scale**quotient * jnp.exp(rest / self.depth * jnp.log(self.scale))
