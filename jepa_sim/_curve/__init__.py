"""The reduced flow u̇ = u^a (λ − σ² u^b), u(0) = ε^{1/L}, in closed form.

With the plateau u* = ρ^{1/b}, ρ = λ/σ², let z = (u/u*)^b, c = (a − 1)/b and r = k t, k = b λ ρ^c.
Then all features with λ > 0 follow one family of curves in c. The log-odds y = ln(z / (1 − z))
measures both ends: u near 0, 1 − u/u* near 1.

    dz/dr = z^{1+c} (1 − z),  dy/dr = z^c,  F_c(z) = F_c(z_0) + r,  F_c = ∫ dz / (z^{1+c} (1 − z))

Above the plateau p = 1/z follows the same curve with −1 − c in place of c. So all that is needed is
F_c at q in (0, 1), q = z or p, for real c. Let n be the integer nearest to c, plus 1, but at least
0, and A = n − c. Then, with l = ln q,

    F_c = Σ_{k<n} (q^{k−c} − 1) / (k − c) + (far or near)
    far:   Σ_j q^{A+j} / (A + j) = q^A (1 + x) / A · ₂F₁(1, 1; A + 1; −x),  x = q / (1 − q),
           by Gauss's continued fraction
    near:  y − Σ_{j≥1} (B_j(A) − B_j(0)) l^j / (j! j), with Bernoulli polynomials
    near − far = γ + ψ(A)

F_c is inverted by a table, `table`, made once by quadrature (`tabulate`).

F_c is normalised so that F_c − y → 0 at the plateau if n > 0, and F_c → 0 at q = 0 if n = 0, which
is where every start above the plateau is: each has full relative precision where it matters.

The time of the transition can exceed its length 1e22 times. It is computed with twice the working
precision, so that u belongs to the very floating-point t that was given. For λ ≤ 0 see `decay`.
Derivatives are those of the implicit equation, never of the iteration that solves it.
"""

from jepa_sim._curve.api import evolve, hitting_time, resolution, travel_time
from jepa_sim._curve.table import BELOW_ZERO, LARGEST

LEAST_C, LARGEST_C = -BELOW_ZERO, LARGEST - 1  # between which `evolve` knows c

__all__ = ["LARGEST_C", "LEAST_C", "evolve", "hitting_time", "resolution", "travel_time"]
