"""ROCK4: orthogonal Runge–Kutta–Chebyshev of order four, from tables."""

import functools
import operator
from importlib import resources
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jepa_sim.arguments.checks import fail
from jepa_sim.numerics.stabilised.base import AbstractStabilised, Attempt, Field
from jepa_sim.numerics.stabilised.trees import combine, real_dtype

_MOST = 142


class ROCK4(AbstractStabilised):
    """Order 4, stable on a real interval of about 0.35 s², with an embedded method of order 3.

    Abdulle, Fourth order Chebyshev methods with recurrence relation, SIAM J. Sci. Comput. 23 (2002)
    2041–2054. Its coefficients, for 48 numbers of stages from 5 to 142, are the numbers in
    `rkc_tableaus_rock4.jl` of OrdinaryDiffEq.jl (SciML, MIT licence), which are those of Abdulle's
    program. The stability interval of each was computed from them; those of 133 and 152 stages are
    left out, since their |R| exceeds 1 near z = −8, and by 4% far out.

    spectral_radius: `(t, y, args) -> scalar`, a bound on |λ| of ∂f/∂y; None estimates it at every
    step by power iteration from the last step's vector, at most `max_iterations` products.
    safety: factor on the radius.  max_stages: 5 to 142; longer steps are rejected.

    Raises ValueError where `max_stages` is below 5, or another number is not positive.
    """

    max_stages: int = eqx.field(static=True, default=_MOST)
    least_stages: ClassVar[int] = 5

    interval_of_least: ClassVar[float] = 6.0

    def __check_init__(self):
        if self.max_stages > _MOST:
            fail("max_stages", f"be at most {_MOST}", self.max_stages)

    def order(self, terms: Any) -> int:
        return 4

    def error_order(self, terms: Any) -> int:
        return 4

    def stages(self, z: Array) -> Array:
        tables = _tables()
        longest = jnp.asarray(tables.longest, z.dtype)
        some = jnp.where(z <= longest[-1], z, longest[-1])
        row = jnp.searchsorted(longest, some, method="compare_all")
        s = jnp.asarray(tables.stages, jnp.int32)[row]
        return jnp.where(z <= longest[-1], s, _MOST + 1)  # also where z is not finite

    def attempt(
        self, field: Field, t0: Any, h: Array, y0: PyTree, f0: PyTree, stages: Array
    ) -> Attempt:
        """s − 5 right-hand sides of the recurrence, then 5 of the finish: y₁ is the fifth's place.

        All stages are held as differences d from y0.
        """
        tables, dtype = _tables(), real_dtype(y0)
        numbers = jnp.asarray(tables.stages, jnp.int32)
        row = jnp.searchsorted(numbers, stages, method="compare_all")
        m = jnp.where(stages > 0, numbers[row] - 4, 0)
        first = jnp.asarray(tables.first, jnp.int32)[row]
        recurrence = jnp.asarray(tables.recurrence, dtype)

        def at(c: Array, d: PyTree) -> PyTree:
            return field(t0 + c.astype(h.dtype) * h, combine((1, y0), (1, d)))

        def unfinished(state: tuple) -> Array:
            return state[0] <= m

        def stage(state: tuple) -> tuple:
            j, (c, c_before), (d, d_before) = state
            mu, kappa = recurrence[first + 2 * j - 3], recurrence[first + 2 * j - 2]
            hm = h * mu.astype(h.dtype)
            d_next = combine((1 + kappa, d), (-kappa, d_before), (hm, at(c, d)))
            return j + 1, (mu + (1 + kappa) * c - kappa * c_before, c), (d_next, d)

        mu1 = recurrence[first]
        d1 = combine((h * mu1.astype(h.dtype), f0))
        zero = combine((0, y0))
        state = (jnp.full_like(m, 2), (mu1, jnp.zeros((), dtype)), (d1, zero))
        _, (c, _), (d, _) = eqxi.while_loop(
            unfinished, stage, state, max_steps=self.max_stages, kind=self.scan_kind
        )

        weights = jnp.asarray(tables.finish, dtype)[row]
        later_c = c + jnp.sum(weights, axis=1)

        def total(weights: Array, f: PyTree) -> PyTree:
            """h Σ_i weights_i f_i"""
            each = [jax.tree.map(operator.itemgetter(i), f) for i in range(5)]
            return combine(*((h * weights[i].astype(h.dtype), f) for i, f in enumerate(each)))

        def finish(carry: tuple, i: Array) -> tuple:
            f, _ = carry
            here = combine((1, d), (1, total(weights[i], f)))
            new = at(later_c[i], here)
            return (jax.tree.map(lambda f, new: f.at[i].set(new), f, new), here), None

        none = jax.tree.map(lambda z: jnp.stack([z] * 5), zero)
        (f, last), _ = jax.lax.scan(finish, (none, d), jnp.arange(5))
        f1 = jax.tree.map(lambda f: f[4], f)
        y1, error = combine((1, y0), (1, last)), total(weights[5], f)
        return Attempt(y1, f1, error, jnp.where(stages > 0, stages, 5))


class Tables(NamedTuple):
    """stages: (n,) s.  longest: (n,) stability interval.  first: (n,) of the recurrence's rows.

    recurrence: μ₁, then μ_j, κ_j for j = 2 … s − 4, of all methods in turn.  finish: (n, 6, 5), the
    weights of the last five right-hand sides in the stage at which each is taken, and in the error.
    """

    stages: np.ndarray
    longest: np.ndarray
    first: np.ndarray
    recurrence: np.ndarray
    finish: np.ndarray


@functools.cache
def _tables() -> Tables:
    with (
        (resources.files("jepa_sim.numerics.stabilised") / "rock4.npz").open("rb") as file,
        np.load(file) as data,
    ):
        s, longest, recurrence = data["stages"], data["longest"], data["recurrence"]
        a, b, b_hat = data["a"], data["b"], data["b_hat"]
    lengths = 2 * (s - 4) - 1
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    finish = np.zeros((len(s), 6, 5))
    for i in range(1, 4):
        finish[:, i, :i] = a[:, i * (i - 1) // 2 : i * (i + 1) // 2]
    finish[:, 4, :4] = b
    finish[:, 5] = b_hat
    finish[:, 5, :4] -= b
    return Tables(s, longest, first, recurrence, finish)
