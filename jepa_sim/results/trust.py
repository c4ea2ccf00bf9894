"""How far the reduced theory can be trusted: whether a feature displaces another, and when."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments.types import is_concrete
from jepa_sim.model.problem import Problem
from jepa_sim.model.turning import turning_of
from jepa_sim.numerics.display.numbers import number
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.numerics.display.shows import Shows, known_sheet
from jepa_sim.theory import Displacement, first_displacement

HOLDS_FROM = 1 / 1.15  # below it some time is off by more than 10 %: takeovers need some time too
# Above it nothing is evicted. Measured with two features, L = 1 to 4, δ = 0, 1e-3, 1e-2: from 1/1.1
# to 1 57 % of the noisier ones were evicted, up to 1.1 17 %, and up to 1.2 1 %.
CLEAR_FROM = 1.1


class DisplacementWarning(UserWarning):
    """Times of the reduced theory that are wrong, since a feature displaces another before."""


class Trust(Shows, eqx.Module):
    """How far the reduced theory can be trusted for one problem; `str()` of it is a sentence.

    displacement: the earliest one. Its `ratio` x is the time at which a cleaner feature takes over
    the latent of a noisier one, over the critical time that the reduced theory gives the cleaner
    feature. Below 1/1.15 some time is off by more than 10 %. It is inf where nothing can be
    displaced, 0 where the start is not aligned at all, and NaN where it is not known: for decays of
    encoder and predictor that differ, starts whose layers differ, and objectives that give no rate.
    rho: (2,) ρ of the cleaner and of the noisier feature.

    The formula is that of `jepa_sim/theory/displacement.py`; `python -m benchmarks.trust` measures
    how often it is right. It supposes that rounding leaves δ = 1e-16 (1e-7 in float32) off the
    diagonal. Where Σxx and Σyx are diagonal themselves and the start is not rotated, the matrix
    flow computes with exact zeros, and nothing is displaced in that one basis.
    """

    displacement: Displacement
    rho: Float[Array, "*lanes 2"]

    @property
    def ratio(self) -> Float[Array, "*lanes"]:
        """x of the displacement."""
        return self.displacement.ratio

    @property
    def holds(self) -> bool:
        """Whether no time is off by more than 10 %, as far as is known."""
        return not float(self.ratio) < HOLDS_FROM

    def _sheet(self) -> Sheet:
        return Sheet(f"Trust: ratio = {number(self.ratio)}", {"says": self._sentence()})

    def __str__(self) -> str:
        return self._outline() if known_sheet(self) is None else self._sentence()

    def _sentence(self) -> str:
        ratio, found = float(self.ratio), self.displacement
        if np.isnan(ratio):
            return (
                "It is not known whether features displace each other with this start and training."
            )
        if ratio == 0:
            return (
                "The start is not aligned with the features: the reduced theory takes it as if it "
                "were, and its times and order are not those of the matrix flow."
            )
        if ratio >= CLEAR_FROM:
            return "No feature displaces another before both are learned: the reduced theory holds."
        i, j = int(found.cleaner), int(found.noisier)
        cleaner, noisier = (float(rho) for rho in self.rho)
        if self.holds:
            time = min(float(found.time), float(found.expected))
            return (
                f"Times are right within 10 %, but feature {i} (ρ {cleaner:.2g}) may displace "
                f"feature {j} (ρ {noisier:.2g}) at t ≈ {time:.3g}. "
                f"Feature {j} is then learned for good later."
            )
        late = f"{float(found.expected):.3g}" if np.isfinite(float(found.expected)) else "later"
        return (
            f"Feature {i} (ρ {cleaner:.2g}) will displace feature {j} (ρ {noisier:.2g}) at t ≈ "
            f"{float(found.time):.3g}, and is learned by then. The reduced theory says {late}."
        )


def trust_in(problem: Problem, times: Float[Array, " d"], horizon: Float[Array, ""]) -> Trust:
    """How far (d,) critical times of the reduced theory can be trusted; it has no derivatives.

    horizon: the end of the run, for features that are not learned within it; 0 for exact times.
    """
    problem, times = jax.tree.map(
        lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, (problem, times)
    )
    features, (lam, variance) = problem.features, problem.coefficients
    delta = problem.start.misalignment(lam.size).astype(lam.dtype)
    turning, log_rise = turning_of(problem, (lam, variance), times)
    found = first_displacement(
        times,
        lam,
        log_rise,
        problem.objective.turning_from(turning, log_rise, problem.depth),
        jnp.maximum(delta, jnp.finfo(lam.dtype).eps),
        features.overlap,
        horizon,
    )
    return Trust(found, features.rho[jnp.stack([found.cleaner, found.noisier])])


def warn_where_displaced(found: Trust, *, stacklevel: int) -> None:
    """A `DisplacementWarning` where known times are wrong."""
    if is_concrete(found.ratio) and not found.holds:
        message = f"{found} `takeover_times` has the times of a JEPA with takeovers."
        warnings.warn(message, DisplacementWarning, stacklevel=stacklevel)
