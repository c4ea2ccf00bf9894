"""Where on the table a value of F_c is: a variable p in which the inverse is smooth, for all c.

Below the plateau F_c has branch points at E = F_c − γ − ψ(1 + c) = ±iπ, grows like y = ln(q/(1−q))
on the right, and like −q^{−c}/c on the left. Above it F_{−A} is like A ln q in its logarithm on the
left and like y on the right. Hence, with e^± = (√(E² + π²) ± E)/2,

    p = ln(1 + P) − ln(1 + N)
    below   P = e⁺,  N = ln(1 + c e⁻)/c for c < 1 and ln(1 + e⁻) for c ≥ 1
    above   P = F,  N = ln(1 + 1/F)

The logarithm of ln(1/q) is a smooth function of p and of ln c. Every costly function is used once,
so that a compiler need not store it: one pass for p, one for what follows.
"""

from types import ModuleType
from typing import Any

import numpy as np

LARGE = 1e15  # no square of it overflows in float32, and beside it π² is nothing


def below(xp: ModuleType, c: Any, e: Any) -> tuple[Any, Any, Any]:
    """P, and what N is the logarithm of, less 1, before it is divided by the third."""
    right, left, size = xp.maximum(e, 0), xp.minimum(e, 0), xp.abs(e)
    plus = xp.where(e > 0, (_root(xp, right) + right) / 2, np.pi**2 / 2 / (_root(xp, left) - left))
    slow = xp.minimum(c, 1)
    return plus, slow * (_root(xp, size) - e) / 2, slow


def _root(xp: ModuleType, e: Any) -> Any:
    """√(e² + π²)."""
    size = xp.abs(e)
    return xp.maximum(xp.sqrt(xp.minimum(size, LARGE) ** 2 + np.pi**2), size)


def position(xp: ModuleType, plus: Any, argument: Any, gauge: Any) -> Any:
    """p."""
    return xp.log((1 + plus) / (1 + xp.log1p(argument) / gauge))
