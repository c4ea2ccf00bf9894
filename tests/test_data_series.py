"""Windows of real time series."""

import numpy as np
import pytest

from jepa_sim.data import series
from jepa_sim.data.series import Windows, elnino, sunspots
from tests.sampling import BATCH, BATCHES, check_joint, check_pairs

RNG = np.random.default_rng(0)
WALK = np.cumsum(RNG.standard_normal(60))


@pytest.mark.parametrize("values", [WALK, RNG.standard_normal((60, 2))])
def test_moments_are_means_over_all_windows(values: np.ndarray):
    window, lag = 3, 2
    series = values.reshape(60, -1)
    series = (series - series.mean(axis=0)) / series.std(axis=0)
    starts = range(60 - window - lag + 1)
    x = np.array([series[t : t + window].ravel() for t in starts])
    y = np.array([series[t + lag : t + lag + window].ravel() for t in starts])
    joint = np.cov(np.concatenate([x, y], axis=1), rowvar=False, bias=True)
    d = x.shape[1]
    moments = Windows(values, window, lag).exact_moments()
    np.testing.assert_allclose(moments.xx, joint[:d, :d], atol=1e-12)
    np.testing.assert_allclose(moments.yx, joint[d:, :d], atol=1e-12)
    np.testing.assert_allclose(moments.yy, joint[d:, d:], atol=1e-12)
    check_joint(moments)


def test_samples_converge():
    views = Windows(WALK, 3, 2)
    x, y = (np.concatenate(v) for v in zip(*views.pairs(100_000, seed=1), strict=True))
    means = x.mean(axis=0), y.mean(axis=0)
    pairs = views.pairs(BATCH * BATCHES, batch_size=BATCH)
    check_pairs(((x - means[0], y - means[1]) for x, y in pairs), views.exact_moments())


def test_what_overlaps_is_known():
    moments = Windows(WALK, 4, 1).exact_moments()
    np.testing.assert_allclose(moments.yx[:3], moments.xx[1:], atol=1e-12)


def test_the_series():
    months = elnino()
    assert months.shape == (732,)
    assert abs(months.mean()) < 1e-12
    np.testing.assert_allclose(months.reshape(61, 12).mean(axis=0), 0, atol=1e-12)
    temperatures = elnino(anomalies=False)
    assert temperatures[:3].tolist() == [23.11, 24.20, 25.37]  # January to March 1950
    assert temperatures.std() > 2 * months.std()
    years = sunspots()
    assert years.shape == (309,)
    assert (years >= 0).all()


def test_sunspots_half_a_cycle_on_are_fewer():
    features = Windows(sunspots(), 4, 5).exact_moments().features()
    assert features.rho[-1] < -0.5
    features = Windows(sunspots(), 4, 11).exact_moments().features()
    assert features.rho[0] > 0.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Windows(np.ones((2, 2, 2)), 1, 1), "Argument `values` must have the axes"),
        (lambda: Windows([1.0, np.nan], 1, 1), "Argument `values` must be finite"),
        (lambda: Windows(np.ones(9), 1, 1), "Argument `values` must vary in every variable"),
        (lambda: Windows(WALK, 0, 1), "Argument `window` must be a whole number, at least 1"),
        (lambda: Windows(WALK, 1, 0), "Argument `lag` must be a whole number, at least 1"),
        (
            lambda: Windows(WALK, 20, 21),
            "Argument `values` must have at least 61 steps, for windows of 20 and a lag of 21, but",
        ),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_least_series_that_is_accepted_has_moments():
    assert Windows(WALK, 20, 20).exact_moments().dimension == 20
    assert series.Windows(RNG.standard_normal((5, 1)), 2, 1).exact_moments().dimension == 2
