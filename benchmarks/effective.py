"""How far the closed form of an MAE from a random start is from the flow of all matrices.

    python -m benchmarks.effective [--runs 12] [--seed 0]

Problems have d = 8 features, λ_k = k^−α, independent ρ, one of the depths 1, 2, 3 and 5, ε from
1e-3 to 1e-2, and the start `RandomBalanced`. Errors are relative, of all critical times (first
crossings of half of the plateau), with the effective start of `jepa_sim/model/starts/effective.py`
and with the level start ε that was drawn.
"""

import argparse

import jax
import jax.random as jr
import numpy as np

import jepa_sim as js

D, DEPTHS, SCALES, GOALS = 8, (1, 2, 3, 5), (1e-3, 1e-2), (0.002, 0.03, 0.04, 0.07)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.effective", description=__doc__)
    parser.add_argument("--runs", type=int, default=12, help="of each depth")
    parser.add_argument("--seed", type=int, default=0, help="of the first problem")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print("| L | level start: median | effective start: median | 90 % | τ with the flow | goal |")
    print("|---|---|---|---|---|---|")
    for depth, goal in zip(DEPTHS, GOALS, strict=True):
        found = np.array([errors(depth, options.seed, i) for i in range(options.runs)])
        level, effective = (np.median(found[:, k]) for k in (0, 1))
        most, order = np.quantile(found[:, 1], 0.9), np.mean(found[:, 2])
        numbers = f"{level:.2%} | {effective:.2%} | {most:.1%} | {order:.3f} | {goal:.1%}"
        print(f"| {depth} | {numbers} |", flush=True)


def errors(depth: int, seed: int, number: int) -> np.ndarray:
    """(3, d) errors of the level and of the effective start, and Kendall's τ with the flow."""
    draw = np.random.default_rng([seed, depth, number])
    scale = float(np.exp(draw.uniform(*np.log(SCALES))))
    lam = np.arange(1, D + 1.0) ** -draw.choice([0.5, 1.0, 1.5])
    rho = draw.uniform(0.1, 0.95, D)
    moments, network = js.Moments.from_features(lam, rho), js.DeepLinear(depth)
    key = jr.key(int(draw.integers(2**31)))
    problem = js.Problem(moments, js.MAE(), network, js.RandomBalanced(scale))
    same = js.Problem(moments, js.MAE(), network, js.Balanced(scale))
    level = np.asarray(js.critical_times(same, fraction=0.5))
    effective = np.asarray(js.critical_times(problem, fraction=0.5, key=key))
    saves = np.geomspace(1e-2 * level.min(), 3 * level.max(), 400)
    flow = js.simulate(problem, saves, js.GradientFlow(), key=key)
    first = np.asarray(flow.critical_times(fraction=0.5))
    early = np.sign(np.subtract.outer(first, first) * np.subtract.outer(effective, effective))
    order = early.sum() / (D * (D - 1))
    return np.stack([np.abs(level / first - 1), np.abs(effective / first - 1), np.full(D, order)])


if __name__ == "__main__":
    main()
