"""Gains of features in embeddings, against encoders whose gains are known."""

import jax.random as jr
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import jepa_sim as js

RNG = np.random.default_rng(3)
MOMENTS = js.Moments.from_features(lam=[1.0, 0.5, 2.0], rho=[0.9, 0.3, 0.6])


def tilted():
    """Moments that do not commute, and samples of x."""
    a = RNG.normal(size=(3, 3))
    xx = a @ a.T + 0.3 * np.eye(3)
    yx = np.diag([0.5, 0.2, 0.1])
    return js.Moments(xx, yx), RNG.multivariate_normal(np.zeros(3), xx, 4000)


def test_a_linear_encoder_has_the_gains_of_the_theory_whatever_the_basis():
    moments, x = tilted()
    encoders = RNG.normal(size=(4, 5, 3))
    h = np.einsum("tki,ni->tnk", encoders, x) + 7.0
    found = js.measure_gains(h, x, moments, times=range(4))
    wanted = np.linalg.norm(encoders @ np.asarray(moments.features().patterns), axis=1)
    np.testing.assert_allclose(found.features, wanted, rtol=1e-10)
    assert (found.features_error < 1e-7).all()
    np.testing.assert_allclose(found.linear_share, 1, rtol=0.1)  # the sample's variance, not Σxx
    naive = np.linalg.norm(encoders @ np.asarray(moments.features().basis), axis=1)
    assert abs(naive / wanted - 1).max() > 0.3


def test_noise_makes_no_gain_and_the_standard_error_is_that_of_repetitions():
    size = np.sqrt(np.asarray(MOMENTS.features().variance))
    gains = np.array([0.5, 0.0, 0.05])
    powers, errors = [], []
    for _ in range(200):
        x = RNG.normal(size=(400, 3)) * size
        h = np.zeros((400, 20))
        h[:, :3] = x * gains
        found = js.measure_gains(h + RNG.normal(size=h.shape), x, MOMENTS).isel(time=0)
        powers.append(found.features.values)
        errors.append(found.features_error.values)
    powers, errors = np.array(powers), np.array(errors)
    naive = 20 / (400 * size**2)  # what a plain ‖b̂‖² would have on top
    assert abs((powers[:, 0] ** 2).mean() - 0.25) < 0.2 * naive[0]
    assert (powers[:, 1] == 0).mean() == pytest.approx(0.5, abs=0.15)
    assert (powers[:, 1] ** 2).mean() < 0.3 * naive[1]
    assert np.sqrt((errors[:, 0] ** 2).mean()) == pytest.approx(powers[:, 0].std(), rel=0.2)


def test_of_an_encoder_that_is_not_linear_the_linear_part_is_measured():
    """By Stein's lemma the regression of tanh(c a) on a Gaussian a is c E[tanh′(c a)]."""
    size = np.sqrt(np.asarray(MOMENTS.features().variance))
    x = RNG.normal(size=(40_000, 3)) * size
    h = np.stack([np.tanh(2 * x[:, 0]), x[:, 1] ** 2], axis=1)
    found = js.measure_gains(h, x, MOMENTS).isel(time=0)

    def slope(a):
        return 2 / np.cosh(2 * a) ** 2 * scipy.stats.norm.pdf(a, scale=size[0])

    exact = scipy.integrate.quad(slope, -10, 10)[0]
    error = float(found.features_error[0])
    assert abs(float(found.features[0]) - exact) < 4 * error < 0.05 * exact
    np.testing.assert_array_less(found.features[1:], 5 * found.features_error[1:])
    share = (exact * size[0]) ** 2 / h.var(axis=0).sum()
    assert float(found.linear_share) == pytest.approx(share, rel=0.05)


@pytest.mark.slow
def test_it_measures_the_gains_of_a_run_and_plots_take_them():
    start = js.Balanced(0.05, rotated=True)
    problem = js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(1), start)
    observables = (js.observables.features, js.observables.weights)
    run = js.simulate(
        problem, [5.0, 20.0, 80.0], js.GradientFlow(), key=jr.key(0), observables=observables
    )
    x = RNG.normal(size=(200, 3)) * np.sqrt(np.asarray(MOMENTS.features().variance))
    [encoder] = run["weights"].encoder
    h = np.einsum("tki,ni->tnk", np.asarray(encoder), x)
    found = js.measure_gains(h, x, MOMENTS, times=run.times)
    np.testing.assert_allclose(found.features, run.features, rtol=1e-9)
    lines = js.plot.trajectories(found).get_lines()
    np.testing.assert_allclose(
        sorted(line.get_ydata()[-1] for line in lines), sorted(run.features[-1])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((40, 2))}, r"`inputs` must be of shape \(n, 3\)"),
        ({"embeddings": np.zeros((39, 2))}, r"`embeddings` must be of shape \(40, k\)"),
        ({"embeddings": np.full((40, 2), np.nan)}, "`embeddings` must be finite"),
        ({"times": [1.0, 1.0]}, "`times` must be 1 ascending numbers"),
        ({"inputs": np.zeros((30, 3))}, "`inputs` must hold at least 12 d = 36 samples, but is 30"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    good = {"embeddings": np.zeros((40, 2)), "inputs": np.zeros((40, 3))}
    if "inputs" in change:
        good["embeddings"] = np.zeros((len(change["inputs"]), 2))
    with pytest.raises(ValueError, match=message):
        js.measure_gains(**{**good, **change}, moments=MOMENTS)
