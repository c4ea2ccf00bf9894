"""The features of a pair of views: their λ, ρ, variances and directions."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.numerics.display import numbers
from jepa_sim.numerics.display.sheet import Sheet, column
from jepa_sim.numerics.display.shows import Shows, require_single


class Features(Shows, eqx.Module):
    """The features of given moments, one per column of `basis`: Σyx v = ρ Σxx v.

    An input is a sum of the features' patterns p ∝ Σxx v of unit length, x = Σ (vᵀx) p. The parts
    vᵀx do not correlate; σ² = vᵀ Σxx v is the variance of a part, and all of them add up to tr Σxx.
    Where moments commute, v = p are the common eigenvectors.

    lam: (d,) covariance λ = ρ σ² = vᵀ Σyx v.  rho: (d,) regression coefficient.
    variance: (d,) σ² = vᵀ Σxx v.  target_variance: (d,) vᵀ Σyy v.
    basis: (d, d) columns v, with vᵀ p = 1: the filters that read a feature.
    patterns: (d, d) columns p, of unit length: what a feature looks like in the input.
    commutator: ‖Σxx Σyx − Σyx Σxx‖ / (‖Σxx‖ ‖Σyx‖) in the Frobenius norm, 0 where they commute.
    asymmetry: ‖Σyx − Σyxᵀ‖ / ‖Σyx‖; features are those of the symmetric part of Σyx.
    overlap: the largest |pᵢᵀ pⱼ| of two patterns, 0 where moments commute, but for rounding.
    """

    lam: Float[Array, " d"]
    rho: Float[Array, " d"]
    variance: Float[Array, " d"]
    target_variance: Float[Array, " d"]
    basis: Float[Array, "d d"]
    patterns: Float[Array, "d d"]
    target_basis: Float[Array, "dy d"]
    target_patterns: Float[Array, "dy d"]
    commutator: Float[Array, ""]
    asymmetry: Float[Array, ""]
    overlap: Float[Array, ""]

    def _sheet(self) -> Sheet:
        require_single((self.lam, 1))
        columns = {**feature_columns(self), "vᵀΣyy v": column(self.target_variance)}
        return Sheet(f"Features: {self.lam.size:,}", self._facts(), columns)

    def _facts(self) -> dict[str, str]:
        """Whether moments commute, and how far from it they are."""
        names = ("commutator", "asymmetry", "overlap")
        found = {name: float(getattr(self, name)) for name in names}
        rounding = 1e4 * float(jnp.finfo(self.lam.dtype).eps)
        if max(found.values()) < rounding:
            return {"commute": "yes"}
        words = ", ".join(f"{name} {numbers.number(value)}" for name, value in found.items())
        return {"commute": f"{'yes' if found['commutator'] < rounding else 'no'} ({words})"}


def feature_columns(features: Features) -> dict[str, list]:
    """Columns of a sheet: number, λ, ρ and σ² of every feature."""
    found = {"λ": features.lam, "ρ": features.rho, "σ²": features.variance}
    count = features.lam.size
    return {"feature": list(range(count)), **{name: column(x) for name, x in found.items()}}


def common_features(
    lam: Float[Array, " d"],
    rho: Float[Array, " d"],
    variance: Float[Array, " d"],
    target_variance: Float[Array, " d"],
    basis: Float[Array, "d d"],
) -> Features:
    """The features of moments that are all diagonal in one orthogonal basis, in its order."""
    zero = jnp.zeros((), lam.dtype)
    bases, gaps = (basis,) * 4, (zero,) * 3  # filters and patterns are one, and all commutes
    return Features(lam, rho, variance, target_variance, *bases, *gaps)
