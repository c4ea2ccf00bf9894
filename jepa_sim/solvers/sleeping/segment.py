"""A step in the block's own time τ, and what lies within it.

A small block Z blows up, dZ/dt ~ |Z|^{2L+M−1}: each step in t would be a fraction of the last. In
τ, with dt/dτ = 1/g and g the rate at which small factors grow, it grows exponentially, and steps
keep their length when the large latents fall asleep (Sundman's transformation of time).
"""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.solvers.sleeping.block import Chain, Setting
from jepa_sim.solvers.sleeping.sleepers import Sleepers

HALVINGS = 30  # of a step, until a time is found: 1e-9 of it
SMALL = 1e-6  # of the block: the clock, so that it does not count in the norms of power iteration

# the block, and the time since the step began, in some unit
State = tuple[Chain, Float[Array, ""]]


class Pace(eqx.Module):
    """g = rate · max λ · (mean square of Z)^{(2L+M−2)/2} + 1/T, for a run until T.

    A rate divided by g is one in the block's own time.
    """

    setting: Setting
    end: Float[Array, ""]

    def __call__(self, chain: Chain) -> Float[Array, ""]:
        count = jnp.sum(self.setting.all_moves(len(chain)).astype(chain.dtype))
        depth = jnp.sum(self.setting.moves.astype(chain.dtype))
        fastest = self.setting.rate * jnp.max(self.setting.lam)
        mean = self._square(chain) / count
        return fastest * mean ** ((depth + count - 2) / 2) + 1 / self.end

    def _square(self, chain: Chain) -> Float[Array, ""]:
        """|Z|², without identities."""
        return jnp.sum(jnp.where(self.setting.all_moves(len(chain)), chain, 0) ** 2)

    def unit(self, chain: Chain) -> Float[Array, ""]:
        """10⁻⁶ |Z| g, of the clock.

        The velocity of the clock changes with all weights, and nothing depends on the clock. In
        units of |Z| g it is far more than its part of eigenvectors of the velocity's Jacobian, and
        hides the rest: the spectral radius would be found wrong.
        """
        tiny = jnp.sqrt(jnp.finfo(chain.dtype).tiny)  # where all latents sleep
        return SMALL * jnp.maximum(jnp.sqrt(self._square(chain)), tiny) * self(chain)

    def velocity(self, tau: Any, state: Any, unit: Any) -> Any:
        """d(Z, clock)/dτ, of a `State` and the clock's unit, as diffrax wants it."""
        chain, _ = state
        pace = self(chain)
        return self.setting.velocity(chain) / pace, unit / pace


class Segment(eqx.Module):
    """A step from t0 to t1: cubics of block and clock, and the sleepers.

    growth: (k, k) d ln r/dt half-way through the step; ln r is linear in t.
    """

    t0: Float[Array, ""]
    t1: Float[Array, ""]
    unit: Float[Array, ""]
    dense: dict[str, State]
    sleepers: Sleepers
    growth: Float[Array, "k k"]

    @classmethod
    def of(cls, t: Float[Array, ""], chain: Chain, sleepers: Sleepers) -> "Segment":
        """Of no length."""
        dense: dict[str, State] = dict.fromkeys(("y0", "y1", "k0", "k1"), (chain, t))
        return cls(t, t, t, dense, sleepers, jnp.zeros_like(sleepers.log_ratio))

    def asleep(self, t: Float[Array, ""]) -> Sleepers:
        return self.sleepers.after(self.growth, t - self.t0)

    def live(self, t: Float[Array, ""]) -> Chain:
        chain, clock = (
            dfx.ThirdOrderHermitePolynomialInterpolation(
                t0=0.0, t1=1.0, **{name: state[part] for name, state in self.dense.items()}
            )
            for part in (0, 1)
        )
        a, b, c, d = clock.coeffs
        passed = (t - self.t0) * self.unit
        low, high = jnp.zeros_like(t), jnp.ones_like(t)
        for _ in range(HALVINGS):  # a loop of XLA would cost more than all that is in it
            s = (low + high) / 2
            is_early = ((a * s + b) * s + c) * s + d < passed
            low, high = jnp.where(is_early, s, low), jnp.where(is_early, high, s)
        return chain.evaluate((low + high) / 2)
