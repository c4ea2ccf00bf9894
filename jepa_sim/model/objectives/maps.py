"""Products of factors, and the pull on every factor that follows from a pull on the product."""

from collections.abc import Sequence
from functools import reduce

import equinox as eqx
from jaxtyping import Array, Float

from jepa_sim.numerics.products import transposed

Factors = tuple[Float[Array, "*lanes _ _"], ...]


def product(factors: Sequence[Float[Array, "_ _"]]) -> Float[Array, "_ _"]:
    """Z_N … Z_1 of the factors in the order in which they are applied, Z_1 first."""
    return reduce(lambda below, factor: factor @ below, factors)


def layer_pulls(factors: Factors, pull: Float[Array, "_ _"]) -> Factors:
    """The pull Ż on every factor of a product, from the pull on the product."""
    # From the last factor to the first: `pull` collects the transposed factors left of Z, `below`
    # holds the products right of it. None stands for an empty product, which costs no matmul.
    below = [None, *(product(factors[: i + 1]) for i in range(len(factors) - 1))]  # right of Z_i
    velocities = []
    for factor, right in zip(reversed(factors), reversed(below), strict=True):
        velocities.append(pull if right is None else pull @ transposed(right))
        pull = transposed(factor) @ pull
    return tuple(reversed(velocities))


class Maps(eqx.Module):
    """The products of a network's factors.

    The pulls on these products have the same shapes, and are `Maps` too.

    encoder: (k, d) W̄.  predictor: (o, k) V̄.  teacher: (k, dy) W̄ᵗ, which encodes the target y. For
    stacks of n_c and n_t frames all three are block matrices, (n_c k, n_c d) and so on.
    """

    encoder: Float[Array, "k d"]
    predictor: Float[Array, "o k"]
    teacher: Float[Array, "kt dy"]
