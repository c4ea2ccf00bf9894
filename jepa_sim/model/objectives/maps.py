"""Products of factors, and what every factor has of a pull on its product."""

from collections.abc import Sequence
from functools import reduce

import equinox as eqx
from jaxtyping import Array, Float

Factors = tuple[Float[Array, "*lanes _ _"], ...]


def product(factors: Sequence[Float[Array, "_ _"]]) -> Float[Array, "_ _"]:
    """Z_N … Z_1 of the factors in the order in which they are applied, Z_1 first."""
    return reduce(lambda below, factor: factor @ below, factors)


def shares(factors: Factors, pull: Float[Array, "_ _"]) -> Factors:
    """Ż of all factors of a product, from the pull on the product."""
    below = [None, *(product(factors[: i + 1]) for i in range(len(factors) - 1))]  # right of Z_i
    velocities = []
    for factor, right in zip(reversed(factors), reversed(below), strict=True):
        velocities.append(pull if right is None else pull @ right.T)
        pull = factor.T @ pull
    return tuple(reversed(velocities))


class Maps(eqx.Module):
    """The products of a network's factors; or the pulls on them, of the same shapes.

    encoder: (k, d) W̄.  predictor: (o, k) V̄.  teacher: (k, dy) W̄ᵗ, what encodes the target y. Of
    stacks of n_c and n_t frames all are block matrices, (n_c k, n_c d) and so on.
    """

    encoder: Float[Array, "k d"]
    predictor: Float[Array, "o k"]
    teacher: Float[Array, "kt dy"]
