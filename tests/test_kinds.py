"""Constructors and public functions refuse arguments of the wrong kind."""

import dataclasses
import inspect
from collections.abc import Sequence

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import jepa_sim as js
from jepa_sim.arguments.kinds import Checked, check_kind
from jepa_sim.arguments.types import Scalar
from tests.problems import two_features

MOMENTS = two_features()
PROBLEM = js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))
DEEPER = dataclasses.replace(PROBLEM, start=js.Given([np.eye(2)], [np.eye(2)]))
LARGER = js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(1), js.Given([np.eye(3)], [np.eye(3)]))
WIDE = js.Moments(np.eye(3), np.ones((2, 3)) / 9)  # y of two entries, x of three


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # classes in place of objects
        (lambda: js.JEPA(js.StopGradient), "`target` must be a target, such as `StopGradient()`"),
        (lambda: js.Training(predictor=js.FastPredictor), "but is the class FastPredictor"),
        (lambda: js.simulate(PROBLEM, [1.0], js.ClosedForm), "such as `ClosedForm()`"),
        (lambda: js.Problem(MOMENTS, js.MAE, js.DeepLinear(1), js.Balanced(0.1)), "class MAE"),
        (lambda: js.GradientFlow(dfx.Tsit5), "`solver` must be a solver, such as `Tsit5()`"),
        # words
        (lambda: js.DeepLinear(depth="3"), "`depth` must be one real number, but is the string"),
        (lambda: js.GradientFlow(rtol="1e-8"), "`rtol` must be one real number"),
        (lambda: js.Problem(MOMENTS, "jepa", js.DeepLinear(1), js.Balanced(0.1)), "`objective`"),
        (lambda: js.Grid(spectrum=MOMENTS, objective="jepa"), "`objective` must be a list"),
        (lambda: js.Grid(spectrum=MOMENTS, objective=["jepa"]), r"`objective\[0\]` must be an ob"),
        (lambda: js.simulate(PROBLEM, [1.0], js.ClosedForm(), observables=["loss"]), "observables"),
        (lambda: js.critical_times(PROBLEM, fraction="half"), "`fraction` must be one real number"),
        # lists where one number is due
        (lambda: js.Balanced([0.1, 0.2]), "`scale` must be one real number"),
        (lambda: js.WhitenedJoint([1.0, 9.0]), "`penalty` must be one real number"),
        (lambda: js.Training([0.1, 0.2]), "`encoder_rate` must be one real number"),
        (lambda: js.critical_times(PROBLEM, fraction=[0.5, 0.9]), "`fraction` must be one real nu"),
        (lambda: js.Grid(spectrum=MOMENTS, objective=[js.JEPA()], depth=3), "`depth` must be a li"),
        (lambda: js.Given([np.eye(2) * 1j], [np.eye(2)]), r"`encoder\[0\]` must be real numbers"),
        (lambda: js.DeepLinear(2, frames={1, 2}), "`frames` must be a list of 2 entries"),
        (lambda: js.Grid(spectrum=MOMENTS, objective={js.JEPA()}), "`objective` must be a list"),
        # whole numbers, keys, complex numbers, methods
        (lambda: js.GradientFlow(max_steps=1e5), "`max_steps` must be a whole number"),
        (lambda: js.DeepLinear(2, frames=(1, 2, 3)), "`frames` must be a list of 2 entries"),
        (
            lambda: js.simulate(PROBLEM, [1.0], js.GradientFlow(), key=0),
            r"`key` must be a key, as ",
        ),
        (lambda: js.Moments([[1, 0.5j], [-0.5j, 1]], np.eye(2)), "`xx` must be real numbers"),
        (lambda: js.Moments.from_samples(np.ones((3, 2)) * 1j, np.ones((3, 2))), "`x` must be rea"),
        (lambda: js.GradientFlow(dfx.Euler()), "`solver` must be a diffrax method for ODEs"),
        (lambda: js.Modes(dfx.KenCarp4()), "`solver` must be a diffrax method for ODEs"),
        (lambda: js.Descent(optax.sgd, "0.1"), "`learning_rate` must be one real number"),
        (lambda: js.diagnose(PROBLEM), "`run` must be a `Trajectory` object, but is an object of"),
        (lambda: MOMENTS.features(2), "`frames` must be a list of 2 entries"),
        (lambda: WIDE.features((2, 1)), r"`frames\[0\]` must divide the 3 entries of x, but is 2"),
        (lambda: js.open_run(5), "`path` must be a string or a `PathLike` object, but is 5"),
        (lambda: js.Dask(workers=0), "`workers` must be a whole number, at least 1, but is 0"),
        (
            lambda: PROBLEM.weights(3),
            "`key` must be a key, as `jax.random.key.0.` makes it, but is 3",
        ),
        (lambda: DEEPER.plateaus, r"`start.encoder` must have factors of shapes \[\(2, 2\), "),
        (lambda: LARGER.plateaus, r"`start.encoder` must have factors of shapes \[\(2, 2\)\], but"),
    ],
)
def test_what_is_not_of_its_kind_is_refused(call, message):
    with pytest.raises(ValueError, match=message.replace("()", r"\(\)")):
        call()


@pytest.mark.parametrize("objective", [js.JEPA(), js.BarlowTwins(), js.WhitenedJoint()])
def test_a_target_of_another_dimension_is_for_reconstruction(objective):
    parts = (js.DeepLinear(1), js.Balanced(0.1))
    with pytest.raises(ValueError, match=r"`moments\.yx` must have as many rows as columns"):
        js.Problem(WIDE, objective, *parts)
    assert np.isfinite(js.critical_times(js.Problem(WIDE, js.MAE(), *parts), fraction=0.5)).any()


@pytest.mark.parametrize("solver", [js.ClosedForm(), js.Modes(), js.LayerModes()])
def test_features_that_nothing_reads_are_for_the_matrix_flow(solver):
    """They stay where they start; the theory of single features does not have that case."""
    moments = js.Moments(np.diag([1.0, 2.0, 3.0]), [[0.5, 0, 0], [0, 0.3, 0]])
    problem = js.Problem(moments, js.MAE(), js.DeepLinear(2), js.Balanced(0.1))
    with pytest.raises(ValueError, match=r"`moments\.yx` must have at least as many rows"):
        js.simulate(problem, [1.0], solver)
    gains = js.simulate(problem, [50.0], js.GradientFlow()).features[-1]
    np.testing.assert_allclose(gains[2], 0.1, rtol=1e-6)


def test_every_public_class_checks_its_arguments():
    states = {js.Features, js.Gains, js.Maps, js.Separate, js.Solution, js.Trajectory, js.Weights}
    states |= {js.Equilibria, js.Planes, js.Takeovers, js.Trust}  # made traced, in batches
    modules = [getattr(js, name) for name in js.__all__]
    modules = {c for c in modules if inspect.isclass(c) and issubclass(c, eqx.Module)} - states
    unchecked = {c for c in modules if not issubclass(c, Checked)} - {js.ROCK4, js.RKC2}
    assert not unchecked


def test_traced_values_are_checked_by_shape_and_leave_nothing_in_the_program():
    def scale(x):
        return js.Balanced(x).scale

    [kept] = jax.make_jaxpr(scale)(0.1).eqns
    assert kept.primitive.name == "convert_element_type"  # to a type that is not weak
    with pytest.raises(ValueError, match="`scale` must be one real number, but is of shape"):
        jax.jit(scale)(jnp.ones(2))
    batched = jax.vmap(scale)(jnp.asarray([0.1, 0.2]))
    np.testing.assert_array_equal(batched, [0.1, 0.2])


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), jnp.array(2)])
def test_any_one_number_is_a_number(value):
    check_kind("value", value, Scalar)
    assert dataclasses.replace(js.Balanced(0.1), scale=value).scale == 2


@pytest.mark.parametrize("value", [True, None, "2", [2], np.ones(1), 2j, complex, object()])
def test_nothing_else_is(value):
    with pytest.raises(ValueError, match="`value` must be one real number"):
        check_kind("value", value, Scalar)


def test_flags_may_be_an_xarray():
    """Its entries are arrays of one flag; numbers are no flags."""
    check_kind("noisy", xr.DataArray([True, False]), Sequence[bool] | np.ndarray)
    with pytest.raises(ValueError, match=r"Argument `noisy\[0\]` must be True or False"):
        check_kind("noisy", xr.DataArray([1, 0]), Sequence[bool] | np.ndarray)
