"""Matrix flows that jepa_sim and every peer solve, with the exact gains beside them.

The field is written once for NumPy, JAX and PyTorch, directly from the objective:

    R = W̄ Σyx − V W̄ Σxx,   V̇ = R W̄ᵀ,   Ẇ_i = (V W_L … W_{i+1})ᵀ R (W_{i−1} … W_1)ᵀ

so that peers use no code of jepa_sim. Flows have a leading axis; moments commute, in random bases.
"""

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np

import jepa_sim as js


def field(factors, xx, yx):
    """Ż of (W_1, …, W_L, V), for arrays of any library, with or without leading axes."""
    *encoder, predictor = factors
    w = functools.reduce(lambda inner, layer: layer @ inner, encoder)
    residual = w @ yx - predictor @ w @ xx
    moved, left = [], predictor
    below = [None, *_accumulate(encoder[:-1])]
    for layer, inner in zip(reversed(encoder), reversed(below), strict=True):
        pull = left.mT @ residual
        moved.append(pull if inner is None else pull @ inner.mT)
        left = left @ layer
    return (*reversed(moved), residual @ w.mT)


def _accumulate(layers):
    """W_1, W_2 W_1, …"""
    products = []
    for layer in layers:
        products.append(layer @ products[-1] if products else layer)
    return products


@dataclasses.dataclass(frozen=True)
class Flows:
    """n flows of d features, all of depth L, from the gain ε = `scale`.

    lam, rho: (n, d).  basis: (n, d, d), the pattern of a feature in each column.  times: (t,) from
    0 on.
    """

    lam: np.ndarray
    rho: np.ndarray
    basis: np.ndarray
    times: np.ndarray
    scale: float
    depth: int

    @functools.cached_property
    def xx(self) -> np.ndarray:
        """(n, d, d) Σxx."""
        return self._turned(self.lam / self.rho)

    @functools.cached_property
    def yx(self) -> np.ndarray:
        """(n, d, d) Σyx."""
        return self._turned(self.lam)

    def _turned(self, values: np.ndarray) -> np.ndarray:
        return self.basis * values[:, None, :] @ self.basis.mT

    @property
    def factors(self) -> tuple[np.ndarray, ...]:
        """L + 1 arrays (n, d, d) at time 0."""
        start = np.broadcast_to(self.small * np.eye(self.lam.shape[1]), self.basis.shape)
        return tuple(start.copy() for _ in range(self.depth + 1))

    @functools.cached_property
    def exact(self) -> np.ndarray:
        """(n, t, d) gains in closed form."""
        scale, depth = jnp.asarray(self.scale), jnp.asarray(float(self.depth))
        return np.asarray(_exact(self.lam, self.rho, scale, depth, self.times))

    @property
    def small(self) -> float:
        """The start's singular value ε^{1/L}, to which absolute tolerances refer."""
        return self.scale ** (1 / self.depth)

    def gains(self, w: np.ndarray) -> np.ndarray:
        """(n, t, d) gains of encoders W̄ (n, t, d, d)."""
        return np.linalg.norm(w @ self.basis[:, None], axis=-2)

    def error(self, gains: np.ndarray) -> float:
        """The largest relative error of a gain; inf where something is not finite."""
        error = np.max(np.abs(np.asarray(gains) / self.exact - 1))
        return float(error) if np.isfinite(error) else float("inf")


def _problem(lam, rho, scale, depth):
    moments = js.Moments.from_features(lam, rho)
    return js.Problem(moments, js.JEPA(), js.DeepLinear(depth), js.Balanced(scale))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, None, None, None))
def _exact(lam, rho, scale, depth, times):
    observables = (js.observables.features,)
    problem = _problem(lam, rho, scale, depth)
    return js.simulate(problem, times, js.ClosedForm(), observables=observables).features


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, None, None))
def _ends(lam, rho, scale, depth):
    return js.critical_times(_problem(lam, rho, scale, depth), fraction=0.9)


def make_flows(lam, rho, scale: float, depth: int, count: int = 12, last: float = 1.5) -> Flows:
    """Flows with λ, ρ (n, d) in random bases, saved until `last` times the last critical time."""
    lam, rho = np.atleast_2d(lam), np.atleast_2d(rho)
    n, d = lam.shape
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(n, d, d)))[0]
    ends = _ends(lam, rho, jnp.asarray(scale), jnp.asarray(float(depth)))
    times = np.concatenate([[0.0], np.geomspace(1e-2, 1, count - 1)]) * last * float(jnp.max(ends))
    return Flows(lam, rho, basis, times, scale, depth)


def random_flows(n: int, d: int, scale: float, depth: int) -> Flows:
    """`make_flows` of λ in [0.5, 1] and ρ in [0.3, 0.9]."""
    draw = np.random.default_rng(1)
    return make_flows(draw.uniform(0.5, 1, (n, d)), draw.uniform(0.3, 0.9, (n, d)), scale, depth)


TOLERANCES = tuple(float(x) for x in 10.0 ** -np.arange(2, 10.1, 0.5))


def tune(solve, flows: Flows, wanted: float):
    """The loosest tolerance at which `solve(tolerance)` = (gains, work) is within `wanted`.

    The search begins at `wanted` and goes down in half decades. Returns (tolerance, error, work),
    or None where no tolerance is tight enough. Peers may raise where one is too loose.
    """
    for tolerance in (t for t in TOLERANCES if t <= 1.01 * wanted):
        try:
            gains, work = solve(tolerance)
        except (AssertionError, ValueError):  # torchdiffeq's step has become 0
            continue
        if (error := flows.error(gains)) <= wanted:
            return tolerance, error, work
    return None


def encoder_product(factors):
    """W̄ of (W_1, …, W_L, V)."""
    return functools.reduce(lambda inner, layer: operator.matmul(layer, inner), factors[:-1])
