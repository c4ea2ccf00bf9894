"""Windows of a real time series, and the windows that follow them: autoregressive views.

x is `window` successive values of a series, and y the same number of values `lag` steps later. A
predictor of y from x is then a vector autoregression. The series come with statsmodels.
"""

from importlib import resources

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.checks import amplification_expected
from jepa_sim.arguments.errors import check_extra
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ArrayLike, to_numpy
from jepa_sim.data.base import AbstractViews, Pair
from jepa_sim.data.moments import Moments


class Windows(AbstractViews):
    """Windows of a series: x = (v_t, …, v_{t+w−1}), y the same `lag` steps later.

    values: (T,) or, for several variables, (T, c); each is scaled to mean 0 and variance 1.
    window: w ≥ 1.  lag: k ≥ 1; with k < w the views overlap.  d = w c, step by step.
    rolled: whether both windows of a pair are rolled by one number of steps, all of them alike,
    what leaves at one end coming in at the other: the moments that a circular convolution sees.

    What comes later is no mirror image of what came before, so Σyx is not symmetric. Features are
    those of its symmetric part, and `Features.asymmetry` says how large the rest is. Rolled windows
    of one variable have features that are waves: pairs (cosine, sine) that turn by an angle θ in
    `lag` steps (`Features.angle`).

    Raises ValueError where shapes do not fit, a value is not finite, a variable never varies, or
    there are too few windows, d of them or fewer, for Σxx to be positive definite.
    """

    values: Float[np.ndarray, "T c"]
    window: int = eqx.field(static=True)
    lag: int = eqx.field(static=True)
    rolled: bool = eqx.field(static=True)
    is_exchangeable = False

    def __init__(self, values: ArrayLike, window: int, lag: int, *, rolled: bool = False):
        if np.ndim(values) not in (1, 2) or np.size(values) == 0:
            checks.fail("values", "have the axes (time,) or (time, variable)", np.shape(values))
        checks.check_finite("values", values)
        self.window = checks.whole_from("window", window, 1)
        self.lag, self.rolled = checks.whole_from("lag", lag, 1), rolled
        series = to_numpy(values).reshape(len(np.asarray(values)), -1)
        deviation = series.std(axis=0)
        if (deviation == 0).any():
            checks.fail("values", "vary in every variable", "constant in one")
        self.values = (series - series.mean(axis=0)) / deviation
        wanted = window + lag + window * series.shape[1]
        if len(series) < wanted:
            rule = f"have at least {wanted} steps, for windows of {window} and a lag of {lag}"
            checks.fail("values", rule, f"of {len(series)}")

    def exact_moments(self) -> Moments:
        """Moments over all windows of the series (and all rolls), less the means over them."""
        x, y = self._all()
        with amplification_expected():
            return Moments.from_samples(x, y)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` windows drawn with replacement."""
        x, y = self._all()
        chosen = rng.integers(len(x), size=count)
        return x[chosen], y[chosen]

    def _all(self) -> Pair:
        windows = np.lib.stride_tricks.sliding_window_view(self.values, self.window, axis=0)
        flat = windows.swapaxes(1, 2).reshape(len(windows), -1)
        x, y = flat[: -self.lag], flat[self.lag :]
        if not self.rolled:
            return x, y
        step = self.values.shape[1]
        rolls = range(0, flat.shape[1], step)
        x, y = (np.concatenate([np.roll(v, by, axis=1) for by in rolls]) for v in (x, y))
        return x, y


@checked
def elnino(*, anomalies: bool = True) -> Float[np.ndarray, " T"]:
    """(732,) monthly sea surface temperatures of the eastern tropical Pacific, 1950–2010, in °C.

    anomalies: subtract the mean of each calendar month. Without that the seasons are most of the
    variance.

    Raises ImportError where statsmodels is missing.
    """
    years = _table("elnino")[:, 1:]  # (year, month)
    return (years - years.mean(axis=0) if anomalies else years).ravel()


def sunspots() -> Float[np.ndarray, " T"]:
    """(309,) yearly numbers of sunspots, 1700–2008.

    Raises ImportError where statsmodels is missing.
    """
    return _table("sunspots")[:, 1]


def _table(name: str) -> Float[np.ndarray, "year columns"]:
    """A table of statsmodels, the year in its first column, read without pandas."""
    check_extra("series", f"`{name}`", "statsmodels")
    folder = resources.files(f"statsmodels.datasets.{name}")
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return np.genfromtxt(file, delimiter=",", skip_header=1)
