"""In which order features are learned, against ρ and λ."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.data.features import Features

NOISY = 0.5  # a feature with a smaller ρ is more noise than signal


def kendall(times: Float[Array, " d"], value: Float[Array, " d"]) -> Float[Array, ""]:
    """Kendall's τ_b between being learned early and having a large `value`, in [−1, 1].

    times: (d,) when each feature is learned; inf, for never, is later than all others. The result
    is NaN where a time is NaN, and where all times or all values are equal.
    """
    early, large = _signs(-times), _signs(value)
    pairs = jnp.sqrt(jnp.sum(early**2) * jnp.sum(large**2))
    tau = jnp.sum(early * large) / jnp.where(pairs > 0, pairs, jnp.nan)
    return jnp.where(jnp.isnan(times).any(), jnp.nan, tau)


def flips(times: Float[Array, " d"], value: Float[Array, " d"]) -> Float[Array, ""]:
    """How many pairs have the feature of larger `value` learned later; NaN where a time is NaN."""
    pairs = jnp.sum((_signs(-times) * _signs(value) < 0).astype(times.dtype)) / 2
    return jnp.where(jnp.isnan(times).any(), jnp.nan, pairs)


def noisy(features: Features) -> Array:
    """(d,) whether a feature can be learned (ρ > 0) and is more noise than signal (ρ < 1/2)."""
    return (features.rho > 0) & (features.rho < NOISY)


def first_noisy(times: Float[Array, " d"], features: Features) -> Float[Array, ""]:
    """How many features are learned before the first noisy one, in the sense of `noisy`.

    If no noisy feature is learned, all that are learned count. NaN where a time is.
    """
    of_noise = jnp.min(jnp.where(noisy(features), times, jnp.inf))
    before = jnp.sum((times < of_noise).astype(times.dtype))
    return jnp.where(jnp.isnan(times).any(), jnp.nan, before)


def order(
    first: Float[Array, " d"], last: Float[Array, " d"], features: Features
) -> dict[str, Array]:
    """Statistics of the order in which features are learned, by the names they have in a sweep.

    first: (d,) when each feature is learned for the first time.  last: (d,) when it is learned for
    good; the names of what follows from these begin with `learned_`.
    """
    for_good = {f"learned_{name}": value for name, value in order_of(last, features).items()}
    return {**order_of(first, features), **for_good}


def order_of(times: Float[Array, " d"], features: Features) -> dict[str, Array]:
    """The statistics of one order, with (d,) times at which features are learned."""
    return {
        "order_rho": kendall(times, features.rho),
        "order_lam": kendall(times, features.lam),
        "flips": flips(times, features.lam),
        "first_noisy": first_noisy(times, features),
    }


def _signs(x: Float[Array, " d"]) -> Float[Array, "d d"]:
    """The signs of all differences xᵢ − xⱼ; 0 between infinities of one sign."""
    # by comparisons: inf − inf would be NaN
    above = (x[:, None] > x[None, :]).astype(x.dtype)
    return above - above.T
