"""How right `takeover_times` is, with the matrix flow as judge.

    python -m benchmarks.takeovers [--runs 16] [--seed 0]

The problems are those of `benchmarks.trust`, for a JEPA, from starts that are aligned but for
rounding, or off by a known δ. The judge is `GradientFlow`, which is given the same key. Errors are
of the times at which features reach half of their plateaus, in % (median and 90th percentile); τ is
Kendall's, between the orders of the theory and of the flow, the mean over runs. Then comes the time
of one lane of a batch.
"""

import argparse
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import kendalltau

import jepa_sim as js
from benchmarks.trust import DEPTHS, STARTS, D, posed


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.takeovers", description=__doc__)
    parser.add_argument("--runs", type=int, default=16, help="of each start and depth")
    parser.add_argument("--seed", type=int, default=0, help="of the first problem")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore", js.DisplacementWarning)  # it is measured here
    print("| start | L | closed form: first | τ | takeovers: first | τ | last | τ |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (delta, noisy) in STARTS.items():
        if noisy:  # the theory knows the sizes of such starts only nearly
            continue
        for depth in DEPTHS:
            draws = (np.random.default_rng([options.seed, depth, i]) for i in range(options.runs))
            runs = [judge(depth, delta, draw) for draw in draws]
            cells = [cell(*pair) for pair in zip(*runs, strict=True)]
            print(f"| {name} | {depth} | {' | '.join(cells)} |", flush=True)
    print(f"\na lane of d = {D} features, L = 2, in a batch of 1,000: {lane() * 1e6:.0f} µs")


def judge(
    depth: int, delta: float, draw: np.random.Generator
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Times of theory and flow: first of the closed form; first, and last, with takeovers."""
    problem, key = posed(js.JEPA(), depth, delta, draw)
    apart = np.asarray(js.critical_times(problem, fraction=0.5))
    found = js.takeover_times(problem, fraction=0.5, key=key)
    # a crossing may last for less than 0.5 % of its time
    saves = np.geomspace(1e-2 * apart.min(), 1.5 * apart.max(), 5000)
    flow = js.simulate(problem, saves, js.GradientFlow(), key=key)
    first, last = (
        np.asarray(times(fraction=0.5)) for times in (flow.critical_times, flow.learned_times)
    )
    theory = (np.where(np.asarray(x) > saves[-1], np.inf, x) for x in (found.first, found.last))
    return tuple(zip((apart, *theory), (first, first, last), strict=True))


def cell(*runs: tuple[np.ndarray, np.ndarray]) -> str:
    """Errors in %, and τ. Features that the flow has not learned in time count for τ alone."""
    errors = []
    for theory, flow in runs:
        in_time = np.isfinite(flow)
        errors += list(np.abs(theory[in_time] / flow[in_time] - 1))
    tau = np.mean(
        [kendalltau(*(np.where(np.isfinite(x), x, 1e30) for x in run))[0] for run in runs]
    )
    return f"{100 * np.median(errors):.2g}, {100 * np.quantile(errors, 0.9):.2g} | {tau:.2f}"


def lane() -> float:
    """Seconds for one of many scales."""

    def first(scale: jax.Array) -> jax.Array:
        lam, rho = np.arange(1, D + 1.0) ** -1, np.random.default_rng(0).uniform(0.1, 0.95, D)
        start = js.Misaligned(scale, 1e-3)
        moments = js.Moments.from_features(lam, rho)
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), start)
        return js.takeover_times(problem, fraction=0.5).first

    every, scales = jax.jit(jax.vmap(first)), jnp.geomspace(1e-4, 1e-2, 1000)
    every(scales).block_until_ready()
    begin = time.perf_counter()
    every(scales).block_until_ready()
    return (time.perf_counter() - begin) / len(scales)


if __name__ == "__main__":
    main()
