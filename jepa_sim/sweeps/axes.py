"""The axes of a sweep: the one table that grid, dataset, TOML and figures read, without JAX.

A further axis is a number of the problem that a configuration can name. Its entry says how a value
changes a problem. Values are traced, so they cannot decide a shape.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jepa_sim as js
from jepa_sim.results.variables import FEATURE

if TYPE_CHECKING:
    from jepa_sim.arguments.types import Scalar
    from jepa_sim.model.problem import Problem

    Change = Callable[[Problem, Scalar], Problem]


class Axis(NamedTuple):
    """One axis.

    name: of the argument of `Grid`, of the key in [grid] and of the coordinate in the dataset.
    symbol: its letter in formulas and headings.  long_name: for the dataset and for figures.
    apply: a further axis: from a problem and a value to the problem that has the value.
    at_least, above: bounds of the values.
    needs: a key of [grid] and the name without which the axis has no meaning.
    is_reduced: whether the reduced flow has a place for it.
    """

    name: str
    symbol: str
    long_name: str
    apply: "Change | None" = None
    at_least: float | None = None
    above: float | None = None
    needs: tuple[str, str] | None = None
    is_reduced: bool = True


def retrained(problem: "Problem", **changed: Any) -> "Problem":
    """The same problem with other rates or decays, or another predictor.

    `is_scaled` keeps what is known of traced numbers: that the rates are equal, and that there is
    no decay. Equal rates stay one object.
    """
    old = problem.training
    names = ("encoder_rate", "predictor_rate", "encoder_decay", "predictor_decay")
    kept: dict[str, Any] = {name: getattr(old, name) for name in (*names, "predictor")}
    if old.is_scaled:
        kept["predictor_rate"] = kept["encoder_rate"]
        kept["encoder_decay"] = kept["predictor_decay"] = 0.0
    training = js.Training(**{**kept, **changed})
    return replace(problem, training=training)


def _of_training(*names: str) -> "Change":
    """Sets these numbers of a problem's training."""
    return lambda problem, value: retrained(problem, **dict.fromkeys(names, value))


def _of_part(part: str, kind: str, name: str) -> "Change":
    """Sets a number of a problem's objective or start, where that is of the class `kind`."""

    def change(problem: "Problem", value: "Scalar") -> "Problem":
        old: Any = getattr(problem, part)
        if not isinstance(old, getattr(js, kind)):
            return problem
        return replace(problem, **{part: replace(old, **{name: value})})

    return change


def _predictor_gain(problem: "Problem", value: "Scalar") -> "Problem":
    if not isinstance(problem.training.predictor, js.GivenPredictor):
        return problem
    return retrained(problem, predictor=js.GivenPredictor(value))


def _time_constant(problem: "Problem", value: "Scalar") -> "Problem":
    if not isinstance(problem.objective.teacher, js.MovingAverage):
        return problem
    return replace(problem, objective=js.JEPA(js.MovingAverage(value)))


RATE = "in units of flow time"
AXES = {
    axis.name: axis
    for axis in (
        Axis("objective", "objective", "training objective"),
        Axis("depth", "L", "layers L of the encoder", above=0.0),
        Axis("predictor_depth", "M", "layers M of the predictor or decoder", above=0.0),
        Axis("scale", "ε", "encoder gain ε at the start", above=0.0),
        Axis(
            "weight_decay",
            "η",
            "weight decay η of all factors",
            apply=_of_training("encoder_decay", "predictor_decay"),
            at_least=0.0,
            is_reduced=False,
        ),
        Axis(
            "encoder_rate",
            "α_W",
            f"learning rate of the encoder, {RATE}",
            apply=_of_training("encoder_rate"),
            above=0.0,
            is_reduced=False,
        ),
        Axis(
            "predictor_rate",
            "α_V",
            f"learning rate of the predictor, {RATE}",
            apply=_of_training("predictor_rate"),
            above=0.0,
            is_reduced=False,
        ),
        Axis(
            "time_constant",
            "τ",
            "time constant τ of the moving-average teacher, in flow time",
            apply=_time_constant,
            above=0.0,
            needs=("objective", "jepa_moving_average"),
            is_reduced=False,
        ),
        Axis(
            "imbalance",
            "κ",
            "imbalance κ between predictor and encoder at the start",
            apply=_of_part("start", "Unbalanced", "imbalance"),
            needs=("start", "unbalanced"),
            is_reduced=False,
        ),
        Axis(
            "angle",
            "angle",
            "angle of the predictor's misalignment at the start, in radians",
            apply=_of_part("start", "Misaligned", "angle"),
            needs=("start", "misaligned"),
        ),
        Axis(
            "predictor_gain",
            "v",
            "gain v of a predictor that is given and not learned",
            apply=_predictor_gain,
            needs=("predictor", "given"),
            is_reduced=False,
        ),
        Axis(
            "penalty",
            "β",
            "penalty β of whitening",
            apply=_of_part("objective", "WhitenedJoint", "penalty"),
            above=0.0,
            needs=("objective", "whitened_joint"),
        ),
        Axis("seed", "seed", "seed of all random numbers of a trajectory"),
        Axis("spectrum", "spectrum", "number of the moments"),
        Axis("feature", "feature", FEATURE),
        Axis("other_feature", "other feature", "number of the feature that it is compared with"),
        Axis("critical_fraction", "fraction", "fraction of the plateau"),
    )
}
FURTHER = {name: axis for name, axis in AXES.items() if axis.apply is not None}


def apply(problem: "Problem", **values: "Scalar") -> "Problem":
    """The problem with these values of further axes, in the order of the table."""
    for name, axis in FURTHER.items():
        if axis.apply is not None and name in values:
            problem = axis.apply(problem, values[name])
    return problem


def attributes(name: str) -> dict[str, Any]:
    """`long_name`, `units` and `symbol` of an axis for a dataset; also of a user's own axis."""
    axis = AXES.get(name, Axis(name, name, name.replace("_", " ")))
    return {"long_name": axis.long_name, "units": "1", "symbol": axis.symbol}
