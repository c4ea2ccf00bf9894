"""What a sweep runs over, and the times at which each of its trajectories is saved."""

import abc
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked, checked
from jepa_sim.arguments.types import ArrayLike, Number, Scalar, Times
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import AbstractStart, Balanced
from jepa_sim.model.training import Training
from jepa_sim.numerics.display.numbers import described, extent, listed
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.numerics.display.shows import Shows
from jepa_sim.sweeps.axes import AXES, FURTHER, apply, attributes
from jepa_sim.theory import curve_parameter


class Grid(Shows):
    """The product of all axes: every objective at every depth, … on every spectrum.

    objective: objectives of different names.  depth, predictor_depth: L, M; whole numbers for
    solvers of matrices.  scale: ε of the starts.  seed: whole numbers; a seed alone decides all
    random numbers of its trajectories.  spectrum: one `Moments` or a sequence of them, all of one
    dimension, or one `Moments` whose arrays have a leading axis (from `jax.vmap`).
    start: from a scale to a start.  network: from (depth, predictor_depth) to a network.
    training: rates, weight decay, and how the predictor is found.

    axes: further axes, by name: `weight_decay`, `encoder_rate`, `predictor_rate`, `time_constant`,
    `imbalance`, `angle`, `predictor_gain`, `penalty`, or any other with `customise`.
    The values of an axis may be an `xarray.DataArray`. Its attributes `long_name` and `units` are
    then the labels of the axis in datasets and figures; otherwise the name of the axis is.
    customise: what the values of further axes change. `customise(problem, **values)` gets a problem
    and a value of each further axis, and returns a problem. Values are traced numbers, so they may
    not decide shapes:

        Grid(…, axes={"noise": [0, 1e-3]}, customise=lambda problem, noise:
             dataclasses.replace(problem, moments=noisier(problem.moments, noise)))

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=range(1, 7))
    Grid: 12 trajectories
      spectrum  d = 2, λ 1, ρ 0.3 to 0.9
      start     Balanced
      axis             symbol     values  which
      objective        objective       2  JEPA, MAE
      depth            L               6  1, 2, 3, 4, 5, 6
      predictor_depth  M               1  1
      scale            ε               1  0.01
      seed             seed            1  0
      spectrum         spectrum        1  0

    `pose` is the older name of `customise`; version 0.3 will not have it.

    Raises ValueError where an axis is empty, repeats a value, or has one out of range.
    """

    @checked
    def __init__(
        self,
        *,
        spectrum: Moments | Sequence[Moments],
        objective: Sequence[AbstractObjective],
        depth: Iterable[Number] = (1,),
        predictor_depth: Iterable[Number] = (1,),
        scale: Iterable[Number] = (1e-2,),
        seed: Iterable[Number] = (0,),
        start: Callable[[Float[Array, ""]], AbstractStart] = Balanced,
        network: Callable[[Scalar, Scalar], DeepLinear] = DeepLinear,
        training: Training | None = None,
        axes: Mapping[str, Iterable[Number] | xr.DataArray] | None = None,
        customise: Callable[..., Problem] | None = None,
        pose: Callable[..., Problem] | None = None,
    ):
        if pose is not None:
            about = "Argument `pose` of `Grid` is called `customise` since version 0.2."
            warnings.warn(about, DeprecationWarning, stacklevel=3)
            customise = pose
        self.objective = tuple(objective)
        self.depth = tuple(depth)
        self.predictor_depth = tuple(predictor_depth)
        self.scale = tuple(scale)
        self.seed = tuple(seed)
        self.start, self.network = start, network
        self.training = Training() if training is None else training
        axes = axes or {}
        self.axes = {
            name: tuple(values.values.tolist() if isinstance(values, xr.DataArray) else values)
            for name, values in axes.items()
        }
        self.labels = {
            name: attributes(name) | getattr(values, "attrs", {}) for name, values in axes.items()
        }
        # what is customised may change the exponents, and with them the programs
        self.is_customised = customise is not None or bool(self.axes)
        self.customise = apply if customise is None else customise
        if customise is None and not set(self.axes) <= set(FURTHER):
            checks.fail("customise", f"be given with axes {sorted(self.axes)}", "missing")
        self._check_axes()
        self.spectrum = _stack(spectrum, network(self.depth[0], self.predictor_depth[0]).frames)
        checks.check_positive("spectrum's feature variances", self.features.variance)

    def _check_axes(self) -> None:
        for value in self.seed:
            checks.check_integer_from("seed", value, 0)
        names = tuple(o.name for o in self.objective)
        own = {name: getattr(self, name) for name in OWN} | {"objective": names}
        for name in self.axes:
            if name in RESERVED:
                checks.fail("axes", "have names of their own", f"{name!r} among others")
        for name, values in {**own, **self.axes}.items():
            if not values:
                checks.fail(name, "hold at least one value", "empty")
            if len(set(values)) < len(values):
                checks.fail(name, "not repeat a value", list(values))
            if name not in ("objective", "seed"):
                self._check_numbers(name, np.asarray(values, dtype=float))

    def _check_numbers(self, name: str, values: np.ndarray) -> None:
        argument = name if name in OWN else f"axes[{name!r}]"
        # a user's `customise` may give a name of the table another meaning
        axis = AXES.get(name) if name in OWN or self.customise is apply else None
        if axis is not None and axis.above is not None:
            checks.check_positive(argument, values)
        elif axis is not None and axis.at_least is not None:
            checks.check_not_negative(argument, values)
        else:
            checks.check_finite(argument, values)

    @property
    def shape(self) -> dict[str, int]:
        """Length of every axis, by name, in the order of the result."""
        return {name: len(values) for name, values in self.values.items()}

    @property
    def values(self) -> dict[str, Sequence]:
        """Values of every axis, by name, in the order of the result; names of objectives."""
        return {
            "objective": [o.name for o in self.objective],
            "depth": self.depth,
            "predictor_depth": self.predictor_depth,
            "scale": self.scale,
            **self.axes,
            "seed": self.seed,
            "spectrum": range(self.spectrum.xx.shape[0]),
        }

    @property
    def features(self) -> Features:
        """The features of every spectrum, each array with a leading axis (spectrum)."""
        return jax.vmap(lambda moments: moments.features())(self.spectrum)

    @property
    def curve_parameters(self) -> np.ndarray:
        """(objective, depth, predictor_depth) c = (a − 1)/b of the reduced flows."""
        found = []
        for objective, *depths in itertools.product(
            self.objective, self.depth, self.predictor_depth
        ):
            network = self.network(*depths)
            depths = float(network.depth), float(network.predictor_depth)
            found.append(curve_parameter(*map(float, objective.exponents(*depths))))
        return np.array(found).reshape(
            len(self.objective), len(self.depth), len(self.predictor_depth)
        )

    def problems(self) -> Iterator[Problem]:
        """Problems to be checked: all objectives and depths, at the ends of every other axis."""
        others = {"scale": self.scale, **self.axes}
        moments = jax.tree.map(lambda x: x[0], self.spectrum)
        first = {name: values[0] for name, values in others.items()}
        points = [first]
        for name, values in others.items():
            points += [{**first, name: end} for end in {min(values), max(values)} - {values[0]}]
        for objective, *depths in itertools.product(
            self.objective, self.depth, self.predictor_depth
        ):
            network = self.network(*depths)
            for point in points:
                values = {name: jnp.asarray(value, float) for name, value in point.items()}
                start = self.start(values.pop("scale"))
                problem = Problem(moments, objective, network, start, self.training)
                yield self.customise(problem, **values)

    @property
    def size(self) -> int:
        """Number of trajectories."""
        return math.prod(self.shape.values())

    def _sheet(self) -> Sheet:
        return Sheet(f"Grid: {self.size:,} trajectories", self._facts(), self._columns())

    def _facts(self) -> dict[str, str]:
        features, count = self.features, self.shape["spectrum"]
        of = f"{count:,} of d = " if count > 1 else "d = "
        spans = f"λ {extent(features.lam)}, ρ {extent(features.rho)}"
        training = described(self.training, Training())
        return {
            "spectra" if count > 1 else "spectrum": f"{of}{features.lam.shape[-1]:,}, {spans}",
            "start": described(self.start),
            "network": "" if self.network is DeepLinear else described(self.network),
            "training": "" if training == "Training" else training,
            "customise": described(self.customise) if self.customise is not apply else "",
        }

    def _columns(self) -> dict[str, list]:
        """Every axis: how many values it has, and which."""
        values = {**self.values, "objective": [described(o) for o in self.objective]}
        return {
            "axis": list(values),
            "symbol": [(self.labels.get(name) or attributes(name))["symbol"] for name in values],
            "values": list(map(len, values.values())),
            "which": list(map(listed, values.values())),
        }


OWN = ("objective", "depth", "predictor_depth", "scale", "seed")  # axes with arguments of their own
RESERVED = (*(AXES.keys() - FURTHER.keys()), "time")  # names that a further axis cannot have


class AbstractTimes(Checked):
    """From a problem to the times at which to save it."""

    count: eqx.AbstractVar[int]

    @abc.abstractmethod
    def times(self, problem: Problem) -> Times:
        """(count,) ascending flow times."""

    @property
    def fractions(self) -> np.ndarray | None:
        """(count,) times as fractions of each trajectory's own scale of time; None where not so."""
        return None


class CriticalGrid(AbstractTimes):
    """Times that fit each trajectory: fractions of its own last critical time.

    count: number of times, evenly spaced in logarithm between the fractions first and last.
    The last critical time is that of the slowest feature, of those that are learned: in the reduced
    theory, from a balanced start of the same scale, it reaches 0.9 of its plateau then. Where
    features turn, the turn counts, but not under a slow teacher. So do actions, for a JEPA with
    M = 1 from a level balanced start; elsewhere learning may take much longer if their ρ_a differ
    in sign, or are below 0. That theory has no weight decay and no slow teacher. With a slow
    teacher, or a decay near its threshold, learning takes longer.

    Raises ValueError where `count` is below 2, or not 0 < first < last; in `sweep` where an
    objective has no reduced flow.
    """

    count: int = eqx.field(static=True, default=200)
    first: Number = eqx.field(static=True, default=1e-3)
    last: Number = eqx.field(static=True, default=2.0)

    def __check_init__(self):
        _check_spaced(self, "first", "last")

    @property
    def fractions(self) -> np.ndarray:
        return np.geomspace(self.first, self.last, self.count)

    def times(self, problem: Problem) -> Times:
        problem.check_flow("CriticalGrid")
        flow, line = problem.flow, problem.line if problem.moments.turns else None
        told, target = problem.told, jnp.full_like(flow.lam, 0.9)
        if line is not None:  # a predictor has to turn first
            time = line.hitting_time(target * line.plateau)
        else:
            time = flow.hitting_time(jnp.log(target) / flow.depth)
        if told is not None:  # those of actions have to turn too; inf where they turn the feature
            late = told.hitting_time(target * problem.plateaus)
            time = jnp.where(jnp.isfinite(late), late, time)
        last = jnp.max(jnp.where(flow.is_learned, time, 0))
        nothing_rises = 1 / jnp.max(jnp.abs(flow.lam))
        return jnp.where(last > 0, last, nothing_rises) * jnp.asarray(self.fractions, last.dtype)


class LogGrid(AbstractTimes):
    """The same times for all: `count` flow times, evenly spaced in logarithm.

    start, stop: the first and the last, in flow time (t = kα).

    Raises ValueError where `count` is below 2, or not 0 < start < stop.
    """

    start: Number = eqx.field(static=True)
    stop: Number = eqx.field(static=True)
    count: int = eqx.field(static=True, default=200)

    def __check_init__(self):
        _check_spaced(self, "start", "stop")

    def times(self, problem: Problem) -> Times:
        spaced = np.geomspace(self.start, self.stop, self.count)
        return jnp.asarray(spaced, problem.moments.xx.dtype)


class FixedTimes(AbstractTimes):
    """Flow times as given, (count,), the same for all.

    Raises ValueError where they are not strictly ascending, or negative.
    """

    values: tuple[float, ...] = eqx.field(static=True)
    count: int = eqx.field(static=True)

    def __init__(self, values: ArrayLike):
        checks.check_times(values)
        self.values = tuple(np.asarray(values, dtype=float).tolist())
        self.count = len(self.values)

    def times(self, problem: Problem) -> Times:
        return jnp.asarray(self.values, problem.moments.xx.dtype)


def _check_spaced(times: AbstractTimes, low: str, high: str) -> None:
    """ValueError unless there are two times or more, and the fields have 0 < low < high."""
    first, last = getattr(times, low), getattr(times, high)
    checks.check_integer_from("count", times.count, 2)
    checks.check_positive(low, first)
    if not last > first:
        checks.fail(high, f"be above `{low}` = {first}", last)


def _stack(spectrum: Moments | Sequence[Moments], frames: tuple[int, int]) -> Moments:
    """One `Moments` with a leading axis, with the features of each solved for."""
    if isinstance(spectrum, Moments):
        if spectrum.xx.ndim == 2:
            return _stack([spectrum], frames)
        return jax.vmap(lambda m: m.with_features(m.features(frames)))(spectrum)
    found = [m.features(frames) for m in spectrum]
    if any(features.angle is not None for features in found):  # all have angles then
        found = [features.with_angle() for features in found]
    spectrum = [m.with_features(f) for m, f in zip(spectrum, found, strict=True)]
    if not spectrum:
        checks.fail("spectrum", "hold at least one `Moments`", "empty")
    dimensions = sorted({m.dimension for m in spectrum})
    if len(dimensions) > 1:
        checks.fail("spectrum", "have one dimension throughout", f"of dimensions {dimensions}")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *spectrum)
