"""The package against flows from the losses alone, by numpy and scipy (`problems/oracle.py`)."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import diffrax as dfx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.model.dynamics import settle, velocity
from tests.problems import oracle

TIMES = np.array([0.0, 0.5, 1.5, 5.0, 15.0])
OBSERVED = (js.observables.features, js.observables.loss, js.observables.weights)
# Its program compiles in half of the time of the default method's
DOPRI8 = js.GradientFlow(dfx.Dopri8())


# Laws of (x, y): Σxx, Σyx and Σyy, which is left out where y is a function of x


LAM, RHO = np.array([1.2, 0.8, 0.5]), np.array([0.9, 0.6, 0.3])  # of the moments that commute


def _laws() -> dict[str, tuple]:
    rng = np.random.default_rng(4)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    a, b, noise = rng.normal(size=(3, 3, 3))
    xx, yx = a @ a.T / 3 + np.eye(3), b @ b.T / 6 + 0.3 * np.eye(3)
    noisy = yx @ np.linalg.inv(xx) @ yx.T + noise @ noise.T / 6
    return {
        "commuting": ((q * (LAM / RHO)) @ q.T, (q * LAM) @ q.T, None),
        "not commuting": (xx, yx, None),
        "not symmetric": (xx, yx + (noise - noise.T) / 3, None),
        "noisy target": (xx, yx, noisy),
        "smaller target": (xx, b[:2] / 2, None),
        "one feature": (np.array([[1.25]]), np.array([[1.0]]), None),  # λ = 1, ρ = .8
        "two features": (np.diag([1 / 0.9, 1 / 0.3]), np.eye(2), None),  # λ = 1, ρ = .9, .3
    }


LAWS = _laws()


# Every system twice: for the package and for the oracle

JEPA = js.JEPA(), {"loss": oracle.jepa}
FREE = js.JEPA(js.NoStopGradient()), {"loss": oracle.jepa, "moves_target": True}
MAE = js.MAE(), {"loss": oracle.mae}
BARLOW = js.BarlowTwins(), {"loss": oracle.barlow_twins}
LEARNED = js.Learned(), None
DIRECT, BOOSTED = ((js.DirectPred(boost), oracle.direct_pred(boost)) for boost in (0.0, 0.3))
FAST = js.FastPredictor(), oracle.best_predictor
MATRIX = np.array([[0.5, 0.2, 0.0], [-0.1, -0.3, 0.1], [0.0, 0.3, 0.8]])
GIVEN = js.GivenPredictor(MATRIX), oracle.given(MATRIX)
HALF = js.GivenPredictor(0.5), oracle.given(np.eye(2) / 2)


def averaged(tau: float) -> tuple:
    teacher = js.MovingAverage(tau)
    return js.JEPA(teacher), {"loss": oracle.jepa, "time_constant": tau}


def whitened(penalty: float) -> tuple:
    return js.WhitenedJoint(penalty), {"loss": oracle.whitened_joint(penalty)}


BALANCED, ROTATED = js.Balanced(0.4), js.Balanced(0.4, rotated=True)
UNBALANCED, LAZY = js.Unbalanced(0.4, 0.3), js.Unbalanced(0.3, -0.2, rotated=True)
MISALIGNED, ORTHOGONAL = js.Misaligned(0.4, 0.8), js.Orthogonal(0.4)
GAUSSIAN = js.RandomGaussian(0.5)
LAYER = np.array([[0.6, 0.1, 0.0], [-0.1, 0.5, 0.2], [0.0, 0.1, 0.7]])
WRONG_SIGN = js.Given([LAYER, LAYER.T], [-0.2 * np.eye(3)])


@dataclass(frozen=True)
class Case:
    objective: tuple[js.AbstractObjective, dict[str, Any]]
    law: str
    start: js.AbstractStart = BALANCED
    depth: int = 2
    predictor_depth: int = 1
    rates: tuple[float, float] = (1.0, 1.0)
    decays: tuple[float, float] = (0.0, 0.0)
    rule: tuple = LEARNED
    width: int | None = None

    def __str__(self) -> str:
        names = self.objective[0].name, self.law, type(self.start).__name__
        numbers = self.depth, self.predictor_depth, *self.rates, *self.decays
        return ", ".join([*names, type(self.rule[0]).__name__, *(f"{x:g}" for x in numbers)])

    @property
    def problem(self) -> js.Problem:
        network = js.DeepLinear(self.depth, self.predictor_depth, self.width)
        (encoder_rate, predictor_rate), (encoder_decay, predictor_decay) = self.rates, self.decays
        training = js.Training(
            encoder_rate,
            predictor_rate,
            encoder_decay=encoder_decay,
            predictor_decay=predictor_decay,
            predictor=self.rule[0],
        )
        moments = js.Moments(*LAWS[self.law])
        return js.Problem(moments, self.objective[0], network, self.start, training)

    @property
    def system(self) -> oracle.System:
        return oracle.System(
            oracle.data(*LAWS[self.law]),
            **self.objective[1],
            rates=self.rates,
            decays=self.decays,
            rule=self.rule[1],
        )

    def gains(self, network: oracle.Network) -> np.ndarray:
        xx, yx, _ = LAWS[self.law]
        return oracle.gains(network, xx, yx)

    def solve(
        self, weights: js.Weights, times: np.ndarray, method: str = "DOP853"
    ) -> oracle.Network:
        start = oracle.begin(self.system, *factors_of(weights))
        return oracle.solve(self.system, start, times, method)


def factors_of(weights: js.Weights) -> tuple[oracle.Factors, oracle.Factors]:
    """Encoder and predictor in numpy."""
    return [np.asarray(z) for z in weights.encoder], [np.asarray(z) for z in weights.predictor]


def from_these(problem: js.Problem, weights: js.Weights) -> js.Problem:
    """The same problem from given matrices: one compiled program for all starts."""
    return dataclasses.replace(problem, start=js.Given(weights.encoder, weights.predictor))


def assert_same_factors(found: js.Weights, expected: oracle.Network, **tolerance: float) -> None:
    groups = found.encoder, found.predictor, found.teacher or ()
    for ours, theirs in zip(groups, expected, strict=True):
        for z, reference in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(z, reference, **tolerance)


# The field at random points: every objective with every law


DEPTHS = ((1, 1), (2, 1), (1, 2), (2, 2))
NUMBERS = (
    ((1.0, 1.0), (0.0, 0.0)),
    ((1.0, 0.4), (0.03, 0.07)),
    ((0.7, 1.0), (0.05, 0.0)),
    ((0.5, 2.0), (0.0, 0.05)),
)


def random_network(case: Case, seed: int) -> oracle.Network:
    """Factors drawn one by one, and a copy of the encoder that is no copy yet."""
    rng = np.random.default_rng(seed)
    weights = case.problem.weights(jr.key(0))
    groups = weights.encoder, weights.predictor
    drawn = [[rng.normal(size=z.shape) for z in group] for group in groups]
    network = oracle.begin(case.system, *drawn)
    return network._replace(copy=[z + rng.normal(size=z.shape) / 3 for z in network.copy])


def assert_same_field(case: Case, seed: int) -> None:
    network = random_network(case, seed)
    problem, system = case.problem, case.system
    weights = js.Weights(*(tuple(map(jnp.asarray, group)) or None for group in network))
    tolerance = {"rtol": 1e-9, "atol": 1e-10}
    assert_same_factors(velocity(problem, weights), oracle.velocity(system, network), **tolerance)
    weights, network = settle(problem, weights), oracle.settle(system, network)
    np.testing.assert_allclose(weights.gains(problem.features), case.gains(network), **tolerance)
    loss = weights.loss(problem.objective, problem.moments, problem.network.frames)
    np.testing.assert_allclose(loss, oracle.losses(system, network), **tolerance)


SAME_SIZE = ("commuting", "not commuting", "not symmetric", "noisy target")
OBJECTIVES = (JEPA, averaged(2.0), FREE, MAE, BARLOW, whitened(5.0))


@pytest.mark.parametrize(
    ("objective", "law"),
    [*itertools.product(OBJECTIVES, SAME_SIZE), (MAE, "smaller target")],
    ids=lambda value: value if isinstance(value, str) else value[0].name,
)
def test_field_loss_and_gains(objective, law):
    for seed, (depths, numbers) in enumerate(itertools.product(DEPTHS, NUMBERS)):
        assert_same_field(Case(objective, law, ROTATED, *depths, *numbers), seed)


@pytest.mark.parametrize(
    ("rule", "width"),
    [*itertools.product((DIRECT, BOOSTED, FAST), (None, 2)), (GIVEN, None), (HALF, 2)],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else str(value),
)
@pytest.mark.parametrize("objective", OBJECTIVES[:3], ids=lambda pair: pair[0].name)
def test_field_under_a_predictor_that_is_not_learned(objective, rule, width):
    for seed, (law, numbers) in enumerate(zip(SAME_SIZE, NUMBERS, strict=True)):
        depth = 1 + seed % 2
        assert_same_field(Case(objective, law, ROTATED, depth, 1, *numbers, rule, width), seed)


# Whole flows


def thinned(cases: list[Case]) -> list:
    """Every third case; the others are slow tests."""
    slow = [pytest.param(case, marks=pytest.mark.slow) for case in cases]
    return [case if i % 3 == 0 else slow[i] for i, case in enumerate(cases)]


def _flows() -> list[Case]:
    both, encoder, predictor = (0.03, 0.05), (0.04, 0.0), (0.0, 0.04)
    slow, fast = (1.0, 0.5), (1.0, 3.0)
    shallow = {"depth": 1}
    small = {"depth": 2, "predictor_depth": 2}
    direct, narrow = {"rule": BOOSTED}, {"depth": 1, "rule": FAST, "width": 2}
    return [
        Case(JEPA, "commuting", ROTATED),
        Case(JEPA, "not commuting", MISALIGNED),
        Case(JEPA, "not symmetric", GAUSSIAN),
        Case(JEPA, "not commuting", BALANCED, rates=slow),
        Case(JEPA, "commuting", ROTATED, decays=both),
        Case(JEPA, "not commuting", LAZY, rates=fast, decays=encoder),
        Case(JEPA, "not symmetric", MISALIGNED, decays=predictor),
        Case(JEPA, "noisy target", ORTHOGONAL, rates=slow, decays=both),
        Case(JEPA, "not commuting", GAUSSIAN, rates=fast),
        Case(JEPA, "commuting", WRONG_SIGN, rates=fast, decays=both),
        Case(JEPA, "not symmetric", WRONG_SIGN, rates=slow),
        Case(averaged(0.3), "not commuting", ROTATED, rates=slow),
        Case(averaged(2.0), "not symmetric", GAUSSIAN, rates=slow, decays=both),
        Case(averaged(2.0), "noisy target", MISALIGNED, decays=encoder),
        Case(averaged(50.0), "commuting", ORTHOGONAL, rates=fast, decays=predictor),
        Case(averaged(2.0), "not commuting", WRONG_SIGN, rates=fast),
        Case(FREE, "not commuting", ROTATED, rates=slow),
        Case(FREE, "noisy target", GAUSSIAN, decays=both),
        Case(FREE, "not symmetric", MISALIGNED, rates=fast, decays=encoder),
        Case(FREE, "noisy target", LAZY, decays=predictor),
        Case(MAE, "smaller target", ROTATED, **small, rates=slow),
        Case(MAE, "smaller target", GAUSSIAN, **small, decays=both),
        Case(MAE, "smaller target", MISALIGNED, **small, rates=fast, decays=encoder),
        Case(MAE, "smaller target", ORTHOGONAL, **small, decays=predictor),
        Case(BARLOW, "commuting", BALANCED, rates=slow),
        Case(BARLOW, "not commuting", ROTATED, decays=both),
        Case(BARLOW, "not symmetric", GAUSSIAN, decays=encoder),
        Case(BARLOW, "not commuting", ORTHOGONAL, rates=fast, decays=predictor),
        Case(whitened(2.0), "commuting", BALANCED, **shallow, rates=slow),
        Case(whitened(5.0), "noisy target", GAUSSIAN, **shallow, decays=both),
        Case(whitened(5.0), "not symmetric", ROTATED, **shallow, rates=fast, decays=encoder),
        Case(JEPA, "not commuting", ROTATED, **direct),
        Case(JEPA, "not symmetric", GAUSSIAN, **direct, rates=slow, decays=both),
        Case(JEPA, "noisy target", ORTHOGONAL, **direct, decays=encoder),
        Case(averaged(2.0), "not commuting", ROTATED, **narrow),
        Case(averaged(5.0), "noisy target", GAUSSIAN, **narrow, decays=encoder),
        Case(averaged(5.0), "not symmetric", ORTHOGONAL, **narrow, rates=slow, decays=both),
    ]


@pytest.mark.parametrize("case", thinned(_flows()), ids=str)
def test_matrix_flow(case):
    problem, system = case.problem, case.system
    weights = problem.weights(jr.key(1))
    solver = js.GradientFlow() if (case.objective, case.rule) == (JEPA, LEARNED) else DOPRI8
    run = js.simulate(from_these(problem, weights), TIMES, solver, observables=OBSERVED)
    expected = case.solve(weights, TIMES)
    assert run.result == js.ResultCode.success
    assert_same_factors(run["weights"], expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(run.features, case.gains(expected), rtol=1e-6)
    np.testing.assert_allclose(run.loss, oracle.losses(system, expected), rtol=1e-6, atol=1e-9)


def _aligned() -> list[Case]:
    even = js.Unbalanced(0.4, 0.0)
    deep = {"depth": 1, "predictor_depth": 2}
    numbers = {"rates": (1.0, 0.5), "decays": (0.03, 0.05)}
    return [
        Case(averaged(2.0), "commuting", UNBALANCED, **numbers),
        Case(averaged(50.0), "commuting", even, decays=(0.04, 0.0)),
        Case(averaged(0.3), "commuting", even, rates=(1.0, 3.0), decays=(0.0, 0.04)),
        Case(JEPA, "commuting", even, rule=DIRECT, decays=(0.03, 0.0)),
        Case(JEPA, "commuting", even, rule=DIRECT, rates=(0.5, 1.0)),
        Case(MAE, "commuting", UNBALANCED, **deep, **numbers),
        Case(MAE, "commuting", even, **deep, rates=(1.0, 3.0)),
    ]


@pytest.mark.parametrize("case", thinned(_aligned()), ids=str)
def test_layer_modes(case):
    """From an aligned start, where moments commute, they are the matrix flow."""
    run = js.simulate(case.problem, TIMES, js.LayerModes(dfx.Dopri8()))
    expected = case.solve(case.problem.weights(), TIMES)
    assert run.result == js.ResultCode.success
    np.testing.assert_allclose(run.features, case.gains(expected), rtol=1e-6)
    loss = oracle.losses(case.system, expected)
    np.testing.assert_allclose(run.loss, loss, rtol=1e-6, atol=1e-9)


# Closed forms, of diagonal moments


def balanced(objective: tuple, lam: list, rho: list, depths: tuple, scale: float) -> tuple:
    """The problem, and the oracle's gains at given times."""
    moments = js.Moments.from_features(lam, rho)
    problem = js.Problem(moments, objective[0], js.DeepLinear(*depths), js.Balanced(scale))
    xx, yx = np.asarray(moments.xx), np.asarray(moments.yx)

    def gains(times: np.ndarray) -> np.ndarray:
        system = oracle.System(oracle.data(xx, yx), **objective[1])
        start = oracle.begin(system, *factors_of(problem.weights()))
        return oracle.gains(oracle.solve(system, start, times), xx, yx)

    return problem, gains


@pytest.mark.parametrize("depths", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize(
    ("objective", "power"),
    [
        (JEPA, lambda depth, above: depth / above),
        pytest.param(MAE, lambda depth, above: depth / (depth + above), marks=pytest.mark.slow),
    ],
    ids=["jepa", "mae"],
)
def test_critical_times(objective, power, depths):
    lam, rho = np.array([1.0, 0.8]), np.array([0.9, 0.5])
    problem, gains = balanced(objective, lam, rho, depths, 0.03)
    times = np.asarray(js.critical_times(problem, fraction=0.5))
    order = np.argsort(times)
    found = np.diagonal(gains(times[order])[:, order])
    np.testing.assert_allclose(found, (rho ** power(*depths) / 2)[order], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [BARLOW, whitened(5.0)], ids=["barlow", "whitened"])
def test_critical_times_without_a_predictor(objective):
    problem, gains = balanced(objective, [1.0, 0.8], [0.9, 0.5], (2, 1), 0.03)
    times = np.asarray(js.critical_times(problem, level=0.3))
    order = np.argsort(times)
    np.testing.assert_allclose(np.diagonal(gains(times[order])[:, order]), 0.3, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("depths", [(1, 1), (2, 1), (1, 2)])
def test_closed_form(depths):
    lam, rho = [1.0, 0.8, 0.3, -0.1], [0.9, 0.5, 0.1, -0.2]
    problem, gains = balanced(JEPA, lam, rho, depths, 0.05)
    times = np.array([0.0, 10.0, 40.0])
    found = js.simulate(problem, times, js.ClosedForm()).features
    np.testing.assert_allclose(found, gains(times), rtol=1e-6)


# Where features end


def end(case: Case, time: float) -> np.ndarray:
    """Gains at the given time, by the oracle."""
    return case.gains(case.solve(case.problem.weights(), np.array([time]), "LSODA"))[-1]


@pytest.mark.parametrize(
    "case",
    [
        Case(JEPA, "two features", js.Balanced(0.5), 1, decays=(0.1, 0.1)),
        Case(JEPA, "two features", js.Balanced(0.5), 2, decays=(0.02, 0.02)),
        Case(JEPA, "two features", js.Balanced(0.5), 1, 2, (1.0, 0.5), (0.05, 0.02)),
        Case(averaged(2.0), "two features", js.Balanced(0.5), 1, 1, (1.0, 2.0), (0.1, 0.1)),
        Case(MAE, "two features", js.Balanced(0.5), 2, decays=(0.2, 0.3)),
        Case(BARLOW, "two features", js.Balanced(0.5), 2, decays=(0.1, 0.1)),
        Case(whitened(2.0), "two features", js.Balanced(0.5), 2, decays=(0.1, 0.0)),
    ],
    ids=str,
)
def test_rest_under_weight_decay(case):
    np.testing.assert_allclose(case.problem.plateaus, end(case, 800.0), rtol=1e-6, atol=1e-6)


def test_one_feature_survives_weight_decay_and_one_collapses():
    case = Case(JEPA, "two features", js.Balanced(0.5), 1, decays=(0.1, 0.1))
    # λ − σ² w = η/w, of the feature with ρ = .9
    survives = (1 + (1 - 0.4 / 0.9) ** 0.5) / 2 * 0.9
    np.testing.assert_allclose(end(case, 800.0), [survives, 0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("objective", [JEPA, averaged(2.0)], ids=["jepa", "moving average"])
def test_edge_of_collapse(objective, depth):
    case = Case(objective, "one feature", js.Balanced(0.5), depth, decays=(0.03, 0.03))
    rest = case.problem.equilibria
    for factor, expected in ((0.99, 0.0), (1.01, float(rest.stable[0]))):
        near = dataclasses.replace(case, start=js.Balanced(factor * rest.edge[0]))
        np.testing.assert_allclose(end(near, 1500.0), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "case",
    [
        Case(JEPA, "two features", js.Balanced(0.3), 2, rates=(1.0, 3.0)),
        Case(JEPA, "two features", js.Unbalanced(0.3, 0.05), 1),
        Case(JEPA, "two features", js.Unbalanced(0.3, 0.2), 1),
        Case(JEPA, "two features", js.Unbalanced(0.5, -0.2), 2, 2, (0.5, 1.0)),
        Case(averaged(2.0), "two features", js.Balanced(0.3), 1, rates=(2.0, 1.0)),
        Case(MAE, "two features", js.Unbalanced(0.3, 0.5), 2, rates=(1.0, 0.5)),
        Case(JEPA, "two features", js.Balanced(0.3), 1, rule=DIRECT),
    ],
    ids=str,
)
def test_plateaus_without_decay(case):
    np.testing.assert_allclose(case.problem.plateaus, end(case, 800.0), rtol=1e-6, atol=1e-6)


def test_a_given_start_keeps_its_imbalance():
    """w² − v² stays as it is: while v rises from −.2 to ρ, w ends at √(ρ² + w² − v²)."""
    assert end(TURNING, 200.0) == pytest.approx((0.8**2 + 0.5**2 - 0.2**2) ** 0.5, rel=1e-6)


TURNING = Case(JEPA, "one feature", js.Given([[[0.5]]], [[[-0.2]]]), 1)


def test_plateau_of_a_given_start():
    np.testing.assert_allclose(TURNING.problem.plateaus, end(TURNING, 200.0), rtol=1e-6)


PREDICTOR_DECAYS = [
    # w² grows at the rate 2ηρ², w⁴ at the rate 4ηρ²
    (JEPA, 0.8 * (2 * 0.02 * 4000) ** 0.5),
    (MAE, (4 * 0.02 * 0.8**2 * 4000) ** 0.25),
]


@pytest.mark.parametrize(("objective", "expected"), PREDICTOR_DECAYS, ids=["jepa", "mae"])
def test_gains_grow_where_the_predictor_alone_decays(objective, expected):
    case = Case(objective, "one feature", js.Balanced(0.5), 1, decays=(0.0, 0.02))
    assert end(case, 4000.0) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("objective", [JEPA, MAE], ids=["jepa", "mae"])
def test_no_plateau_where_the_predictor_alone_decays(objective):
    case = Case(objective, "one feature", js.Balanced(0.5), 1, decays=(0.0, 0.02))
    assert not np.isfinite(case.problem.plateaus).any()


def test_gains_collapse_where_the_encoder_alone_decays():
    case = Case(JEPA, "one feature", js.Balanced(0.5), 1, decays=(0.02, 0.0))
    np.testing.assert_allclose([case.problem.plateaus, end(case, 2000.0)], 0, atol=1e-6)


def test_an_mae_hands_its_gain_to_the_predictor_where_the_encoder_alone_decays():
    """v w = ρ holds, and v⁴ grows at the rate 4ηρ²: w falls as a power of time."""
    case = Case(MAE, "one feature", js.Balanced(0.5), 1, decays=(0.02, 0.0))
    expected = 0.8 / (4 * 0.02 * 0.8**2 * 4000) ** 0.25
    np.testing.assert_allclose(end(case, 4000.0), expected, rtol=0.01)
    np.testing.assert_array_equal(case.problem.plateaus, 0)
