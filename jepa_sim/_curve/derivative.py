"""What the derivative rules of the closed form share."""

from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero


def derivative_of(function: Callable[[Array], Array], x: Array) -> Array:
    """f'(x) as a value, so that what is done with it can be transposed."""
    return cast(Array, jax.jvp(function, (x,), (jnp.ones_like(x),))[1])


def weighted(shares: Sequence[Callable[[], Array]], tangents: tuple, like: Array) -> Array:
    """Σ (∂/∂parameter) d(parameter), leaving out the parameters that are held."""
    total = jnp.zeros_like(like)
    for share, tangent in zip(shares, tangents, strict=True):
        if not isinstance(tangent, SymbolicZero):
            total = total + share() * tangent
    return total
