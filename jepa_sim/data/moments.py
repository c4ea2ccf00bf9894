"""Second moments of a pair of views, and the features they define.

A deep linear network with a quadratic loss depends on the data only through three matrices:

    Σxx = E[x xᵀ],   Σyx = E[y xᵀ],   Σyy = E[y yᵀ]        x: context, y: target

Features are the generalised eigenvectors Σyx v = ρ Σxx v. Where the moments commute they are the
common eigenvectors, σ² and λ are their eigenvalues, and ρ = λ/σ² is the regression coefficient
("influence", Littwin et al., arXiv 2407.03475).
"""

from collections.abc import Iterable

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked, checked
from jepa_sim.arguments.types import ArrayLike, Number, as_float_array, is_concrete, to_numpy
from jepa_sim.data.actions import Actions, of_each, probabilities
from jepa_sim.data.eigen import action_features, regression_features, symmetric_features
from jepa_sim.data.features import Features, common_features, feature_columns, turning
from jepa_sim.data.pairs import angles, nearest_pairs, planes, turned_features
from jepa_sim.data.running import RunningMoments, gathered
from jepa_sim.numerics.display import numbers
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.numerics.display.shows import Shows, require_single

SHOWN = 500  # to print the features of larger moments, they are not solved for: it takes seconds


class Moments(Shows, Checked):
    """Second moments of a context x of dimension d and a target y, of dimension dy (mostly d too).

    xx: (d, d) Σxx, symmetric positive definite.  yx: (dy, d) Σyx = E[y xᵀ].
    yy: (dy, dy) Σyy, symmetric positive semidefinite. None takes y to be its linear regression on
    x, Σyy = Σyx Σxx⁻¹ Σxy, the least that is possible; losses are then the excess over the noise in
    y that no predictor can remove.
    actions: what is known of the actions that join x and y; None except after `from_actions`.

    >>> moments = js.Moments(xx=[[2.0, 0.5], [0.5, 1.0]], yx=[[1.0, 0.5], [0.5, 0.5]])
    >>> moments.features().rho.round(3)
    Array([0.631, 0.227], dtype=float64)
    >>> moments
    Moments
      x        d = 2, total variance tr Σxx = 3
      y        dy = 2, total variance tr Σyy = 0.8571
      commute  no (commutator 0.114, asymmetry 0, overlap 0.3333)
      feature       λ       ρ      σ²
            0    1.28  0.6306    2.03
            1  0.2197  0.2265  0.9697

    Raises ValueError where a matrix is not square, not finite, not symmetric or not positive
    definite, or where no pair (x, y) has these moments. Warns (`AmplifiedWarning`) of ρ above 1.
    """

    xx: Float[Array, "*lanes d d"]
    yx: Float[Array, "*lanes dy d"]
    yy: Float[Array, "*lanes dy dy"]
    actions: Actions | None
    _known: Features | None

    def __init__(self, xx: ArrayLike, yx: ArrayLike, yy: ArrayLike | None = None):
        checks.check_covariance("xx", xx, definite=True)
        d = np.shape(xx)[0]
        if np.ndim(yx) != 2 or np.shape(yx)[1] != d or np.size(yx) == 0:
            checks.fail("yx", f"be of shape (dy, {d})", f"of shape {np.shape(yx)}")
        checks.check_finite("yx", yx)
        self.xx, self.yx = as_float_array(xx), as_float_array(yx)
        if yy is None:
            self.yy = self.yx @ jnp.linalg.solve(self.xx, self.yx.T)
        else:
            checks.check_covariance("yy", yy, np.shape(yx)[0], definite=False)
            checks.check_joint(xx, yx, yy)
            self.yy = as_float_array(yy)
        self.actions = self._known = None
        if self.yx.shape == self.xx.shape and is_concrete(self.xx, self.yx):
            self._known = turned_features(self.xx, self.yx, self.yy)
        if is_concrete(xx, yx) and np.shape(yx)[0] == d:
            checks.warn_where_amplified(_largest_rho(xx, yx))

    @classmethod
    @checked
    def from_features(
        cls,
        lam: ArrayLike,
        rho: ArrayLike,
        target_variance: ArrayLike | None = None,
        angle: ArrayLike | None = None,
    ) -> "Moments":
        """Diagonal moments with Σyx = diag(λ), Σxx = diag(λ/ρ).

        lam, rho: (d,), with λ/ρ > 0.  target_variance: (d,) the diagonal of Σyy, at least λρ (the
        default, see the class).  angle: (d,) by which features turn, in radians. Two neighbours of
        one λ > 0 and one ρ with the angles θ and −θ, 0 < θ < π, are a pair, of which Σyx has the
        block λ R(θ); all others have the angle 0. The features keep the order in which they are
        given.

        >>> js.Moments.from_features(lam=[1, 1], rho=[0.5, 0.5], angle=[1.2, -1.2]).yx.round(2)
        Array([[ 0.36, -0.93],
               [ 0.93,  0.36]], dtype=float64)

        Raises ValueError where shapes differ, an entry is not finite, λ/ρ is not positive, or
        features that turn are no pairs.
        """
        if np.ndim(lam) != 1 or np.size(lam) < 1:
            checks.fail("lam", "be a list of at least one number", f"of shape {np.shape(lam)}")
        if np.shape(rho) != np.shape(lam):
            checks.fail("rho", f"be of the shape of `lam`, {np.shape(lam)}", f"of {np.shape(rho)}")
        checks.check_finite("lam", lam)
        checks.check_finite("rho", rho)
        if is_concrete(rho, lam):
            if (to_numpy(rho) == 0).any():
                checks.fail("rho", "not be zero (the variance λ/ρ is undefined)", "0")
            checks.check_positive("lam / rho", to_numpy(lam) / to_numpy(rho))
        lam, rho = as_float_array(lam), as_float_array(rho)
        variance = lam / rho
        target = lam * rho if target_variance is None else as_float_array(target_variance)
        identity = jnp.asarray(np.eye(lam.size), lam.dtype)  # `jnp.eye` would be five programs
        turn = None if angle is None else angles(angle, lam, rho, target)
        yx = jnp.diag(lam) if turn is None else turning(lam, turn)
        moments = cls(jnp.diag(variance), yx, jnp.diag(target))
        return moments.with_features(common_features(lam, rho, variance, target, identity, turn))

    @classmethod
    @checked
    def from_actions(
        cls, xx: ArrayLike, yx: ArrayLike, probability: ArrayLike, yy: ArrayLike | None = None
    ) -> "Moments":
        """Moments of x and of what follows it, y, under each of A actions.

        yx: (A, d, d) Σyx^a = E[y xᵀ | a].  probability: (A,) p_a, positive, of sum 1.
        xx: (d, d) Σxx, where the action does not depend on x; (A, d, d) E[x xᵀ | a] where it does.
        yy: (A, d, d) E[y yᵀ | a], or one for all; None: the least that is possible (see the class).

        The network for them has a predictor for every action, `DeepLinear(…, frames=(1, A))`: y is
        a stack of A frames, of which a pair (x, y) fills that of its action. So `yx` becomes the
        stack of p_a Σyx^a, (A d, d), and `yy` has the p_a Σyy^a as its diagonal blocks. `blind`
        gives the moments for one predictor that is not told the action.

        >>> lift, drop = [[0.5, 0.0], [0.0, 0.5]], [[-0.5, 0.0], [0.0, 0.5]]
        >>> moments = js.Moments.from_actions([[1.0, 0.0], [0.0, 1.0]], [lift, drop], [0.5, 0.5])
        >>> moments.features().rho_by_action
        Array([[ 0.5,  0.5],
               [-0.5,  0.5]], dtype=float64)
        >>> moments.blind().features().rho
        Array([0.5, 0. ], dtype=float64)

        Raises ValueError where shapes do not fit, probabilities are not positive or do not add up
        to 1, or the moments under one action are no moments.
        """
        if np.ndim(yx) != 3 or np.shape(yx)[1] != np.shape(yx)[2] or np.size(yx) == 0:
            checks.fail("yx", "be of shape (A, d, d)", f"of shape {np.shape(yx)}")
        count, d, _ = np.shape(yx)
        p = probabilities("probability", probability, count)
        xx = of_each("xx", xx, (count, d, d))
        yy = None if yy is None else of_each("yy", yy, (count, d, d))
        each = [  # each by itself is checked as moments are
            cls(xx[a], as_float_array(yx)[a], None if yy is None else yy[a]) for a in range(count)
        ]
        share = p[:, None, None]
        xx, yx, yy = (share * jnp.stack([getattr(m, n) for m in each]) for n in ("xx", "yx", "yy"))
        stack = (jnp.sum(xx, axis=0), yx.reshape(-1, d), jsl.block_diag(*yy), Actions(p, xx))
        return eqx.tree_at(
            lambda m: (m.xx, m.yx, m.yy, m.actions, m._known),
            each[0],
            (*stack, None),
            is_leaf=lambda x: x is None,
        )

    def given_actions(self) -> "list[Moments]":
        """The moments given each action, E[· | a]: ordinary moments, one for each."""
        if self.actions is None:
            return [self]
        share = self.actions.probability[:, None, None]
        shape = self.actions.xx.shape
        yy = jnp.einsum("aiaj->aij", self._blocks((1, self.actions.count))[2])
        every = (self.actions.xx / share, self.yx.reshape(shape) / share, yy / share)
        return [
            eqx.tree_at(
                lambda m: (m.xx, m.yx, m.yy, m.actions, m._known),
                self,
                (*one, None, None),
                is_leaf=lambda x: x is None,
            )
            for one in zip(*every, strict=True)
        ]

    def blind(self) -> "Moments":
        """The moments for one predictor that is not told the action: Σyx = Σ_a p_a Σyx^a.

        Its features are solved for anew, and ordered by their own ρ.
        """
        if self.actions is None:
            return self
        _, yx, yy = self._blocks((1, self.actions.count))
        return Moments(self.xx, jnp.sum(yx, axis=(0, 2)), jnp.einsum("aiaj->ij", yy))

    @classmethod
    @checked
    def from_samples(
        cls,
        x: ArrayLike | Iterable[tuple[ArrayLike, ...]],
        y: ArrayLike | None = None,
        *,
        actions: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        center: bool = True,
        shrinkage: Number = 0.0,
    ) -> "Moments":
        """Moments estimated from samples, in one pass, in double precision on the host.

        x: (n, d) and y: (n, dy) arrays; or one iterable of (x, y) batches of any sizes, so that the
        samples need never be in memory together.  actions: (n,) whole numbers 0, …, A − 1, the
        action that joins x and y, for the moments of `from_actions`; batches are then (x, y, a).
        Probabilities are the shares of the samples.
        groups: (n,) labels, such as the number of the trajectory that a sample is from (not for
        batches). The means of each group are subtracted from its samples, so that what never
        changes within a group, a frozen distractor, has no variance.
        center: subtract the sample means (the linear network has no bias); False gives raw second
        moments.
        shrinkage: s in [0, 1), for few samples. Moments become Σxx ← (1 − s) Σxx + s (tr Σxx / d) I
        (Ledoit & Wolf 2004), likewise Σyy, and Σyx ← (1 − s) Σyx. So ρ is that of ridge regression,
        λ/(σ² + s/(1 − s) tr Σxx / d), and small noisy features no longer come out with a large ρ.
        `sklearn.covariance.ledoit_wolf_shrinkage(x)` estimates the best s. `standard_errors` says
        how sure λ and ρ are.

        Batches are merged by the update of Chan, Golub & LeVeque (1983), which subtracts the mean
        before it squares, so that a large mean costs no digits.

        Raises ValueError where shapes do not fit, an entry is not finite, s is not in [0, 1), or
        the samples (of each action) do not span all d dimensions (for s > 0 they need not).
        """
        if not 0 <= shrinkage < 1:
            checks.fail("shrinkage", "be at least 0 and below 1", shrinkage)
        running = gathered(x, y, actions, groups, center)
        if isinstance(running, RunningMoments):
            return cls(*running.moments(float(shrinkage)))
        return cls.from_actions(*running.moments(float(shrinkage)))

    @property
    def dimension(self) -> int:
        """d, the dimension of x."""
        return self.xx.shape[-1]

    @property
    def target_dimension(self) -> int:
        """dy, the dimension of y."""
        return self.yx.shape[-2]

    @checked
    def features(self, frames: tuple[int, int] = (1, 1)) -> Features:
        """The generalised eigenvectors of (Σyx, Σxx), by falling ρ, or as given to `from_features`.

        frames: (n_c, n_t), how many frames x and y are stacks of; features are those of one frame,
        with Σxx and Σyy averaged over frames and Σyx over all pairs of frames.

        Where Σyx is not symmetric, but commutes with its transpose and with Σxx, features are pairs
        that turn (`Features.angle`). Of any other Σyx, of one that is traced, and of several frames
        the symmetric part is taken, and `asymmetry` says how much was left out. Features of equal
        ρ are told apart by their variance: of all bases of their subspace the one that is
        orthogonal too is taken, which is that of the common eigenvectors where moments commute.
        Differentiable where all ρ differ.

        Where dy ≠ d features are those of the regression of y on x: with Σxx = C Cᵀ and the
        singular values Σyx C⁻ᵀ = Σ s u rᵀ they have v ∝ C⁻ᵀ r, target basis u and λρ = s². The
        d − dy last ones of a smaller target have λ = 0.

        With actions, features are the eigenvectors Σ_a (Σyx^a)ᵀ Σxx⁻¹ Σyx^a v = ρ² Σxx v: where
        moments commute ρ² = Σ_a ρ_a², and `Features.rho_by_action` has the ρ_a with their signs.

        Raises ValueError where x and y are not stacks of so many frames.
        """
        known = self._known
        # those that the moments found by themselves are of all frames together
        if known is not None and (
            frames == (1, 1) or known.lam.shape[-1] * frames[0] == self.dimension
        ):
            return known
        if self.actions is not None:
            blind = self.blind()
            return action_features(blind.xx, blind.yx, blind.yy, self._regressions())
        if frames != (1, 1):
            return self._per_frame(frames).features()
        if self.target_dimension != self.dimension:
            return regression_features(self.xx, self.yx, self.yy)
        return symmetric_features(self.xx, self.yx, self.yy)

    @property
    def turns(self) -> bool:
        """Whether some features are pairs that turn (see `Features.angle`)."""
        return self._known is not None and self._known.angle is not None

    @checked
    def paired(self, tolerance: Number = 0.1) -> "Moments":
        """The nearest moments whose features are pairs or do not turn: for moments of samples.

        Those of samples are never exactly pairs. What does not fit into pairs of a common basis is
        left out here.  tolerance: the largest share of Σxx or of Σyx that may be left out, as a
        Frobenius norm.

        Raises ValueError where more would be left out, or y is not of the dimension of x.
        """
        checks.check_positive("tolerance", tolerance)
        if self.target_dimension != self.dimension:
            checks.fail("yx", "have as many rows as columns for pairs", f"of {self.yx.shape}")
        *matrices, known = nearest_pairs(self.xx, self.yx, self.yy, float(tolerance))
        return Moments(*matrices).with_features(known)

    def _regressions(self) -> Float[Array, "a d d"]:
        """Σyx^a (Σxx^a)⁻¹ of every action."""
        assert self.actions is not None
        xx, yx = self.actions.xx, self.yx.reshape(self.actions.xx.shape)
        return jnp.linalg.solve(xx, yx.swapaxes(1, 2)).swapaxes(1, 2)

    def _per_frame(self, frames: tuple[int, int]) -> "Moments":
        sizes = {"x": (self.dimension, frames[0]), "y": (self.target_dimension, frames[1])}
        for i, (name, (size, count)) in enumerate(sizes.items()):
            checks.check_integer_from(f"frames[{i}]", count, 1)
            if size % count:
                checks.fail(f"frames[{i}]", f"divide the {size} entries of {name}", count)
        xx, yx, yy = self._blocks(frames)
        xx, yy = (jnp.einsum("iaib->ab", blocks) / len(blocks) for blocks in (xx, yy))
        mean = (xx, jnp.mean(yx, axis=(0, 2)), yy)
        return eqx.tree_at(lambda m: (m.xx, m.yx, m.yy), self, mean)

    def per_feature(self, features: Features, frames: tuple[int, int] = (1, 1)) -> "Moments":
        """Moments of each feature by itself, with a leading axis over features.

        xx: (d, n_c, n_c) of vᵀx in every context frame; yx, yy with the features' target basis.
        Where moments commute, these hold all of the moments. Where features turn, these are
        matrices (d, 2, 2), of the plane of each feature and its partner, or of two copies of a
        feature that does not turn.
        """
        # the known features are those of all moments together, not of one feature
        bare = eqx.tree_at(lambda m: m._known, self, None, is_leaf=lambda x: x is None)
        if features.angle is not None:
            alone = planes(features, features.angle)
            return eqx.tree_at(lambda m: (m.xx, m.yx, m.yy), bare, alone)
        v, u = features.basis, features.target_basis
        of_one = (
            jnp.einsum("af,iajb,bf->fij", left, blocks, right)
            for left, blocks, right in zip((v, u, u), self._blocks(frames), (v, v, u), strict=True)
        )
        actions = self.actions
        if actions is not None:
            power = jnp.einsum("if,aij,jf->fa", v, actions.xx, v)
            each = jnp.broadcast_to(actions.probability[None, :], power.shape)
            actions = Actions(each, power[:, :, None, None])
        return eqx.tree_at(
            lambda m: (m.xx, m.yx, m.yy, m.actions),
            bare,
            (*of_one, actions),
            is_leaf=lambda x: x is None,
        )

    def _blocks(self, frames: tuple[int, int]) -> list[Float[Array, "m a n b"]]:
        """Σxx, Σyx and Σyy as blocks, one for every pair of frames: axes (frame, entry) twice."""
        x, y = frames
        counts = ((self.xx, x, x), (self.yx, y, x), (self.yy, y, y))
        return [m.reshape(i, m.shape[0] // i, j, m.shape[1] // j) for m, i, j in counts]

    def with_features(self, features: Features) -> "Moments":
        """These moments with their features known, so that `features()` need not solve for them."""
        return eqx.tree_at(lambda m: m._known, self, features, is_leaf=lambda x: x is None)

    def _sheet(self) -> Sheet:
        require_single((self.xx, 2), (self.yx, 2), (self.yy, 2))
        d, dy = self.dimension, self.target_dimension
        in_x, in_y = (numbers.number(np.trace(np.asarray(m))) for m in (self.xx, self.yy))
        facts = {
            "x": f"d = {d:,}, total variance tr Σxx = {in_x}",
            "y": f"dy = {dy:,}, total variance tr Σyy = {in_y}",
        }
        if self.actions is not None:
            shares = numbers.listed(self.actions.probability.tolist())
            facts["y"] = f"dy = {d:,}, total variance tr Σyy = {in_y}"
            facts["actions"] = f"{self.actions.count}, of probabilities {shares}"
        if d > SHOWN and self._known is None:
            return Sheet("Moments", {**facts, "features": "`features()` solves for them"})
        features = _solved(self)
        return Sheet("Moments", {**facts, **features._facts()}, feature_columns(features))


# One program: it compiles in half the time of its operations one by one.
_solved = eqx.filter_jit(Moments.features)


def _largest_rho(xx: ArrayLike, yx: ArrayLike) -> float:
    """The largest ρ of Σyx v = ρ Σxx v, of the symmetric part of Σyx."""
    factor, symmetric = np.linalg.cholesky(to_numpy(xx)), (to_numpy(yx) + to_numpy(yx).T) / 2
    whitened = np.linalg.solve(factor, np.linalg.solve(factor, symmetric).T)
    return float(np.linalg.eigvalsh((whitened + whitened.T) / 2)[-1])
