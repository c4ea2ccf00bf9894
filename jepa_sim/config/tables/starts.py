"""The names of starts in [grid]."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jepa_sim as js


class Start(NamedTuple):
    """A name of `grid.start`.

    build: from `rotated` to what `Grid` takes, a function from a scale to a start. A number of the
    start that is an axis of the grid is set later, by the axis.
    can_rotate: whether its bases may be random, by `rotated`.
    is_separable: whether it says how a single feature starts.
    is_reduced: whether the reduced theory takes it with any objective.
    is_effective: whether the reduced theory takes it with objectives that have effective starts.
    """

    build: Callable[[bool], Callable[..., Any]]
    can_rotate: bool = False
    is_separable: bool = True
    is_reduced: bool = False
    is_effective: bool = False


STARTS = {
    "balanced": Start(
        lambda rotated: partial(js.Balanced, rotated=True) if rotated else js.Balanced,
        can_rotate=True,
        is_reduced=True,
    ),
    "unbalanced": Start(
        lambda rotated: partial(js.Unbalanced, imbalance=0.0, rotated=rotated), can_rotate=True
    ),
    "misaligned": Start(
        lambda _: partial(js.Misaligned, angle=0.0), is_separable=False, is_reduced=True
    ),
    "orthogonal": Start(lambda _: js.Orthogonal),
    "random_balanced": Start(lambda _: js.RandomBalanced, is_effective=True),
    "gaussian": Start(lambda _: js.RandomGaussian),
}
