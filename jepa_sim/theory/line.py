"""The straight line: features that turn, and predictors that are not as large as the encoder.

A pair of features that turns by θ is one complex feature: of all factors only complex numbers are
left, and λ becomes λ e^{iθ}. A feature of ρ < 0 is the case θ = π. Take what comes to rest at
ρ e^{iθ}: the predictor X = V̄ of a JEPA, or X = V̄W̄ of an MAE. Its velocity is a positive number
times λ e^{iθ} − σ² X, which points at ρ e^{iθ} all the time. So X moves on a straight line:

    X = ρ e^{iθ} + (X(0) − ρ e^{iθ}) q,     q̇ = −b σ² (κ + |X|²)^P q

From a level balanced start κ = 0 and, with the exponents of the reduced flow u̇ = u^a (λ − σ² u^b),
P = (a + b − 1)/2b and w̄ = |X|^{L/b}. For a JEPA with M = 1 the start need not be balanced: what
the flow keeps is κ = w² − v² of every encoder layer w and the predictor v, so that P = L, b = 1 and
w̄ = (κ + |X|²)^{L/2}.

The time at which X is somewhere is one integral. With τ the way along the line, counted from where
it is nearest to 0, h its distance there, and τ* at the plateau (q = 0):

    t = (1/bσ²) ∫ dτ / ((τ* − τ) (κ + h² + τ²)^P)

For P = 1, κ = 0 and before the plateau that is the angle by which X has turned, over λ X(0) sin θ.
Where the way comes to κ + h² + τ² = 0 the encoder dies: with h = 0, for ρ < 0, iff κ ≤ 0. Else
|X| = ρ at the end, which is w̄* = (ρ² + κ)^{L/2} for a JEPA with M = 1.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

PANELS, NODES = 32, 16  # of Gauss's rule: 1e-13 from ε = 1e-12 on


class Line(eqx.Module):
    """The way of X for each feature, from X(0) > 0 to ρ e^{iθ}.

    rho: (d,) ρ, of any sign.  variance: (d,) b σ², per unit of flow time.  angle: (d,) θ.
    start: (d,) X(0).  kappa: (d,) κ.  power: P.  gain: g of w̄ = (κ + |X|²)^g.
    """

    rho: Float[Array, " d"]
    variance: Float[Array, " d"]
    angle: Float[Array, " d"]
    start: Float[Array, " d"]
    kappa: Float[Array, " d"]
    power: Float[Array, ""]
    gain: Float[Array, ""]

    @property
    def _ends(self) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
        """τ at the start, τ* at the plateau, and κ + h²."""
        start, cos, sin = self.start, jnp.cos(self.angle), jnp.sin(self.angle)
        x, y = self.rho * cos - start, self.rho * sin  # from X(0) to the plateau
        way = jnp.hypot(x, y)
        is_short = way == 0  # it starts at the plateau
        way = jnp.where(is_short, 1, way)
        first = jnp.where(is_short, start, start * x / way)
        last = jnp.where(is_short, start, self.rho * (self.rho - start * cos) / way)
        return first, last, self.kappa + (start * self.rho * sin / way) ** 2

    @property
    def lives(self) -> Bool[Array, " d"]:
        """Whether the encoder is above 0 all the way."""
        first, last, square = self._ends
        return (square > 0) | ((first > 0) & (last > 0))

    @property
    def plateau(self) -> Float[Array, " d"]:
        """w̄* = (ρ² + κ)^g; 0 where the encoder dies."""
        square = self.rho**2 + self.kappa
        lives = self.lives & (square > 0)
        return jnp.where(lives, jnp.where(lives, square, 1) ** self.gain, 0)

    def hitting_time(self, level: Float[Array, " d"]) -> Float[Array, " d"]:
        """(d,) first time at which w̄ reaches a level; 0: it starts there, inf: it never does.

        The encoder may sink first, and then rise: nothing is reached on the way down.
        """
        _, _, square = self._ends
        wanted = level ** (1 / self.gain)
        there = self.kappa + self.start**2 >= wanted
        travels = self.lives & ~there & (level < self.plateau)
        to = jnp.sqrt(jnp.where(travels, wanted - square, 1))
        return jnp.where(travels, self._time(to, travels), jnp.where(there, 0, jnp.inf))

    def _time(self, to: Float[Array, " d"], travels: Bool[Array, " d"]) -> Float[Array, " d"]:
        """(d,) time from the start to τ = `to`, where it gets there."""
        first, last, square = (
            jnp.where(travels, x, other) for x, other in zip(self._ends, (0.5, 2, 1), strict=True)
        )
        to, variance = jnp.where(travels, to, 1), jnp.where(travels, self.variance, 1)
        path = _Path(square, first)
        low, high = path.chart(first), path.chart(to)
        at_end = path.slowness(last, self.power)

        def integrand(share: Float[Array, ""]) -> Float[Array, " d"]:
            tau, slope = path.unchart(low + (high - low) * share)
            # less its value at the plateau, where 1/(τ* − τ) would be singular
            return slope * (path.slowness(tau, self.power) - at_end) / (last - tau)

        shares, weights = (jnp.asarray(x, to.dtype) for x in gauss())
        total = (high - low) * (weights @ jax.vmap(integrand)(shares))
        return (total + at_end * jnp.log((last - first) / (last - to))) / variance


class _Path(eqx.Module):
    """A variable y(τ) in which (κ + h² + τ²)^{−P} is smooth, at every scale of τ.

    square: (d,) κ + h².  first: (d,) τ at the start.
    """

    square: Float[Array, " d"]
    first: Float[Array, " d"]

    @property
    def _passes(self) -> Bool[Array, " d"]:
        """Whether τ may pass 0: y = arcsinh(τ/scale). Else y = ln(τ − edge), where w is 0 at it."""
        return self.square > 0

    @property
    def _root(self) -> Float[Array, " d"]:
        return jnp.sqrt(jnp.abs(jnp.where(self.square == 0, 1, self.square)))

    @property
    def _edge(self) -> Float[Array, " d"]:
        return jnp.where(self.square < 0, self._root, 0)

    @property
    def _scale(self) -> Float[Array, " d"]:
        return jnp.where(self._passes, jnp.maximum(self._root, self.first), 1)

    def chart(self, tau: Float[Array, " d"]) -> Float[Array, " d"]:
        above = jnp.where(self._passes, 1, tau - self._edge)
        return jnp.where(self._passes, jnp.arcsinh(tau / self._scale), jnp.log(above))

    def unchart(self, y: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """τ, and dτ/dy."""
        around, above = jnp.where(self._passes, y, 0), jnp.exp(jnp.where(self._passes, 0, y))
        tau = jnp.where(self._passes, self._scale * jnp.sinh(around), self._edge + above)
        return tau, jnp.where(self._passes, self._scale * jnp.cosh(around), above)

    def slowness(self, tau: Float[Array, " d"], power: Float[Array, ""]) -> Float[Array, " d"]:
        """(κ + h² + τ²)^{−P}."""
        apart = (tau - self._edge) * (tau + self._edge)
        return jnp.where(self._passes, self.square + tau**2, apart) ** -power


def gauss() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    starts = np.arange(PANELS)[:, None]
    return ((starts + (1 + nodes) / 2) / PANELS).ravel(), np.tile(weights / 2 / PANELS, PANELS)
