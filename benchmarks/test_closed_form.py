"""The cost of the closed form, in passes of `jnp.exp` over an array of the same size.

A pass is jitted `jnp.exp` over the array of gains: the least cost of any formula with one
exponential for each output. Only the gains are computed, no loss.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import jepa_sim as js
from benchmarks.report import Row
from jepa_sim.sweeps.lanes import lanes_at
from jepa_sim.sweeps.sweep import _with_curves, plan

FEATURES, TIMES, TRAJECTORIES = 16, 200, 2048


def spectra(count):
    lam_key, rho_key = jr.split(jr.key(0))
    lam = jr.uniform(lam_key, (count, FEATURES), minval=0.1, maxval=1.0)
    return lam, jr.uniform(rho_key, (count, FEATURES), minval=0.2, maxval=0.95)


def problem_of(lam, rho, scale, depth):
    moments = js.Moments.from_features(lam, rho)
    return js.Problem(moments, js.JEPA(), js.DeepLinear(depth), js.Balanced(scale))


@jax.jit
def times_of(lam, rho, scale, depth):
    def one(lam, rho):
        return js.CriticalGrid(TIMES).times(problem_of(lam, rho, scale, depth))

    return jax.vmap(one)(lam, rho)


def gains(lam, rho, scale, depth, times):
    def one(lam, rho, times):
        problem = problem_of(lam, rho, scale, depth)
        run = js.simulate(problem, times, js.ClosedForm(), observables=(js.observables.features,))
        return run.features

    return jax.vmap(one)(lam, rho, times)


fast_gains, exp = jax.jit(gains), jax.jit(jnp.exp)


def setting(count, scale, depth):
    """Arguments of `gains`: scale and depth are traced, so that one program serves all."""
    scale, depth = jnp.asarray(scale), jnp.asarray(depth, float)
    lam, rho = spectra(count)
    return lam, rho, scale, depth, times_of(lam, rho, scale, depth)


def test_passes_of_exp(race, record):
    arguments = setting(TRAJECTORIES, 1e-2, 3.0)
    array = -fast_gains(*arguments)
    seconds = race(lambda: fast_gains(*arguments), {"one pass of exp": lambda: exp(array)})
    per_output = {name: 1e9 * s / array.size for name, s in seconds.items()}
    record(
        Row(
            f"closed form, {TRAJECTORIES} × {FEATURES} features × {TIMES} times, L=3, ε=1e-2",
            per_output.pop("ours"),
            "ns per output",
            per_output,
            ratio=seconds["ours"] / seconds["one pass of exp"],
            limit=8,
            goal="one output of the closed form in passes of exp",
        )
    )


def test_same_cost_everywhere(race, record):
    scales, depths = (1e-1, 1e-4, 1e-8, 1e-12), (1, 2, 3, 5, 8)

    def at(scale, depth):
        arguments = setting(TRAJECTORIES // 8, scale, depth)
        return lambda: fast_gains(*arguments)

    runs = {f"ε={s:g}, L={d}": at(s, d) for s in scales for d in depths}
    first = next(iter(runs))
    seconds = race(runs.pop(first), runs, rounds=5)
    seconds = {first: seconds.pop("ours"), **seconds}
    outputs = TRAJECTORIES // 8 * FEATURES * TIMES
    per_output = {name: 1e9 * s / outputs for name, s in seconds.items()}
    dearest, cheapest = (f(per_output, key=per_output.get) for f in (max, min))
    record(
        Row(
            f"closed form, dearest of {len(seconds)} settings: {dearest}",
            per_output[dearest],
            "ns per output",
            {f"cheapest: {cheapest}": per_output[cheapest]},
            ratio=max(seconds.values()) / min(seconds.values()),
            limit=1.3,
            goal="closed form, dearest to cheapest of ε = 1e-1 … 1e-12, L = 1 … 8",
        )
    )


def test_gradient(race, record):
    lam, rho, scale, depth, times = setting(TRAJECTORIES // 8, 1e-2, 3.0)

    @jax.jit
    def value(lam, rho, scale):
        return jnp.sum(gains(lam, rho, scale, depth, times))

    slope = jax.jit(jax.grad(value, argnums=(0, 1, 2)))
    assert all(np.isfinite(g).all() for g in slope(lam, rho, scale))
    seconds = race(lambda: slope(lam, rho, scale), {"value": lambda: value(lam, rho, scale)})
    record(
        Row(
            f"gradient of a sum of gains in λ, ρ, ε, {TRAJECTORIES // 8} trajectories",
            1e3 * seconds["ours"],
            "ms",
            {"value": 1e3 * seconds["value"]},
            ratio=seconds["ours"] / seconds["value"],
            limit=2.5,
            goal="gradient of the closed form, in values",
        )
    )


PASSES, CACHED = 100, 8192


@jax.jit
def passes(array):
    """Many passes of `exp` over an array that stays in the cache: about 1 ns each."""
    return jax.lax.fori_loop(0, PASSES, lambda _, x: jnp.exp(-x), array)


def mixed_grid(count):
    lam_key, rho_key = jr.split(jr.key(0))
    lam = jr.uniform(lam_key, (count, 8), minval=0.1, maxval=1.0)
    rho = jr.uniform(rho_key, (count, 8), minval=0.2, maxval=0.95)
    return js.Grid(
        spectrum=jax.vmap(js.Moments.from_features)(lam, rho),
        objective=[js.JEPA(), js.MAE()],
        depth=[1, 2, 3, 5],
        predictor_depth=[1, 2],
        scale=[1e-2, 1e-3],
    )


def test_a_lane_of_a_sweep(race, record):
    """8 features, 32 times, two critical fractions and their orders, all (L, M) mixed."""
    grid, array = mixed_grid(2048), jnp.linspace(0.0, 3.0, CACHED)

    def sweep():
        gains = (js.observables.features,)
        times = js.CriticalGrid(32)
        return js.sweep(grid, js.ClosedForm(), times=times, observables=gains, progress=False)

    seconds = race(lambda: sweep().features.values, {"exp": lambda: passes(array)})
    per_value, per_pass = seconds["ours"] / grid.size / 256, seconds["exp"] / PASSES / CACHED
    record(
        Row(
            f"sweep of {grid.size} lanes in closed form, 16 (objective, L, M) mixed",
            1e6 * seconds["ours"] / grid.size,
            "µs a lane",
            {"256 passes of exp": 1e6 * 256 * per_pass},
            ratio=per_value / per_pass,
            limit=35,
            goal="a value of a lane, through `sweep`, in cached passes of exp",
        )
    )


def test_a_critical_time(race, record):
    grid, array = mixed_grid(64), jnp.linspace(0.0, 3.0, CACHED)
    lanes, program = lanes_of(grid)
    which = jnp.arange(grid.size)

    @jax.jit
    def times(which, lanes):
        def one(i):
            problem, _ = program._begin(lanes[i])
            return js.critical_times(problem, fraction=0.5)

        return jax.vmap(one)(which)

    seconds = race(lambda: times(which, lanes), {"exp": lambda: passes(array)}, rounds=10)
    per_time, per_pass = seconds["ours"] / grid.size / 8, seconds["exp"] / PASSES / CACHED
    record(
        Row(
            "critical times, 16 (objective, L, M) mixed",
            1e9 * per_time,
            "ns",
            {"one pass of exp": 1e9 * per_pass},
            ratio=per_time / per_pass,
            limit=100,
            goal="a critical time in cached passes of exp",
        )
    )


def lanes_of(grid):
    """All lanes of a grid, and their program."""
    planned = plan(grid, js.ClosedForm(), times=js.CriticalGrid(32))
    shape = tuple(planned.axes.values())
    index = np.indices(shape).reshape(len(shape), -1)
    [(program, which)] = planned._programs(index)
    return _with_curves(grid, program, lanes_at(grid, index), index, which), program


def test_equations(benchmark, record):
    lanes, program = lanes_of(mixed_grid(2))
    program = benchmark.pedantic(
        lambda: jax.make_jaxpr(jax.vmap(lambda i: program._run_one(i, lanes)))(jnp.arange(64)),
        rounds=1,
    )
    count = equations(program.jaxpr)
    record(
        Row(
            "program of a sweep in closed form",
            count,
            "equations",
            ratio=count,
            limit=3000,
            goal="equations in the program of a sweep in closed form",
        )
    )


def equations(jaxpr):
    """How many equations a program has, with those of inner functions."""

    def is_jaxpr(value):
        return hasattr(value, "jaxpr") or hasattr(value, "eqns")

    values = [
        v for e in jaxpr.eqns for v in jax.tree.leaves(list(e.params.values()), is_leaf=is_jaxpr)
    ]
    return len(jaxpr.eqns) + sum(equations(getattr(v, "jaxpr", v)) for v in values if is_jaxpr(v))
