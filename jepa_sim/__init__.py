"""Simulate how deep linear self-supervised networks learn: JEPA against MAE.

Names are loaded at their first use, so that the command line answers before JAX is imported, and
can say what JAX needs to know before it is.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepa_sim import _data as data
    from jepa_sim import _observables as observables
    from jepa_sim._cache import keep_compiled
    from jepa_sim._campaign import campaign
    from jepa_sim._checks import AmplifiedWarning
    from jepa_sim._critical import asymptotic_critical_times, critical_times
    from jepa_sim._diagnose import Diagnosis, Finding, Status, diagnose
    from jepa_sim._engine import AbstractEngine, Dask, Local
    from jepa_sim._equilibria import Rest
    from jepa_sim._faults import StoreError
    from jepa_sim._grid import CriticalGrid, FixedTimes, Grid, LogGrid
    from jepa_sim._moments import Features, Moments
    from jepa_sim._network import DeepLinear
    from jepa_sim._objective import (
        JEPA,
        MAE,
        AbstractObjective,
        BarlowTwins,
        Maps,
        WhitenedJoint,
    )
    from jepa_sim._optima import joint_embedding_optimum, reconstruction_optimum
    from jepa_sim._problem import Problem
    from jepa_sim._solve.base import AbstractSolver, Solution, simulate
    from jepa_sim._solve.closed_form import ClosedForm
    from jepa_sim._solve.descent import Descent
    from jepa_sim._solve.flow import GradientFlow
    from jepa_sim._solve.layer_modes import LayerModes
    from jepa_sim._solve.modes import Modes
    from jepa_sim._stabilised import RKC2, ROCK4
    from jepa_sim._start import (
        AbstractStart,
        Balanced,
        Given,
        Misaligned,
        Orthogonal,
        RandomGaussian,
        Unbalanced,
    )
    from jepa_sim._state import Gains, Separate, Weights
    from jepa_sim._store import open_run
    from jepa_sim._sweep import Sweep, plan, sweep
    from jepa_sim._target import MovingAverage, NoStopGradient, StopGradient
    from jepa_sim._training import DirectPred, FastPredictor, Learned, Training
    from jepa_sim._trajectory import Trajectory
    from jepa_sim._types import ResultCode

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
    "._checks": ("AmplifiedWarning",),
    "._cache": ("keep_compiled",),
    "._campaign": ("campaign",),
    "._critical": ("asymptotic_critical_times", "critical_times"),
    "._diagnose": ("Diagnosis", "Finding", "Status", "diagnose"),
    "._engine": ("AbstractEngine", "Dask", "Local"),
    "._equilibria": ("Rest",),
    "._faults": ("StoreError",),
    "._grid": ("CriticalGrid", "FixedTimes", "Grid", "LogGrid"),
    "._moments": ("Features", "Moments"),
    "._network": ("DeepLinear",),
    "._objective": (
        "JEPA",
        "MAE",
        "AbstractObjective",
        "BarlowTwins",
        "Maps",
        "WhitenedJoint",
    ),
    "._optima": ("joint_embedding_optimum", "reconstruction_optimum"),
    "._problem": ("Problem",),
    "._solve.base": ("AbstractSolver", "Solution", "simulate"),
    "._solve.closed_form": ("ClosedForm",),
    "._solve.descent": ("Descent",),
    "._solve.flow": ("GradientFlow",),
    "._solve.layer_modes": ("LayerModes",),
    "._solve.modes": ("Modes",),
    "._stabilised": ("RKC2", "ROCK4"),
    "._start": (
        "AbstractStart",
        "Balanced",
        "Given",
        "Misaligned",
        "Orthogonal",
        "RandomGaussian",
        "Unbalanced",
    ),
    "._state": ("Gains", "Separate", "Weights"),
    "._store": ("open_run",),
    "._sweep": ("Sweep", "plan", "sweep"),
    "._target": ("MovingAverage", "NoStopGradient", "StopGradient"),
    "._training": ("DirectPred", "FastPredictor", "Learned", "Training"),
    "._trajectory": ("Trajectory",),
    "._types": ("ResultCode",),
}
_MODULES = ("data", "observables")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jepa_sim._{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module `jepa_sim` has no attribute `{name}`")
    value = getattr(importlib.import_module(_HOME_OF[name], "jepa_sim"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
