"""What the closed form costs, in passes of `jnp.exp` over an array of the same size.

A pass is jitted `jnp.exp` over the array of gains: the least that any formula could cost that takes
one exponential for each output. Only the gains are computed, no loss.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import jepa_sim as js
from benchmarks.report import Row

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
            limit=10,
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
            limit=3,
            goal="gradient of the closed form, in values",
        )
    )
