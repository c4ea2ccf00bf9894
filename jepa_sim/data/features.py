"""The features of a pair of views: their λ, ρ, variances and directions."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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
    asymmetry: ‖Σyx − Σyxᵀ‖ / ‖Σyx‖.  Where there is no `angle`, features are those of the symmetric
    part of Σyx.
    overlap: the largest |pᵢᵀ pⱼ| of two patterns, 0 where moments commute, but for rounding.
    angle: (d,) θ by which features turn between context and target, in radians; 0 where they do
    not. None where no feature turns. Two neighbours with the angles θ and −θ, 0 < θ < π, are a
    pair: they share σ², and in their plane Σyx = λ R(θ), so that λ and ρ are moduli.
    sent: (a, d, d) where actions join x and y, what each makes of the patterns: the regression of y
    on x under the action, times the patterns. None where there are no actions.
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
    angle: Float[Array, " d"] | None = None
    sent: Float[Array, "a d d"] | None = None

    @property
    def partner(self) -> Int[Array, " d"]:
        """(d,) the number of the other feature of a pair; a feature that does not turn: its own."""
        return partners(jnp.zeros_like(self.lam) if self.angle is None else self.angle)

    def with_angle(self) -> "Features":
        """These features with an angle, 0 where none was known to turn."""
        if self.angle is not None:
            return self
        return dataclasses.replace(self, angle=jnp.zeros_like(self.lam))

    def turned(self, directions: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """(k, d) what pairs are turned into, column by column: where the target of each one is."""
        if self.angle is None:
            return directions
        across = directions[:, self.partner] * jnp.sin(self.angle)[None, :]
        return directions * jnp.cos(self.angle)[None, :] + across

    @property
    def rho_by_action(self) -> Float[Array, "a d"]:
        """(a, d) ρ_a = vᵀ Σyx^a v / σ² of every action; ρ alone where there are none.

        Of features that an action turns into each other it is the part that stays.
        """
        if self.sent is None:
            return self.rho[None, :]
        return jnp.einsum("if,aif->af", self.basis, self.sent)

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
        says = {"commute": f"{'yes' if found['commutator'] < rounding else 'no'} ({words})"}
        if found["asymmetry"] > rounding and self.angle is None:
            says["turn"] = "not as pairs: features are those of the symmetric part of Σyx"
        return says


def feature_columns(features: Features) -> dict[str, list]:
    """Columns of a sheet: number, λ, ρ and σ² of every feature."""
    found = {"λ": features.lam, "ρ": features.rho, "σ²": features.variance}
    if features.angle is not None:
        found["θ"] = features.angle
    count = features.lam.size
    if features.sent is not None:
        found |= {f"ρ if a = {a}": rho for a, rho in enumerate(features.rho_by_action)}
    return {"feature": list(range(count)), **{name: column(x) for name, x in found.items()}}


def common_features(
    lam: Float[Array, " d"],
    rho: Float[Array, " d"],
    variance: Float[Array, " d"],
    target_variance: Float[Array, " d"],
    basis: Float[Array, "d d"],
    angle: Float[Array, " d"] | None = None,
) -> Features:
    """The features of moments that are all diagonal in one orthogonal basis, in its order.

    angle: (d,) of pairs, where there are any: Σyx has their blocks λ R(θ) then.
    """
    zero = jnp.zeros((), lam.dtype)
    skew = zero
    if angle is not None:
        size = jnp.linalg.norm(lam)
        skew = 2 * jnp.linalg.norm(lam * jnp.sin(angle)) / jnp.where(size == 0, 1, size)
    numbers = (lam, rho, variance, target_variance)
    # filters and patterns are one, and all commutes
    return Features(*numbers, basis, basis, basis, basis, zero, skew, zero, angle)


def partners(angle: Float[Array, " d"]) -> Int[Array, " d"]:
    """(d,) the neighbour of each feature of a pair: the next one of angle θ, the last one of −θ."""
    own = jnp.arange(angle.shape[-1])
    return own + jnp.sign(angle).astype(own.dtype)


def turning(lam: Float[Array, " d"], angle: Float[Array, " d"]) -> Float[Array, "d d"]:
    """(d, d) Σyx in the basis of features: λ on the diagonal, and λ R(θ) where two are a pair."""
    # column i of R(θ) has cos θᵢ in row i and sin θᵢ in the row of its partner
    return jnp.diag(lam * jnp.cos(angle)) + jnp.diag(lam * jnp.sin(angle))[partners(angle)]
