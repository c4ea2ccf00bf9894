"""Simulate how deep linear self-supervised networks learn: JEPA against MAE."""

from jepa_sim import _observables as observables
from jepa_sim._critical import asymptotic_critical_times, critical_times
from jepa_sim._grid import CriticalGrid, FixedTimes, Grid, LogGrid
from jepa_sim._moments import Features, Moments
from jepa_sim._network import Balanced, DeepLinear, Gains, RandomGaussian, Weights
from jepa_sim._objective import JEPA, MAE, AbstractObjective
from jepa_sim._problem import Problem
from jepa_sim._solve.base import AbstractSolver, simulate
from jepa_sim._solve.closed_form import ClosedForm
from jepa_sim._solve.descent import Descent
from jepa_sim._solve.flow import GradientFlow
from jepa_sim._solve.modes import Modes
from jepa_sim._sweep import sweep
from jepa_sim._trajectory import Trajectory
from jepa_sim._types import ResultCode

__version__ = "0.1.0"
__all__ = [
    "JEPA",
    "MAE",
    "AbstractObjective",
    "AbstractSolver",
    "Balanced",
    "ClosedForm",
    "CriticalGrid",
    "DeepLinear",
    "Descent",
    "Features",
    "Gains",
    "FixedTimes",
    "GradientFlow",
    "Grid",
    "LogGrid",
    "Modes",
    "Moments",
    "Problem",
    "RandomGaussian",
    "ResultCode",
    "Trajectory",
    "Weights",
    "asymptotic_critical_times",
    "critical_times",
    "observables",
    "simulate",
    "sweep",
]
