import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jepa_sim as js
from tests.problems import LAM, OBJECTIVES, RHO, two_features


def problem(objective, depth, predictor_depth, scale, moments=None):
    network = js.DeepLinear(depth, predictor_depth)
    return js.Problem(moments or two_features(), objective, network, js.Balanced(scale))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (2, 1), (3, 2)])
def test_exact_times_agree_with_quadrature(objective, depth, predictor_depth):
    posed = problem(objective, depth, predictor_depth, 1e-2)
    found = js.critical_times(posed, fraction=0.5)
    a, b = objective.exponents(depth, predictor_depth)
    for time, lam, rho in zip(found, LAM, RHO, strict=True):
        target = 0.5 ** (1 / depth) * rho ** (1 / b)
        expected, _ = scipy.integrate.quad(  # dt = dv e^{-(a-1)v} / (λ − σ² e^{bv}), v = ln u
            lambda v, lam=lam, rho=rho: np.exp(-(a - 1) * v) / (lam - lam / rho * np.exp(b * v)),
            np.log(1e-2) / depth,
            np.log(target),
            epsabs=0,
            epsrel=1e-12,
            limit=400,
        )
        np.testing.assert_allclose(time, expected, rtol=1e-11)


def test_levels_and_fractions_can_order_features_differently():
    moments = js.Moments.from_features([1.0, 0.95], [0.9, 0.3])
    posed = problem(js.MAE(), 1, 1, 1e-2, moments)
    relative = js.critical_times(posed, fraction=0.5)
    absolute = js.critical_times(posed, level=0.5 * float(posed.plateaus[1]))
    np.testing.assert_allclose(absolute[1], relative[1], rtol=1e-12)
    assert relative[1] < relative[0]
    assert absolute[1] > absolute[0]


def test_what_is_never_reached_and_what_is_there_from_the_start():
    moments = js.Moments.from_features([1.0, 1.0, -0.5], [0.9, 0.3, -0.2])
    posed = problem(js.JEPA(), 1, 1, 0.4, moments)
    np.testing.assert_array_equal(jnp.isinf(js.critical_times(posed, level=0.5)), [0, 1, 1])
    # ε = 0.4 is above 0.9 of the plateau 0.3
    np.testing.assert_array_equal(js.critical_times(posed, fraction=0.9)[1:], [0, np.inf])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_gradients_agree_with_finite_differences(objective):
    def time(lam, rho, scale, fraction):
        moments = js.Moments.from_features(lam[None], rho[None])
        network = js.DeepLinear(3, 1)
        posed = js.Problem(moments, objective, network, js.Balanced(scale))
        return js.critical_times(posed, fraction=fraction)[0]

    at = tuple(jnp.asarray(x) for x in (0.8, 0.5, 1e-3, 0.7))
    gradients = jax.grad(time, argnums=(0, 1, 2, 3))(*at)
    for i, gradient in enumerate(gradients):
        step = 1e-4 * at[i]
        shifted = [(*at[:i], at[i] + k * step, *at[i + 1 :]) for k in (1, -1, 2, -2)]
        up, down, up2, down2 = (time(*point) for point in shifted)
        slope = (8 * (up - down) - (up2 - down2)) / (12 * step)
        np.testing.assert_allclose(gradient, slope, rtol=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (2, 1), (3, 1), (3, 2)])
def test_asymptotics_are_off_by_a_constant(objective, depth, predictor_depth):
    scales = np.array([1e-3, 1e-4, 1e-5]) * (1 if depth < 3 or predictor_depth > 1 else 1e-2)
    exact = np.stack(
        [
            js.critical_times(problem(objective, depth, predictor_depth, s), fraction=0.5)
            for s in scales
        ]
    )

    error = exact - np.stack(
        [
            js.asymptotic_critical_times(problem(objective, depth, predictor_depth, s))
            for s in scales
        ]
    )
    steps = np.abs(np.diff(error, axis=0))
    assert (steps[1] < steps[0]).all()
    assert (steps[1] < 0.1 * np.abs(error[-1]) + 1e-9 * exact[-1]).all()


def test_asymptotics_are_the_published_sum():
    """(1/λ) Σ_{n=1}^{2L−1} L / (n ρ^{2L−n−1} ε^{n/L}) in the paper's time τ = L t (M = 1)."""
    depth, scale = 3, 1e-4
    n = np.arange(1, 2 * depth)[:, None]
    published = np.sum(depth / (n * RHO ** (2 * depth - n - 1) * scale ** (n / depth)), 0) / LAM
    found = np.asarray(js.asymptotic_critical_times(problem(js.JEPA(), depth, 1, scale)))
    logarithm = -np.log(scale) / (LAM * RHO ** (2 * depth - 1))  # which the theorem leaves out
    np.testing.assert_allclose(depth * found - logarithm, published, rtol=1e-12)
    with pytest.warns(DeprecationWarning, match="`logarithm` goes"):
        same = js.asymptotic_critical_times(problem(js.JEPA(), depth, 1, scale), logarithm=False)
    np.testing.assert_allclose(depth * same, published, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`fraction` must be given, or else `level`, and not both"),
        ({"fraction": 0.5, "level": 0.5}, "not both"),
        ({"fraction": 1.0}, "`fraction` must lie strictly between 0 and 1, but is 1"),
        ({"level": -0.1}, "`level` must be positive, but is -0.1"),
    ],
)
def test_bad_targets_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        js.critical_times(problem(js.JEPA(), 1, 1, 0.1), **options)
