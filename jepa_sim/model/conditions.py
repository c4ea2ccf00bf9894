"""What the reduced theory, and what takes features one by one, needs of a problem."""

from typing import TYPE_CHECKING

import equinox as eqx

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import is_concrete, to_numpy
from jepa_sim.data.actions import mixing

if TYPE_CHECKING:
    from jepa_sim.model.problem import Problem

LARGEST_MIXING = 0.1  # at it gains end L/2 % too low, and times are 1 % off (measured at L = 2)

# One program: it compiles sooner than its operations one by one.
_mixing = eqx.filter_jit(mixing)


def check_mixing(problem: "Problem", what: str) -> None:
    """ValueError where actions mix features, which are then not learned one by one."""
    moments = problem.moments
    if moments.actions is None or moments.xx.ndim != 2:
        return
    share = _mixing(problem.features, moments.actions)
    if is_concrete(share) and (to_numpy(share) > LARGEST_MIXING).any():
        rule = f"have actions that mix each feature with others by at most {LARGEST_MIXING}"
        found = f"{share.max():.2g} for feature {share.argmax()}"
        checks.fail("moments", f"{rule} for `{what}` (see `GradientFlow`)", found)


def reduced_of(problem: "Problem", what: str) -> "Problem":
    """See `Problem.reduced`.

    ValueError where the objective has no reduced flow, the start is not balanced, the network is a
    bottleneck, or the problem is not plain.
    """
    problem.check_flow(what)
    start = problem.start
    if not (start.is_balanced or start.is_nearly_aligned or problem.has_effective_start):
        checks.fail("start", f"be balanced for `{what}`", type(start).__name__)
    if problem.moments.turns:
        rule = f"have no features that turn for `{what}` (see `LayerModes`)"
        checks.fail("moments", rule, "with pairs of an angle θ")
    problem.check_turn(what)
    if problem.is_narrow:
        d = problem.features.lam.size
        checks.fail("network.width", f"be at least d = {d} for `{what}`", problem.network.width)
    if not problem.is_plain:
        rule = (
            "have a stop-gradient or no teacher, one learning rate, no weight decay, a learned "
            f"predictor and single frames for `{what}` (see `LayerModes`)"
        )
        teacher, frames = problem.objective.teacher, problem.network.frames
        differs = {
            "training": not problem.training.is_scaled,
            "teacher": teacher.passes_gradient or teacher.time_constant is not None,
            "number of frames": frames != (1, 1),
        }
        found = " and ".join(name for name, is_so in differs.items() if is_so)
        checks.fail("problem", rule, f"of another {found}")
    return eqx.tree_at(
        lambda p: (p.network.depth, p.network.predictor_depth),
        problem.with_curve(),
        (problem.depth, problem.predictor_depth),
    )
