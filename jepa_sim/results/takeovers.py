"""Critical times of a JEPA from a start that is nearly aligned, with takeovers of latents."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import OptionalKey, Scalar, is_concrete
from jepa_sim.model.objectives import JEPA, product
from jepa_sim.model.problem import Problem, split_key
from jepa_sim.theory.takeovers import Takeovers, takeovers

NEARLY = 0.1  # a start whose δ is larger is not nearly aligned


@checked
def takeover_times(problem: Problem, *, fraction: Scalar, key: OptionalKey = None) -> Takeovers:
    """When each feature is learned, if cleaner features take over the latents of noisier ones.

    fraction: of each feature's own plateau, in (0, 1).  key: that of `simulate`, for a random
    start. The result has `first`, `last`: (d,) flow times at which a feature reaches it for the
    first time, and for good, and `taken`: (d, d) when feature i last took the latent of feature j,
    at [i, j]; inf where that does not happen.

    `critical_times` assumes that no feature ever takes over the latent of another one. Here what
    each latent carries of other features grows as well, from the start: for `Misaligned` with this
    key (without one, all pairs are off alike), from rounding for `Balanced`. It is integrated to
    first order, and takeovers follow each other (`jepa_sim/theory/takeovers.py`).

    From an aligned start, and from one that is off by 1e-3 or 1e-2, 90 % of first times are within
    0.1 to 4 % of the matrix flow's, in place of 0.1 to 100 % for `critical_times`. Last times are
    less exact: 90 % are within 1 to 9 % (`python -m benchmarks.takeovers`, L = 1 to 3). There are
    no derivatives.

    >>> moments = js.Moments.from_features(lam=[1.0, 2.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=1), js.Misaligned(1e-3, 1e-3))
    >>> found = js.takeover_times(problem, fraction=0.5, key=jax.random.key(0))
    >>> found.first.round(), found.last.round()
    (Array([567., 506.], dtype=float64), Array([567., 787.], dtype=float64))

    Raises ValueError where the objective is no `JEPA` with a stop-gradient, the start is neither
    balanced nor nearly aligned, or the fraction out of range.
    """
    checks.check_open_unit("fraction", fraction)
    if not isinstance(problem.objective, JEPA):
        checks.fail("objective", "be JEPA for `takeover_times`", problem.objective.name)
    reduced = problem.reduced("takeover_times").with_known_curve()
    delta = problem.start.misalignment(problem.features.lam.size)
    if is_concrete(delta) and float(delta) > NEARLY:
        rule = f"be nearly aligned (δ at most {NEARLY}) for `takeover_times`"
        checks.fail("start", rule, f"off by {float(delta):.3g}")
    turned = _turned(problem, key)
    return _events(reduced, turned, jnp.asarray(fraction, problem.moments.xx.dtype))


@eqx.filter_jit
def _events(problem: Problem, turned: Float[Array, "d d"], fraction: Float[Array, ""]) -> Takeovers:
    # where patterns overlap, a learned latent carries at least as much of another feature
    return takeovers(problem.flow, turned, problem.features.overlap, fraction)


def _turned(problem: Problem, key: OptionalKey) -> Float[Array, "d d"]:
    """(d, d) how much the predictor is turned, in the basis of latents, at the start.

    Without a key all pairs are turned by the root mean square.
    """
    features = problem.features
    size = features.lam.size
    if key is None:
        delta = problem.start.misalignment(size).astype(features.lam.dtype)
        above = jnp.triu(jnp.full((size, size), delta), 1)
    else:
        weights = problem.weights(split_key(key)[0])
        latents = product(weights.encoder) @ features.patterns / problem.scale
        gain = problem.scale ** (problem.predictor_depth / problem.depth)
        above = latents.T @ product(weights.predictor) @ latents / gain / 2
    return above - above.T
