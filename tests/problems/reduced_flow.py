"""Times of the reduced flow by quadrature in 60 digits, and the error of a result.

    dt = dv / (v^a (λ − σ² v^b))

In l = ln(v^b / |ρ|) the speed is k e^{cl} (1 ∓ e^l), k = b |λ| |ρ|^c, so that the integral needs no
formula of the package. It is taken along the log-odds of v^b / ρ, where the integrand is smooth.
"""

from functools import cache

import mpmath as mp
import numpy as np
from mpmath import mpf

mp.mp.dps = 60
NODES = 40


@cache
def gauss_legendre():
    rule = []
    for start in np.polynomial.legendre.leggauss(NODES)[0]:
        x = mpf(start)
        for _ in range(4):
            before, now = mpf(1), x
            for n in range(2, NODES + 1):
                before, now = now, ((2 * n - 1) * x * now - (n - 1) * before) / n
            slope = NODES * (x * now - before) / (x * x - 1)
            x -= now / slope
        rule.append((x, 2 / ((1 - x * x) * slope**2)))
    return rule


def integral(f, start, stop, width):
    pieces = max(1, int(mp.ceil(abs(stop - start) / width)))
    half = (stop - start) / pieces / 2
    middles = [start + (2 * i + 1) * half for i in range(pieces)]
    return half * sum(w * f(m + half * x) for m in middles for x, w in gauss_legendre())


def odds(l):
    """ln(z / (1 − z)) from l = ln z < 0."""
    return l - mp.log(-mp.expm1(l))


class Flow:
    """One feature, all numbers exact. l is ln(u^b / |ρ|), or ln u where λ = 0."""

    def __init__(self, lam, variance, scale, depth, a, b):
        numbers = map(mpf, map(float, (lam, variance, scale, depth, a, b)))
        self.lam, self.variance, self.scale, self.depth, self.a, self.b = numbers
        self.c = (self.a - 1) / self.b
        self.log_rho = mp.log(abs(self.lam) / self.variance) if self.lam else mpf(0)
        self.power = self.b if self.lam else mpf(1)
        self.start = self.power * mp.log(self.scale) / self.depth - self.log_rho
        self.rate = self.b * abs(self.lam) * mp.exp(self.c * self.log_rho)

    def speed(self, l):
        """dl/dt."""
        if self.lam == 0:
            return -self.variance * mp.exp((self.a + self.b - 1) * l)
        shape = -mp.expm1(l) if self.lam > 0 else -1 - mp.exp(l)
        return self.rate * mp.exp(self.c * l) * shape

    def time(self, l):
        """When the flow is at l."""
        if self.lam == 0:
            p = self.a + self.b - 1
            return (mp.exp(-p * l) - mp.exp(-p * self.start)) / (p * self.variance)
        width = 4 / (1 + self.c / 6)
        if self.lam < 0:
            f = integral(lambda s: mp.exp(-self.c * s) / (1 + mp.exp(s)), l, self.start, width)
            return f / self.rate
        c = -1 - self.c if self.start > 0 else self.c
        first, last, flat = odds(-abs(self.start)), odds(-abs(l)), mpf(140)
        power = lambda y: mp.exp(c * mp.log1p(mp.exp(-y)))  # noqa: E731
        rise = integral(power, min(first, flat), min(last, flat), width)
        return (rise + (max(last, flat) - max(first, flat))) / self.rate

    def drift(self, l, is_gap, spacing):
        """How much `time(l)` changes when λ, σ², ε and the result move by one unit each.

        is_gap: whether the result is 1 − u/u*, or else ln u.  spacing: from a number to its unit.
        """
        time, here, begin = self.time(l), 1 / self.speed(l), 1 / self.speed(self.start)
        moved = 0 if is_gap or not self.lam else here  # at the same u
        along = {
            "lam": -(1 + self.c) * time - moved + begin if self.lam else mpf(0),
            "variance": self.c * time + moved - begin if self.lam else -time,
            "scale": begin * self.power / self.depth,
        }
        ratio = {name: spacing(getattr(self, name)) / abs(getattr(self, name)) for name in along
                 if getattr(self, name)}  # fmt: skip
        inputs = sum(abs(along[name]) * ratio[name] for name in ratio)
        if is_gap:
            gap = -mp.expm1(l / self.b)
            return inputs + abs(here) * self.b * spacing(gap) / (1 - gap)
        log_u = (l + self.log_rho) / self.power
        return inputs + abs(here) * self.power * spacing(log_u)


def units_of_error(flow, t, log_u, gap, dtype=np.float64):
    """By how many units in the last place all inputs and the result must move to be exact."""
    is_gap = flow.lam > 0 and abs(gap) < 0.3
    if is_gap:
        l = flow.b * mp.log1p(-mpf(float(gap)))
    else:
        l = flow.power * mpf(float(log_u)) - flow.log_rho

    def spacing(x):
        return mpf(float(np.spacing(dtype(abs(float(x))))))

    return float(abs(flow.time(l) - mpf(float(t))) / (flow.drift(l, is_gap, spacing) + spacing(t)))
