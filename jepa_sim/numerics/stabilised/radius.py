"""The spectral radius of ∂f/∂y by power iteration, which starts from the last step's vector."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jepa_sim.numerics.stabilised.trees import combine, norm, normalise, waves

_CLOSE = 0.05  # relative change of the estimate at which the iteration stops
_WARM = 4  # most products where there is an estimate from before
_MIXED = 0.02  # share of a fixed vector mixed in, so that eigenvalues may cross


def power_iteration(
    field: Callable[[Any, PyTree, Any], PyTree],
    t: Any,
    y: PyTree,
    f: PyTree,
    args: Any,
    vector: PyTree,
    radius: Array,
    max_iterations: int,
    enough: Any = 0.0,
) -> tuple[Array, PyTree, Array]:
    """max |λ| of ∂f/∂y, its vector, and how many products ∂f/∂y·v it took.

    A product is a difference of right-hand sides, (f(y + δv) − f)/δ with `f` that of y, as in RKC
    and ROCK: it costs one right-hand side, a derivative along v with what it needs of y two.
    `vector` and `radius` are the estimates of the last step. One product is enough where they still
    hold, or where the estimate is below `enough`; four are the most, since later steps go on from
    there. For a pair of complex eigenvalues the estimate is |Jv|/|v|, which their rotation does not
    change where J is normal; the larger of the last two estimates is taken. Nothing here is
    differentiated.
    """
    field = frozen(eqx.filter_closure_convert(field, t, y, args))
    t, y, f, args = frozen((t, y, f, args))
    fixed, size = waves(y), norm(y)
    small = jnp.sqrt(jnp.finfo(size.dtype).eps) * jnp.where(size > 0, size, 1)

    def product(vector: PyTree) -> PyTree:
        beside = field(t, combine((1, y), (small, vector)), args)
        return combine((1 / small, beside), (-1 / small, f))

    most = jnp.where(radius > 0, min(_WARM, max_iterations), max_iterations)

    def unfinished(state: tuple) -> Array:
        radius, before, _, count = state
        moved = jnp.abs(radius - before) > _CLOSE * radius
        return (count < 1) | (moved & (radius > enough) & (count < most))

    def iterate(state: tuple) -> tuple:
        before, _, vector, count = state
        image = product(vector)
        return norm(image), before, normalise(image, fixed), count + 1

    start = normalise(combine((1, vector), (_MIXED, fixed)), fixed)
    radius = radius.astype(norm(start).dtype)
    state = (radius, jnp.full_like(radius, jnp.inf), start, jnp.zeros((), jnp.int32))
    after, before, vector, count = jax.lax.while_loop(unfinished, iterate, state)
    return jnp.where(count > 1, jnp.maximum(after, before), after), vector, count


def frozen(tree: Any) -> Any:
    """The tree, without derivatives."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, tree)
