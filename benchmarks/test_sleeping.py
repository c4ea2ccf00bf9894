"""`SleepingFlow` in sweeps: beside `GradientFlow`, and where some ρ are nearly equal."""

import time

import numpy as np
import pytest

import jepa_sim as js
from benchmarks.report import Row

OBSERVED = (js.observables.features,)


def errors(found, judge):
    """Median and 90 % of the relative errors of last crossings."""
    ours, theirs = found.learned_time.values, judge.learned_time.values
    both = np.isfinite(ours) & np.isfinite(theirs)
    return np.quantile(np.abs(ours[both] / theirs[both] - 1), [0.5, 0.9])


@pytest.mark.parametrize("count", [50, 300])
def test_a_sweep(benchmark, record, count):
    """256 runs; `GradientFlow` at two tolerances, one less exact and one more."""
    draw = np.random.default_rng(777)
    spectra = [
        js.Moments.from_features(draw.uniform(0.3, 1, 8), draw.uniform(0.2, 0.95, 8))
        for _ in range(32)
    ]
    grid = js.Grid(
        spectrum=spectra,
        objective=[js.JEPA()],
        depth=[3],
        scale=[1e-3],
        seed=range(8),
        start=js.RandomBalanced,
    )

    def sweep(solver, count=count):
        times = js.CriticalGrid(count)
        return js.sweep(grid, solver, times=times, observables=OBSERVED, progress=False)

    flows = {f"ROCK4, {r:g}": js.GradientFlow(js.ROCK4(), rtol=r) for r in (1e-4, 1e-5)}
    # on a fine grid: the times of a flow depend on its saved times
    judge = sweep(js.GradientFlow(js.ROCK4(), rtol=1e-7), 3000)
    seconds, off = {}, {}
    for name, solver in {**flows, "ours": js.SleepingFlow()}.items():
        sweep(solver)  # compiles
        begin = time.perf_counter()
        off[name] = float(errors(sweep(solver), judge)[1])
        seconds[name] = time.perf_counter() - begin
    benchmark.pedantic(lambda: sweep(js.SleepingFlow()), rounds=3)
    mine = benchmark.stats.stats.min
    record(
        Row(
            f"a sweep of 256 runs from rotated starts, {count} saved times, d=8, L=3, ε=1e-3",
            mine,
            "s",
            {name: seconds[name] for name in flows},
            off,
            ratio=mine / seconds["ROCK4, 1e-05"],
            limit=1 / 5,
            goal=f"time of a SleepingFlow sweep over one by ROCK4 at 1e-5, {count} saved times",
            note="errors: 90 % of the last crossings are within them",
        )
    )


NEAR = [0.5303, 0.9159, 0.5749, 0.5189, 0.6652, 0.9463, 0.9117, 0.5450]
NEAR_LAM = [0.509, 0.770, 0.440, 0.959, 0.556, 0.374, 0.740, 0.949]


def grouped(gap):
    """Two groups of four features, whose ρ differ by so much from one to the next."""
    return np.repeat([0.8, 0.5], 4) * (1 - gap * np.tile(np.arange(4), 2))


@pytest.mark.parametrize(
    ("name", "lam", "rho", "depth", "scale"),
    [
        ("0.916 and 0.912", NEAR_LAM, NEAR, 3, 1e-3),
        ("four equal and four equal", np.linspace(1, 0.4, 8), grouped(0), 2, 1e-4),
        ("in two groups, 0.3 % apart", np.linspace(1, 0.4, 8), grouped(0.003), 2, 1e-4),
        ("in two groups, 1 % apart", np.linspace(1, 0.4, 8), grouped(0.01), 2, 1e-4),
    ],
)
def test_nearly_equal(benchmark, record, name, lam, rho, depth, scale):
    grid = js.Grid(
        spectrum=js.Moments.from_features(lam, rho),
        objective=[js.JEPA()],
        depth=[depth],
        scale=[scale],
        seed=range(8),
        start=js.RandomBalanced,
    )

    def sweep():
        times = js.CriticalGrid(50)
        return js.sweep(grid, js.SleepingFlow(), times=times, observables=OBSERVED, progress=False)

    rhs = sweep().rhs.values
    benchmark.pedantic(sweep, rounds=1)
    record(
        Row(
            f"SleepingFlow, eight ρ, {name}, L={depth}, ε={scale:g}",
            float(rhs.mean()),
            "right-hand sides",
            {"largest": float(rhs.max())},
            {},
        )
    )
