"""Simulate how deep linear self-supervised networks learn: JEPA against MAE.

Names are loaded at their first use, so that the command line answers before JAX is imported, and
can say what JAX needs to know before it is.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepa_sim import data
    from jepa_sim.arguments.checks import AmplifiedWarning
    from jepa_sim.arguments.errors import StoreError
    from jepa_sim.arguments.types import ResultCode
    from jepa_sim.campaigns.campaign import campaign
    from jepa_sim.campaigns.engine import AbstractEngine, Dask, Local
    from jepa_sim.campaigns.store import open_run
    from jepa_sim.data.moments import Features, Moments
    from jepa_sim.data.optima import joint_embedding_optimum, reconstruction_optimum
    from jepa_sim.model.equilibria import Rest
    from jepa_sim.model.network import DeepLinear
    from jepa_sim.model.objectives import (
        JEPA,
        MAE,
        AbstractObjective,
        BarlowTwins,
        Maps,
        WhitenedJoint,
    )
    from jepa_sim.model.problem import Problem
    from jepa_sim.model.starts import (
        AbstractStart,
        Balanced,
        Given,
        Misaligned,
        Orthogonal,
        RandomGaussian,
        Unbalanced,
    )
    from jepa_sim.model.state import Gains, Separate, Weights
    from jepa_sim.model.teachers import MovingAverage, NoStopGradient, StopGradient
    from jepa_sim.model.training import DirectPred, FastPredictor, Learned, Training
    from jepa_sim.numerics.cache import keep_compiled
    from jepa_sim.numerics.stabilised import RKC2, ROCK4
    from jepa_sim.results import observables
    from jepa_sim.results.critical import asymptotic_critical_times, critical_times
    from jepa_sim.results.diagnose import Diagnosis, Finding, Status, diagnose
    from jepa_sim.results.trajectory import Trajectory
    from jepa_sim.solvers.base import AbstractSolver, Solution, simulate
    from jepa_sim.solvers.closed_form import ClosedForm
    from jepa_sim.solvers.descent import Descent
    from jepa_sim.solvers.flow import GradientFlow
    from jepa_sim.solvers.layer_modes import LayerModes
    from jepa_sim.solvers.modes import Modes
    from jepa_sim.sweeps.grid import CriticalGrid, FixedTimes, Grid, LogGrid
    from jepa_sim.sweeps.sweep import Sweep, plan, sweep

__version__ = "0.1.0"
__all__ = [
    "JEPA",
    "MAE",
    "RKC2",
    "ROCK4",
    "AbstractEngine",
    "AbstractObjective",
    "AbstractSolver",
    "AbstractStart",
    "AmplifiedWarning",
    "Balanced",
    "BarlowTwins",
    "ClosedForm",
    "CriticalGrid",
    "Dask",
    "DeepLinear",
    "Descent",
    "Diagnosis",
    "DirectPred",
    "FastPredictor",
    "Features",
    "Finding",
    "FixedTimes",
    "Gains",
    "Given",
    "GradientFlow",
    "Grid",
    "LayerModes",
    "Learned",
    "Local",
    "LogGrid",
    "Maps",
    "Misaligned",
    "Modes",
    "Moments",
    "MovingAverage",
    "NoStopGradient",
    "Orthogonal",
    "Problem",
    "RandomGaussian",
    "Rest",
    "ResultCode",
    "Separate",
    "Solution",
    "Status",
    "StopGradient",
    "StoreError",
    "Sweep",
    "Training",
    "Trajectory",
    "Unbalanced",
    "Weights",
    "WhitenedJoint",
    "asymptotic_critical_times",
    "campaign",
    "critical_times",
    "data",
    "diagnose",
    "joint_embedding_optimum",
    "keep_compiled",
    "observables",
    "open_run",
    "plan",
    "reconstruction_optimum",
    "simulate",
    "sweep",
]

_HOMES = {
    ".arguments.checks": ("AmplifiedWarning",),
    ".numerics.cache": ("keep_compiled",),
    ".campaigns.campaign": ("campaign",),
    ".results.critical": ("asymptotic_critical_times", "critical_times"),
    ".results.diagnose": ("Diagnosis", "Finding", "Status", "diagnose"),
    ".campaigns.engine": ("AbstractEngine", "Dask", "Local"),
    ".model.equilibria": ("Rest",),
    ".arguments.errors": ("StoreError",),
    ".sweeps.grid": ("CriticalGrid", "FixedTimes", "Grid", "LogGrid"),
    ".data.moments": ("Features", "Moments"),
    ".model.network": ("DeepLinear",),
    ".model.objectives": (
        "JEPA",
        "MAE",
        "AbstractObjective",
        "BarlowTwins",
        "Maps",
        "WhitenedJoint",
    ),
    ".data.optima": ("joint_embedding_optimum", "reconstruction_optimum"),
    ".model.problem": ("Problem",),
    ".solvers.base": ("AbstractSolver", "Solution", "simulate"),
    ".solvers.closed_form": ("ClosedForm",),
    ".solvers.descent": ("Descent",),
    ".solvers.flow": ("GradientFlow",),
    ".solvers.layer_modes": ("LayerModes",),
    ".solvers.modes": ("Modes",),
    ".numerics.stabilised": ("RKC2", "ROCK4"),
    ".model.starts": (
        "AbstractStart",
        "Balanced",
        "Given",
        "Misaligned",
        "Orthogonal",
        "RandomGaussian",
        "Unbalanced",
    ),
    ".model.state": ("Gains", "Separate", "Weights"),
    ".campaigns.store": ("open_run",),
    ".sweeps.sweep": ("Sweep", "plan", "sweep"),
    ".model.teachers": ("MovingAverage", "NoStopGradient", "StopGradient"),
    ".model.training": ("DirectPred", "FastPredictor", "Learned", "Training"),
    ".results.trajectory": ("Trajectory",),
    ".arguments.types": ("ResultCode",),
}
_MODULES = {"data": ".data", "observables": ".results.observables"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name], "jepa_sim")
    if name not in _HOME_OF:
        raise AttributeError(f"module `jepa_sim` has no attribute `{name}`")
    value = getattr(importlib.import_module(_HOME_OF[name], "jepa_sim"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
