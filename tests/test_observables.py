"""Observables against their definitions, computed from all matrices."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

import jepa_sim as js
from jepa_sim.results.order import order_of
from tests.problems import non_commuting, two_features

MOMENTS = non_commuting(4)
CROSS = np.random.default_rng(3).normal(size=(2, 4))


@pytest.fixture(scope="module")
def seen():
    o = js.observables
    probe = o.ProbeRisk(0.03, CROSS @ np.asarray(MOMENTS.xx), CROSS @ MOMENTS.xx @ CROSS.T)
    problem = js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(2), js.RandomGaussian(0.4))
    names = (o.weights, o.noise_share, probe, o.predictor_gains, o.effective_rank)
    names = (*names, o.off_diagonal_mass, o.features, o.latent_cosines)
    return js.simulate(problem, [0.0, 3.0], js.GradientFlow(), observables=names, key=jr.key(0))


def maps(run):
    state = run["weights"]
    w = np.asarray(state.encoder[1][-1] @ state.encoder[0][-1])
    return w, np.asarray(state.predictor[0][-1])


@pytest.mark.slow
def test_noise_share(seen):
    w, _ = maps(seen)
    share = 1 - np.trace(w @ MOMENTS.yx @ w.T) / np.trace(w @ MOMENTS.xx @ w.T)
    np.testing.assert_allclose(seen["noise_share"][-1], share, rtol=1e-12)


def test_probe_risk_is_that_of_ridge_regression_on_samples(seen):
    """s = CROSS x, so that Σsx = CROSS Σxx; and many samples of x with exactly these moments."""
    w, _ = maps(seen)
    x = np.linalg.cholesky(MOMENTS.xx) @ (2.0 * np.concatenate([np.eye(4)] * 2, axis=1)[:, :4])
    z, s, n = w @ x, CROSS @ x, x.shape[1]
    readout = s @ z.T / n @ np.linalg.inv(z @ z.T / n + 0.03 * np.eye(4))
    residual = s @ (s - readout @ z).T / n  # tr Σss − tr Σsz (Σzz + α)⁻¹ Σzs
    np.testing.assert_allclose(
        seen["probe_risk"][-1], np.trace(residual) / np.trace(s @ s.T / n), rtol=1e-10
    )


def test_the_signal_of_a_probe_is_what_views_share_unless_another_is_given(seen):
    """s = x's share z of covariance Σyx: Σsx = Σss = Σyx written out, symmetric here."""
    last = jax.tree.map(lambda z: z[-1], seen["weights"])
    left_out = js.observables.ProbeRisk(0.03)(seen.times[-1], last, seen.problem)
    given = js.observables.ProbeRisk(0.03, MOMENTS.yx, MOMENTS.yx)
    np.testing.assert_allclose(left_out, given(seen.times[-1], last, seen.problem), rtol=1e-11)


def test_predictor_gains_and_spectra(seen):
    w, v = maps(seen)
    z = w @ np.asarray(seen.problem.features.patterns)
    expected = np.sum(z * (v @ z), axis=0) / np.sum(z**2, axis=0)
    np.testing.assert_allclose(seen["predictor_gains"][-1], expected, rtol=1e-11)
    share = np.linalg.svd(w, compute_uv=False)
    rank = np.exp(scipy.stats.entropy(share / share.sum()))
    np.testing.assert_allclose(seen["effective_rank"][-1], rank, rtol=1e-12)
    gram = (z.T @ z) ** 2
    mass = 1 - np.trace(gram) / gram.sum()
    np.testing.assert_allclose(seen["off_diagonal_mass"][-1], mass, rtol=1e-12)


def test_cosines_of_latents_do_not_depend_on_the_frame_of_the_latent_space(seen):
    w, _ = maps(seen)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    z = turn @ w @ np.asarray(seen.problem.features.patterns)
    z = z / np.linalg.norm(z, axis=0)
    np.testing.assert_allclose(seen["latent_cosines"][-1], np.abs(z.T @ z), rtol=1e-10)
    # one latent carries all features; and of nothing there is no angle
    one = js.Weights((jnp.eye(4)[:1] + 1.0,), (jnp.ones((4, 1)),))
    shared = js.observables.latent_cosines(seen.times[0], one, seen.problem)
    np.testing.assert_allclose(shared, 1, rtol=1e-12)
    nothing = js.Weights((jnp.zeros((4, 4)),), (jnp.zeros((4, 4)),))
    found = js.observables.latent_cosines(seen.times[0], nothing, seen.problem)
    np.testing.assert_array_equal(found, np.eye(4))


def test_order_statistics():
    rng = np.random.default_rng(0)
    features = js.Moments.from_features(rng.uniform(0.1, 1, 7), rng.uniform(0.1, 0.9, 7)).features()
    times = rng.uniform(1, 9, 7)
    times[2] = times[5]  # a tie
    found = order_of(jnp.asarray(times), features)
    for name, value in (("order_rho", features.rho), ("order_lam", features.lam)):
        expected = scipy.stats.kendalltau(-times, np.asarray(value)).statistic
        np.testing.assert_allclose(found[name], expected, rtol=1e-14)
    lam, rho = np.asarray(features.lam), np.asarray(features.rho)
    pairs = [(i, j) for i in range(7) for j in range(7)]
    assert float(found["flips"]) == sum(lam[i] > lam[j] and times[i] > times[j] for i, j in pairs)
    assert float(found["first_noisy"]) == sum(times < times[rho < 0.5].min())
    never = np.where(np.arange(7) == 3, np.inf, times)  # a feature that is never learned comes last
    expected = scipy.stats.kendalltau(-np.where(np.isinf(never), 1e9, never), rho).statistic
    np.testing.assert_allclose(
        order_of(jnp.asarray(never), features)["order_rho"], expected, rtol=1e-14
    )
    failed = jnp.asarray(np.where(times > 5, np.nan, times))
    assert np.isnan(order_of(failed, features)["order_rho"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.observables.ProbeRisk(0.0), "`ridge` must be positive, but is 0"),
        (lambda: js.observables.ProbeRisk(1.0, cross=CROSS), "`cross` must be given together"),
    ],
)
def test_bad_observables_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["loss", "features", "probe_risk"])
def test_an_own_observable_has_a_name_of_its_own(name):
    """Else it would be read, labelled and drawn as the built-in one."""

    def own(t, state, problem):
        return state.gains(problem.features)

    own.__name__ = name
    problem = js.Problem(two_features(), js.JEPA(), js.DeepLinear(1), js.Balanced(0.1))
    with pytest.raises(ValueError, match=f"`observables` must have names .* but is '{name}'"):
        js.simulate(problem, [1.0], js.ClosedForm(), observables=[own])


@pytest.mark.parametrize("name", ["result", "t", "critical_time", "scale"])
def test_nor_that_of_a_result_of_a_sweep(name):
    def own(t, state, problem):
        return state.gains(problem.features)

    own.__name__ = name
    grid = js.Grid(spectrum=two_features(), objective=[js.JEPA()])
    with pytest.raises(ValueError, match=f"`observables` must have names .* but is '{name}'"):
        js.plan(grid, js.ClosedForm(), observables=[own])
