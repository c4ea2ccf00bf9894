"""A problem says what is simulated; a solver says how."""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked, checked
from jepa_sim.arguments.types import OptionalKey, is_concrete, to_numpy
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.conditions import reduced_of
from jepa_sim.model.equilibria import Equilibria, Layers, level
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.rest import equilibria_of, line_of, plateaus_of, told_of
from jepa_sim.model.starts import AbstractStart, effective, frame_sizes
from jepa_sim.model.state import Gains, Weights
from jepa_sim.model.summary import sheet_of
from jepa_sim.model.training import Training
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.numerics.display.shows import Shows
from jepa_sim.theory import LARGEST_C, Curve, Line, ReducedFlow, Told, curve_parameter, make_curve


class Problem(Shows, Checked):
    """Moments, an objective, a network and its start, and how its factors are trained.

    It says what is simulated, in flow time; the solver says how. The constructor checks whether
    moments, objective and frames fit together. `simulate` checks whether the start fits, and
    whether depths are whole.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=3), js.Balanced(scale=1e-2))
    >>> problem.plateaus
    Array([0.729, 0.027], dtype=float64)
    >>> problem
    Problem: JEPA, L = 3, M = 1, 2 features
      start  Balanced, ε = 0.01
      feature  λ    ρ     σ²  plateau w̄*
            0  1  0.9  1.111        0.729
            1  1  0.3  3.333        0.027

    Raises ValueError where the parts do not fit together; methods do where the reduced theory does
    not apply.
    """

    moments: Moments
    objective: AbstractObjective
    network: DeepLinear
    start: AbstractStart
    training: Training = eqx.field(default_factory=Training)
    curve: Curve | None = eqx.field(default=None, repr=False)

    def __check_init__(self):
        frame_sizes(self.moments, self.objective, self.network)

    @property
    def features(self) -> Features:
        """The features of the moments (of one frame, where x and y are stacks of frames)."""
        return self.moments.features(self.network.frames)

    @property
    def depth(self) -> Float[Array, ""]:
        """L as a floating-point number."""
        return jnp.asarray(self.network.depth, self.moments.xx.dtype)

    @property
    def predictor_depth(self) -> Float[Array, ""]:
        """M as a floating-point number."""
        return jnp.asarray(self.network.predictor_depth, self.moments.xx.dtype)

    @property
    def scale(self) -> Float[Array, ""]:
        """ε, the encoder gain of the start."""
        return jnp.asarray(self.start.scale, self.moments.xx.dtype)

    @property
    def start_gains(self) -> Float[Array, "*d"]:
        """w̄ of features at time 0 in the reduced theory: ε, or (d,) where features differ."""
        return jnp.asarray(self.start.gains_of(self.features), self.moments.xx.dtype)

    @property
    def exponents(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """(a, b) of the reduced flow u̇ = u^a (λ − σ² u^b), as floating-point numbers."""
        a, b = self.objective.exponents(self.depth, self.predictor_depth)
        return jnp.asarray(a), jnp.asarray(b)

    @property
    def coefficients(self) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """(λ, σ²) of the reduced flow of every feature, per unit of flow time."""
        lam, variance = self.objective.coefficients(self.features)
        rate = self.training.encoder_rate.astype(lam.dtype) * self.pace
        return rate * lam, rate * variance

    @property
    def pace(self) -> Float[Array, "*d"]:
        """1; with actions ‖(p_a ρ_a)_a‖ / ‖(ρ_a)_a‖, how fast the predictors grow at first."""
        sent, actions = self.features.sent, self.moments.actions
        if actions is None or sent is None:
            return jnp.ones((), self.moments.xx.dtype)
        power, shares = jnp.sum(sent**2, axis=1), actions.probability[:, None] ** 2
        nothing = jnp.sum(power, axis=0) == 0  # a feature that no action keeps
        power = jnp.where(nothing[None, :], 1, power)
        return jnp.sqrt(jnp.sum(shares * power, axis=0) / jnp.sum(power, axis=0))

    @property
    def flow(self) -> ReducedFlow:
        """The reduced flow of every feature, per unit of flow time."""
        lam, variance = self.coefficients
        a, b = self.exponents
        return ReducedFlow(lam, variance, self.start_gains, self.depth, a, b, self._made_curve())

    @property
    def line(self) -> Line | None:
        """The straight way of what is learned of every feature, where it is known; else None.

        It is known from a level start that is balanced, also where features turn, and for a JEPA
        with M = 1 where the predictor is not as large as the encoder.
        """
        return line_of(self)

    @property
    def told(self) -> Told | None:
        """How the predictors that are told the action learn each feature, where known; else None.

        It is known for a JEPA with M = 1, from a level start that is balanced, and exact where
        moments commute and no action turns features.
        """
        return told_of(self)

    def with_curve(self) -> "Problem":
        """This problem with its curve made, so that compiled programs need not make it."""
        # is_leaf: else a None is no place in the tree, and cannot be replaced
        return eqx.tree_at(lambda p: p.curve, self, self._made_curve(), is_leaf=lambda x: x is None)

    def _made_curve(self) -> Curve:
        depths = (self.network.depth, self.network.predictor_depth)
        known = is_concrete(depths, self.objective)
        if self.curve is not None and not known:
            return self.curve  # made outside of the program that traces the depths
        a, b = self.objective.exponents(*map(float, depths)) if known else self.exponents
        return make_curve(curve_parameter(a, b), self.moments.xx.dtype)

    def with_known_curve(self) -> "Problem":
        """`with_curve`, with a ValueError where depths are out of the range of curves."""
        curve = self._made_curve()
        if is_concrete(curve.c) and np.isnan(to_numpy(curve.c)):
            a, b = (float(x) for x in self.exponents)
            rule = f"make c = (a − 1)/b of the flow u^a (λ − σ² u^b) be in [0, {LARGEST_C:g})"
            checks.fail("depth", rule, f"{float(self.depth):g} (c = {curve_parameter(a, b):g})")
        curve = curve.suited_to(self.objective.coefficients(self.features)[0])
        return eqx.tree_at(lambda p: p.curve, self, curve, is_leaf=lambda x: x is None)

    @property
    def equilibria(self) -> Equilibria:
        """Where features come to rest from an aligned start, and which decay they survive.

        All is NaN where that is not known: with a predictor set by a formula, with several frames,
        for an objective without a reduced flow, and, without stop-gradient, for a target that x
        predicts without error. Without stop-gradient everything else collapses.
        """
        return equilibria_of(self)

    @property
    def layers(self) -> Layers:
        """The layers of every feature at time 0.

        Where the start does not say, they are those of an aligned start of the same scale.

        Raises ValueError where a start of given factors does not fit the network.
        """
        if self.start.keeps_differences:
            self.check_start()
        features = self.features
        found = self.start.layers(features, self.objective, self.depth)
        if found is not None:
            return found
        square = jnp.full_like(features.lam, 1) * self.start_gains ** (2 / self.depth)
        return level(square, square)

    @property
    def rest(self) -> Equilibria:
        """The older name of `equilibria`, which version 0.3 will not know."""
        about = "`Problem.rest` is called `Problem.equilibria` since version 0.2."
        warnings.warn(about, DeprecationWarning, stacklevel=2)
        return self.equilibria

    @property
    def plateaus(self) -> Float[Array, " d"]:
        """w̄*: where the encoder gain of each feature settles from an aligned start.

        It is ρ^{L/M} for JEPA and ρ^{L/(L+M)} for MAE, lower with weight decay, and 0 where a
        feature cannot be learned (ρ ≤ 0, too much decay, no stop-gradient). For several frames ρ is
        replaced by the norm of the regression coefficients over frames, ‖Σyx Σxx⁻¹‖ of the feature.
        These are the plateaus of the reduced theory: where moments do not commute, the matrix flow
        ends some percent lower. They are NaN where the objective has no reduced flow.
        """
        return plateaus_of(self)

    @property
    def is_plain(self) -> bool:
        """Whether features follow the reduced flow once they are aligned and balanced.

        For that the objective must have a reduced flow, the predictor must be learned, without
        weight decay and with one learning rate, the teacher must be the encoder itself with
        stop-gradient, frames must be single, no feature may turn, and the start must have no
        differences between layers, which the flow would keep.
        """
        has_copy = self.objective.teacher.time_constant is not None
        return self.ends_at_plateaus and not has_copy and self._is_single

    @property
    def turns_as_known(self) -> bool:
        """Whether the objective's `turning` holds; unlike `is_plain`, a teacher may be a copy."""
        return self.ends_at_plateaus and self._is_single

    @property
    def rests_as_known(self) -> bool:
        """Whether `turning_at` holds at the gains at rest, if the decays of both sides are one."""
        flows = self.objective.has_reduced_flow and not self.objective.teacher.passes_gradient
        trained = self.objective.uses_predictor and self.training.predictor.is_learned
        return flows and trained and self._is_single and not self.start.keeps_differences

    @property
    def _is_single(self) -> bool:
        """Whether frames are single, and no feature turns."""
        return self.network.frames == (1, 1) and not self.moments.turns

    @property
    def ends_at_plateaus(self) -> bool:
        """Whether a learned feature ends where the regression says.

        A teacher's copy changes when it gets there, and several frames how large the regression is.
        """
        flows = self.objective.has_reduced_flow and not self.objective.teacher.passes_gradient
        return flows and self.training.is_scaled and not self.start.keeps_differences

    @property
    def is_narrow(self) -> bool:
        """Whether the encoder is a bottleneck, in which features compete."""
        return self.network.latent(self.features.lam.size) < self.features.lam.size

    @property
    def kept(self) -> Bool[Array, " d"] | None:
        """(d,) which features the encoder keeps for good; None where that is not known.

        A bottleneck of k rows keeps the k that the objective prefers, of those that can be learned:
        a JEPA those of largest ρ, an MAE those of largest λρ, Barlow Twins those of largest λ. From
        random starts a JEPA did so in all runs of `notebooks/laboratory/narrow.py` that had learned
        k features in time, and an MAE in nearly all: it may stay at others that fill its rows. With
        a slow teacher it takes many time constants.
        """
        preference = self.objective.preference(self.features)
        if is_concrete(preference) and np.isnan(to_numpy(preference)).any():
            return None
        if self.training.predictor.is_fixed:
            return None
        rank = jnp.argsort(jnp.argsort(-preference))
        return (preference > 0) & (rank < self.network.latent(preference.size))

    @property
    def starts_level(self) -> bool:
        """Whether all features have the gain ε at time 0."""
        return self.start.is_level and not self.is_narrow

    @checked
    def weights(self, key: OptionalKey = None) -> Weights:
        """The matrices at time 0, with the teacher's copy where the objective keeps one.

        key: for a random start.

        Raises ValueError where the start is random and there is no key, where `key` is no key, and
        where the start does not fit the network.
        """
        self.check_key(key)
        found = self.start.weights(self.moments, self.objective, self.network, key)
        if self.objective.teacher.time_constant is None:
            return found
        return Weights(found.encoder, found.predictor, found.encoder)

    def separate(self) -> "Problem":
        """One problem per feature, of width one: all in one, with a leading axis over features.

        This is what a diagonal network does. It is exact where moments commute and the start is
        aligned.
        """
        alone = self.moments.per_feature(self.features, self.network.frames)
        network = dataclasses.replace(self.network, width=None)
        return eqx.tree_at(
            lambda p: (p.moments, p.network), self, (alone, network), is_leaf=lambda x: x is None
        )

    def check(self) -> None:
        """ValueError where moments, objective, network, start and training do not fit together."""
        self.network.whole()
        d, _ = frame_sizes(self.moments, self.objective, self.network)
        self.check_start()
        self.training.predictor.check(self.objective, self.network, d)

    def check_start(self) -> None:
        """ValueError where the start does not fit the network, if its depths are whole numbers."""
        depths = (self.network.depth, self.network.predictor_depth)
        if is_concrete(depths) and not any(float(depth) % 1 for depth in depths):
            jax.eval_shape(self.weights, jr.key(0))

    def check_read(self, what: str) -> None:
        """ValueError where y has fewer entries than x: no predictor reads the features beyond them.

        Those features stay at ε, which the theory of single features does not describe.
        """
        frames, moments = self.network.frames, self.moments
        d, dy = moments.dimension // frames[0], moments.target_dimension // frames[1]
        if dy < d:
            rule = f"have at least as many rows as columns, {d}, for `{what}` (see `GradientFlow`)"
            checks.fail("moments.yx", rule, f"of {dy} rows")

    def check_turn(self, what: str) -> None:
        """An `AsymmetryWarning` where Σyx turns features, but not in pairs."""
        if not self.moments.turns and self.network.frames == (1, 1):
            checks.warn_where_asymmetric(self.moments.yx, what)

    def check_flow(self, what: str) -> None:
        """ValueError where the objective has no reduced flow, which `what` needs."""
        if not self.objective.has_reduced_flow:
            found = f"{self.objective.name}, without `exponents` and `coefficients`"
            checks.fail("objective", f"have a reduced flow for `{what}`", found)

    def reduced(self, what: str) -> "Problem":
        """The problem in the form that the reduced theory needs: depths are traced numbers.

        ValueError where the reduced theory does not apply; the message names `what` needs it.
        """
        return reduced_of(self, what)

    def check_key(self, key: OptionalKey) -> None:
        """ValueError where the start is random and there is no key."""
        if self.start.is_random and key is None:
            checks.fail("key", "be given for a random start", key)

    @property
    def has_effective_start(self) -> bool:
        """Whether the start is random, and acts in the reduced theory as an aligned one."""
        return self.objective.has_effective_starts and self.start.knows_basis

    def effective(self, key: OptionalKey) -> "Problem":
        """The problem from its effective start, where it has one; else as it is.

        key: that of `simulate`.  ValueError where it is needed, and is None.
        """
        if not self.has_effective_start:
            return self
        self.check_key(key)
        assert key is not None
        features, (start_key, _) = self.features, split_key(key)
        gains, basis = self.start.right_basis(features, start_key)
        start = effective(gains, basis, features, self.depth, self.predictor_depth)
        return eqx.tree_at(lambda p: p.start, self, start)

    def gains(self, log_u: Float[Array, " d"], gap: Float[Array, " d"]) -> Gains:
        """The reduced state at the singular values u."""
        return Gains(log_u, gap, self.depth, self.predictor_depth)

    def _sheet(self) -> Sheet:
        return sheet_of(self)


def split_key(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """From the key of a run to that of its start and that of its solver."""
    start_key, own_key = jr.split(key)
    return start_key, own_key
