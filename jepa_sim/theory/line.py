"""The straight line of a predictor: a JEPA of one predictor layer, from an aligned level start.

Let the layers of the encoder have the gain w(0) on a feature, and its predictor v(0). A pair of
features that turns by θ is one complex feature, whose predictor z is a complex number and whose
target is ρ e^{iθ}; a feature of ρ < 0 is the case θ = π. With the differential of the losses

    d(w²)/dt = 2 w^{2L} Re(z̄ (λ e^{iθ} − σ² z)),     ż = w^{2L} (λ e^{iθ} − σ² z)

w² − |z|² = κ is kept, and ż points at ρ e^{iθ} all the time. So z moves on a straight line:

    z = ρ e^{iθ} + (v(0) − ρ e^{iθ}) q,     q̇ = −σ² w^{2L} q,     w² = κ + |z|²

and the time at which it is at q is one integral. With τ the way along the line, counted from where
it is nearest to 0, h its distance there, and τ* at the plateau (q = 0):

    t = (1/σ²) ∫ dτ / ((τ* − τ) (κ + h² + τ²)^L)

For L = 1, κ = 0 and before the plateau that is the angle by which z has turned, over λ v(0) sin θ.
Where the way comes to κ + h² + τ² = 0 the encoder dies; for ρ < 0, where h = 0, iff κ ≤ 0. Else
w̄* = (ρ² + κ)^{L/2}.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

PANELS, NODES = 32, 16  # of Gauss's rule: 1e-13 from ε = 1e-12 on


class Line(eqx.Module):
    """The way of each feature's predictor, from v(0) > 0 to ρ e^{iθ}.

    rho: (d,) ρ, of any sign.  variance: (d,) σ², per unit of flow time.  angle: (d,) θ.
    encoder, predictor: (d,) w(0)² and v(0)².  depth: L.
    """

    rho: Float[Array, " d"]
    variance: Float[Array, " d"]
    angle: Float[Array, " d"]
    encoder: Float[Array, " d"]
    predictor: Float[Array, " d"]
    depth: Float[Array, ""]

    @property
    def kappa(self) -> Float[Array, " d"]:
        """κ = w² − |z|², which is kept."""
        return self.encoder - self.predictor

    @property
    def _ends(self) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
        """τ at the start, τ* at the plateau, and κ + h²."""
        start, cos, sin = jnp.sqrt(self.predictor), jnp.cos(self.angle), jnp.sin(self.angle)
        x, y = self.rho * cos - start, self.rho * sin  # from v(0) to the plateau
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
        """w̄* = (ρ² + κ)^{L/2}; 0 where the encoder dies."""
        square = self.rho**2 + self.kappa
        lives = self.lives & (square > 0)
        return jnp.where(lives, jnp.where(lives, square, 1) ** (self.depth / 2), 0)

    def hitting_time(self, level: Float[Array, " d"]) -> Float[Array, " d"]:
        """(d,) first time at which w̄ reaches a level; 0 where it starts there, inf if it never does.

        The encoder may sink first, and then rise: nothing is reached on the way down.
        """
        first, last, square = self._ends
        wanted = level ** (2 / self.depth) - square
        there = self.encoder >= level ** (2 / self.depth)
        travels = self.lives & ~there & (level < self.plateau)
        to = jnp.sqrt(jnp.where(travels, wanted, 1))
        return jnp.where(travels, self._time(to, travels), jnp.where(there, 0, jnp.inf))

    def _time(self, to: Float[Array, " d"], travels: Bool[Array, " d"]) -> Float[Array, " d"]:
        """(d,) time from the start to τ = `to`, where it gets there."""
        first, last, square = (
            jnp.where(travels, x, other) for x, other in zip(self._ends, (0.5, 2, 1), strict=True)
        )
        to = jnp.where(travels, to, 1)
        variance = jnp.where(travels, self.variance, 1)
        # the nodes are dense where τ is small beside the root of |κ + h²|, or beside its own start
        is_ring = square > 0
        root = jnp.sqrt(jnp.abs(square))
        scale = jnp.where(is_ring, jnp.maximum(root, first), 1)
        edge = jnp.where(is_ring, 0, root)

        def chart(tau: Array) -> Array:
            above = jnp.where(is_ring, 1, tau - edge)
            return jnp.where(is_ring, jnp.arcsinh(tau / scale), jnp.log(above))

        def unchart(y: Array) -> tuple[Array, Array]:
            """τ, and dτ/dy."""
            ring, above = jnp.where(is_ring, y, 0), jnp.exp(jnp.where(is_ring, 0, y))
            tau = jnp.where(is_ring, scale * jnp.sinh(ring), edge + above)
            return tau, jnp.where(is_ring, scale * jnp.cosh(ring), above)

        def inverse(tau: Array) -> Array:
            """w̄⁻², (κ + h² + τ²)^{−L}."""
            power = jnp.where(is_ring, square + tau**2, (tau - edge) * (tau + edge))
            return power**-self.depth

        at_end = inverse(last)
        low, high = chart(first), chart(to)
        shares, weights = _rule()
        tau, slope = unchart(low + (high - low) * shares)
        # less its value at the plateau, where 1/(τ* − τ) would be singular
        total = jnp.sum(weights * slope * (inverse(tau) - at_end) / (last - tau), axis=0)
        total *= high - low
        return (total + at_end * jnp.log((last - first) / (last - to))) / variance


def _rule() -> tuple[np.ndarray, np.ndarray]:
    """(nodes, 1) nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    starts = np.arange(PANELS)[:, None]
    shares = ((starts + (1 + nodes) / 2) / PANELS).reshape(-1, 1)
    return shares, np.tile(weights / 2 / PANELS, PANELS)[:, None]
