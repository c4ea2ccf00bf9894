"""Stabilised Runge–Kutta methods: order, stability, error estimates, use by diffrax."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from jepa_sim.numerics.stabilised import RKC2, ROCK4, rhs_count
from jepa_sim.numerics.stabilised.base import AbstractStabilised
from jepa_sim.numerics.stabilised.control import PredictiveController
from jepa_sim.numerics.stabilised.radius import power_iteration
from jepa_sim.numerics.stabilised.rock4 import _tables
from jepa_sim.numerics.stabilised.trees import real_dtype

METHODS = (RKC2(), ROCK4())


def named(solver):
    return type(solver).__name__


both = pytest.mark.parametrize("solver", METHODS, ids=named)


def solve(field, solver, y0, t1, rtol, **options):
    """To t1 with adaptive steps, from time 0; times in the dtype of the state."""
    dtype = real_dtype(y0)
    options = {"max_steps": 20_000, "throw": False, "args": None} | options
    return dfx.diffeqsolve(
        dfx.ODETerm(field),
        solver,
        jnp.zeros((), dtype),
        jnp.asarray(t1, dtype),
        None,
        y0,
        stepsize_controller=dfx.PIDController(rtol, rtol, pcoeff=0.4, icoeff=0.3),
        **options,
    )


def toward_sine(t, y, args):
    """y = sin t from y(0) = 0, whatever the stiffness; not linear, not autonomous."""
    return jnp.cos(t) - args * (jnp.sin(y) - jnp.sin(jnp.sin(t)))


@both
def test_the_order_is_that_of_the_method(solver):
    """Steps 1/16 … 1/64. hρ is the same for all, so that all have the same number of stages."""
    solver = type(solver)(spectral_radius=lambda t, y, args: args[1])

    @jax.jit
    def error(h, radius):
        sol = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, args: toward_sine(t, y, args[0])),
            solver,
            0.0,
            1.0,
            h,
            jnp.zeros(1),
            args=(1.0, radius),
            stepsize_controller=dfx.ConstantStepSize(),
        )
        return jnp.abs(sol.ys[-1, 0] - jnp.sin(1.0))

    steps = np.array([16, 32, 64])
    for h_radius in (0.7, 20.0, 400.0):
        errors = [float(error(1 / n, h_radius * n)) for n in steps]
        slope = np.polyfit(np.log2(steps), -np.log2(errors), 1)[0]
        assert slope == pytest.approx(solver.order(None), abs=0.15), (h_radius, errors)


def stability_function(solver, stages, z):
    """R(z) and the estimate of the error, of one step of y' = zy from 1; z real or complex."""
    made = solver.attempt(
        lambda t, y: z * y, 0.0, jnp.ones(()), jnp.ones_like(z), z, jnp.asarray(stages, jnp.int32)
    )
    return made.y1, made.error


def advertised(solver, stages):
    """The longest z for which `solver` takes so many stages, by bisection."""
    low, high = 0.0, float(stages**2)
    for _ in range(60):
        middle = (low + high) / 2
        fits = int(solver.stages(jnp.asarray(middle))) <= stages
        low, high = (middle, high) if fits else (low, middle)
    return low


@pytest.mark.parametrize("stages", [2, 3, 5, 17, 240])
def test_rkc2_is_stable_on_all_of_its_interval(stages):
    end = advertised(RKC2(), stages)
    assert end > 0.6 * (stages**2 - 1)
    r, _ = stability_function(RKC2(), stages, -jnp.linspace(0, end, 20_001))
    assert float(jnp.max(jnp.abs(r))) <= 1 + 1e-12


@pytest.mark.parametrize("stages", [5, 6, 12, 57, 142])
def test_rock4_is_stable_on_all_of_its_interval(stages):
    end = advertised(ROCK4(), stages)
    assert end > 0.34 * (stages - 1) ** 2 - 3
    r, _ = stability_function(ROCK4(), stages, -jnp.linspace(0, end, 20_001))
    assert float(jnp.max(jnp.abs(r))) <= 1 + 1e-12


@both
def test_the_stability_function_is_the_exponential_to_its_order(solver):
    """Taylor coefficients of R about 0, from its values on a circle."""
    order = solver.order(None)
    circle = jnp.asarray(np.exp(2j * np.pi * np.arange(16) / 16))
    for stages in (5, 13, 36):
        r, error = stability_function(solver, stages, circle)
        taylor, of_error = np.fft.fft(np.asarray(r)) / 16, np.fft.fft(np.asarray(error)) / 16
        exact = 1 / np.cumprod(np.maximum(np.arange(order + 2), 1))
        assert taylor[: order + 1] == pytest.approx(exact[: order + 1], abs=1e-12)
        assert abs(taylor[order + 1] - exact[order + 1]) > 1e-4
        lowest = solver.error_order(None)
        assert np.abs(of_error[:lowest]).max() < 1e-12 < abs(of_error[lowest])


def test_all_tables_of_rock4_are_consistent():
    tables = _tables()
    first = np.append(tables.first, len(tables.recurrence))
    assert np.all(np.diff(first) == 2 * (tables.stages - 4) - 1)
    r, _ = jax.vmap(lambda s: stability_function(ROCK4(), s, jnp.array([-0.01])))(tables.stages)
    assert np.asarray(r) == pytest.approx(np.exp(-0.01), abs=1e-11)


@both
def test_a_stiff_transient_is_left_to_few_stages(solver):
    """Prothero & Robinson: stiffness 10⁴ over a slow solution, against Tsit5 at its bound of 3.3.

    ROCK4 gains less, since its embedded method loses order there.
    """
    sol = solve(
        toward_sine, solver, jnp.zeros(3), 2.0, 1e-5, args=1e4, saveat=saving_state(t1=True)
    )
    assert sol.result == dfx.RESULTS.successful
    assert np.asarray(sol.ys) == pytest.approx(np.sin(2), abs=1e-4)
    share = {RKC2: 0.1, ROCK4: 0.4}[type(solver)]
    assert int(rhs_count(sol)) < share * 6 * 2 * 1e4 / 3.3


def saving_state(**options):
    return dfx.SaveAt(solver_state=True, **options)


@pytest.mark.parametrize("degrees", [0, 20, 45, 60, 85])
@both
def test_complex_pairs_are_never_silently_wrong(solver, degrees):
    """Eigenvalues −ρe^{±iθ} leave the strip of stability; the estimate of the error must see it."""
    angle = np.deg2rad(degrees)
    turn = -200 * jnp.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slow = jnp.array([1.0])

    def field(t, y, args):
        return {"pair": turn @ (y["pair"] - jnp.sin(t)) + jnp.cos(t), "slow": -y["slow"]}

    start = {"pair": jnp.array([0.3, -0.2]), "slow": slow}
    sol = solve(field, solver, start, 3.0, 1e-5)
    decay = np.exp(-200 * np.cos(angle) * 3.0)
    assert sol.result == dfx.RESULTS.successful
    assert np.asarray(sol.ys["pair"]) == pytest.approx(np.sin(3.0), abs=1e-3 + decay)
    assert float(sol.ys["slow"][0, 0]) == pytest.approx(np.exp(-3), rel=1e-4)


@both
@pytest.mark.slow
def test_a_radius_said_too_small_fails_or_costs_but_does_not_mislead(solver):
    """The radius given is a thousandth of the true one: steps must shrink until they are stable."""
    liar = type(solver)(spectral_radius=lambda t, y, args: 10.0)
    sol = solve(toward_sine, liar, jnp.zeros(1), 1.0, 1e-5, args=1e4)
    assert sol.result == dfx.RESULTS.successful
    assert float(sol.ys[-1, 0]) == pytest.approx(np.sin(1), abs=1e-4)
    honest = solve(toward_sine, solver, jnp.zeros(1), 1.0, 1e-5, args=1e4)
    assert int(sol.stats["num_steps"]) > 2 * int(honest.stats["num_steps"])


@both
@pytest.mark.slow
def test_no_step_takes_more_than_the_stages_allowed(solver):
    few = type(solver)(max_stages=6)
    far = solver.stages(jnp.array([0.0, 1e3, 1e9, jnp.inf, jnp.nan]))
    assert far[0] <= 5
    assert jnp.all(far[2:] > solver.max_stages)
    sol = solve(toward_sine, few, jnp.zeros(1), 1.0, 1e-4, args=1e4)
    assert sol.result == dfx.RESULTS.successful
    assert float(sol.ys[-1, 0]) == pytest.approx(np.sin(1), abs=1e-3)
    free = solve(toward_sine, solver, jnp.zeros(1), 1.0, 1e-4, args=1e4)
    assert int(sol.stats["num_steps"]) > 2 * int(free.stats["num_steps"])


def test_the_power_iteration_finds_the_radius_and_keeps_it():
    matrix = jnp.array([[-9.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, -1.0]])

    def field(t, y, args):
        return matrix @ y

    y, vector = jnp.ones(3), jnp.array([0.1, 0.2, 1.0])
    radius, vector, count = power_iteration(
        field, 0.0, y, matrix @ y, None, vector, jnp.zeros(()), 50
    )
    true = float(jnp.max(jnp.abs(jnp.linalg.eigvalsh(matrix))))
    assert float(radius) == pytest.approx(true, rel=0.05)
    assert 2 <= int(count) < 20
    radius, _, count = power_iteration(field, 0.0, y, matrix @ y, None, vector, radius, 50)
    assert float(radius) == pytest.approx(true, rel=0.02)
    assert int(count) == 1


@both
def test_right_hand_sides_are_counted(solver):
    """Against a count on the host of every call, of the field and of each product."""
    calls = []

    def field(t, y, args):
        jax.debug.callback(lambda _: calls.append(1), t)
        return toward_sine(t, y, args)

    steady = type(solver)(spectral_radius=lambda t, y, args: 500.0)
    sol = dfx.diffeqsolve(
        dfx.ODETerm(field),
        steady,
        0.0,
        1.0,
        0.1,
        jnp.zeros(1),
        args=500.0,
        saveat=saving_state(t1=True),
        stepsize_controller=dfx.ConstantStepSize(),
    )
    jax.effects_barrier()
    assert int(rhs_count(sol)) == len(calls)


def test_counting_needs_the_state_of_a_stabilised_solver():
    sol = solve(toward_sine, dfx.Tsit5(), jnp.zeros(1), 1.0, 1e-3, args=1.0)
    with pytest.raises(ValueError, match="Argument `solution` must be"):
        rhs_count(sol)


@pytest.mark.filterwarnings("ignore:Complex dtype support")
@both
def test_states_are_pytrees_and_may_be_complex(solver):
    def field(t, y, args):
        a, (b,) = y["a"], y["b"]
        return {"a": -30 * a, "b": ((1j - 20) * b,), "none": None}

    start = {"a": jnp.ones((2, 2), complex), "b": (jnp.ones(3, complex),), "none": None}
    sol = solve(field, solver, start, 0.5, 1e-6)
    assert np.asarray(sol.ys["a"]) == pytest.approx(np.exp(-15.0), abs=1e-5)
    assert np.asarray(sol.ys["b"][0]) == pytest.approx(np.exp((1j - 20) * 0.5), abs=1e-5)


@both
def test_a_batch_is_its_lanes(solver):
    """Up to rounding, which the compiler does differently in a batch.

    Where stability alone limits the steps, their control magnifies rounding: in one program of
    ROCK4, a start one unit in the last place away moves the end by up to 4e-8 at stiffness 5000
    and rtol = 1e-4 (5e-15 at 300). An rtol larger by a hundredth moves it by 2e-5.
    """

    def end(stiffness):
        sol = solve(toward_sine, solver, jnp.full(1, 0.1), 1.0, 1e-4, args=stiffness)
        return sol.ys[-1, 0], sol.stats["num_steps"]

    stiffness, bounds = jnp.array([2.0, 300.0, 5000.0]), (1e-12, 1e-12, 1e-6)
    ends, steps = jax.jit(jax.vmap(end))(stiffness)
    single = jax.jit(end)
    for lane, value in enumerate(stiffness):
        alone, alone_steps = single(value)
        assert float(ends[lane]) == pytest.approx(float(alone), abs=bounds[lane])
        assert int(steps[lane]) == int(alone_steps)


@pytest.mark.slow
@both
def test_derivatives_by_both_modes_are_those_of_differences(solver):
    """In a parameter that the field closes over, and that moves the spectral radius too."""

    def end(stiffness, adjoint):
        def field(t, y, args):
            return -stiffness * jnp.array([1.0, 30.0]) * y**2

        sol = solve(field, solver, jnp.ones(2), 2.0, 1e-6, adjoint=adjoint, max_steps=1024)
        return sol.ys[-1, 0]

    exact = -2 / 5**2  # of 1/(1 + 2k) at k = 2
    backward = jax.grad(lambda k: end(k, dfx.RecursiveCheckpointAdjoint()))(2.0)
    forward = jax.jvp(lambda k: end(k, dfx.ForwardMode()), (2.0,), (1.0,))[1]
    assert float(backward) == pytest.approx(exact, rel=1e-4)
    assert float(forward) == pytest.approx(float(backward), rel=1e-8)


@both
def test_an_event_ends_the_solve_between_steps(solver):
    import optimistix as optx

    event = dfx.Event(lambda t, y, args, **_: y[0] - 0.5, optx.Newton(1e-8, 1e-8))
    sol = solve(toward_sine, solver, jnp.zeros(1), 2.0, 1e-6, args=1e3, event=event)
    assert sol.result == dfx.RESULTS.event_occurred
    assert float(sol.ts[-1]) == pytest.approx(np.arcsin(0.5), abs=1e-5)


@both
def test_between_steps_the_solution_is_of_third_order(solver):
    times = jnp.linspace(0, 2, 41)
    sol = solve(
        toward_sine, solver, jnp.zeros(1), 2.0, 1e-7, args=300.0, saveat=dfx.SaveAt(ts=times)
    )
    assert np.asarray(sol.ys[:, 0]) == pytest.approx(np.sin(times), abs=1e-5)


@pytest.mark.float32
@both
def test_single_precision_keeps_its_dtype_and_its_digits(solver):
    y0 = jnp.zeros(2, jnp.float32)
    sol = solve(
        lambda t, y, args: toward_sine(t, y, jnp.asarray(args, y.dtype)),
        solver,
        y0,
        1.0,
        1e-5,
        args=1e5,
    )
    assert sol.ys.dtype == jnp.float32
    assert sol.result == dfx.RESULTS.successful
    assert np.asarray(sol.ys) == pytest.approx(np.sin(1), abs=1e-4)


@both
@pytest.mark.slow
def test_a_flow_of_features_ends_where_the_closed_form_does(solver):
    moments = js.Moments.from_features(jnp.array([1.0, 0.8]), jnp.array([0.9, 0.5]))
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(1e-2))
    times = jnp.array([0.0, 1500.0, 20_000.0])
    exact = js.simulate(problem, times, js.ClosedForm()).features

    def field(t, weights, args):
        return velocity(problem, weights)

    saveat = dfx.SaveAt(
        ts=times, fn=lambda t, w, args: w.gains(problem.features), solver_state=True
    )
    sol = solve(field, solver, problem.weights(), times[-1], 1e-6, saveat=saveat)
    assert np.asarray(sol.ys[-1]) == pytest.approx(np.asarray(exact[-1]), rel=1e-5)
    explicit = solve(field, dfx.Tsit5(), problem.weights(), times[-1], 1e-6)
    assert int(rhs_count(sol)) < 6 * int(explicit.stats["num_steps"])


@pytest.mark.slow
def test_a_predictive_controller_rejects_less_where_the_solution_quickens():
    """u' = u² from 1 up to u = 1000: every step must be shorter than the last."""

    def run(controller):
        return dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, args: y**2),
            ROCK4(),
            0.0,
            0.999,
            None,
            jnp.ones(1),
            stepsize_controller=controller,
        )

    plain = run(dfx.PIDController(1e-6, 1e-6, pcoeff=0.4, icoeff=0.3))
    predictive = run(PredictiveController(1e-6, 1e-6))
    assert float(predictive.ys[-1, 0]) == pytest.approx(1000, rel=1e-2)
    assert 3 * int(predictive.stats["num_rejected_steps"]) < plain.stats["num_rejected_steps"]
    assert int(predictive.stats["num_steps"]) < int(plain.stats["num_steps"])


def test_a_step_that_overflows_is_rejected_and_the_run_goes_on():
    """y' = −y⁵ from 10 has y = (10⁻⁴ + 4t)^{−1/4}; the first step is 10²⁰ times too long."""
    sol = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: -(y**5)),
        ROCK4(),
        t0=0.0,
        t1=1e20,
        dt0=1e16,
        y0=jnp.asarray(10.0),
        stepsize_controller=PredictiveController(1e-6, 1e-9),
        max_steps=2000,
        throw=False,
    )
    assert sol.result == dfx.RESULTS.successful
    assert sol.stats["num_rejected_steps"] > 0
    assert sol.ys is not None
    np.testing.assert_allclose(sol.ys[0], (1e-4 + 4e20) ** -0.25, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "options", "wording"),
    [
        (RKC2, {"max_stages": 1}, "Argument `max_stages` must be a whole number, at least 2"),
        (ROCK4, {"max_stages": 4}, "Argument `max_stages` must be a whole number, at least 5"),
        (ROCK4, {"max_stages": 143}, "Argument `max_stages` must be at most 142, but is 143"),
        (RKC2, {"max_iterations": 0}, "Argument `max_iterations` must be a whole number"),
        (ROCK4, {"safety": 0.0}, "Argument `safety` must be positive"),
    ],
)
def test_wrong_arguments_are_named(method, options, wording):
    with pytest.raises(ValueError, match=wording):
        method(**options)


def test_they_are_reached_by_the_name_of_the_package():
    assert isinstance(js.RKC2(), AbstractStabilised)
    assert isinstance(js.ROCK4(), AbstractStabilised)
