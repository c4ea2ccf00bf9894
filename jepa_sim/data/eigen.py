"""The features of moments, from generalised eigenproblems in the whitened input.

With Σxx = C Cᵀ the columns v of a basis are C⁻ᵀ times orthogonal directions r of the whitened
input, so that vᵢᵀ Σxx vⱼ = δᵢⱼ, and the patterns are Σxx v.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from jepa_sim.data.features import Features


def symmetric_features(
    xx: Float[Array, "d d"], yx: Float[Array, "d d"], yy: Float[Array, "d d"]
) -> Features:
    """Of Σ v = ρ Σxx v, with the symmetric part Σ of Σyx."""
    factor = jnp.linalg.cholesky(xx)
    half = jsl.solve_triangular(factor, (yx + yx.T) / 2, lower=True)
    whitened = jsl.solve_triangular(factor, half.T, lower=True)
    rho, rotation = jnp.linalg.eigh(whitened)
    rho, rotation = rho[::-1], rotation[:, ::-1]
    basis = jsl.solve_triangular(factor, rotation, lower=True, trans=1)
    basis = basis @ _split_ties(rho, basis)
    patterns = xx @ basis  # dual to the basis: vᵢᵀ Σxx vⱼ = δᵢⱼ
    return _scaled(xx, yx, yy, rho, basis, patterns)


def regression_features(
    xx: Float[Array, "d d"], yx: Float[Array, "dy d"], yy: Float[Array, "dy dy"]
) -> Features:
    """Of the regression of y on x: the singular values of Σyx C⁻ᵀ."""
    factor = jnp.linalg.cholesky(xx)
    whitened = jsl.solve_triangular(factor, yx.T, lower=True).T
    left, found, right = jnp.linalg.svd(whitened)
    d, count = xx.shape[0], found.size
    singular = jnp.zeros(d, found.dtype).at[:count].set(found)
    target_basis = jnp.zeros((left.shape[0], d), left.dtype).at[:, :count].set(left[:, :count])
    patterns = factor @ right.T
    rho = singular / jnp.linalg.norm(patterns, axis=0)
    basis = jsl.solve_triangular(factor, right.T, lower=True, trans=1)
    return _scaled(xx, yx, yy, rho, basis, patterns, target_basis)


def action_features(
    xx: Float[Array, "d d"],
    yx: Float[Array, "d d"],
    yy: Float[Array, "d d"],
    regression: Float[Array, "a d d"],
) -> Features:
    """Of moments with actions: C⁻¹ B_a C, one below the other, have the singular values ρ.

    xx, yx, yy: means over actions.  regression: B_a = Σyx^a (Σxx^a)⁻¹.
    """
    factor, norm = jnp.linalg.cholesky(xx), jnp.linalg.norm
    whitened = jax.vmap(lambda b: jsl.solve_triangular(factor, b @ factor, lower=True))(regression)
    _, rho, rotation = jnp.linalg.svd(whitened.reshape(-1, xx.shape[0]), full_matrices=False)
    basis = jsl.solve_triangular(factor, rotation.T, lower=True, trans=1)
    every = regression @ xx
    # a tie of ρ is split by what differs under some action: by a sum in which nothing cancels out
    weights = jnp.cos(1 + jnp.arange(len(every), dtype=rho.dtype))
    some = basis.T @ jnp.tensordot(weights, every, 1) @ basis
    basis = basis @ _split_ties(rho, basis, (some + some.T) / 2)
    found = _scaled(xx, yx, yy, rho, basis, xx @ basis)
    pairs = itertools.combinations([xx, *every], 2)
    return dataclasses.replace(
        found,
        commutator=jnp.max(jnp.stack([_gap(one, other) for one, other in pairs])),
        asymmetry=norm(every - every.swapaxes(1, 2)) / _nonzero(norm(every)),
        sent=regression @ found.patterns,
    )


def _scaled(
    xx: Float[Array, "d d"],
    yx: Float[Array, "dy d"],
    yy: Float[Array, "dy dy"],
    rho: Float[Array, " d"],
    basis: Float[Array, "d d"],
    patterns: Float[Array, "d d"],
    target_basis: Float[Array, "dy d"] | None = None,
) -> Features:
    """Features of columns v and p with vᵀ p = 1, scaled so that all p are of unit length.

    target_basis: (dy, d) directions of y, where these are not those of x.
    """
    norm = jnp.linalg.norm
    size = norm(patterns, axis=0)
    basis, patterns = basis * size[None, :], patterns / size[None, :]
    if target_basis is None:
        targets = basis, patterns
        commutator = _gap(xx, yx)
        asymmetry = norm(yx - yx.T) / _nonzero(norm(yx))
    else:
        targets = target_basis, target_basis
        commutator = asymmetry = jnp.zeros((), rho.dtype)
    power = jnp.sum(targets[0] * (yy @ targets[0]), axis=0)
    numbers, gaps = (rho * size**2, rho, size**2, power), (commutator, asymmetry)
    return Features(*numbers, basis, patterns, *targets, *gaps, _overlap(patterns))


def _gap(a: Float[Array, "d d"], b: Float[Array, "d d"]) -> Float[Array, ""]:
    """‖AB − BA‖ / (‖A‖ ‖B‖)."""
    norm = jnp.linalg.norm
    return norm(a @ b - b @ a) / _nonzero(norm(a) * norm(b))


def _overlap(patterns: Float[Array, "d d"]) -> Float[Array, ""]:
    """The largest |pᵢᵀ pⱼ| of two of the unit columns."""
    gram = patterns.T @ patterns
    return jnp.max(jnp.abs(gram - jnp.diag(jnp.diagonal(gram))))


def _split_ties(
    rho: Float[Array, " d"], basis: Float[Array, "d d"], further: Float[Array, "d d"] | None = None
) -> Float[Array, "d d"]:
    """The rotation among features of equal ρ that makes them orthogonal; elsewhere the identity.

    rho: falling.  basis: columns v with vᵢᵀ Σxx vⱼ = δᵢⱼ, so rotations within a tie keep that.
    further: in the basis, what is to be diagonal too, for features of one variance as well.
    """
    # ρ are equal up to rounding, which in whitening grows with Σxx's condition (max |v|/min |v|)²
    size = jnp.sum(basis**2, axis=0)
    rounding = jnp.finfo(rho.dtype).eps * jnp.maximum(1e4, 10 * jnp.max(size) / jnp.min(size))
    tolerance = rounding * jnp.max(jnp.abs(rho))
    tie = jnp.cumsum(-jnp.diff(rho, prepend=rho[:1]) > tolerance)  # 0, 0, 1, 2, 2, …
    gram = basis.T @ basis
    if further is not None:
        gram = gram / jnp.max(size) + further
    inside = jnp.where(tie[:, None] == tie[None, :], gram, 0)
    # No eigenvalue exceeds the largest row sum: those of tie t are then in [2t, 2t + 1], in order.
    inside = inside / jnp.max(jnp.sum(jnp.abs(inside), axis=1))
    _, rotation = jnp.linalg.eigh(inside + 2 * jnp.diag(tie.astype(rho.dtype)))
    return rotation


def _nonzero(x: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(x == 0, jnp.ones_like(x), x)
