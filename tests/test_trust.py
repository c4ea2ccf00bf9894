"""How far the reduced theory can be trusted, against eigenvalues and scipy's matrix flow."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate

import jepa_sim as js
from jepa_sim.model.objectives import Rest, SwitchedObjective
from jepa_sim.model.turning import turning_of
from jepa_sim.results.trust import trust_in
from tests.problems import non_commuting

LAM, RHO = np.array([1.0, 2.0]), np.array([0.9, 0.3])


def posed(objective=None, depth=1, scale=1e-3, *, lam=None, rho=None, start=None):
    moments = js.Moments.from_features(LAM if lam is None else lam, RHO if rho is None else rho)
    start = js.Balanced(scale) if start is None else start
    objective = js.JEPA() if objective is None else objective
    return js.Problem(moments, objective, js.DeepLinear(depth), start)


def field(objective, depth, factors, lam, variance, target=None):
    """Ż of all 2 × 2 factors, the first applied first; complex factors too.

    target: the map of a teacher that is not the encoder.
    """
    every = [np.eye(2, dtype=factors[0].dtype)]
    for z in factors:
        every.append(z @ every[-1])
    if target is None:
        target = every[depth] if objective.name == "jepa" else np.eye(2)
    back = target @ np.diag(lam) - every[-1] @ np.diag(variance)
    moves = []
    for z, before in zip(reversed(factors), reversed(every[:-1]), strict=True):
        moves.append(back @ before.T)
        back = z.T @ back
    return moves[::-1]


CLEAN, NOISY = np.array([0.7, 1.3]), np.array([0.8, 0.35])  # λ and ρ of a pair of features


def largest_eigenvalue(objective, gains, depth, rates=(1.0, 1.0), decays=(0.0, 0.0)):
    """Of the Jacobian at rest, where all factors are diag(0, gain): by complex steps.

    gains, rates, decays: of the encoder's and of the predictor's layers.  depth: (L, M).
    """
    tau, layers = objective.teacher.time_constant, sum(depth)
    by_layer = [np.repeat(pair, depth)[:, None, None] for pair in (gains, rates, decays)]
    state = by_layer[0] * np.diag([0.0, 1.0])
    if tau is not None:
        state = np.concatenate([state, state[: depth[0]]])

    def move(every):
        factors, teacher = list(every[:layers]), every[layers:]
        target = None if tau is None else np.linalg.multi_dot([*teacher[::-1], np.eye(2)])
        pulls = field(objective, depth[0], factors, CLEAN, CLEAN / NOISY, target)
        moves = by_layer[1] * pulls - by_layer[2] * every[:layers]
        copies = (every[: len(teacher)] - teacher) / (1.0 if tau is None else float(tau))
        return np.concatenate([moves, copies]).ravel()

    np.testing.assert_allclose(move(state), 0, atol=1e-14)
    steps = 1e-30j * np.eye(state.size).reshape(-1, *state.shape)
    jacobian = [move(state + step).imag / 1e-30 for step in steps]
    return np.linalg.eigvals(np.array(jacobian)).real.max()


OBJECTIVES = {
    "jepa": js.JEPA(),
    "mae": js.MAE(),
    **{f"teacher {tau:g}": js.JEPA(js.MovingAverage(tau)) for tau in (0.1, 1e3)},
}
TRAININGS = {  # α_w, α_v, η_w and η_v
    "plain": (1.0, 1.0, 0.0, 0.0),
    "rates": (2.0, 0.7, 0.0, 0.0),
    "rates and decay": (0.6, 1.4, 1e-3, 1e-3),
    "two decays": (1.3, 0.8, 1e-3, 2e-3),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("depth", [(1, 1), (1, 3), (2, 1), (2, 2), (3, 2)])
def test_latents_turn_at_the_largest_eigenvalue_of_the_jacobian(name, training, depth):
    """At the state in which feature 1 is learned and 0 is not."""
    objective, (*rates, decay, other) = OBJECTIVES[name], TRAININGS[training]
    moments, scale = js.Moments.from_features(CLEAN, NOISY), 0.01
    trained = js.Training(*rates, encoder_decay=decay, predictor_decay=other)
    problem = js.Problem(moments, objective, js.DeepLinear(*depth), js.Balanced(scale), trained)
    w = float(problem.equilibria.stable[1]) ** (1 / depth[0])
    if decay > 0:
        v = w * (decay * rates[1] / (other * rates[0])) ** 0.5
    else:  # v²/α_v − w²/α_w is kept
        kept = scale ** (2 / depth[0]) * (1 / rates[1] - 1 / rates[0])
        v = (rates[1] * (w**2 / rates[0] + kept)) ** 0.5
    largest = largest_eigenvalue(objective, (w, v), depth, rates, (decay, other))
    # with two layers of an MAE the feature grows alone before latents turn
    alone = name == "mae" and sum(depth) == 2
    turning, _ = turning_of(problem, problem.coefficients, jnp.ones(2))
    if decay == other:
        expected = 0 if alone else largest
        np.testing.assert_allclose(turning[1, 0], expected, rtol=1e-9)
        assert not turning[0, 1] > 0
    else:  # layers move on after a feature is learned: what they come to is not what counts
        assert np.isnan(turning).all()
        numbers = (*depth, rates[1] / rates[0], decay, other)
        gains = ([0.0, w ** depth[0]], [0.0, v ** depth[1]])
        rest = Rest(*map(jnp.asarray, gains), *(jnp.asarray(x, float) for x in numbers))
        turning = objective.turning_at(*problem.coefficients, rest)
        assert alone or abs(turning[1, 0] / largest - 1) < 1e-9
        chosen = SwitchedObjective((js.BarlowTwins(), objective), jnp.asarray(1))
        np.testing.assert_array_equal(chosen.turning_at(*problem.coefficients, rest), turning)


@pytest.mark.parametrize(("depth", "predictor_depth"), [(2, 1), (3, 1), (4, 2)])
def test_latents_turn_faster_towards_a_feature_that_has_begun_to_grow(depth, predictor_depth):
    """r = (W̄ᵀW̄)_ij/(W̄ᵀW̄)_jj where all factors are alike and symmetric, and u_i = 0.3 u_j*."""
    turn = np.array([[1.0, -1e-6], [1e-6, 1.0]])
    u = NOISY[1] ** (1 / predictor_depth) * np.array([0.3, 1.0])
    factors = [turn @ np.diag(u) @ turn.T] * (depth + predictor_depth)
    moves = field(js.JEPA(), depth, factors, CLEAN, CLEAN / NOISY)
    later = [z + 1e-30j * move for z, move in zip(factors, moves, strict=True)][:depth]
    square = np.linalg.multi_dot([*(z.T for z in later), *later[::-1]])
    ratio = square[0, 1] / square[1, 1]
    lam, variance = jnp.asarray(CLEAN), jnp.asarray(CLEAN / NOISY)
    rate = js.JEPA().turning(lam, variance, depth, predictor_depth)
    begun = js.JEPA().turning_from(rate, jnp.full(2, -np.log(0.3)), depth)
    np.testing.assert_allclose(begun[1, 0], ratio.imag / 1e-30 / ratio.real, rtol=6e-3)
    assert rate[1, 0] < 0.95 * begun[1, 0]
    np.testing.assert_allclose(js.JEPA().turning_from(rate, jnp.ones(2), 1), rate, rtol=1e-14)
    chosen = SwitchedObjective((js.MAE(), js.JEPA()), jnp.asarray(1))
    np.testing.assert_array_equal(
        chosen.turning_from(rate, jnp.ones(2), depth),
        js.JEPA().turning_from(rate, jnp.ones(2), depth),
    )


@pytest.mark.release
def test_a_slow_teacher_delays_a_takeover():
    """λ = [1, 2], ρ = [.9, .3], ε = 1e-3: with τ = 30 latents stay until both are learned."""
    found, times = [], np.linspace(0, 1200, 241)
    rounded = js.Given([[[1e-3, 1e-19], [1e-19, 1e-3]]], [[[1e-3, 0.0], [0.0, 1e-3]]])
    for tau in (1.0, 30.0):
        objective = js.JEPA(js.MovingAverage(tau))
        run = js.simulate(posed(objective), times, js.LayerModes())
        judge = js.simulate(posed(objective, start=rounded), times, js.GradientFlow())
        off = abs(judge.critical_times(fraction=0.5) / run.critical_times(fraction=0.5) - 1)
        found.append((trust_of(run).holds, bool(jnp.max(off) < 0.1)))
    assert found == [(False, False), (True, True)]


def trust_of(run: js.Trajectory) -> js.Trust:
    assert run.trust is not None
    return run.trust


def flow_of(start, times, rates=(1.0, 1.0), decay=0.0):
    """(times, L + 1, 2, 2) all factors of a JEPA with M = 1, by scipy."""
    depth = len(start) - 1
    each = np.array([rates[0]] * depth + [rates[1]])[:, None, None]

    def move(t, flat):
        factors = flat.reshape(-1, 2, 2)
        pulls = field(js.JEPA(), depth, list(factors), LAM, LAM / RHO)
        return (each * pulls - decay * factors).ravel()

    flow = scipy.integrate.solve_ivp(
        move, times[[0, -1]], start.ravel(), "DOP853", times, rtol=1e-9, atol=1e-15
    )
    return flow.y.T.reshape(-1, depth + 1, 2, 2)


def first_times(levels, end, delta, depth, scale, *training):
    """When the flow has gains at (2,) levels, from factors ε^{1/L} I of which W_1 is off by δ."""
    start = scale ** (1 / depth) * np.array([np.eye(2)] * (depth + 1))
    start[0] += delta * scale ** (1 / depth) * (1 - np.eye(2))
    times = np.linspace(0, end, 7001)
    factors = flow_of(start, times, *training)
    encoders = functools.reduce(lambda below, layer: layer @ below, factors.swapaxes(0, 1)[:-1])
    passed = np.linalg.norm(encoders, axis=1) >= levels
    return np.where(passed.any(axis=0), times[np.argmax(passed, axis=0)], np.inf)


def test_a_takeover_comes_when_the_matrix_flow_has_it():
    """λ = [1, 2], ρ = [.9, .3], ε = 1e-3, off by 1e-6: feature 0 displaces 1 near t = 588."""
    delta = 1e-6
    first = first_times(RHO / 2, 700, delta, 1, 1e-3)
    problem = posed(start=js.Misaligned(1e-3, delta * 2**0.5))
    found = js.trust(problem, fraction=0.5).displacement
    assert (int(found.cleaner), int(found.noisier)) == (0, 1)
    np.testing.assert_allclose(found.time, first[0], rtol=0.02)
    np.testing.assert_allclose(found.expected, 1005.3, rtol=1e-4)
    with pytest.warns(js.DisplacementWarning, match=r"Feature 0 \(ρ 0.9\) will displace feature 1"):
        theory = js.critical_times(problem, fraction=0.5)
    np.testing.assert_allclose(theory[1], first[1], rtol=1e-3)  # the noisier one comes as predicted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "scale", "decay"), [(1, 0.01, 0.016), (2, 0.01, 1.5e-3), (2, 5e-3, 0.0)]
)
def test_takeovers_with_rates_and_decay_come_when_the_matrix_flow_has_them(depth, scale, decay):
    """λ = [1, 2], ρ = [.9, .3], α_w = 2, α_v = 1/2, off by 1e-3.

    With this decay feature 0 is too small to be learned by itself: it takes the latent of 1.
    """
    delta, end, rates = 1e-3, 700.0, (2.0, 0.5)
    moments, training = js.Moments.from_features(LAM, RHO), js.Training(*rates, decay)
    start = js.Misaligned(scale, delta * 2**0.5)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth), start, training)
    levels, flow = np.asarray(problem.plateaus) / 2, (depth, scale, rates, decay)
    aligned, first = (first_times(levels, end, off, *flow) for off in (0.0, delta))
    assert np.isinf(aligned[0]) == (decay > 0)
    found = trust_in(problem, jnp.asarray(aligned), jnp.asarray(end))
    assert (int(found.displacement.cleaner), int(found.displacement.noisier)) == (0, 1)
    np.testing.assert_allclose(found.displacement.time, first[0], rtol=0.05)
    assert not found.holds
    said = "The reduced theory says later." if decay > 0 else "The reduced theory says 646."
    assert said in str(found)


def test_decay_holds_back_what_a_latent_carries_of_others():
    """What 1 carries of 0 changes by (λ_0/λ_1 − 1)(ln(w/w(0)) + η t) while it is small."""
    scale, decay, rates, time = 1e-4, 1.4e-4, (2.0, 0.5), 4e3
    moments, training = js.Moments.from_features(LAM, RHO), js.Training(*rates, decay)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(scale), training)
    start = scale * np.array([[[0.0, 0.0], [1e-8, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    carried, own = flow_of(start, np.array([0.0, time]), rates, decay)[-1, 0, 1]
    _, rise = turning_of(problem, problem.coefficients, jnp.full(2, time))
    risen = float(rise[1]) - np.log(float(problem.plateaus[1]) / own)
    np.testing.assert_allclose(np.log(carried / own / 1e-8), -0.5 * risen, rtol=0.01)


@pytest.mark.parametrize("depth", [1, 2])
def test_nothing_is_displaced_where_decay_leaves_nothing(depth):
    moments, start = js.Moments.from_features(LAM, RHO), js.Misaligned(0.1, 1e-3)
    parts = moments, js.JEPA(), js.DeepLinear(depth), start
    thresholds = js.Problem(*parts, js.Training(2.0, 0.5, 1e-3)).equilibria.threshold
    for threshold in thresholds:  # feature 1 survives neither decay
        problem = js.Problem(*parts, js.Training(2.0, 0.5, 1.01 * threshold))
        found = trust_in(problem, jnp.asarray([50.0, 10.0]), jnp.asarray(1e6))
        assert found.ratio == np.inf
        assert "No feature displaces another" in str(found)


def test_there_is_no_warning_where_the_theory_holds():
    for problem in (
        posed(depth=3, scale=1e-2, lam=[1.0, 1.0]),  # the cleaner feature is the first
        posed(scale=1e-2),
        posed(js.MAE(), depth=3),
        posed(js.MAE(), scale=1e-8),
        posed(lam=[1.0], rho=[0.5]),
        posed(lam=[1.0, -1.0], rho=[0.5, -0.5]),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            js.critical_times(problem, fraction=0.5)
        assert js.trust(problem, fraction=0.5).holds
    near = js.trust(posed(scale=2.5e-3), fraction=0.5)  # x = 0.98
    assert near.holds
    assert "feature 0 (ρ 0.9) may displace feature 1 (ρ 0.3) at t ≈ 397" in str(near)
    deep = js.trust(posed(js.MAE(), depth=2, scale=1e-7), fraction=0.5)
    assert not deep.holds  # a deep MAE turns too, where the wait is long


def test_nothing_is_warned_of_under_a_transformation():
    def total(scale):
        return jnp.sum(js.critical_times(posed(scale=scale), fraction=0.5))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slope = jax.jit(jax.grad(total))(1e-3)
    np.testing.assert_allclose(slope, -1.5e6, rtol=0.01)  # t* = Σ 1/(λε)


@pytest.mark.parametrize(
    ("start", "ratio"),
    [(js.Misaligned(1e-3, 1.5), 0.0), (js.Misaligned(1e-3, 1e-4), None), (js.Balanced(1e-3), None)],
)
def test_a_larger_misalignment_is_trusted_less(start, ratio):
    found = js.trust(posed(start=start), fraction=0.5).ratio
    assert found == ratio if ratio is not None else 0.5 < found < 0.7


def test_overlapping_patterns_are_trusted_less():
    moments = non_commuting()
    features = moments.features()
    overlaps = features.patterns.T @ features.patterns - np.eye(6)
    np.testing.assert_allclose(features.overlap, np.abs(overlaps).max(), rtol=1e-12)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(1e-3))
    diagonal = js.Moments.from_features(features.lam, features.rho)
    same = js.Problem(diagonal, js.JEPA(), js.DeepLinear(1), js.Balanced(1e-3))
    assert js.trust(problem, fraction=0.5).ratio < js.trust(same, fraction=0.5).ratio


@pytest.mark.slow
def test_a_run_says_how_far_it_can_be_trusted():
    run = js.simulate(posed(), [300.0, 1100.0], js.ClosedForm())
    np.testing.assert_allclose(
        trust_of(run).ratio, js.trust(posed(), fraction=0.5).ratio, rtol=1e-12
    )  # its times are exact: nothing is interpolated on this coarse grid
    assert "will displace feature 1" in str(run)
    short = js.simulate(posed(), [300.0, 600.0], js.ClosedForm())
    assert trust_of(short).holds  # it ends before that
    assert js.simulate(posed(), [1.0, 2.0], js.GradientFlow()).trust is None
    alone = js.simulate(
        posed(start=js.RandomGaussian(1e-3)), [1.0, 2.0], js.LayerModes(), key=jr.key(0)
    )
    assert trust_of(alone).ratio == 0
    assert "not aligned" in str(trust_of(alone))
    decays = dataclasses.replace(posed(), training=js.Training(encoder_decay=1e-3))
    slow = js.simulate(decays, [1.0, 2.0], js.LayerModes())
    assert np.isnan(trust_of(slow).ratio)
    assert "not known" in str(trust_of(slow))


@pytest.mark.slow
def test_a_sweep_says_how_far_it_can_be_trusted():
    moments = js.Moments.from_features(LAM, RHO)
    grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 2], scale=[1e-3])
    found = js.sweep(grid, js.ClosedForm(), critical_fraction=(0.5,))
    for name, objective in (("jepa", js.JEPA()), ("mae", js.MAE())):
        for depth in (1, 2):
            alone = js.trust(posed(objective, depth), fraction=0.5).ratio
            at = found.trust.sel(objective=name, depth=depth).item()
            np.testing.assert_allclose(at, alone, rtol=1e-12)
    assert "In 2 of 4 cases" in found.attrs["remarks"]
    assert "trust" not in js.sweep(grid, js.GradientFlow(), times=[1.0, 2.0])


@pytest.mark.float32
def test_rounding_is_that_of_the_precision():
    problem = posed(scale=1e-4)
    eps = np.finfo(problem.moments.xx.dtype).eps
    found = js.trust(problem, fraction=0.5).displacement
    growth = 0.3 * (1 / 0.9) * (0.9 - 0.3)  # ρ_j σ_i² (ρ_i − ρ_j)
    wait = (np.log(1 / eps) + 0.5 * np.log(0.3 / 1e-4)) / growth
    np.testing.assert_allclose(found.time, 1 / (2 * 1e-4) + np.log(1.0) + wait, rtol=0.01)
