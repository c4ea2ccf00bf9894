"""Simulate how deep linear self-supervised networks learn: JEPA against MAE.

The imports below list the public names, and the module that defines each. A name is loaded when it
is first used, so the command line can answer before JAX is imported, and can set up JAX before.
"""

import ast
import importlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # type checkers follow these imports; `_homes` reads them
    from . import data as data
    from . import explore as explore
    from . import plot as plot
    from .arguments.checks import AmplifiedWarning as AmplifiedWarning
    from .arguments.checks import AsymmetryWarning as AsymmetryWarning
    from .arguments.errors import StoreError as StoreError
    from .arguments.types import ResultCode as ResultCode
    from .campaigns.campaign import campaign as campaign
    from .campaigns.engine import Dask as Dask
    from .campaigns.engine import Local as Local
    from .campaigns.store import open_run as open_run
    from .data.features import Features as Features
    from .data.moments import Moments as Moments
    from .data.optima import joint_embedding_optimum as joint_embedding_optimum
    from .data.optima import reconstruction_optimum as reconstruction_optimum
    from .model.equilibria import Equilibria as Equilibria
    from .model.network import DeepLinear as DeepLinear
    from .model.objectives import JEPA as JEPA
    from .model.objectives import MAE as MAE
    from .model.objectives import AbstractObjective as AbstractObjective
    from .model.objectives import BarlowTwins as BarlowTwins
    from .model.objectives import Maps as Maps
    from .model.objectives import WhitenedJoint as WhitenedJoint
    from .model.predictors import DirectPred as DirectPred
    from .model.predictors import FastPredictor as FastPredictor
    from .model.predictors import GivenPredictor as GivenPredictor
    from .model.predictors import IdentityPredictor as IdentityPredictor
    from .model.predictors import Learned as Learned
    from .model.problem import Problem as Problem
    from .model.starts import AbstractStart as AbstractStart
    from .model.starts import Balanced as Balanced
    from .model.starts import Given as Given
    from .model.starts import Misaligned as Misaligned
    from .model.starts import Orthogonal as Orthogonal
    from .model.starts import RandomBalanced as RandomBalanced
    from .model.starts import RandomGaussian as RandomGaussian
    from .model.starts import Unbalanced as Unbalanced
    from .model.state import Gains as Gains
    from .model.state import Planes as Planes
    from .model.state import Separate as Separate
    from .model.state import Weights as Weights
    from .model.teachers import MovingAverage as MovingAverage
    from .model.teachers import NoStopGradient as NoStopGradient
    from .model.teachers import StopGradient as StopGradient
    from .model.training import Training as Training
    from .numerics.cache import keep_compiled as keep_compiled
    from .numerics.stabilised import RKC2 as RKC2
    from .numerics.stabilised import ROCK4 as ROCK4
    from .results import observables as observables
    from .results.critical import asymptotic_critical_times as asymptotic_critical_times
    from .results.critical import critical_times as critical_times
    from .results.critical import trust as trust
    from .results.diagnose import Diagnosis as Diagnosis
    from .results.diagnose import Finding as Finding
    from .results.diagnose import diagnose as diagnose
    from .results.evictions import Eviction as Eviction
    from .results.evictions import evictions as evictions
    from .results.identify import Identification as Identification
    from .results.identify import identify_objective as identify_objective
    from .results.measured import measure_gains as measure_gains
    from .results.status import Status as Status
    from .results.takeovers import Takeovers as Takeovers
    from .results.takeovers import takeover_times as takeover_times
    from .results.trajectory import Trajectory as Trajectory
    from .results.trust import DisplacementWarning as DisplacementWarning
    from .results.trust import Trust as Trust
    from .solvers.base import AbstractSolver as AbstractSolver
    from .solvers.base import Solution as Solution
    from .solvers.base import simulate as simulate
    from .solvers.closed_form import ClosedForm as ClosedForm
    from .solvers.descent import Descent as Descent
    from .solvers.flow import GradientFlow as GradientFlow
    from .solvers.layer_modes import LayerModes as LayerModes
    from .solvers.modes import Modes as Modes
    from .solvers.sleeping.solver import SleepingFlow as SleepingFlow
    from .sweeps.compare import compare_times as compare_times
    from .sweeps.grid import CriticalGrid as CriticalGrid
    from .sweeps.grid import FixedTimes as FixedTimes
    from .sweeps.grid import Grid as Grid
    from .sweeps.grid import LogGrid as LogGrid
    from .sweeps.sweep import Plan as Plan
    from .sweeps.sweep import plan as plan
    from .sweeps.sweep import sweep as sweep

__version__ = "0.2.0"


def _homes() -> dict[str, str]:
    """The module that defines each public name."""
    source = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    public = (node for node in ast.walk(source) if isinstance(node, ast.ImportFrom) and node.level)
    return {alias.name: f".{node.module or ''}" for node in public for alias in node.names}


_HOMES = _homes()
_MODULES = ("data", "explore", "observables", "plot")  # public names that are modules themselves
_OLDER = {"Rest": "Equilibria", "Sweep": "Plan"}  # names of version 0.1, which 0.3 will not know
_GOING = {  # names that 0.3 will not know: where they are, and what to use
    "AbstractEngine": (".campaigns.engine", "`campaign` computes shards for any scheduler")
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


if not TYPE_CHECKING:  # else type checkers would let every name pass

    def __getattr__(name: str) -> Any:
        if name in _OLDER:
            about = f"`jepa_sim.{name}` is called `jepa_sim.{_OLDER[name]}` since version 0.2."
            warnings.warn(about, DeprecationWarning, stacklevel=2)
            return __getattr__(_OLDER[name])
        if name in _GOING:
            home, instead = _GOING[name]
            about = f"`jepa_sim.{name}` goes with version 0.3: {instead}."
            warnings.warn(about, DeprecationWarning, stacklevel=2)
            return getattr(importlib.import_module(home, __name__), name)
        if name not in _HOMES:
            raise AttributeError(f"module `jepa_sim` has no attribute `{name}`")
        home = _HOMES[name]
        if name in _MODULES:
            value = importlib.import_module(f"{home.rstrip('.')}.{name}", __name__)
        else:
            value = getattr(importlib.import_module(home, __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
