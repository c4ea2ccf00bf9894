"""Trajectories per second, on a grid of 4,096.

2 objectives × 4 depths × 512 spectra of 16 features × 200 times, in one compiled program, once in
closed form and once with `Modes`. The first call, which compiles, is timed separately.
"""

import time

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import jepa_sim as js
from benchmarks.report import Row

FEATURES, SPECTRA, DEPTHS, TIMES = 16, 512, (1.0, 2.0, 3.0, 5.0), 200
TRAJECTORIES = 2 * len(DEPTHS) * SPECTRA


@pytest.mark.parametrize(
    "solver", [js.ClosedForm(), js.Modes(tolerance=1e-6)], ids=lambda s: type(s).__name__
)
def test_trajectories_per_second(benchmark, record, solver):
    lam_key, rho_key = jr.split(jr.key(0))
    lam = jr.uniform(lam_key, (SPECTRA, FEATURES), minval=0.1, maxval=1.0)
    rho = jr.uniform(rho_key, (SPECTRA, FEATURES), minval=0.2, maxval=0.95)

    def gains(objective, depth, lam, rho):
        moments = js.Moments.from_features(lam, rho)
        problem = js.Problem(moments, objective, js.DeepLinear(depth), js.Balanced(1e-2))
        times = js.CriticalGrid(TIMES).times(problem)
        return js.simulate(problem, times, solver, observables=(js.observables.features,)).features

    @jax.jit
    def grid(lam, rho):
        over_spectra = jax.vmap(gains, in_axes=(None, None, 0, 0))
        over_depths = jax.vmap(over_spectra, in_axes=(None, 0, None, None))
        return [over_depths(o, jnp.asarray(DEPTHS), lam, rho) for o in (js.JEPA(), js.MAE())]

    begin = time.perf_counter()
    jax.block_until_ready(grid(lam, rho))
    first = time.perf_counter() - begin
    found = benchmark.pedantic(
        lambda: jax.block_until_ready(grid(lam, rho)), rounds=3, iterations=1
    )
    assert all(jnp.isfinite(f).all() for f in found)
    seconds = benchmark.stats.stats.min
    outputs = TRAJECTORIES * FEATURES * TIMES
    record(
        Row(
            f"{type(solver).__name__}: {TRAJECTORIES} trajectories of {FEATURES} features, {TIMES} "
            "times",
            TRAJECTORIES / seconds,
            "trajectories a second",
            note=f"{1e9 * seconds / outputs:.3g} ns a value; first call {first:.3g} s",
        )
    )
