"""Observables: pure functions of (t, state, problem), evaluated during a solve at the saved times.

Any function with these arguments that returns an array (or a pytree of arrays) can be given to
`simulate`. Its name (its attribute `name`, or else `__name__`) is its key in the result. d is the
number of features.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import ArrayLike, as_float_array
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import AbstractState
from jepa_sim.results.variables import OBSERVABLES

BUILT_IN = {*OBSERVABLES, "weights"}  # names in a result
__all__ = sorted({*BUILT_IN - {"probe_risk"}, "ProbeRisk"})  # pyright: ignore[reportUnsupportedDunderAll]

Time = Float[Array, ""]
Observable = Callable[[Time, AbstractState, Problem], PyTree]


def name_of(observable: Observable) -> str:
    """The key of an observable in a result."""
    # an object such as `ProbeRisk` has a `name`, a function only its `__name__`
    return getattr(observable, "name", None) or observable.__name__


def check_names(observables: Sequence[Observable], taken: Iterable[str] = ()) -> None:
    """ValueError unless names differ, and none is that of a built-in observable or in `taken`.

    A result with the name of a built-in observable would be read, labelled and drawn as that one.
    """
    names = [name_of(observable) for observable in observables]
    if len(set(names)) < len(names):
        checks.fail("observables", "have names that differ", names)
    for observable, name in zip(observables, names, strict=True):
        is_own = observable is not globals().get(name) and not isinstance(observable, ProbeRisk)
        if (is_own and name in BUILT_IN) or name in taken:
            rule = "have names that jepa_sim does not use itself"
            checks.fail("observables", rule, f"{name!r} among others")


def features(t: Time, state: AbstractState, problem: Problem) -> Float[Array, " d"]:
    """(d,) w̄: the encoder's gain ‖W̄ p‖ on each feature's unit pattern p."""
    return state.gains(problem.features)


def predictor_gains(t: Time, state: AbstractState, problem: Problem) -> Float[Array, " d"]:
    """(d,) v̄: how strongly the predictor sends each feature's latent to where its target is.

    Negative where the predictor is misaligned: a JEPA then unlearns the feature.
    """
    return state.predictor_gains(problem.features, problem.objective, problem.network.frames)


def phases(t: Time, state: AbstractState, problem: Problem) -> Float[Array, " d"]:
    """(d,) φ: by which angle the network turns each feature from x to its output, in (−π, π].

    A pair is learned when its predictor (with an MAE's encoder) has turned by θ, φ = θ for one of
    its features and −θ for the other (`Features.angle`). Of a feature that does not turn it is 0
    where the predictor is positive, and π where it is negative.
    """
    return state.phases(problem.features, problem.objective, problem.network.frames)


def plateau_fraction(t: Time, state: AbstractState, problem: Problem) -> Float[Array, " d"]:
    """(d,) w̄ / w̄*, with w̄* of `Problem.plateaus`; inf where it is 0, NaN where it is not known."""
    return state.gains(problem.features) / problem.plateaus


def loss(t: Time, state: AbstractState, problem: Problem) -> Float[Array, ""]:
    """The population loss, for predictions ½ E ‖V̄ W̄ x − T y‖²."""
    return state.loss(problem.objective, problem.moments, problem.network.frames)


def effective_rank(t: Time, state: AbstractState, problem: Problem) -> Float[Array, ""]:
    """exp of the entropy of the encoder's normalised singular values (Roy & Vetterli 2007)."""
    return rank_of(state.singular_values())


def rank_of(singular_values: Float[Array, "*t r"]) -> Float[Array, "*t"]:
    """(…,) exp of the entropy of (…, r) normalised singular values."""
    share = singular_values / jnp.sum(singular_values, axis=-1, keepdims=True)
    # 0 ln 0 = 0, and its derivative is finite
    positive = jnp.where(share > 0, share, jnp.ones_like(share))
    return jnp.exp(-jnp.sum(share * jnp.log(positive), axis=-1))


def alignment(t: Time, state: AbstractState, problem: Problem) -> Float[Array, " d"]:
    """(d,) cos between a feature's pattern p and W̄ᵀW̄ p: 1 where p is a singular vector of W̄."""
    return state.alignment(problem.features)


def balancedness(t: Time, state: AbstractState, problem: Problem) -> Float[Array, ""]:
    """The largest ‖Z_{i+1}ᵀ Z_{i+1} − Z_i Z_iᵀ‖ of neighbouring factors; the flow conserves it."""
    return state.balancedness(problem.network.depth)


def off_diagonal_mass(t: Time, state: AbstractState, problem: Problem) -> Float[Array, ""]:
    """Share of the squared Gram matrix ⟨W̄ pᵢ, W̄ pⱼ⟩ that lies off its diagonal, in [0, 1)."""
    squared = state.gram(problem.features) ** 2
    return 1 - jnp.trace(squared) / jnp.sum(squared)


def latent_cosines(t: Time, state: AbstractState, problem: Problem) -> Float[Array, "d d"]:
    """(d, d) which features share a latent: |cos| of the angle between W̄ pᵢ and W̄ pⱼ, in [0, 1].

    W̄ p is the latent of the feature with the unit pattern p. The cosine is 0 where two features
    have latents of their own, and 1 where one latent carries both; then the feature of larger gain
    owns it. Rotations of the latent space do not change it, nor does its basis. It is 0 where a
    gain is 0, and 1 on the diagonal.
    """
    gram = state.gram(problem.features)
    size = jnp.sqrt(jnp.diagonal(gram))
    sizes = size[:, None] * size[None, :]
    cosines = jnp.abs(gram) / jnp.where(sizes > 0, sizes, 1)
    return jnp.where(jnp.eye(size.size, dtype=bool), 1, jnp.minimum(cosines, 1))


def noise_share(t: Time, state: AbstractState, problem: Problem) -> Float[Array, ""]:
    """Share of the representation's variance that the views do not have in common.

    1 − tr(W̄ Σyx W̄ᵀ) / tr(W̄ Σxx W̄ᵀ) = 1 − Σ λ w̄² / Σ σ² w̄²; for views x = z + n, y = z + n' of a
    signal z it is the share of the noise n.
    """
    features = problem.features
    power = state.gains(features) ** 2
    return 1 - jnp.sum(features.lam * power) / jnp.sum(features.variance * power)


def _maybe_array(value: ArrayLike | None) -> Float[Array, "..."] | None:
    return None if value is None else as_float_array(value)


class ProbeRisk(Checked):
    """The risk of a linear probe on the representation for a known signal s, as an observable.

    The best ridge regression of s on z = W̄ x, in the population:

        risk = (tr Σss − tr Σsx W̄ᵀ (W̄ Σxx W̄ᵀ + α I)⁻¹ W̄ Σxs) / tr Σss        in [0, 1]

    Without a ridge the risk of an encoder of full rank would not depend on its gains.

    ridge: α > 0.  cross: (q, d) Σsx = E[s xᵀ].  signal: (q, q) Σss. Without them s is what the
    views x = s + n and y = s + n' have in common, Σsx = Σss = Σyx.

    Raises ValueError where the ridge is not positive or one of cross and signal is missing.
    """

    name: ClassVar[str] = "probe_risk"
    ridge: Float[Array, ""] = eqx.field(converter=as_float_array)
    cross: Float[Array, "q d"] | None = eqx.field(converter=_maybe_array, default=None)
    signal: Float[Array, "q q"] | None = eqx.field(converter=_maybe_array, default=None)

    def __check_init__(self):
        checks.check_positive("ridge", self.ridge)
        if (self.cross is None) != (self.signal is None):
            checks.fail("cross", "be given together with `signal`", "not")

    def __call__(self, t: Time, state: AbstractState, problem: Problem) -> Float[Array, ""]:
        features = problem.features
        # In the parts c = vᵀx of the features, which do not correlate: z = W̄ P c, Σcc = diag(σ²).
        # Only the Gram matrix of W̄ P is needed, which every kind of state knows.
        if self.cross is None or self.signal is None:
            to_parts, power = features.patterns * features.lam[None, :], jnp.sum(features.lam)
        else:
            to_parts, power = self.cross @ features.basis, jnp.trace(self.signal)
        gram = state.gram(features)
        ridge = self.ridge.astype(gram.dtype) * jnp.eye(gram.shape[0], dtype=gram.dtype)
        seen = jnp.linalg.solve(gram * features.variance[None, :] + ridge, gram @ to_parts.T)
        return 1 - jnp.sum(to_parts.T * seen) / power


def weights(t: Time, state: AbstractState, problem: Problem) -> AbstractState:
    """The state itself: all matrices (`Weights`), or the reduced state (`Gains`)."""
    return state
