"""Critical times in the reduced theory: exact, and for a small start.

t* is the first time at which a feature's encoder gain w̄ reaches a fraction of its own plateau, or
a level common to all features. The two can put features in different orders. Times are flow times
(t = kα for step k of gradient descent with learning rate α); the formulas of Littwin et al. use
τ = L t.
"""

import math
import warnings

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import OptionalKey, Scalar
from jepa_sim.model.conditions import check_mixing
from jepa_sim.model.problem import Problem
from jepa_sim.results.trust import Trust, trust_in, warn_where_displaced

Target = Float[Array, ""] | None


def check_target(
    problem: Problem, fraction: Scalar | None, level: Scalar | None
) -> tuple[Target, Target]:
    """Fraction and level as arrays. ValueError unless exactly one is given, and is in range."""
    if (fraction is None) == (level is None):
        checks.fail("fraction", "be given, or else `level`, and not both", f"{fraction}, {level}")
    dtype = problem.moments.xx.dtype
    if fraction is not None:
        checks.check_open_unit("fraction", fraction)
        return jnp.asarray(fraction, dtype), None
    level = jnp.asarray(level, dtype)
    checks.check_positive("level", level)
    return None, level


def critical_level(problem: Problem, fraction: Target, level: Target) -> Float[Array, " d"]:
    """(d,) the gain w̄ to be reached; inf for a fraction of a plateau 0, NaN of an unknown one."""
    plateaus = problem.plateaus
    if fraction is not None:
        return jnp.where(plateaus == 0, jnp.inf, fraction * plateaus)
    return jnp.broadcast_to(jnp.asarray(level), plateaus.shape)


@checked
def critical_times(
    problem: Problem,
    *,
    fraction: Scalar | None = None,
    level: Scalar | None = None,
    key: OptionalKey = None,
) -> Float[Array, " d"]:
    """(d,) exact critical times of the reduced theory, in flow time.

    fraction: of each feature's own plateau ρ^{L/b}, in (0, 1).  level: of w̄, the same for all.
    Exactly one of them is given.  key: that of `simulate`, where the start is random: for an MAE
    from `RandomBalanced`, whose times are then approximate (0.1 % off in the median at L = 1, and 1
    to 4 % in deeper networks).

    The time is 0 where a feature starts there or above, and inf where it never gets there: ρ ≤ 0,
    or a level at or above the plateau. Differentiable in the moments, the scale and the target.

    t* = [G(x) − G(x₀)] / (σ² u*^{a+b−1}), with G the universal curve of the exponents (a, b). With
    actions it is an integral (`jepa_sim/theory/told.py`), for a JEPA with M = 1 and a level start.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=3), js.Balanced(scale=1e-2))
    >>> js.critical_times(problem, fraction=0.5).round(1)
    Array([620.3, 689.6], dtype=float64)

    The times hold where no feature takes over the latent of another one before. A
    `DisplacementWarning` says where a cleaner feature does so (see `trust`), but not within a
    transformation such as `jit`.
    `takeover_times` has the times of a JEPA with such takeovers.

    Raises ValueError where the start is not balanced or the target out of range, and with actions
    that mix features, or another objective.
    """
    times, found = times_and_trust(problem, fraction, level, "critical_times", key)
    warn_where_displaced(found, stacklevel=4)
    return times


@checked
def trust(
    problem: Problem,
    *,
    fraction: Scalar | None = None,
    level: Scalar | None = None,
    key: OptionalKey = None,
) -> Trust:
    """How far the (d,) `critical_times` with the same arguments can be trusted.

    fraction, level: exactly one of them.  key: for a random start.

    The reduced theory is exact as long as no feature takes over the latent of another one. A JEPA's
    latents turn towards larger ρ, and a deep MAE's towards larger ρλ. What is off the diagonal at
    the start, if only by rounding, grows until a cleaner feature takes over the latent of a noisier
    one that was learned before it. `str()` of the result says which, and when.

    >>> moments = js.Moments.from_features(lam=[1.0, 2.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=1), js.Balanced(scale=1e-4))
    >>> print(js.trust(problem, fraction=0.5))
    Feature 0 (ρ 0.9) will displace feature 1 (ρ 0.3) at t ≈ 5.21e+03, and is learned by then. The
    reduced theory says 1e+04.

    Raises ValueError where the start is not balanced or the target out of range.
    """
    return times_and_trust(problem, fraction, level, "trust", key)[1]


def times_and_trust(
    problem: Problem,
    fraction: Scalar | None,
    level: Scalar | None,
    what: str,
    key: OptionalKey = None,
) -> tuple[Float[Array, " d"], Trust]:
    """`critical_times` and `trust` at once, without a warning; `what` asks for them."""
    if (problem.moments.turns or problem.start.keeps_differences) and problem.line is not None:
        return _along(problem, *check_target(problem, fraction, level))
    if problem.moments.actions is not None:
        return _along(_with_known_way(problem, what), *check_target(problem, fraction, level))
    problem = problem.reduced(what).effective(key).with_known_curve()
    return _exact(problem, *check_target(problem, fraction, level))


@eqx.filter_jit
def _along(problem: Problem, fraction: Target, level: Target) -> tuple[Float[Array, " d"], Trust]:
    way = problem.told if problem.line is None else problem.line
    assert way is not None
    times = way.hitting_time(critical_level(problem, fraction, level))
    return times, trust_in(problem, times, jnp.zeros_like(times[0]))


def _with_known_way(problem: Problem, what: str) -> Problem:
    """`problem`; ValueError where it has actions, and its times are not known."""
    problem.check_flow(what)
    check_mixing(problem, what)
    if problem.told is None:
        rule = "be a JEPA with M = 1 and a level, balanced start"
        depths = f"M = {float(problem.predictor_depth):g}"
        found = f"{problem.objective.name}, {depths}, {type(problem.start).__name__}"
        checks.fail("problem", f"{rule} for `{what}` with actions (see `LayerModes`)", found)
    return problem


@eqx.filter_jit
def _exact(problem: Problem, fraction: Target, level: Target) -> tuple[Float[Array, " d"], Trust]:
    times = exact_times(problem, fraction, level)
    return times, trust_in(problem, times, jnp.zeros_like(times[0]))


def exact_times(problem: Problem, fraction: Target, level: Target = None) -> Float[Array, " d"]:
    """(d,) critical times of the reduced flow, to be called in a compiled program."""
    flow = problem.flow
    # ln(u/u*) of the target. For a fraction it does not depend on the plateau, so that it is exact;
    # through the plateau it would be rounded.
    if fraction is None:
        log_level = jnp.log(critical_level(problem, None, level)) / flow.depth
        log_ratio = log_level - flow.log_plateau
    else:
        log_ratio = jnp.broadcast_to(jnp.log(fraction) / flow.depth, flow.lam.shape)
    return flow.hitting_time(log_ratio)


@checked
def asymptotic_critical_times(
    problem: Problem, *, logarithm: bool | None = None
) -> Float[Array, " d"]:
    """(d,) critical times of any fixed fraction for a small start ε, in flow time.

    With q = a − 1, the terms of the exact time that grow as ε → 0:

        t* ≈ (1/λ) Σ_k 1 / ((q − bk) ρ^k ε^{(q−bk)/L})   over q − bk > 0
             − ln ε / (L λ ρ^{q/b})                        if q is a multiple of b

    JEPA (q = 2L + M − 2, b = M) with M = 1, times L, is the theorem of Littwin et al. (2024); the
    leading term does not depend on ρ. MAE (q = L + M − 2, b = L + M) has one term, without ρ.
    That theorem leaves out the logarithm. The error is Θ(1). The times are inf where ρ ≤ 0.

    logarithm: False leaves it out here too. Version 0.3 will not know this argument.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=3), js.Balanced(scale=1e-2))
    >>> js.asymptotic_critical_times(problem).round(1)
    Array([ 625.4, 2791.8], dtype=float64)

    L and M must be known: under a transformation that traces them JAX raises a TypeError.

    Raises ValueError where the start is not balanced.
    """
    if logarithm is not None:
        about = (
            "Argument `logarithm` goes with version 0.3: subtract the term −ln ε / (L λ ρ^{q/b})."
        )
        warnings.warn(about, DeprecationWarning, stacklevel=3)
    problem.reduced("asymptotic_critical_times").effective(None)
    depth, predictor_depth = problem.network.depth, problem.network.predictor_depth
    a, b = problem.objective.exponents(depth, predictor_depth)
    q = a - 1
    flow = problem.flow
    rho, log_scale = flow.rho, jnp.log(flow.scale)
    time = jnp.zeros_like(rho)
    for k in range(math.floor(q / b) + 1):
        power = q - b * k
        if power > 0:
            time += jnp.exp(-power / depth * log_scale) / (power * rho**k)
        elif logarithm is not False:
            time -= log_scale / (depth * rho**k)
    learned = flow.is_learned
    return jnp.where(learned, time / jnp.where(learned, flow.lam, 1), jnp.inf)
