"""What the derivative rules of the closed form share, and what is computed only if needed."""

from collections.abc import Callable, Sequence
from typing import cast

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero


def derivative_of(function: Callable[[Array], Array], x: Array) -> Array:
    """f'(x) as a value, so that what is done with it can be transposed."""
    return cast(Array, jax.jvp(function, (x,), (jnp.ones_like(x),))[1])


def if_any(condition: Array, compute: Callable[[], Array], otherwise: Array) -> Array:
    """compute() if the condition holds anywhere in a batch, else `otherwise`, without computing."""
    return lax.cond(eqxi.unvmap_any(condition), compute, lambda: otherwise)


def weighted(shares: Sequence[Callable[[], Array]], tangents: tuple, like: Array) -> Array:
    """Σ (∂/∂parameter) d(parameter), leaving out the parameters that are held."""
    total = jnp.zeros_like(like)
    for share, tangent in zip(shares, tangents, strict=True):
        if not isinstance(tangent, SymbolicZero):
            total = total + share() * tangent
    return total
