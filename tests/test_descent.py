import functools

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from tests.problems import OBJECTIVES, non_commuting, two_features

TIMES = np.array([0.0, 8.0, 16.0])


def problem(objective=OBJECTIVES[0]):
    return js.Problem(two_features(), objective, js.DeepLinear(2), js.Balanced(0.1))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_gradient_descent_converges_to_the_flow_at_first_order(objective):
    times = np.array([2.0, 4.0])  # in the midst of learning
    flow = js.simulate(problem(objective), times, js.Modes()).features
    rates = np.array([0.04, 0.02, 0.01, 0.005])
    errors = [
        np.abs(js.simulate(problem(objective), times, js.Descent(optax.sgd, a)).features - flow)
        for a in rates
    ]
    worst = np.max(errors, axis=(1, 2))
    order = np.polyfit(np.log(rates), np.log(worst), 1)[0]
    assert 0.95 < order < 1.05


def test_one_step_is_the_learning_rate_times_the_field():
    start = problem().weights()
    moved = velocity(problem(), start)
    after = js.simulate(
        problem(), [0.01], js.Descent(optax.sgd, 0.01), observables=(js.observables.weights,)
    )["weights"]
    np.testing.assert_allclose(
        after.encoder[0][0], start.encoder[0] + 0.01 * moved.encoder[0], rtol=1e-14
    )


def test_a_moving_average_has_the_momentum_of_its_time_constant():
    """W ← W + α V ᵀR, ξ ← m ξ + (1 − m) W with m = 1 − α/τ, written out for one number each."""
    lam, variance, rate, tau, decay = 1.0, 1.25, 0.1, 2.0, 0.01
    moments = js.Moments([[variance]], [[lam]])
    training = js.Training(predictor_rate=0.5, decay=decay)
    objective = js.JEPA(js.MovingAverage(tau))
    posed = js.Problem(moments, objective, js.DeepLinear(1), js.Balanced(0.3), training)
    kept = (js.observables.weights,)
    run = js.simulate(posed, [3.0], js.Descent(optax.sgd, rate), observables=kept)["weights"]
    w = v = teacher = 0.3
    momentum = 1 - rate / tau
    for _ in range(30):
        residual = teacher * lam - v * w * variance
        w, v = (
            w + rate * (v * residual - decay * w),
            v + rate * (0.5 * residual * w - decay * v),
        )
        teacher = momentum * teacher + (1 - momentum) * w
    found = [float(z[0][-1, 0, 0]) for z in (run.encoder, run.predictor, run.teacher)]
    np.testing.assert_allclose(found, [w, v, teacher], rtol=1e-12)


def test_a_step_longer_than_the_teachers_time_is_refused():
    posed = problem(js.JEPA(js.MovingAverage(0.05)))
    with pytest.raises(ValueError, match="`learning_rate` must be at most the teacher's time"):
        js.simulate(posed, [1.0], js.Descent(optax.sgd, 0.1))


def test_minibatch_noise_shrinks_with_the_batch_and_follows_its_key():
    mean = js.simulate(problem(), TIMES, js.Descent(optax.sgd, 0.05)).features

    def deviation(size, seed):
        solver = js.Descent(optax.sgd, 0.05, batch_size=size)
        return js.simulate(problem(), TIMES, solver, key=jr.key(seed)).features[-1] - mean[-1]

    small = np.sqrt(np.mean([np.square(deviation(8, seed)) for seed in range(12)]))
    large = np.sqrt(np.mean([np.square(deviation(128, seed)) for seed in range(12)]))
    assert 2 < small / large < 8  # 4 by the square-root law
    np.testing.assert_array_equal(deviation(8, 0), deviation(8, 0))


def test_gaussian_minibatches_have_the_moments():
    moments = non_commuting(3)
    moments = js.Moments(moments.xx, moments.yx, 2 * np.asarray(moments.yy))
    batch = js.Descent(optax.sgd, 1.0, batch_size=400_000)._batches(moments, jr.key(0))
    drawn, other = batch(jnp.asarray(0)), batch(jnp.asarray(1))
    np.testing.assert_allclose(drawn.xx, moments.xx, atol=0.02)
    np.testing.assert_allclose(drawn.yx, moments.yx, atol=0.02)
    assert (drawn.xx != other.xx).any()  # every step has a minibatch of its own


def test_minibatches_from_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    y = 0.7 * x
    moments = js.Moments.from_samples(x, y, center=False)
    posed = js.Problem(moments, js.MAE(), js.DeepLinear(1), js.Balanced(0.1))
    solver = js.Descent(optax.sgd, 0.05, batch_size=4, samples=(x, y))
    run = js.simulate(posed, [300.0], solver, key=jr.key(0), observables=(js.observables.weights,))[
        "weights"
    ]
    # y is exactly 0.7 x, so that every minibatch agrees on where to end
    np.testing.assert_allclose(run.predictor[0][0] @ run.encoder[0][0], 0.7 * np.eye(2), atol=1e-8)


def test_other_optimisers_and_their_memory():
    momentum = functools.partial(optax.sgd, momentum=0.9)
    run = js.simulate(problem(), [40.0], js.Descent(momentum, 0.02))
    np.testing.assert_allclose(run.features[-1], problem().plateaus, rtol=1e-6)
    adam = js.simulate(problem(), [40.0], js.Descent(optax.adam, 0.02))
    np.testing.assert_allclose(adam.features[-1], problem().plateaus, rtol=1e-2)


@pytest.mark.float32
def test_too_many_steps_and_divergence_are_codes():
    run = js.simulate(problem(), [1.0, 10.0], js.Descent(optax.sgd, 0.1, max_steps=20))
    assert run.result == js.ResultCode.out_of_steps
    assert np.isfinite(run.features[0]).all()
    assert np.isnan(run.features[1]).all()
    diverged = js.simulate(problem(js.MAE()), [4000.0], js.Descent(optax.sgd, 40.0))
    assert diverged.result == js.ResultCode.not_finite


def test_saved_times_are_multiples_of_the_learning_rate():
    run = js.simulate(problem(), [0.26, 0.5], js.Descent(optax.sgd, 0.1))
    np.testing.assert_allclose(run.times, [0.3, 0.5])
    assert int(run.stats["steps"]) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.Descent(optax.sgd(0.1), 0.1), "`optimizer` must be a function of the learning"),
        (lambda: js.Descent(optax.sgd, -0.1), "`learning_rate` must be positive, but is -0.1"),
        (lambda: js.Descent(optax.sgd, 0.1, batch_size=0), "`batch_size` must be a whole number"),
        (
            lambda: js.Descent(optax.sgd, 0.1, samples=(jnp.ones((2, 2)), jnp.ones((2, 2)))),
            "`batch_size` must be given with `samples`",
        ),
        (
            lambda: js.Descent(optax.sgd, 0.1, 1, samples=(jnp.ones((2, 2)), jnp.ones((3, 2)))),
            r"`samples\[1\]` must have as many rows as samples\[0\], 2",
        ),
        (
            lambda: js.simulate(
                problem(),
                [1.0],
                js.Descent(optax.sgd, 0.1, 1, samples=(jnp.ones((4, 3)), jnp.ones((4, 3)))),
                key=jr.key(0),
            ),
            r"`samples\[0\]` must have the axes \(n, 2\) of the problem's moments",
        ),
        (
            lambda: js.simulate(problem(), [1.0], js.Descent(optax.sgd, 0.1, batch_size=2)),
            "`key` must be given for a solver that draws minibatches",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_that_diverges_is_marked_and_its_gains_are_no_numbers():
    moments = js.Moments.from_features([9.0, 1.0], [0.9, 0.5])
    posed = js.Problem(moments, js.MAE(), js.DeepLinear(2), js.Balanced(0.5))
    kept = (js.observables.features,)
    run = js.simulate(posed, [1.0, 500.0], js.Descent(optax.sgd, 0.9), observables=kept)
    assert run.result == js.ResultCode.not_finite
    assert np.isnan(run.features[-1]).all()


def test_a_collapse_to_nothing_is_no_failure():
    posed = js.Problem(
        two_features(),
        js.JEPA(),
        js.DeepLinear(1),
        js.Balanced(0.5),
        js.Training(decay=2.0),
    )
    run = js.simulate(posed, [1.0, 300.0], js.Descent(optax.sgd, 0.1))
    assert run.result == js.ResultCode.success
    np.testing.assert_array_equal(run.features[-1], 0)


def test_times_that_fall_on_one_step_are_refused():
    problem = js.Problem(two_features(), js.JEPA(), js.DeepLinear(1), js.Balanced(0.1))
    sgd, message = js.Descent(optax.sgd, 1e-2), r"`times` must fall on different steps of 0\.01"
    with pytest.raises(ValueError, match=message):
        js.simulate(problem, [1e-4, 2e-4, 3e-4], sgd)
    grid = js.Grid(spectrum=two_features(), objective=[js.JEPA()])
    with pytest.raises(ValueError, match=message):
        js.plan(grid, sgd, times=[1.0, 1.001])
