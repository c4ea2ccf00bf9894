"""The inverse of F_c from a table: one polynomial per octave of c and cell of the chart.

ln v, v = (1 + c) ln(1/q) below the plateau and v = A ln(1/q) above it, as a polynomial of degree
DEGREE in the place within the cell, whose coefficients are polynomials of degree DEGREE_C in the
place within the octave. `tabulate` made `table.npy`: (octaves, powers of z, cells, powers of r).
The octaves are [0, 2^{FIRST+1}), [2^{FIRST+1}, 2^{FIRST+2}), … 2^LAST of c, then [1, 2), … of A.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("table.npy")
DEGREE, DEGREE_C = 13, 14
LOWEST, CELL, CELLS = -8.0, 0.5, 24
FIRST, LAST = -7, 8
LARGEST = 2.0**LAST  # neither c nor A may be that large
BELOW_ZERO = 1e-6  # c may be so far, by rounding


def parameter(exponent: int, z: Any) -> Any:
    """c or A at z in [−1, 1] of the octave that starts at 2^exponent; the first starts at 0."""
    if exponent == FIRST:
        return 2.0**FIRST * (1 + z)
    return 2.0 ** (exponent + (1 + z) / 2)


@cache
def load() -> Any:
    return np.load(PATH)
