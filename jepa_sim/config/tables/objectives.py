"""The names of objectives in [grid]."""

from collections.abc import Callable
from typing import NamedTuple

import jepa_sim as js


class Objective(NamedTuple):
    """A name of `grid.objective`.

    build: makes it. A number of it that is an axis of the grid is set later, by the axis.
    is_reduced: whether the encoder is its own teacher, as in the reduced flow.
    has_rule: whether the predictor may be set by a formula.
    has_effective_starts: whether random balanced starts act as aligned ones.
    """

    build: "Callable[[], js.AbstractObjective]"
    is_reduced: bool = True
    has_rule: bool = False
    has_effective_starts: bool = False


OBJECTIVES = {
    "jepa": Objective(lambda: js.JEPA(), has_rule=True),
    "jepa_moving_average": Objective(
        lambda: js.JEPA(js.MovingAverage(1.0)), is_reduced=False, has_rule=True
    ),
    "jepa_no_stop_gradient": Objective(
        lambda: js.JEPA(js.NoStopGradient()), is_reduced=False, has_rule=True
    ),
    "mae": Objective(lambda: js.MAE(), has_effective_starts=True),
    "barlow_twins": Objective(lambda: js.BarlowTwins()),
    "whitened_joint": Objective(lambda: js.WhitenedJoint()),
}
