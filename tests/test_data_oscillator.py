"""Oscillators in noise, and windows rolled on a ring: data whose features turn in pairs."""

import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.data import Oscillator, Windows
from tests.sampling import check_views

BASIS = js.data.random_basis(4, seed=3)
VIEWS = Oscillator([1.0, 0.5], 0.9, [0.7, -0.4], [0.2, 0.0], lag=3, basis=BASIS)


def test_moments_are_those_of_the_process_and_of_samples():
    # z(t+k) = (γ R(ω))^k z(t) + …, step by step
    planes = [
        0.9 * np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]]) for w in (0.7, -0.4)
    ]
    yx = np.zeros((4, 4))
    for i, (step, s2) in enumerate(zip(planes, (1.0, 0.5), strict=True)):
        yx[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = s2 * np.linalg.matrix_power(step, 3)
    moments = VIEWS.exact_moments()
    np.testing.assert_allclose(moments.yx, BASIS @ yx @ BASIS.T, atol=1e-12)
    np.testing.assert_allclose(
        moments.xx, BASIS @ np.diag([1.2, 1.2, 0.5, 0.5]) @ BASIS.T, atol=1e-12
    )
    check_views(VIEWS)


def test_known_features_are_those_of_the_moments():
    moments = VIEWS.exact_moments()
    known, found = moments.features(), js.Moments(moments.xx, moments.yx).features()
    assert known.angle is not None
    assert found.angle is not None
    np.testing.assert_allclose(known.angle, [2.1, -2.1, 1.2, -1.2], rtol=1e-12)
    order = np.argsort(-np.asarray(known.rho), kind="stable")
    for name in ("lam", "rho", "variance", "angle"):
        np.testing.assert_allclose(getattr(known, name)[order], getattr(found, name), rtol=1e-10)
    np.testing.assert_allclose(known.asymmetry, found.asymmetry, rtol=1e-10)
    skew = jnp.linalg.norm(moments.yx - moments.yx.T) / jnp.linalg.norm(moments.yx)
    np.testing.assert_allclose(known.asymmetry, skew, rtol=1e-10)


def test_pairs_of_samples_are_near_those_of_the_model():
    sampled = VIEWS.sampled_moments(20_000, seed=0)
    assert not sampled.turns
    features = sampled.paired(0.05).features()
    np.testing.assert_allclose(features.angle, [1.2, -1.2, 2.1, -2.1], atol=0.03)
    np.testing.assert_allclose(features.rho, [0.729] * 2 + [0.729 / 1.2] * 2, atol=0.02)


def test_rolled_windows_are_means_over_rolls_and_have_waves():
    time = np.arange(400)
    rng = np.random.default_rng(0)
    series = np.cos(2 * np.pi * time / 12) + 0.3 * rng.standard_normal(time.size)
    window, lag = 12, 2
    plain, rolled = (Windows(series, window, lag, rolled=r).exact_moments() for r in (False, True))
    rolls = [np.roll(np.eye(window), by, axis=0) for by in range(window)]
    for name in ("xx", "yx"):
        mean = np.mean([p @ getattr(plain, name) @ p.T for p in rolls], axis=0)
        np.testing.assert_allclose(getattr(rolled, name), mean, atol=5e-3)  # but for the means
    features = rolled.features()
    assert features.angle is not None
    np.testing.assert_allclose(features.angle[:2], [2 * np.pi / 6, -2 * np.pi / 6], atol=0.02)
    spectrum = abs(np.fft.fft(features.patterns[:, 0])) ** 2
    np.testing.assert_allclose(spectrum[1] + spectrum[-1], spectrum.sum(), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": [0.0, 1.0]}, "Argument `signal` must be positive"),
        ({"autocorrelation": 0.0}, "Argument `autocorrelation` must be positive"),
        ({"autocorrelation": 1.5}, "Argument `autocorrelation` must be"),
        ({"frequency": [0.5, np.pi]}, "Argument `frequency` must not turn by π in `lag` steps"),
        ({"noise": -1.0}, "Argument `noise` must"),
        ({"basis": np.eye(3)}, "Argument `basis` must"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str):
    keys = {"signal": [1.0, 1.0], "autocorrelation": 0.9, "frequency": 0.3, "noise": 0.1}
    with pytest.raises(ValueError, match=message):
        Oscillator(**{**keys, **change})
