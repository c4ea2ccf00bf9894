"""Batches of matrix flows: ours against peers, the cost of a step, a mixed grid by its parts."""

import time
from unittest import mock

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from benchmarks import peers
from benchmarks.flows import random_flows, tune
from benchmarks.report import NOT_INSTALLED, Row
from jepa_sim.model.dynamics import velocity
from jepa_sim.model.objectives import maps, prediction
from jepa_sim.model.state import Weights

WANTED = 1e-5  # relative error of a gain
SINGLE = [(d, m, limit) for d in (8, 16) for m, limit in ((js.ROCK4(), 1.4), (dfx.Tsit5(), 1.3))]


def rotated(scale):
    """A start. It is one function of the module: another one would be compiled again."""
    return js.Balanced(scale, rotated=True)


def plainly(call):
    """The same call, traced here with `a.T` in place of our copies of transposed matrices."""
    with (
        mock.patch.object(maps, "transposed", jnp.transpose),
        mock.patch.object(prediction, "transposed", jnp.transpose),
    ):
        call()
    return call


def test_matrix_flows(race, record):
    flows = random_flows(64, 16, 0.1, 2)
    ours = peers.ours(flows)
    tolerance, error, work = tune(ours, flows, WANTED)
    runs, errors, notes, missing = {}, {"ours": error}, [f"ours {work['rhs']}"], {}
    for name, prepare in peers.of_matrix_flows().items():
        solve = prepare(flows)
        found = None if solve is None else tune(solve, flows, WANTED)
        if found is None:
            missing[name] = NOT_INSTALLED if solve is None else f"does not reach {WANTED:g}"
            continue
        runs[name] = lambda solve=solve, tolerance=found[0]: solve(tolerance)
        errors[name] = found[1]
        if found[2]["rhs"]:
            notes.append(f"{name} {found[2]['rhs']}")
    seconds = race(lambda: ours(tolerance), runs, rounds=2)
    mine = seconds.pop("ours")
    record(
        Row(
            f"64 matrix flows, d=16, L=2, ε=0.1, gains within {WANTED:g}",
            1e3 * mine,
            "ms",
            {name: 1e3 * s for name, s in seconds.items()} | missing,
            errors,
            ratio=mine / min(seconds.values()),
            note="ratio to the fastest peer; right-hand sides: " + ", ".join(notes),
        )
    )


@pytest.mark.parametrize(("d", "lanes"), [(8, 1024), (16, 512)])
def test_sweep_of_flows(race, record, d, lanes):
    """`js.sweep`, with its critical times and labels, and diffrax vmapped over all lanes."""
    flows = random_flows(lanes, d, 0.1, 2)
    moments = [js.Moments(xx, yx) for xx, yx in zip(flows.xx, flows.yx, strict=True)]
    grid = js.Grid(spectrum=moments, objective=[js.JEPA()], depth=[2], scale=[0.1])
    # a sweep has features in an order of its own: they are matched by their last gains
    ranks = np.argsort(np.argsort(flows.exact[:, -1]))

    def sweep(tolerance):
        method = js.GradientFlow(dfx.Tsit5(), rtol=tolerance)
        saved = {"times": flows.times, "observables": (js.observables.features,)}
        run = js.sweep(grid, method, **saved, progress=False)
        gains = run.features.transpose(..., "spectrum", "time", "feature").values.squeeze()
        order = np.take_along_axis(np.argsort(gains[:, -1]), ranks, axis=1)
        work = {"rhs": 6 * int(run.steps.max())}
        return np.take_along_axis(gains, order[:, None, :], axis=2), work

    plain = peers.plain_diffrax(dfx.Tsit5())(flows)
    tolerance, error, work = tune(sweep, flows, WANTED)
    of_plain, its_error, _ = tune(plain, flows, WANTED)
    seconds = race(lambda: sweep(tolerance), {"plain": lambda: plain(of_plain)}, rounds=3)
    record(
        Row(
            f"a sweep of {lanes} matrix flows, d={d}, L=2, ε=0.1, gains within {WANTED:g}",
            1e3 * seconds["ours"],
            "ms",
            {"plain diffrax Tsit5, vmapped": 1e3 * seconds["plain"]},
            {"ours": error, "plain diffrax Tsit5, vmapped": its_error},
            ratio=seconds["ours"] / seconds["plain"],
            limit=0.6,
            goal=f"time of a sweep of matrix flows over that of plain vmapped diffrax, d={d}",
            note=f"right-hand sides of the slowest lane: {work['rhs']}",
        )
    )


@pytest.mark.parametrize(("d", "lanes"), [(4, 2048), (16, 128), (64, 8), (128, 2)])
def test_step(race, record, d, lanes):
    """As many lanes as a sweep on a CPU takes at once."""
    flows = random_flows(lanes, d, 0.1, 2)
    steps, rtol = 20, 1e-6

    def problem_of(xx, yx):
        return js.Problem(js.Moments(xx, yx), js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))

    # features are computed before: the time of a step must not contain an eigenproblem
    moments = jax.vmap(lambda xx, yx: problem_of(xx, yx).moments)(flows.xx, flows.yx)
    moments = jax.vmap(lambda m: m.with_features(m.features()))(moments)

    def nothing(t, state, problem):
        return t

    @jax.jit
    def solve(moments):
        def one(moments):
            problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))
            method = js.GradientFlow(rtol=rtol, max_steps=100_000)
            run = js.simulate(problem, flows.times[-1:] * 0.5, method, observables=(nothing,))
            return run["nothing"], run.stats["steps"]

        return jax.vmap(one)(moments)

    @jax.jit
    def sides(moments):
        def one(moments):
            problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))

            def six(_, weights):
                for _ in range(6):
                    speed = velocity(problem, weights)
                    weights = jax.tree.map(lambda w, s: w + 1e-3 * s, weights, speed)
                return weights

            return jax.lax.fori_loop(0, steps, six, problem.weights())

        return jax.vmap(one)(moments)

    taken = int(solve(moments)[1].max())
    seconds = race(lambda: solve(moments), {"six": lambda: sides(moments)}, rounds=5)
    step, six = seconds["ours"] / taken, seconds["six"] / steps
    record(
        Row(
            f"a Tsit5 step, {lanes} matrix flows, d={d}, L=2 ({taken} steps)",
            1e6 * step,
            "µs",
            {"six right-hand sides": 1e6 * six},
            ratio=step / six,
            limit=1.5,
            goal=f"time of a step of the matrix flow over its right-hand sides, d={d}",
        )
    )


@pytest.mark.parametrize(("d", "method", "limit"), SINGLE)
def test_single_step(race, record, d, method, limit):
    """One run, in a program of its own. `taskset -c 0` before the command gives it one core."""
    draw = np.random.default_rng(0)
    moments = js.Moments.from_features(draw.uniform(0.3, 1, d), draw.uniform(0.2, 0.95, d))
    moments = moments.with_features(moments.features())
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(3), rotated(1e-2))
    key, count = jax.random.key(1), 10_000

    def nothing(t, state, problem):
        return t

    @jax.jit
    def solve():
        solver = js.GradientFlow(method, rtol=1e-6)
        run = js.simulate(problem, [1500.0, 3000.0], solver, observables=(nothing,), key=key)
        return run["nothing"], run.stats

    def right_hand_sides():
        @jax.jit
        def run(weights):
            def one(_, weights):
                speed = velocity(problem, weights)
                return jax.tree.map(lambda w, s: w + 1e-3 * s, weights, speed)

            return jax.lax.fori_loop(0, count, one, weights)

        return lambda: run(weights)

    weights = problem.weights(key)
    ways = {"plain": plainly(right_hand_sides()), "own": right_hand_sides()}
    seconds = race(solve, ways, rounds=5)
    stats, name = solve()[1], type(method).__name__
    steps, rhs = int(stats["steps"]), int(stats["rhs"])
    step = seconds["ours"] / steps
    plain, own = (seconds[way] / count * rhs / steps for way in ways)
    record(
        Row(
            f"a {name} step in a single run, d={d}, L=3",
            1e6 * step,
            "µs",
            {"its right-hand sides": 1e6 * own, "with plain transposes": 1e6 * plain},
            ratio=step / own,
            limit=limit,
            goal=f"time of a {name} step of a single run over its right-hand sides, d={d}",
        )
    )


@pytest.mark.parametrize("d", [8, 16])
def test_right_hand_side(race, record, d):
    """With copies of transposed matrices, and without."""
    lanes, count = 64, 300 // d
    flows = random_flows(lanes, d, 0.1, 3)
    start = js.Balanced(0.1)

    def right_hand_sides():
        @jax.jit
        def run(factors):
            def one(xx, yx, factors):
                problem = js.Problem(js.Moments(xx, yx), js.JEPA(), js.DeepLinear(3), start)

                def move(_, weights):
                    speed = velocity(problem, weights)
                    return jax.tree.map(lambda w, s: w + 1e-3 * s, weights, speed)

                weights = Weights(factors[:-1], factors[-1:])
                return jax.lax.fori_loop(0, count, move, weights)

            return jax.vmap(one)(flows.xx, flows.yx, factors)

        return lambda: run(tuple(flows.factors))

    ways = {"plain": plainly(right_hand_sides())}
    seconds = race(right_hand_sides(), ways, rounds=5)
    each = {name: 1e6 * s / count for name, s in seconds.items()}
    record(
        Row(
            f"a right-hand side, {lanes} matrix flows, d={d}, L=3",
            each["ours"],
            "µs",
            {"with plain transposes": each["plain"]},
            ratio=each["ours"] / each["plain"],
            limit=0.85,
            goal=f"time of a right-hand side over that with plain transposes, {lanes} flows, d={d}",
        )
    )


def test_mixed_grid(benchmark, record):
    lam, rho = np.array([1.0, 0.8, 0.6, 0.5]), np.array([0.9, 0.7, 0.5, 0.3])
    depths, scales, seeds = (1, 2, 3, 4, 5), (1e-1, 1e-2, 1e-3, 1e-4), range(4)
    solver = js.GradientFlow(rtol=1e-6)

    def sweep(depths, scales):
        grid = js.Grid(
            spectrum=js.Moments.from_features(lam, rho),
            objective=[js.JEPA(), js.MAE()],
            depth=depths,
            scale=scales,
            seed=seeds,
            start=rotated,
        )
        times, observables = js.CriticalGrid(50), (js.observables.features,)
        return js.sweep(grid, solver, times=times, observables=observables, progress=False)

    def timed(depths, scales):
        sweep(depths, scales)  # compiles
        begin = time.perf_counter()
        sweep(depths, scales)
        return time.perf_counter() - begin

    parts = sum(timed((depth,), (scale,)) for depth in depths for scale in scales)
    found = sweep(depths, scales)
    benchmark.pedantic(lambda: sweep(depths, scales), rounds=1)
    whole = benchmark.stats.stats.min
    assert (found.result == 0).all()
    occupancy = found.get("occupancy", found.attrs.get("occupancy"))
    shown = "not published" if occupancy is None else f"{float(np.mean(occupancy)):.3g}"
    record(
        Row(
            f"mixed grid, L = 1 … 5, ε = 1e-1 … 1e-4, {len(seeds)} seeds, both objectives, d=4",
            1e3 * whole,
            "ms",
            {"sum of its 20 parts": 1e3 * parts},
            ratio=whole / parts,
            limit=1.5,
            goal="a mixed grid in the sum of its parts",
            note=f"occupancy {shown}",
        )
    )
