"""`SleepingFlow` from the starts people have, with the matrix flow as judge.

    python -m benchmarks.eviction --depths 1 2 3 5 --scales 1e-2 1e-3 --dimension 8 --lanes 16

Each row has fresh problems: λ ~ 1/i in random order, ρ uniform in [0.2, 0.95], JEPA.
Starts are balanced with random frames and gains between ε/2 and 2ε (rotated), or Gaussian. The
judge is the matrix flow by diffrax and ROCK4 with rtol 1e-6, which knows the gains at each of its
steps. Times are those at which a gain reaches half of its plateau, for the first time and for good.
Features that start above a quarter of it are left out.

error: median/90 %/largest of relative errors, in per cent.  τ: Kendall's, of the order with the
judge's, mean over lanes.  clear: the same, of features whose time depends little on the level: in
the judge's flow it moves by less than 10 % from 0.48 to 0.52 of the plateau. A gain that is carried
by another feature for a while may just reach its level, or just not.  miss: features that only one
of both has learned.  rhs: right-hand sides, mean and largest over lanes.  s: seconds of the whole
batch, without compiling.

Below each row of `SleepingFlow` stands how many times are off by more than 20 %, and how many of
them a second run at rtol/10 does not show, since its time is within 5 % of the first run's.
flagged: all times that the two runs have more than 5 % apart, and how many of those are within 5 %
of the judge's.

A gain may pass its level for less than 0.1 % of the time that has gone by. `SleepingFlow` knows
such crossings from its steps, on any grid of saved times. `--saves` is the number of saved times.

`--race 1e-3 1e-4` adds rows for the matrix flow at these tolerances. `--own-judge` takes
`SleepingFlow(rtol=1e-6)` as judge, for ε at which the matrix flow would run for hours.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from jepa_sim.numerics.stabilised import PredictiveController, rhs_count
from jepa_sim.results.crossings import Saves, rises
from jepa_sim.solvers.integrate import tolerances

LEVEL, AT_START = 0.5, 0.25  # of the plateau ρ^(L/M)
NEAR, CLEAR = 0.02, 0.1  # levels to compare, and by how much their times differ at most
LARGE, FLAG = 0.2, 0.05  # relative errors of a time: too large, and to be looked at
MOST_STEPS = 50_000  # of the matrix flow
LATEST = 2.0  # times the last critical time of the closed form


class Shape(NamedTuple):
    """L, M, the latents k and the features d."""

    depth: int
    predictor_depth: int
    width: int
    dimension: int

    @property
    def network(self) -> js.DeepLinear:
        return js.DeepLinear(self.depth, self.predictor_depth, width=self.width)

    @property
    def power(self) -> float:
        """The plateau of a gain is ρ to this power."""
        return self.depth / self.predictor_depth


class Lanes(NamedTuple):
    """Problems that differ in numbers alone: λ, ρ, all factors in turn, and the last time."""

    lam: np.ndarray
    rho: np.ndarray
    factors: list[np.ndarray]
    end: np.ndarray


def draw(rng: np.random.Generator, count: int, shape: Shape, scale: float, start: str) -> Lanes:
    d, k, layers = shape.dimension, shape.width, shape.depth + shape.predictor_depth
    lam = np.stack([rng.permutation(1 / np.arange(1.0, d + 1)) for _ in range(count)])
    rho = rng.uniform(0.2, 0.95, (count, d))
    normal = np.moveaxis(rng.normal(size=(count, layers, d, d)), 1, 0)
    rows = [d] + [k] * layers
    factors = [
        scale ** (1 / shape.depth) / np.sqrt(n) * z[:, :k, :n]
        for z, n in zip(normal, rows, strict=False)
    ]
    if start == "rotated":  # Z_a = F_a diag(s) F_{a−1}ᵀ, and that of V_M has F_L for F_{L+M}
        frames = [np.linalg.qr(z[:, :n, :k])[0] for z, n in zip(normal, rows, strict=False)]
        frames.append(frames[shape.depth])
        values = (scale * 2.0 ** rng.uniform(-1, 1, (count, 1, k))) ** (1 / shape.depth)
        factors = [b * values @ np.swapaxes(a, 1, 2) for a, b in itertools.pairwise(frames)]

    def last(lam, rho):
        moments = js.Moments.from_features(lam=lam, rho=rho)
        network = js.DeepLinear(shape.depth, shape.predictor_depth)
        problem = js.Problem(moments, js.JEPA(), network, js.Balanced(scale))
        return jnp.max(js.critical_times(problem, fraction=LEVEL))

    return Lanes(lam, rho, factors, LATEST * np.asarray(jax.vmap(last)(lam, rho)))


class Found(NamedTuple):
    """Times of features (lanes, d), the first crossing and the last; whether these are clear."""

    first: np.ndarray
    last: np.ndarray
    clear_first: np.ndarray
    clear_last: np.ndarray
    rhs: np.ndarray
    failed: int
    seconds: float


# of a problem and the last time: the known gains, right-hand sides, and whether it failed
Solve = Callable[[js.Problem, jax.Array], tuple[Saves, jax.Array, jax.Array]]


def sleeping(rtol: float, saves: int) -> Solve:
    """`SleepingFlow` with so many saved times; its critical times do not depend on them."""
    share = jnp.concatenate([jnp.zeros(1), jnp.geomspace(1e-5, 1, saves)])

    def solve(problem: js.Problem, end: jax.Array) -> tuple[Saves, jax.Array, jax.Array]:
        observables = (js.observables.features,)
        found = js.simulate(problem, end * share, js.SleepingFlow(rtol), observables=observables)
        known = found.known_gains
        return known, found.stats["rhs"], found.result != js.ResultCode.success

    return solve


def flow(rtol: float) -> Solve:
    """The matrix flow by diffrax and ROCK4, saved at each of its steps."""

    def solve(problem: js.Problem, end: jax.Array) -> tuple[Saves, jax.Array, jax.Array]:
        def move(t, weights, args):
            return velocity(problem, weights)

        def save(t, weights, args):
            def gains(weights):
                return weights.gains(problem.features)

            return jax.jvp(gains, (weights,), (velocity(problem, weights),))

        start = problem.weights(None)
        _, atol = tolerances(start, rtol, None)
        solution = dfx.diffeqsolve(
            dfx.ODETerm(move),
            js.ROCK4(),
            t0=jnp.zeros_like(end),
            t1=end,
            dt0=None,
            y0=start,
            saveat=dfx.SaveAt(t0=True, steps=True, fn=save, solver_state=True),
            stepsize_controller=PredictiveController(rtol, atol),
            max_steps=MOST_STEPS,
            throw=False,
        )
        last = jnp.sum(jnp.isfinite(solution.ts)) - 1
        times, (gains, rates) = jax.tree.map(
            lambda x: x[jnp.minimum(jnp.arange(len(x)), last)], (solution.ts, solution.ys)
        )
        failed = solution.result != dfx.RESULTS.successful
        return Saves.of(problem, times, gains, rates), rhs_count(solution), failed

    return solve


def run(lanes: Lanes, shape: Shape, solve: Solve) -> Found:
    def one(lam, rho, factors, end):
        start = js.Given(factors[: shape.depth], factors[shape.depth :])
        moments = js.Moments.from_features(lam=lam, rho=rho)
        problem = js.Problem(moments, js.JEPA(), shape.network, start)
        known, rhs, failed = solve(problem, end)
        counts = known.gains[0] < AT_START * rho**shape.power

        def crossings(fraction: float) -> jax.Array:
            level = fraction * rho**shape.power
            times = [rises(problem, known, level, for_good=good) for good in (False, True)]
            return jnp.where(counts, jnp.stack(times), jnp.nan)

        low, times, high = map(crossings, (LEVEL - NEAR, LEVEL, LEVEL + NEAR))
        clear = (high <= (1 + CLEAR) * low) | jnp.isinf(low)
        return times, clear, rhs, failed

    arguments = jax.tree.map(jnp.asarray, tuple(lanes))
    program = jax.jit(jax.vmap(one)).lower(*arguments).compile()
    begin = time.perf_counter()
    times, clear, rhs, failed = jax.block_until_ready(program(*arguments))
    seconds = time.perf_counter() - begin
    (first, last), (clear_first, clear_last) = (np.moveaxis(x, 1, 0) for x in (times, clear))
    failures = int(np.asarray(failed).sum())
    return Found(first, last, clear_first, clear_last, np.asarray(rhs), failures, seconds)


def row(found: Found, judge: Found) -> str:
    cells = []
    for ours, true, clear in (
        (found.first, judge.first, judge.clear_first),
        (found.last, judge.last, judge.clear_last),
    ):
        both = np.isfinite(ours) & np.isfinite(true)
        error = 100 * np.abs(ours[both] / true[both] - 1)
        tau, of_clear = (
            np.nanmean(
                [_tau(a, b) for a, b in zip(ours, np.where(some, true, np.nan), strict=True)]
            )
            for some in (True, clear)
        )
        missed = int(np.sum(np.isfinite(ours) != np.isfinite(true)))
        spread = "/".join(f"{x:.2f}" for x in (*np.quantile(error, [0.5, 0.9]), error.max()))
        cells.append(f"{spread:>18} {tau:6.3f} {of_clear:6.3f} {missed:4d}")
    work = f"{found.rhs.mean():8.0f} {found.rhs.max():8.0f} {found.seconds:7.2f}"
    return "".join(cells) + work + (f"  {found.failed} failed" if found.failed else "")


def estimate(found: Found, finer: Found, judge: Found) -> str:
    """What a second, finer run says of the errors of the first."""
    first, second, true = (np.stack([of.first, of.last]) for of in (found, finer, judge))
    off, apart = _apart(first, true), _apart(first, second)
    large, flagged = off > LARGE, apart > FLAG
    return (
        f"    off by > {LARGE:.0%}: {large.sum()} of {np.isfinite(off).sum()}, hidden at rtol/10:"
        f" {(large & ~flagged).sum()}; flagged: {flagged.sum()}, of these within {FLAG:.0%}: "
        f"{(flagged & (off <= FLAG)).sum()}"
    )


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a/b − 1|; NaN where a time does not count; the largest number where only one is inf."""
    with np.errstate(invalid="ignore"):
        apart = np.where(a == b, 0, np.abs(a / b - 1))
    return np.where(np.isinf(a) != np.isinf(b), np.finfo(float).max, apart)


def _tau(a: np.ndarray, b: np.ndarray) -> float:
    """Over the features that count; those not learned in time are last."""
    counts = ~np.isnan(a) & ~np.isnan(b)
    late = np.finfo(float).max
    a, b = (np.where(np.isinf(x), late, x)[counts] for x in (a, b))
    if counts.sum() < 2:
        return np.nan
    return float(np.asarray(scipy.stats.kendalltau(a, b))[0])


HEAD = "".join(
    f"{which + ' error, %':>18} {'τ':>6} {'clear':>6} miss" for which in ("first", "last")
)
HEAD += f"{'rhs':>8} {'largest':>8} {'s':>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3, 5])
    parser.add_argument("--scales", type=float, nargs="+", default=[1e-2])
    parser.add_argument("--predictor-depth", type=int, default=1)
    parser.add_argument("--dimension", type=int, default=8)
    parser.add_argument("--width", type=int, help="of a bottleneck; the dimension if not given")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--saves", type=int, default=10)
    parser.add_argument("--rtol", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--own-judge", action="store_true")
    parser.add_argument("--race", type=float, nargs="*", default=[], metavar="RTOL")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(f"{'problem':<38}{HEAD}")
    for depth in given.depths:
        for start in ("rotated", "gaussian"):
            for scale in given.scales:
                kind = ("rotated", "gaussian").index(start)
                seeds = np.random.default_rng([given.seed, depth, kind, given.dimension])
                width = given.width or given.dimension
                shape = Shape(depth, given.predictor_depth, width, given.dimension)
                lanes = draw(seeds, given.lanes, shape, scale, start)
                judging = sleeping(1e-6, given.saves) if given.own_judge else flow(1e-6)
                judge = run(lanes, shape, judging)
                name = f"L={depth} {start} ε={scale:g} "
                print(f"{name + 'judge':<38}{row(judge, judge)}", flush=True)
                for rtol in given.rtol:
                    found, finer = (
                        run(lanes, shape, sleeping(r, given.saves)) for r in (rtol, rtol / 10)
                    )
                    print(f"{f'{name}sleeping {rtol:g}':<38}{row(found, judge)}")
                    print(estimate(found, finer, judge), flush=True)
                for rtol in given.race:
                    found = run(lanes, shape, flow(rtol))
                    print(f"{f'{name}flow {rtol:g}':<38}{row(found, judge)}", flush=True)


if __name__ == "__main__":
    main()
