"""One predictor for every action, against losses that are written out, scipy and formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize

import jepa_sim as js
from jepa_sim.data import Controlled
from jepa_sim.data.actions import mixing
from jepa_sim.model.dynamics import velocity
from jepa_sim.solvers.minibatches import gaussian, moments_of
from jepa_sim.theory import Line, Told

RHO = np.array([[0.8, 0.2, 0.5], [-0.8, 0.9, 0.5], [0.3, 0.1, -0.5]])  # (action, feature)
P, VARIANCE = np.array([0.5, 0.3, 0.2]), np.array([2.0, 1.0, 1.5])
MOMENTS = js.Moments.from_actions(np.diag(VARIANCE), [np.diag(r * VARIANCE) for r in RHO], P)
OBJECTIVES = [js.JEPA(), js.MAE()]
NETWORK = js.DeepLinear(2, frames=(1, 3))
TURN = {"effect": [[1, 1, 1, 1], [0.5, 0.5, -1, 1]], "turn": [[0, 0], [2.0, 0]]}
SLOW_TURN = {**TURN, "turn": [[0, 0], [0.1, 0]]}
WORLD = Controlled([1, 1, 1, 0], [0.2, 0.2, 0.5, 1], noise_autocorrelation=[0, 0, 0, 1], **TURN)


def samples(count=400, d=2):
    """The action depends on x, and nothing commutes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, d)) @ rng.normal(size=(d, d)) + 1
    actions = (x[:, 0] + rng.normal(size=count) > 1).astype(int)
    maps = rng.normal(size=(2, d, d)) / 3
    return x, np.einsum("nij,nj->ni", maps[actions], x) + rng.normal(size=(count, d)), actions


def centred(count=400):
    x, y, actions = samples(count)
    return x - x.mean(axis=0), y - y.mean(axis=0), actions


def loss_of_samples(w, v, held, x, y, actions):
    """½ E ‖V_a W x − T y‖², pair by pair; T is `held`, or the identity where that is None."""
    latent = x @ w.T
    predicted = jnp.einsum("nij,nj->ni", v.reshape(2, -1, w.shape[0])[actions], latent)
    target = y if held is None else y @ held.T
    return jnp.mean(jnp.sum((predicted - target) ** 2, axis=1)) / 2


@pytest.mark.parametrize("objective", [*OBJECTIVES, js.JEPA(js.NoStopGradient())])
def test_factors_move_by_the_gradient_of_the_loss_over_samples(objective):
    x, y, actions = samples()
    moments = js.Moments.from_samples(x, y, actions=actions)
    rng = np.random.default_rng(1)
    w, v = jnp.asarray(rng.normal(size=(2, 2))), jnp.asarray(rng.normal(size=(4, 2)))

    def loss(w, v):
        held = w if objective.name.endswith("no_stop_gradient") else jax.lax.stop_gradient(w)
        return loss_of_samples(w, v, None if objective.name == "mae" else held, *centred())

    problem = js.Problem(moments, objective, js.DeepLinear(1, frames=(1, 2)), js.Balanced(0.1))
    state = js.Weights((w,), (v,))
    found, expected = velocity(problem, state), jax.grad(loss, argnums=(0, 1))(w, v)
    np.testing.assert_allclose(found.encoder[0], -expected[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.predictor[0], -expected[1], rtol=1e-11, atol=1e-12)
    value = js.observables.loss(jnp.zeros(()), state, problem)
    np.testing.assert_allclose(value, loss(w, v), rtol=1e-12)


def test_a_minibatch_has_the_loss_of_its_samples():
    batch = tuple(map(jnp.asarray, centred()))
    moments = js.Moments.from_samples(*samples()[:2], actions=samples()[2])
    few = moments_of(tuple(array[:7] for array in batch), moments)
    w, v = jnp.eye(2), jnp.arange(8.0).reshape(4, 2)
    found = js.Weights((w,), (v,)).loss(js.JEPA(), few, (1, 2))
    expected = loss_of_samples(w, v, w, *(array[:7] for array in batch))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    drawn = moments_of(gaussian(moments)(jr.key(0), 200_000), moments)
    for name in ("xx", "yx", "yy"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(moments, name), atol=0.03)


def test_moments_of_samples_are_those_of_each_action_about_the_common_mean():
    x, y, actions = samples()
    found = js.Moments.from_samples(x, y, actions=actions)
    a, b, _ = centred()
    for action in (0, 1):
        taken = (actions == action)[:, None]
        rows = slice(2 * action, 2 * action + 2)
        np.testing.assert_allclose(found.yx[rows], (b * taken).T @ a / len(x), atol=1e-13)
        np.testing.assert_allclose(found.yy[rows, rows], (b * taken).T @ b / len(x), atol=1e-13)
        np.testing.assert_allclose(found.actions.xx[action], (a * taken).T @ a / len(x), atol=1e-13)
    np.testing.assert_allclose(found.actions.probability, np.bincount(actions) / len(x), rtol=1e-14)
    cuts = [(x[i : i + 90], y[i : i + 90], actions[i : i + 90]) for i in range(0, 400, 90)]
    batched, blind = js.Moments.from_samples(cuts), js.Moments.from_samples(x, y)
    for name in ("xx", "yx", "yy"):
        np.testing.assert_allclose(getattr(batched, name), getattr(found, name), atol=1e-13)
        np.testing.assert_allclose(getattr(found.blind(), name), getattr(blind, name), atol=1e-13)


def test_features_are_eigenvectors_of_all_actions_together():
    x, y, actions = samples()
    found = js.Moments.from_samples(x, y, actions=actions).features()
    a, b, _ = centred()
    xx, total = a.T @ a / len(a), 0
    for action in (0, 1):
        some, others = a[actions == action], b[actions == action]
        yx = others.T @ some @ np.linalg.inv(some.T @ some) @ xx
        total = total + yx.T @ np.linalg.solve(xx, yx)
    square, basis = np.asarray(found.rho) ** 2, np.asarray(found.basis)
    np.testing.assert_allclose(square, scipy.linalg.eigh(total, xx)[0][::-1], rtol=1e-10)
    np.testing.assert_allclose(total @ basis, xx @ basis * square, atol=1e-10)


def test_features_of_one_rho_and_one_variance_are_told_apart_by_actions():
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rho = np.array([[0.8, 0.4, -0.4], [0.4, 0.8, 0.8]])
    each = np.stack([basis @ np.diag(one) @ basis.T for one in rho])
    found = js.Moments.from_actions(np.eye(3), each, [0.5, 0.5]).features()
    order = np.lexsort(-found.rho_by_action.round(9))  # two are equal but for rounding
    np.testing.assert_allclose(found.rho_by_action[:, order], rho[:, [1, 2, 0]], atol=1e-12)


def test_mixing_is_the_share_that_an_action_turns_or_correlates():
    moments = Controlled([1, 1, 1, 0], [0.2, 0.2, 0.5, 1], **SLOW_TURN).exact_moments()
    share = 0.5 * np.sin(0.1) / 1.25**0.5  # of ρ, R_0 = I and 0.5 R(0.1)
    found = mixing(moments.features(), moments.actions)
    np.testing.assert_allclose(found, [share, share, 0, 0], atol=1e-12)
    rho, xx = [np.diag([0.9, 0.3]), np.diag([-0.5, 0.6])], [[[1, 0.3], [0.3, 1]]] * 2
    xx[1] = [[1, -0.3], [-0.3, 1]]
    moments = js.Moments.from_actions(xx, [r @ x for r, x in zip(rho, xx, strict=True)], [0.5, 0.5])
    found = mixing(moments.features(), moments.actions)
    np.testing.assert_allclose(found, 0.3 / 1.09**0.5, rtol=1e-12)


@pytest.mark.slow
def test_features_by_themselves_lose_the_share_that_is_mixed():
    moments = Controlled([1, 1, 1, 0], [0.2, 0.2, 0.5, 1], **SLOW_TURN).exact_moments()
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1, frames=(1, 2)), js.Balanced(0.1))
    runs = [js.simulate(problem, [1000.0], s) for s in (js.LayerModes(), js.GradientFlow())]
    alone, together = (np.asarray(run.features[-1]) for run in runs)
    share = np.asarray(mixing(moments.features(), moments.actions))
    assert share.max() > 0.04
    np.testing.assert_allclose(alone / together, (1 - share**2) ** 0.5, rtol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_plateaus_are_powers_of_the_norm_of_rho_over_actions(objective):
    problem = js.Problem(MOMENTS, objective, NETWORK, js.Balanced(0.05))
    power = 2 if objective.name == "jepa" else 2 / 3
    expected = np.linalg.norm(RHO, axis=0) ** power
    np.testing.assert_allclose(problem.plateaus, expected, rtol=1e-12)
    np.testing.assert_allclose(problem.features.rho_by_action, RHO, rtol=1e-12)
    blind = MOMENTS.blind()
    expected = np.sort(P @ RHO)[::-1]
    np.testing.assert_allclose(blind.features().rho, expected, rtol=1e-12)
    parts = (objective, js.DeepLinear(2, frames=(1, 2)), js.Balanced(0.05))
    alike = js.Moments.from_actions([[1.0]], [[[-0.5]], [[-0.5]]], [0.5, 0.5])
    assert js.Problem(alike, *parts).plateaus == 0
    turned = Controlled([1.0, 1.0], 0.25, np.ones((2, 2)), turn=[[2.0], [-2.0]]).exact_moments()
    plateaus = js.Problem(turned, *parts).plateaus  # cos 2 is below 0 for both
    np.testing.assert_allclose(plateaus, (0.8 * 2**0.5) ** power, rtol=1e-12)
    # p λ is −1/6 for both, but the second predictor is at 0 first
    nearly = js.Moments.from_actions([[1.0]], [[[-0.5]], [[-0.25]]], [1 / 3, 2 / 3])
    assert js.Problem(nearly, *parts).plateaus == pytest.approx(0.3125 ** (power / 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [js.JEPA(), pytest.param(js.MAE(), marks=pytest.mark.release)],
    ids=lambda o: o.name,
)
def test_features_follow_scipy_on_the_gradient_of_the_loss(objective):
    """Feature by feature, with ½ Σ_a p_a E (v_a w₂ w₁ x − t y)² written out."""
    times = [0.0, 3.0, 30.0, 3000.0]
    run = js.simulate(
        js.Problem(MOMENTS, objective, NETWORK, js.Balanced(0.05)), times, js.LayerModes()
    )
    for i, (rho, variance) in enumerate(zip(RHO.T, VARIANCE, strict=True)):

        def loss(z, held, rho=rho, variance=variance):
            gain, v = z[0] * z[1], z[2:]
            target = held if objective.name == "jepa" else 1.0
            each = (v * gain) ** 2 - 2 * v * gain * target * rho
            return jnp.sum(jnp.asarray(P) * each) * variance / 2

        gradient = jax.jit(jax.grad(loss))

        def flow(t, z, gradient=gradient):
            return -np.asarray(gradient(z, z[0] * z[1]))

        start = np.array([0.05**0.5] * 2 + [(0.05 / 3) ** 0.5] * 3)
        kinds = {"method": "LSODA", "rtol": 1e-10, "atol": 1e-13}
        exact = scipy.integrate.solve_ivp(flow, (0, 3000), start, t_eval=times, **kinds).y
        np.testing.assert_allclose(run.features[:, i], exact[0] * exact[1], rtol=1e-6)
        kept = exact[0] ** 2 - np.sum(exact[2:] ** 2, axis=0)
        np.testing.assert_allclose(kept, 0, atol=1e-8)
        assert np.isnan(run.trust.ratio)
        along = rho / np.linalg.norm(rho)
        np.testing.assert_allclose(run["predictor_gains"][:, i], along @ exact[2:], rtol=1e-6)


def last_time_of_a_sweep(moments, depth):
    network = js.DeepLinear(depth, frames=(1, moments.actions.count))
    problem = js.Problem(moments, js.JEPA(), network, js.Balanced(0.05))
    return js.CriticalGrid(last=1.0).times(problem)[-1]


@pytest.mark.slow
def test_times_of_a_sweep_last_until_actions_are_learned():
    found = jax.jit(lambda depth: last_time_of_a_sweep(MOMENTS, depth))(2.0)
    problem = js.Problem(MOMENTS, js.JEPA(), NETWORK, js.Balanced(0.05))
    wanted = js.critical_times(problem, fraction=0.9).max()
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.slow
def test_times_of_a_sweep_last_until_turned_features_are_learned():
    moments, network = WORLD.exact_moments(), js.DeepLinear(2, frames=(1, 2))
    problem = js.Problem(moments, js.JEPA(), network, js.Balanced(0.05))
    end = 2 * last_time_of_a_sweep(moments, 2)
    run = js.simulate(problem, [end], js.GradientFlow())
    learned = problem.features.rho > 0.1
    assert (run.features[0] > 0.8 * problem.plateaus)[learned].all()


@pytest.mark.slow
def test_critical_times_are_those_of_scipy_on_the_gradient_of_the_loss():
    """Predictors that turn, shrink at first, or come close to 0 together, from two starts."""
    rho = np.array([[0.8, 0.2, -0.5], [-0.8, 0.9, -0.3], [0.3, 0.1, -0.6]])
    moments = js.Moments.from_actions(np.diag(VARIANCE), [np.diag(r * VARIANCE) for r in rho], P)

    def loss(z, held, rho, variance):
        predicted = z[2:] * z[0] * z[1]
        each = predicted**2 - 2 * predicted * held * rho
        return jnp.sum(jnp.asarray(P) * each) * variance / 2

    gradient = jax.jit(jax.grad(loss))
    for scale in (0.05, 0.2):
        problem = js.Problem(moments, js.JEPA(), NETWORK, js.Balanced(scale))
        found = np.sort(js.critical_times(problem, fraction=0.5))
        expected = []
        for one, variance in zip(rho.T, VARIANCE, strict=True):

            def flow(t, z, one=one, variance=variance):
                return -np.asarray(gradient(z, z[0] * z[1], one, variance))

            def event(t, z, one=one):
                return z[0] * z[1] - np.sum(one**2) / 2

            event.terminal = True
            start = np.array([scale**0.5] * 2 + [(scale / 3) ** 0.5] * 3)
            kinds = {"method": "LSODA", "rtol": 1e-9, "atol": 1e-13}
            run = scipy.integrate.solve_ivp(flow, (0, 1e8), start, events=event, **kinds)
            expected.append(run.t_events[0][0])
        np.testing.assert_allclose(found, np.sort(expected), rtol=1e-5)
    trust = js.trust(problem, fraction=0.5)
    assert np.isnan(trust.ratio)
    assert str(trust).startswith("It is not known")


@pytest.mark.slow
def test_told_is_the_straight_line_where_all_predictors_are_as_fast():
    rho, start, depth = np.array([[0.8, -0.6, 0.1], [0.3, 0.2, -0.5]]), 0.02, jnp.asarray(2.0)
    size = np.linalg.norm(rho, axis=1)
    angle = np.arccos(rho.sum(axis=1) / (3**0.5 * size))  # to the start, (1, 1, 1)
    parts = (jnp.full(2, start * 3**0.5), jnp.zeros(2), depth, depth / 2)
    line = Line(jnp.asarray(size), jnp.full(2, 0.7), jnp.asarray(angle), *parts)
    told = Told(jnp.asarray(rho), jnp.full((2, 3), 0.7), jnp.full((2, 3), start), depth)
    share = jnp.array([0.5, 0.9])

    @jax.jit
    @jax.value_and_grad
    def total(rho):
        levels = share * jnp.sum(rho**2, axis=1)
        return jnp.sum(eqx.tree_at(lambda t: t.rho, told, rho).hitting_time(levels))

    times = line.hitting_time(share * size**2)
    value, slope = total(told.rho)
    np.testing.assert_allclose(value, jnp.sum(times), rtol=1e-11)
    step = 1e-5 * np.cos(np.arange(6.0)).reshape(2, 3)
    change = total(told.rho + step)[0] - total(told.rho - step)[0]
    np.testing.assert_allclose(np.sum(slope * step), change / 2, rtol=1e-5)
    ends = eqx.filter_jit(Told.hitting_time)(told, jnp.array([0.001, 1.01 * size[1] ** 2]))
    np.testing.assert_array_equal(ends, [0, np.inf])


@pytest.mark.release
def test_the_time_of_a_jepa_is_an_integral_over_what_its_predictors_have_learned():
    """v_a(τ) = ρ_a + (v_a(0) − ρ_a) e^{−p_a σ² τ}, dt = dτ / (Σ_a v_a²)^L."""
    problem = js.Problem(MOMENTS, js.JEPA(), NETWORK, js.Balanced(0.05))
    run = js.simulate(problem, np.geomspace(1, 3000, 600), js.LayerModes())
    start = 0.05**0.5 / 3**0.5
    expected = []
    for rho, variance in zip(RHO.T, VARIANCE, strict=True):

        def gain(tau, rho=rho, variance=variance):
            return np.sum((rho + (start - rho) * np.exp(-P * variance * tau)) ** 2)

        half = 0.5 * np.sum(rho**2)  # L = 2: w̄ is the power of the predictors
        end = scipy.optimize.brentq(lambda tau, half=half: gain(tau) - half, 1e-2, 50)
        expected.append(scipy.integrate.quad(lambda tau: gain(tau) ** -2, 0, end)[0])
    np.testing.assert_allclose(run.critical_times(fraction=0.5), expected, rtol=1e-4)


@pytest.mark.slow
def test_the_matrix_flow_learns_what_actions_turn_and_a_blind_one_does_not():
    moments = WORLD.exact_moments()
    parts = (js.JEPA(), js.DeepLinear(1, frames=(1, 2)), js.Balanced(0.1))
    told = js.simulate(js.Problem(moments, *parts), [1000.0], js.GradientFlow())
    np.testing.assert_allclose(told.features[-1], told.problem.plateaus, rtol=1e-6)
    r = 1 / 1.2
    ends = [r * 1.25**0.5, r * 1.25**0.5, 2**0.5 / 1.5, 2**0.5]
    np.testing.assert_allclose(told.features[-1], ends, rtol=1e-6)
    np.testing.assert_allclose(told["predictor_gains"][-1], ends, rtol=1e-6)
    sgd = js.Descent(optax.sgd, 0.02)
    stepped = js.simulate(js.Problem(moments, *parts), [1000.0], sgd)
    np.testing.assert_allclose(stepped.features[-1], ends, rtol=1e-2)
    blind = js.Problem(WORLD.blind_moments(), js.JEPA(), js.DeepLinear(1), js.Balanced(0.1))
    gains = js.simulate(blind, [1000.0], js.GradientFlow()).features[-1]
    assert gains[2] < 0.1  # ρ̄ = 0: never more than at the start


def test_a_world_has_the_moments_of_its_samples():
    moments = WORLD.exact_moments()
    drawn = WORLD.sampled_moments(200_000)
    for name in ("xx", "yx", "yy"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(moments, name), atol=0.015)
    each = jnp.stack([given.yx for given in moments.given_actions()])
    solved = js.Moments.from_actions(moments.xx, each, WORLD.probability).features()
    known = moments.features()
    np.testing.assert_allclose(np.sort(solved.rho), np.sort(known.rho), rtol=1e-10)
    np.testing.assert_allclose(solved.asymmetry, known.asymmetry, rtol=1e-10)
    mean = WORLD.blind_moments()
    np.testing.assert_allclose(mean.yx, moments.blind().yx, rtol=1e-12)
    np.testing.assert_allclose(mean.features().lam, np.diagonal(mean.yx), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(1), js.Balanced(0.1)),
            r"`network.frames` must be \(1, 3\), one predictor for each action",
        ),
        (
            lambda: js.Moments.from_actions(np.eye(1), [[[0.5]]], [0.5]),
            "`probability` must add up to 1, but is 0.5 in sum",
        ),
        (
            lambda: js.Moments.from_actions(np.eye(1), [[0.5]], [1.0]),
            r"`yx` must be of shape \(A, d, d\)",
        ),
        (
            lambda: js.Moments.from_actions(np.eye(2), [[[0.5]]], [1.0]),
            r"`xx` must be of shape \(1, 1\), or \(1, 1, 1\)",
        ),
        (
            lambda: js.Moments.from_samples(np.eye(3), np.eye(3), actions=[0, 2, 2]),
            "`actions` must hold every whole number up to 2, but is without 1",
        ),
        (
            lambda: js.Moments.from_samples(np.eye(3), np.eye(3), actions=[0, 0.5, 1]),
            "`actions` must be whole numbers from 0",
        ),
        (
            lambda: js.Moments.from_samples(np.eye(3), np.eye(3), actions=[0, 1]),
            "`actions` must be one number for each of 3 samples",
        ),
        (
            lambda: Controlled([1, 1], 0.1, [[1, 0.5]], turn=[[1.0]]),
            r"`turn\[:, 0\]` must be 0 for features whose",
        ),
        (
            lambda: js.reconstruction_optimum(MOMENTS, 1),
            "`moments` must have no actions for `reconstruction_optimum`",
        ),
        (
            lambda: js.Moments.from_samples([(np.eye(3), np.eye(3))], actions=[0, 1, 1]),
            "`actions` must be the third entry of each batch",
        ),
        (lambda: Controlled([1, 1], 0.1, [[1]]), r"`effect` must be of shape \(A, 2\)"),
        (
            lambda: js.simulate(
                js.Problem(MOMENTS, js.JEPA(), NETWORK, js.Balanced(0.1)),
                [1.0],
                js.Descent(optax.sgd, 0.1, batch_size=2, samples=(np.eye(3), np.eye(3))),
                key=jr.key(0),
            ),
            r"`samples` must be \(x, y, actions\)",
        ),
        (
            lambda: js.simulate(
                js.Problem(
                    WORLD.exact_moments(),
                    js.JEPA(),
                    js.DeepLinear(2, frames=(1, 2)),
                    js.Balanced(0.1),
                ),
                [1.0],
                js.LayerModes(),
            ),
            "`moments` must have actions that mix each feature with others by at most 0.1 for "
            "`LayerModes` .see `GradientFlow`., but is 0.41 for feature 0",
        ),
        (
            lambda: js.critical_times(
                js.Problem(MOMENTS, js.MAE(), NETWORK, js.Balanced(0.1)), fraction=0.5
            ),
            "`problem` must be a JEPA with M = 1 .* for `critical_times` with actions .see `LayerM"
            "odes`., but is mae, M = 1, Balanced",
        ),
        (
            lambda: js.trust(
                js.Problem(
                    WORLD.exact_moments(),
                    js.JEPA(),
                    js.DeepLinear(2, frames=(1, 2)),
                    js.Balanced(0.1),
                ),
                level=0.5,
            ),
            "`moments` must have actions that mix each feature .* for `trust`",
        ),
        (
            lambda: js.simulate(
                js.Problem(MOMENTS, js.JEPA(), NETWORK, js.Balanced(0.1)), [1.0], js.ClosedForm()
            ),
            "`problem` must have .* single frames",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
