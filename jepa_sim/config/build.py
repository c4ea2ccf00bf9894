"""From the names of a configuration to objects: the one place where strings choose strategies."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import diffrax as dfx
import numpy as np
import optax

from jepa_sim import config as toml
from jepa_sim.arguments.checks import amplification_expected
from jepa_sim.arguments.errors import ConfigError
from jepa_sim.config.tables import given, models, real
from jepa_sim.config.tables import run as tables
from jepa_sim.config.tables.base import Table
from jepa_sim.data.base import AbstractSource, AbstractViews, Gaussian
from jepa_sim.data.images import Digits, Patches
from jepa_sim.data.latent import Dynamic, Static
from jepa_sim.data.masking import Hidden, Masked, Remasked, Whole, grid_covariance
from jepa_sim.data.masks import (
    AbstractMask,
    BlockFrames,
    BlockMask,
    PixelMask,
    RandomFrames,
    Suffix,
)
from jepa_sim.data.moments import Moments
from jepa_sim.data.series import Windows, elnino, sunspots
from jepa_sim.data.spectra import LowRank, non_commuting, power_law
from jepa_sim.data.temporal import Temporal
from jepa_sim.data.views import Lit, Noisy, Shifted
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA, MAE, AbstractObjective, BarlowTwins, WhitenedJoint
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import (
    AbstractStart,
    Balanced,
    Misaligned,
    Orthogonal,
    RandomGaussian,
    Unbalanced,
)
from jepa_sim.model.teachers import MovingAverage, NoStopGradient
from jepa_sim.model.training import DirectPred, FastPredictor, Learned, Training
from jepa_sim.numerics.stabilised import RKC2, ROCK4
from jepa_sim.results import observables
from jepa_sim.results.observables import Observable, ProbeRisk
from jepa_sim.solvers.base import AbstractSolver
from jepa_sim.solvers.closed_form import ClosedForm
from jepa_sim.solvers.descent import Descent
from jepa_sim.solvers.flow import GradientFlow
from jepa_sim.solvers.layer_modes import LayerModes
from jepa_sim.solvers.modes import Modes
from jepa_sim.sweeps.grid import AbstractTimes, CriticalGrid, Grid, LogGrid
from jepa_sim.sweeps.sweep import host_memory

MATRICES = 6  # Σxx, Σyx and Σyy, and as many to find features


class Run(NamedTuple):
    """What `sweep` takes."""

    grid: Grid
    solver: AbstractSolver
    times: AbstractTimes
    observables: tuple[Observable, ...]
    critical_fraction: tuple[float, ...]


def build(config: toml.Config) -> Run:
    """The objects that a configuration names.

    ConfigError where its data make no moments, or do not fit its networks and objectives.
    MemoryError where its moments are larger than the machine's memory.
    """
    _check_memory(config.data)
    spectrum, frames = _spectrum(config.data)
    grid = Grid(
        spectrum=spectrum,
        objective=[_objective(name) for name in config.grid.objective],
        depth=config.grid.depth,
        predictor_depth=config.grid.predictor_depth,
        scale=config.grid.scale,
        seed=config.grid.seeds,
        start=_start(config.grid),
        network=partial(DeepLinear, width=config.grid.width, frames=frames),
        axes=config.grid.axes,
        pose=_pose(config.grid),
    )
    solver = _solver(config.solve, config.data)
    try:
        for problem in grid.problems():
            solver.prepare(problem)
    except ValueError as error:
        raise ConfigError([f"Tables `data`, `grid` and `solve` must fit. {error}"]) from error
    saved = tuple(
        ProbeRisk(config.output.probe_ridge) if name == "probe_risk" else getattr(observables, name)
        for name in config.output.observables
    )
    times = _times(config.solve.times)
    return Run(grid, solver, times, saved, config.output.critical_fraction)


def _objective(name: str) -> AbstractObjective:
    """By name; numbers that are axes of the grid come later, by `_pose`."""
    match name:
        case "jepa":
            return JEPA()
        case "jepa_moving_average":
            return JEPA(MovingAverage(1.0))
        case "jepa_no_stop_gradient":
            return JEPA(NoStopGradient())
        case "mae":
            return MAE()
        case "barlow_twins":
            return BarlowTwins()
        case "whitened_joint":
            return WhitenedJoint()
        case _:
            raise TypeError(f"no objective {name}")


_PREDICTORS = {"learned": Learned, "direct_pred": DirectPred, "fast": FastPredictor}


def _pose(grid: tables.Grid) -> Callable[..., Problem] | None:
    """How the values of the grid's further axes change a problem; None where nothing does."""
    if not grid.axes and grid.predictor == "learned" and not grid.rate_per_layer:
        return None

    def pose(problem: Problem, **values: Any) -> Problem:
        rate = 1.0
        if grid.rate_per_layer:
            rate = 1 / (problem.depth + problem.predictor_depth)
        training = Training(  # one object for both rates says that they are the same
            values["encoder_rate"] * rate if "encoder_rate" in values else rate,
            values["predictor_rate"] * rate if "predictor_rate" in values else rate,
            values.get("weight_decay", 0.0),
            predictor=_PREDICTORS[grid.predictor](),
        )
        objective, start = problem.objective, problem.start
        if isinstance(objective.teacher, MovingAverage):
            objective = JEPA(MovingAverage(values["time_constant"]))
        if isinstance(objective, WhitenedJoint):
            objective = WhitenedJoint(values["penalty"])
        if isinstance(start, Unbalanced):
            start = Unbalanced(start.scale, values["imbalance"], start.rotated)
        if isinstance(start, Misaligned):
            start = Misaligned(start.scale, values["angle"])
        return Problem(problem.moments, objective, problem.network, start, training)

    return pose


_OPTIMIZERS = {"sgd": optax.sgd, "adam": optax.adam}
_METHODS = {
    None: None,
    "tsit5": dfx.Tsit5(),
    "kvaerno5": dfx.Kvaerno5(),
    "rkc2": RKC2(),
    "rock4": ROCK4(),
}


_TARGETS = {"whole": Whole(), "hidden": Hidden(), "remasked": Remasked()}
_SERIES = {"elnino": elnino, "sunspots": sunspots}


def _spectrum(data: toml.Data) -> tuple[Moments | list[Moments], tuple[int, int]]:
    """Moments, and how many frames x and y are stacks of."""
    single = (1, 1)
    try:
        match data:
            case given.Features():
                spectra = [Moments.from_features(*map(np.asarray, pair)) for pair in data.spectra]
                return spectra, single
            case given.Samples():
                return Moments.from_samples(data.file.batches()), single
            case given.Moments():
                return Moments(**data.matrices), single
            case models.NonCommuting():
                return [_moments(views, data) for views in _non_commuting(data)], single
            case _:
                views = _views(data)
                if isinstance(views, Temporal) and getattr(data, "positions", False):
                    return _stacked(views, data), views.frames
                return _moments(views, data), single
    except ConfigError:
        raise
    except (ValueError, ImportError) as error:
        raise ConfigError([f"Table `data` must give moments. {error}"]) from error


def _check_memory(data: toml.Data) -> None:
    """MemoryError where moments of the dimension that a key names cannot fit."""
    match data:
        case models.LowRank() | models.PowerLaw() | models.NonCommuting():
            d, key = data.dimension, "dimension"
        case models.PixelMask() | models.BlockMask():
            d, key = math.prod(data.shape), "shape"
        case _:  # no larger than files or lists, or bounded
            return
    least = MATRICES * 8 * d**2
    if least > host_memory():
        rule = f"moments of {d:,} dimensions take at least {least / 2**30:,.0f} GiB"
        raise MemoryError(f"Key `data.{key}` must be smaller: {rule}.")


def _stacked(views: Temporal, data: models.Views) -> Moments:
    if data.pairs is None:
        return views.stacked_moments()
    with amplification_expected():
        return Moments.from_samples(views.stacked_pairs(data.pairs, seed=data.seed))


def _moments(views: AbstractViews, data: models.Views) -> Moments:
    if data.pairs is None:
        return views.exact_moments()
    return views.sampled_moments(data.pairs, seed=data.seed)


def _non_commuting(data: models.NonCommuting) -> list[AbstractViews]:
    fixed = {"seed": data.basis_seed, "smallest": data.smallest}
    return [non_commuting(data.dimension, angle, **fixed) for angle in data.angles]


def _views(data: models.Views) -> AbstractViews:
    match data:
        case models.Static():
            return Static(data.signal, data.noise)
        case models.Dynamic():
            return _dynamic(data, lag=data.lag)
        case models.Temporal():
            return Temporal(_dynamic(data).lag_covariances(data.frames), _policy(data.policy))
        case models.PixelMask() | models.BlockMask():
            return _masked(data, Gaussian(grid_covariance(data.shape, data.length)), data.shape)
        case models.LowRank():
            return LowRank(
                data.signal, data.noise, dimension=data.dimension, denoising=data.denoising
            )
        case models.PowerLaw():
            return power_law(
                data.dimension, data.exponent, noise=data.noise, noise_exponent=data.noise_exponent
            )
        case real.Series():
            series = _SERIES[data.name](**_given(data, "anomalies"))
            return Windows(series, data.window, data.lag)
        case real.ShiftedPhotographs():  # of which a window has `patch` pixels along the edge
            return Shifted(Patches(data.patch + data.shift), data.shift, noise=data.noise)
        case real.Photographs():
            return _view(data, Patches(data.patch))
        case real.Digits():
            return _view(data, Digits())
        case _:
            raise TypeError(f"no views for {type(data)}")


def _view(data: models.Views, source: AbstractSource) -> AbstractViews:
    match data:
        case real.NoisyPhotographs() | real.NoisyDigits():
            return Noisy(source, data.noise)
        case real.ShiftedDigits():
            return Shifted(source, data.shift, noise=data.noise)
        case real.MaskedPhotographs() | real.MaskedDigits():
            return _masked(data, source, (source.side, source.side))
        case real.Lit():
            return Lit(source, **_given(data, "brightness_sd", "gradient_sd", "sensor_sd"))
        case _:
            raise TypeError(f"no view for {type(data)}")


def _masked(data: Any, source: AbstractSource, shape: Sequence[int]) -> Masked:
    """Under pixels masked one by one where `keep` is given, else under a block."""
    keep = getattr(data, "keep", None)
    mask = PixelMask(keep) if keep is not None else BlockMask(shape, data.block)
    return Masked(source, mask, _TARGETS[data.target], noise=data.noise)


def _dynamic(data: models.Dynamic | models.Temporal, lag: int = 1) -> Dynamic:
    return Dynamic(
        data.signal, data.autocorrelation, data.noise, data.noise_autocorrelation, lag=lag
    )


def _policy(policy: models.RandomFrames | models.Suffix | models.BlockFrames) -> AbstractMask:
    match policy:
        case models.RandomFrames():
            return RandomFrames(policy.keep)
        case models.Suffix():
            return Suffix(policy.length)
        case models.BlockFrames():
            return BlockFrames(policy.length)


def _start(grid: tables.Grid) -> Callable[[Any], AbstractStart]:
    """From a scale to a start; numbers that are axes of the grid come later, by `_pose`."""
    match grid.start:
        case "balanced":
            return partial(Balanced, rotated=True) if grid.rotated else Balanced
        case "unbalanced":
            return partial(Unbalanced, imbalance=0.0, rotated=grid.rotated)
        case "misaligned":
            return partial(Misaligned, angle=0.0)
        case "orthogonal":
            return Orthogonal
        case "gaussian":
            return RandomGaussian


def _times(times: tables.CriticalTimes | tables.LogTimes) -> AbstractTimes:
    match times:
        case tables.CriticalTimes():
            return CriticalGrid(count=times.count, last=times.last)
        case tables.LogTimes():
            return LogGrid(start=times.start, stop=times.stop, count=times.count)


def _solver(
    solve: tables.ClosedForm
    | tables.Modes
    | tables.LayerModes
    | tables.GradientFlow
    | tables.Descent,
    data: toml.Data,
) -> AbstractSolver:
    match solve:
        case tables.ClosedForm():
            return ClosedForm()
        case tables.Modes():
            return Modes(**_given(solve, "tolerance", "max_steps"))
        case tables.LayerModes():
            method = _METHODS[solve.method]
            return LayerModes(method, **_given(solve, "rtol", "atol", "max_steps"))
        case tables.GradientFlow():
            method = _METHODS[solve.method]
            return GradientFlow(method, **_given(solve, "rtol", "atol", "max_steps"))
        case tables.Descent():
            samples = None
            if solve.batch_size is not None and isinstance(data, given.Samples):
                x, y = map(np.concatenate, zip(*data.file.batches(), strict=True))
                samples = x - x.mean(axis=0), y - y.mean(axis=0)  # as the moments are centred
            return Descent(
                _OPTIMIZERS[solve.optimizer],
                solve.learning_rate,
                samples=samples,
                **_given(solve, "batch_size", "max_steps"),
            )


def _given(table: Table, *names: str) -> dict[str, Any]:
    """The fields that the configuration sets; what is built knows the others."""
    fields = {name: getattr(table, name) for name in names}
    return {name: value for name, value in fields.items() if value is not None}
