"""Which objective a training step follows, found by comparing fields at random points.

The user's update U is a function of all layers and of a batch. A known objective with its target
has the velocity F of the flow on the batch's second moments. If U is a step of that objective,
there are numbers with U = c F − w Z for all layers Z of the encoder, and others for the
predictor: c is the flow time of the step (negative where U is the gradient), w what weight decay
takes away. They are fitted by least squares at several random points at once. What is left of U
says whether it is that objective.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import Number
from jepa_sim.data.moments import Moments
from jepa_sim.model.dynamics import velocity
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA, MAE, AbstractObjective
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import Balanced
from jepa_sim.model.state import Weights
from jepa_sim.model.teachers import NoStopGradient
from jepa_sim.numerics.display.numbers import number
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.numerics.display.shows import Shows

Layers = Sequence[np.ndarray]
Update = Callable[[Layers, Layers, np.ndarray, np.ndarray], tuple[Layers, Layers]]

POINTS, SAMPLES = 3, 32
LEFT = 1e-3  # of an update that is known may be left; float32 leaves 1e-6
OBJECTIVES = {
    "JEPA": JEPA(),
    "JEPA without a stop-gradient": JEPA(NoStopGradient()),
    "MAE": MAE(),
}
TARGETS = {"": "y", ", with the input itself as the target": "x"}


@dataclasses.dataclass(frozen=True, repr=False)
class Identification(Shows):
    """What `identify_objective` found.

    left: by the name of every objective, the share of the update that its field does not explain.
    Of the nearest objective: rates: (encoder, predictor) the flow time of one step, negative where
    the update is the gradient.  decays: (encoder, predictor) what a step takes away of each weight.
    """

    left: dict[str, float]
    rates: tuple[float, float]
    decays: tuple[float, float]

    @property
    def name(self) -> str:
        """That of the objective whose field is nearest."""
        return min(self.left, key=self.left.__getitem__)

    @property
    def residual(self) -> float:
        """What is left of the update by the nearest objective: 0 where it is that objective's."""
        return self.left[self.name]

    @property
    def is_known(self) -> bool:
        """Whether the update is that of the objective, with at most 0.1 % of it left."""
        return self.residual < LEFT

    def _sheet(self) -> Sheet:
        found = sorted(self.left, key=self.left.__getitem__)
        columns = {
            "left of the update": [f"{100 * self.left[name]:.1f} %" for name in found],
            "objective": found,
        }
        if not self.is_known:
            title = f"No objective that is known here. The nearest is {self.name}."
            return Sheet(title, columns=columns)
        of_encoder, of_predictor = self.rates
        kind = "the change of a step" if of_encoder > 0 else "the gradient"
        facts = {
            "update": f"{kind}; flow time of one step: {number(abs(of_encoder))}",
            "predictor": ""
            if np.isclose(of_encoder, of_predictor, rtol=LEFT)
            else f"learns {number(of_predictor / of_encoder)} times as fast",
            "decay": ""
            if max(map(abs, self.decays)) < LEFT * abs(of_encoder)
            else f"in flow time {' and '.join(self._decay())} (encoder and predictor)",
        }
        return Sheet(f"The update is that of: {self.name}", facts, columns)

    def _decay(self) -> list[str]:
        return [number(w / c) for w, c in zip(self.decays, self.rates, strict=True)]


@checked
def identify_objective(
    update: Callable,
    *,
    depth: Number = 2,
    predictor_depth: Number = 1,
    dimension: Number = 4,
    seed: Number = 0,
) -> Identification:
    """Say which objective a training step of your own follows.

    update: a function of (encoder, predictor, x, y): the layers of both, as lists of
    dimension × dimension matrices in the order in which they are applied, and a batch of context
    and target, (n, dimension) each. It returns the changes of all layers as two such lists: those
    of a step of gradient descent, or the gradients.  depth, predictor_depth: L and M.  seed: of the
    random points at which fields are compared.

    The objectives are JEPA, JEPA without a stop-gradient, and MAE, each with y or with x as its
    target. Learning rates of encoder and predictor may differ, and weights may decay. A teacher
    that is a moving average is seen as the encoder that it copies. Adam is none of them.

    >>> def update(encoder, predictor, x, y):
    ...     [w], [v] = encoder, predictor
    ...     residual = x @ w.T @ v.T - y @ w.T  # of mse_loss, with the target detached
    ...     g = 2 * residual / residual.size
    ...     return [-0.1 * v.T @ g.T @ x], [-0.1 * g.T @ x @ w.T]
    >>> found = js.identify_objective(update, depth=1)
    >>> found.name
    'JEPA'
    >>> [round(rate, 6) for rate in found.rates]
    [0.05, 0.05]

    Raises ValueError where the update does not return changes of the shapes of the layers, or
    returns none at all.
    """
    for name, value in (("depth", depth), ("predictor_depth", predictor_depth)):
        checks.check_integer_from(name, value, 1)
    checks.check_integer_from("dimension", dimension, 2)
    draw = np.random.default_rng(int(seed))
    points = [_point(draw, int(depth), int(predictor_depth), int(dimension)) for _ in range(POINTS)]
    changes = [_called(update, *point) for point in points]
    if not any(np.any(layer) for change in changes for layer in itertools.chain(*change)):
        checks.fail("update", "change some layer", "0 for all of them")
    fits = {
        name + with_target: _fit(objective, target, points, changes)
        for name, objective in OBJECTIVES.items()
        for with_target, target in TARGETS.items()
    }
    left = {name: residual for name, (residual, _, _) in fits.items()}
    _, rates, decays = min(fits.values(), key=lambda fit: fit[0])
    return Identification(left, rates, decays)


Point = tuple[Layers, Layers, np.ndarray, np.ndarray]


def _point(draw: np.random.Generator, depth: int, predictor_depth: int, d: int) -> Point:
    """Random layers, and a batch in which x and y are alike; their means are 0."""
    encoder, predictor = (
        [draw.normal(size=(d, d)) / d**0.5 for _ in range(count)]
        for count in (depth, predictor_depth)
    )
    shared, *own = draw.normal(size=(3, SAMPLES, d))
    x, y = (shared + noise - (shared + noise).mean(axis=0) for noise in own)
    return encoder, predictor, x, y


def _called(
    update: Update, encoder: Layers, predictor: Layers, x: np.ndarray, y: np.ndarray
) -> tuple[Layers, Layers]:
    made = update(encoder, predictor, x, y)
    if len(made) != 2:
        checks.fail("update", "return the changes of encoder and predictor, two lists", len(made))
    of_encoder, of_predictor = ([np.asarray(layer, float) for layer in part] for part in made)
    found, wanted = (
        [[layer.shape for layer in part] for part in parts]
        for parts in ((of_encoder, of_predictor), (encoder, predictor))
    )
    if found != wanted:
        checks.fail("update", f"return changes of the shapes {wanted}", f"of {found}")
    return of_encoder, of_predictor


def _fit(
    objective: AbstractObjective,
    target: str,
    points: Sequence[Point],
    changes: Sequence[tuple[Layers, Layers]],
) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """(residual, rates, decays): what is left of the update, and c and w of both networks."""
    fields = [_field(objective, target, *point) for point in points]
    left, total, numbers = 0.0, 0.0, []
    for part in (0, 1):
        wanted, field, layers = (
            np.concatenate([np.ravel(layer) for each in arrays for layer in each[part]])
            for arrays in (changes, fields, points)
        )
        [c, w], *_ = np.linalg.lstsq(np.stack([field, -layers], axis=1), wanted, rcond=None)
        left += np.sum((wanted - c * field + w * layers) ** 2)
        total += np.sum(wanted**2)
        numbers.append((float(c), float(w)))
    rates, decays = zip(*numbers, strict=True)
    return float(np.sqrt(left / total)), rates, decays


def _field(
    objective: AbstractObjective,
    target: str,
    encoder: Layers,
    predictor: Layers,
    x: np.ndarray,
    y: np.ndarray,
) -> tuple[Layers, Layers]:
    """The velocity of all layers on the second moments of the batch."""
    y = x if target == "x" else y
    with checks.amplification_expected():
        moments = Moments(x.T @ x / len(x), y.T @ x / len(x), y.T @ y / len(x))
    network = DeepLinear(len(encoder), len(predictor))
    problem = Problem(moments, objective, network, Balanced(1.0))
    weights = Weights(*(tuple(map(jax.numpy.asarray, part)) for part in (encoder, predictor)))
    moved = velocity(problem, weights)
    return [np.asarray(z) for z in moved.encoder], [np.asarray(z) for z in moved.predictor]
