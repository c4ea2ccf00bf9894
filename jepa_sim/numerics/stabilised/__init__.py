"""Stabilised explicit Runge–Kutta methods, as solvers of diffrax.

Their stages are Chebyshev recurrences: s right-hand sides are stable on a real interval whose
length grows like s², so that a stiff problem with a near-real negative spectrum costs the square
root of what it costs a classical explicit method.
"""

from jepa_sim.numerics.stabilised.base import AbstractStabilised, rhs_count
from jepa_sim.numerics.stabilised.control import PredictiveController
from jepa_sim.numerics.stabilised.rkc2 import RKC2
from jepa_sim.numerics.stabilised.rock4 import ROCK4

__all__ = ["RKC2", "ROCK4", "AbstractStabilised", "PredictiveController", "rhs_count"]
