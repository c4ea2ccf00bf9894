from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from jepa_sim.model.objectives import product
from tests.problems import OBJECTIVES, non_commuting, plateau, two_features

MOMENTS = non_commuting(3)


def factors(depth: int, predictor_depth: int):
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(depth + predictor_depth, 3, 3))
    return tuple(jnp.asarray(z) for z in drawn[:depth]), tuple(map(jnp.asarray, drawn[depth:]))


EVERY = (
    js.JEPA(),
    js.MAE(),
    js.JEPA(js.MovingAverage(2.0)),
    js.JEPA(js.NoStopGradient()),
    js.BarlowTwins(),
    js.WhitenedJoint(3.0),
)


def posed(objective, depth: int, predictor_depth: int, moments=MOMENTS, **training):
    network, start = js.DeepLinear(depth, predictor_depth), js.Balanced(0.1)
    return js.Problem(moments, objective, network, start, js.Training(**training))


@pytest.mark.parametrize("objective", EVERY, ids=lambda o: o.name)
def test_velocity_is_minus_the_gradient_with_the_teacher_held(objective):
    encoder, predictor = factors(2, 2)
    teacher, _ = factors(2, 2)
    teacher = tuple(1.1 * z for z in teacher)
    xx, yx, yy = MOMENTS.xx, MOMENTS.yx, MOMENTS.yy

    def loss(encoder, predictor):  # the losses written out
        w, v = product(encoder), product(predictor)
        if objective.name == "barlow_twins":
            return jnp.sum((w @ (yx + yx.T) / 2 @ w.T - jnp.eye(3)) ** 2)
        if objective.name == "whitened_joint":
            apart = jnp.trace(w @ (xx + yy - yx - yx.T) @ w.T) / 2
            return apart + 3 / 4 * jnp.sum((w @ xx @ w.T - jnp.eye(3)) ** 2)
        target = {
            "mae": jnp.eye(3),
            "jepa": jax.lax.stop_gradient(w),
            "jepa_moving_average": product(teacher),
            "jepa_no_stop_gradient": w,
        }[objective.name]
        prediction = v @ w
        return (
            jnp.trace(prediction @ xx @ prediction.T) / 2
            - jnp.trace(prediction @ yx.T @ target.T)
            + jnp.trace(target @ yy @ target.T) / 2
        )

    gradients = jax.grad(loss, argnums=(0, 1))(encoder, predictor)
    copy = teacher if "moving_average" in objective.name else None
    weights = js.Weights(encoder, predictor, copy)
    found = velocity(posed(objective, 2, 2), weights)
    for speed, gradient in zip(
        (*found.encoder, *found.predictor), (*gradients[0], *gradients[1]), strict=True
    ):
        np.testing.assert_allclose(speed, -gradient, rtol=1e-11, atol=1e-11)
    assert (found.teacher is None) == (copy is None)
    if copy is not None:
        for speed, z, copied in zip(found.teacher, encoder, copy, strict=True):
            np.testing.assert_allclose(speed, (z - copied) / 2.0, rtol=1e-14)
    value = weights.loss(objective, MOMENTS, (1, 1))
    np.testing.assert_allclose(value, loss(encoder, predictor), rtol=1e-12)


def test_rates_and_decay_are_of_their_own_factors():
    encoder, predictor = factors(2, 1)
    weights = js.Weights(encoder, predictor)
    bare = velocity(posed(js.JEPA(), 2, 1), weights)
    rates = {"encoder_rate": 0.5, "predictor_rate": 3.0}
    decays = {"encoder_decay": 0.1, "predictor_decay": 0.2}
    found = velocity(posed(js.JEPA(), 2, 1, **rates, **decays), weights)
    for speed, plain, z in zip(found.encoder, bare.encoder, encoder, strict=True):
        np.testing.assert_allclose(speed, 0.5 * plain - 0.1 * z, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(
        found.predictor[0], 3 * bare.predictor[0] - 0.2 * predictor[0], rtol=1e-13, atol=1e-13
    )


def test_loss_is_the_expected_squared_error():
    encoder, predictor = factors(1, 1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    y = x @ rng.normal(size=(3, 3)) + rng.normal(size=(50, 3))
    moments = js.Moments.from_samples(x, y, center=False)
    prediction = x @ np.asarray(predictor[0] @ encoder[0]).T
    for objective, target in ((js.JEPA(), y @ np.asarray(encoder[0]).T), (js.MAE(), y)):
        expected = np.mean(np.sum((prediction - target) ** 2, axis=1)) / 2
        found = js.Weights(encoder, predictor).loss(objective, moments, (1, 1))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_jepa_is_no_gradient_system():
    """The Jacobian of the field is symmetric for MAE, and is not for JEPA."""

    def jacobian(objective):
        encoder, predictor = factors(1, 1)

        def flat(z):
            w, v = z.reshape(2, 3, 3)
            moved = velocity(posed(objective, 1, 1), js.Weights((w,), (v,)))
            return jnp.concatenate([f.ravel() for f in jax.tree.leaves(moved)])

        return np.asarray(jax.jacobian(flat)(jnp.concatenate([encoder[0], predictor[0]]).ravel()))

    mae, jepa = jacobian(js.MAE()), jacobian(js.JEPA())
    np.testing.assert_allclose(mae, mae.T, atol=1e-12)
    assert np.linalg.norm(jepa - jepa.T) > 0.1 * np.linalg.norm(jepa)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (3, 1), (2, 3)])
def test_reduced_flow_is_the_field_on_the_balanced_diagonal(objective, depth, predictor_depth):
    u = np.array([0.3, 0.7])
    moments = two_features()
    a, b = objective.exponents(depth, predictor_depth)
    lam, variance = np.diag(moments.yx), np.diag(moments.xx)
    expected = u**a * (lam - variance * u**b)
    diagonal = jnp.diag(jnp.asarray(u))
    weights = js.Weights((diagonal,) * depth, (diagonal,) * predictor_depth)
    found = velocity(posed(objective, depth, predictor_depth, moments), weights)
    for speed in jax.tree.leaves(found):
        np.testing.assert_allclose(speed, np.diag(expected), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_plateaus(objective):
    problem = js.Problem(two_features(), objective, js.DeepLinear(3, 2), js.Balanced(0.1))
    np.testing.assert_allclose(problem.plateaus, plateau(objective, 3, 2), rtol=1e-14)


def test_an_objective_with_the_older_name_of_output_basis_works_and_warns():
    with pytest.warns(DeprecationWarning, match="`output_frame` is called `output_basis`"):

        class Older(js.AbstractObjective):
            name: ClassVar[str] = "older"
            encodes_target: ClassVar[bool] = True
            uses_predictor: ClassVar[bool] = True
            teacher = js.StopGradient()

            def pulls(self, maps, moments):
                return js.JEPA().pulls(maps, moments)

            def loss(self, maps, moments):
                return js.JEPA().loss(maps, moments)

            def output_frame(self, latent, target):
                return latent

            def exponents(self, depth, predictor_depth):
                return js.JEPA().exponents(depth, predictor_depth)

            def coefficients(self, features):
                return js.JEPA().coefficients(features)

    moments = js.Moments.from_features([1.0], [0.5])
    gains = [
        js.simulate(
            js.Problem(moments, objective, js.DeepLinear(2), js.Balanced(0.1)),
            [1.0, 10.0],
            js.GradientFlow(),
        ).features
        for objective in (Older(), js.JEPA())
    ]
    np.testing.assert_array_equal(*gains)


class Bare(js.AbstractObjective):
    """A JEPA that does not say what its reduced flow is."""

    base: js.JEPA = js.JEPA()
    encodes_target: ClassVar[bool] = True
    uses_predictor: ClassVar[bool] = True
    name: ClassVar[str] = "bare"

    @property
    def teacher(self):
        return self.base.teacher

    def loss(self, maps, moments):
        return self.base.loss(maps, moments)

    def output_basis(self, latent, target):
        return latent


@pytest.mark.parametrize("objective", EVERY, ids=lambda o: o.name)
def test_pulls_follow_from_the_loss(objective):
    maps = js.Maps(*map(jnp.asarray, np.random.default_rng(1).normal(size=(3, 3, 3))))
    own = objective.pulls(maps, MOMENTS)
    taken = js.AbstractObjective.pulls(objective, maps, MOMENTS)
    np.testing.assert_allclose(taken.encoder, own.encoder, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(taken.predictor, own.predictor, rtol=1e-11, atol=1e-11)
    if objective.teacher.passes_gradient:
        np.testing.assert_allclose(taken.teacher, own.teacher, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [js.GradientFlow(), js.Descent(optax.sgd, 1e-2)])
def test_an_objective_needs_no_reduced_flow(solver):
    """It ends where the closed form of the same JEPA does; what a run alone tells is there."""
    moments, times = two_features(), np.geomspace(1.0, 1000.0, 200)
    problem = posed(Bare(), 2, 1, moments)
    run = js.simulate(problem, times, solver)
    known = js.simulate(posed(js.JEPA(), 2, 1, moments), times, js.ClosedForm())
    np.testing.assert_allclose(run.features[-1], known.features[-1], rtol=1e-4)
    crossed, expected = run.critical_times(level=0.2), known.critical_times(level=0.2)
    np.testing.assert_allclose(crossed, expected, rtol=1e-2)
    assert np.isnan(run.critical_times(fraction=0.5)).all()


@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_without_a_reduced_flow_plateaus_are_not_known(decay):
    problem = posed(Bare(), 2, 1, two_features(), decay=decay)
    unknown = (problem.plateaus, *jax.tree.leaves(problem.equilibria))
    assert np.isnan(unknown).all()


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("ClosedForm", lambda p: js.simulate(p, [1.0], js.ClosedForm())),
        ("Modes", lambda p: js.simulate(p, [1.0], js.Modes())),
        ("critical_times", lambda p: js.critical_times(p, fraction=0.5)),
        ("trust", lambda p: js.trust(p, fraction=0.5)),
        ("asymptotic_critical_times", js.asymptotic_critical_times),
        ("CriticalGrid", lambda p: js.CriticalGrid().times(p)),
    ],
)
def test_what_needs_a_reduced_flow_says_so(what, call):
    with pytest.raises(ValueError, match=rf"`objective` must have a reduced flow for `{what}`"):
        call(posed(Bare(), 2, 1, two_features()))
