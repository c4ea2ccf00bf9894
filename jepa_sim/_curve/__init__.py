"""The reduced flow u̇ = u^a (λ − σ² u^b), u(0) = ε^{1/L}, in closed form."""

from jepa_sim._curve.flow import ReducedFlow
from jepa_sim._curve.tables import (
    BELOW_ZERO,
    LARGEST_C,
    Curve,
    make_curve,
    stack_curves,
    take_curve,
)

__all__ = [
    "BELOW_ZERO",
    "LARGEST_C",
    "Curve",
    "ReducedFlow",
    "make_curve",
    "stack_curves",
    "take_curve",
]
