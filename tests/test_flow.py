"""The matrix flow against its known properties."""

import functools

import diffrax as dfx
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.stats

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from jepa_sim.model.objectives import product
from jepa_sim.numerics.stabilised import ROCK4
from jepa_sim.sweeps.dataset import described
from tests.problems import OBJECTIVES, non_commuting, plateau, tilted, two_features

DEPTHS = (1, 2, 3)
SCALE = 0.05


@pytest.fixture(scope="module")
def flows():
    """Both objectives at L ≤ 3, M ≤ 3, all depths of one predictor in one program."""
    grid = js.Grid(
        spectrum=two_features(),
        objective=OBJECTIVES,
        depth=DEPTHS,
        predictor_depth=DEPTHS,
        scale=[SCALE],
        seed=[3],
        start=functools.partial(js.Balanced, rotated=True),
    )
    return js.sweep(
        grid,
        js.GradientFlow(dfx.Tsit5(), rtol=1e-11),  # one program for all lanes
        times=js.CriticalGrid(count=12, first=0.05, last=12.0),
        observables=(js.observables.features, js.observables.balancedness),
        padded=True,
        progress=False,
    )


@pytest.mark.slow
def test_plateaus(flows):
    assert (flows.result == js.ResultCode.success).all()
    for objective in OBJECTIVES:
        for depth in DEPTHS:
            for predictor_depth in DEPTHS:
                run = flows.sel(
                    objective=objective.name, depth=depth, predictor_depth=predictor_depth
                )
                np.testing.assert_allclose(
                    run.features.isel(time=-1).squeeze(),
                    plateau(objective, depth, predictor_depth),
                    rtol=1e-9,
                )


@pytest.mark.slow
def test_critical_times_are_the_exact_ones(flows):
    for objective in OBJECTIVES:
        for depth in DEPTHS:
            for predictor_depth in DEPTHS:
                network = js.DeepLinear(depth, predictor_depth)
                problem = js.Problem(two_features(), objective, network, js.Balanced(SCALE))
                run = flows.sel(
                    objective=objective.name, depth=depth, predictor_depth=predictor_depth
                )
                for fraction in (0.5, 0.9):
                    np.testing.assert_allclose(
                        run.critical_time.sel(critical_fraction=fraction).squeeze(),
                        js.critical_times(problem, fraction=fraction),
                        rtol=1e-6,
                    )


@pytest.mark.slow
def test_balance_is_conserved_to_the_tolerance(flows):
    assert flows.balancedness.max() < 1e-10


@pytest.mark.slow
def test_flow_agrees_with_scipy_from_a_random_start():
    problem = js.Problem(non_commuting(3), js.JEPA(), js.DeepLinear(2), js.RandomGaussian(0.5))
    key = jr.key(0)
    times = np.array([1.0, 3.0, 10.0])
    found = js.simulate(
        problem, times, js.GradientFlow(rtol=1e-10), observables=(js.observables.weights,), key=key
    )["weights"]
    start = js.simulate(
        problem, [0.0], js.GradientFlow(), observables=(js.observables.weights,), key=key
    )["weights"]
    xx, yx = np.asarray(problem.moments.xx), np.asarray(problem.moments.yx)

    def velocity(t, flat):  # the layer-wise flow written out for V W₂ W₁
        w1, w2, v = flat.reshape(3, 3, 3)
        r = w2 @ w1 @ yx - v @ w2 @ w1 @ xx
        return np.concatenate(
            [(w2.T @ v.T @ r).ravel(), (v.T @ r @ w1.T).ravel(), (r @ w1.T @ w2.T).ravel()]
        )

    first = np.concatenate([np.ravel(z[0]) for z in (*start.encoder, *start.predictor)])
    reference = scipy.integrate.solve_ivp(
        velocity, (0, 10), first, method="DOP853", rtol=1e-12, atol=1e-13, t_eval=times
    )
    for z, expected in zip(
        (*found.encoder, *found.predictor), reference.y.reshape(3, 3, 3, -1), strict=True
    ):
        np.testing.assert_allclose(z, np.moveaxis(expected, -1, 0), rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_non_commuting_predictor_ends_with_the_generalised_eigenvalues():
    moments = non_commuting(6)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(1e-2))
    expected = scipy.linalg.eigh(np.asarray(moments.yx), np.asarray(moments.xx), eigvals_only=True)[
        ::-1
    ]
    times = np.geomspace(1, 4e4, 400)
    run = js.simulate(
        problem,
        times,
        js.GradientFlow(dfx.Kvaerno5(), rtol=1e-9),
        observables=(js.observables.features, js.observables.weights),
    )
    assert run.result == js.ResultCode.success
    predictor = np.asarray(product([z[-1] for z in run["weights"].predictor]))
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(predictor).real)[::-1], expected, rtol=1e-6
    )
    # the fixed point, written out
    w = np.asarray(run["weights"].encoder[0][-1])
    np.testing.assert_allclose(w @ moments.yx, predictor @ w @ moments.xx, atol=1e-7)


@pytest.mark.slow
def test_deep_jepa_learns_in_the_order_of_rho_with_no_common_eigenbasis():
    grid = js.Grid(
        spectrum=[tilted(seed) for seed in range(4)], objective=[js.JEPA()], depth=[2], scale=[1e-3]
    )
    run = js.sweep(
        grid,
        js.GradientFlow(ROCK4(), rtol=1e-7),
        times=js.CriticalGrid(count=400, first=1e-2, last=4.0),
        progress=False,
    ).squeeze()
    assert (run.result == js.ResultCode.success).all()
    learned = run.features >= run.features.isel(time=-1) / 2
    order = -learned.argmax("time")

    def tau(other):
        pairs = zip(order.transpose("spectrum", "feature").values, other.values, strict=True)
        return np.mean([scipy.stats.kendalltau(*pair).statistic for pair in pairs])

    assert tau(run.rho) > 0.9
    assert tau(run.rho) > tau(run.lam) + 0.2


@pytest.mark.slow
@pytest.mark.float32
def test_out_of_steps_is_a_code_in_a_batch_and_the_others_go_on():
    problem = js.Problem(two_features(), js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))

    def run(stop):
        return js.simulate(problem, jnp.stack([stop / 2, stop]), js.GradientFlow(max_steps=64))

    runs = jax.vmap(run)(jnp.array([1.0, 1e6]))
    np.testing.assert_array_equal(runs.result, [js.ResultCode.success, js.ResultCode.out_of_steps])
    assert np.isfinite(runs.features[0]).all()
    assert np.isnan(runs.features[1, 1]).all()


@pytest.mark.slow
def test_an_atol_that_ignores_the_scale_costs_accuracy():
    """Why atol follows the start by default."""
    problem = js.Problem(two_features(), js.JEPA(), js.DeepLinear(1), js.Balanced(1e-4))
    exact = js.critical_times(problem, fraction=0.5)
    times = np.linspace(0.8, 1.2, 5) * float(exact[0])

    def error(solver):
        return abs(
            js.simulate(problem, times, solver).critical_times(fraction=0.5)[0] / exact[0] - 1
        )

    assert error(js.GradientFlow(rtol=1e-6, atol=1e-6)) > 5 * error(js.GradientFlow(rtol=1e-6))


@pytest.mark.slow
def test_flow_is_differentiable_in_reverse():
    def final(lam):
        moments = js.Moments.from_features(lam, jnp.array([0.9, 0.5]))
        problem = js.Problem(moments, js.MAE(), js.DeepLinear(1), js.Balanced(0.1))
        return js.simulate(problem, jnp.array([1.5]), js.GradientFlow(rtol=1e-10)).features[-1, 0]

    lam = jnp.array([1.0, 0.8])
    step = jnp.array([1e-5, 0])
    slope = (final(lam + step) - final(lam - step)) / 2e-5
    np.testing.assert_allclose(jax.grad(final)(lam)[0], slope, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [js.GradientFlow, js.LayerModes, js.Modes])
def test_flows_are_differentiable_in_forward_mode(kind):
    """Where their `adjoint` says so; against differences of the closed form."""

    def final(log_lam, solver):
        moments = js.Moments.from_features(jnp.exp(log_lam) * jnp.ones(2), jnp.array([0.9, 0.5]))
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))
        return js.simulate(problem, jnp.array([40.0]), solver).features[-1]

    exact = [final(jnp.array(x), js.ClosedForm()) for x in (-1e-5, 1e-5)]
    solver = kind(adjoint=dfx.ForwardMode())
    _, slope = jax.jvp(lambda x: final(x, solver), (jnp.array(0.0),), (jnp.array(1.0),))
    np.testing.assert_allclose(slope, (exact[1] - exact[0]) / 2e-5, rtol=1e-5, atol=1e-7)


def test_how_a_solver_is_differentiated_is_no_part_of_a_run():
    solvers = js.GradientFlow(), js.GradientFlow(adjoint=dfx.ForwardMode())
    assert len({described(solver) for solver in solvers}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.GradientFlow(rtol=0.0), "`rtol` must be positive, but is 0"),
        (lambda: js.GradientFlow(atol=-1.0), "`atol` must be positive, but is -1"),
        (lambda: js.GradientFlow(max_steps=0), "`max_steps` must be a whole number, at least 1"),
        (
            lambda: js.simulate(
                js.Problem(two_features(), js.JEPA(), js.DeepLinear(1.5), js.Balanced(0.1)),
                [1.0],
                js.GradientFlow(),
            ),
            "`depth` must be a whole number, at least 1, but is 1.5",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_a_learned_noisy_feature_lets_cleaner_ones_in_at_this_rate(depth, predictor_depth):
    """The leading eigenvalue of the flow's Jacobian where the second feature alone is learned."""

    def leading(rho):
        moments = js.Moments.from_features([1.0, 2.0], rho)
        network = js.DeepLinear(depth, predictor_depth)
        problem = js.Problem(moments, js.JEPA(), network, js.Balanced(0.1))
        layer = jnp.diag(jnp.array([0.0, rho[1] ** (1 / predictor_depth)]))
        state = js.Weights((layer,) * depth, (layer,) * predictor_depth)
        flat, back = jax.flatten_util.ravel_pytree(state)

        def move(x):
            return jax.flatten_util.ravel_pytree(velocity(problem, back(x)))[0]

        np.testing.assert_allclose(move(flat), 0, atol=1e-15)
        return np.linalg.eigvals(jax.jacobian(move)(flat)).real.max()

    power = 1 + 2 * (depth - 1) / predictor_depth
    assert leading([0.9, 0.3]) == pytest.approx(0.3**power / 0.9 * (0.9 - 0.3), rel=1e-9)
    assert leading([0.3, 0.9]) == pytest.approx(0, abs=1e-7)
