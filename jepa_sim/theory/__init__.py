"""The reduced flow u̇ = u^a (λ − σ² u^b), u(0) = ε^{1/L}, in closed form.

With the plateau u* = ρ^{1/b}, ρ = λ/σ², let z = (u/u*)^b, c = (a − 1)/b and r = k t, k = b λ ρ^c.
Then all features with λ > 0 follow one family of curves in c:

    dz/dr = z^{1+c} (1 − z),   F_c(z) = F_c(z_0) + r,   F_c = ∫ dz / (z^{1+c} (1 − z))

Above the plateau 1/z follows the same curve with −1 − c in place of c. F_c is an exponential on one
side and a logarithm on the other. Without these, F_c and its inverse are smooth functions, which
are read from tables that depend on c alone. A sweep has few values of c, and makes the tables
outside of its lanes.

`cells`: functions as polynomials on octaves.  `tables`: the tables of one c.  `rise`: features with
λ > 0.  `decay`: those with λ ≤ 0.  `motion`: both, and their derivative.  `logarithm`: ln(1 + y).
`flow`: all of it as one object.
`line`: the other exact cases: features that turn, and a JEPA with M = 1 whose layers differ.
`told`: a JEPA with a predictor for every action.
`displacement`: how long features stay independent of each other, which all of this assumes.

Derivatives come from the implicit equation: F_c is differentiated, and not its inverse.
"""

from jepa_sim.theory.displacement import Displacement as Displacement
from jepa_sim.theory.displacement import first_displacement as first_displacement
from jepa_sim.theory.flow import ReducedFlow as ReducedFlow
from jepa_sim.theory.line import Line as Line
from jepa_sim.theory.tables import LARGEST_C as LARGEST_C
from jepa_sim.theory.tables import Curve as Curve
from jepa_sim.theory.tables import curve_parameter as curve_parameter
from jepa_sim.theory.tables import make_curve as make_curve
from jepa_sim.theory.tables import stack_curves as stack_curves
from jepa_sim.theory.tables import take_curve as take_curve
from jepa_sim.theory.told import Told as Told
