"""How often the warning of the reduced theory is right, with the flow of all matrices as judge.

    python -m benchmarks.trust [--runs 16] [--seed 0]

Problems have d = 8 features, λ_k = k^−α, independent ρ, one of the depths 1, 2 and 3, and ε from
1e-3 to 3e-2. Starts are `Balanced(rotated=True)`, aligned but for rounding; `Misaligned`, with
δ = 1e-3 and 1e-2; and the aligned start with normal noise, δ of the root mean square of each
factor. A run is off where the time of some feature differs by more than 10 % from the closed form's
(first crossings of half of the plateau). The flow of a JEPA is `SleepingFlow`, which
`benchmarks.eviction` judges.
"""

import argparse
import dataclasses
import warnings
from collections.abc import Iterator

import jax
import jax.random as jr
import numpy as np

import jepa_sim as js
from jepa_sim.results.trust import HOLDS_FROM

D, DEPTHS, SCALES, OFF = 8, (1, 2, 3), (1e-3, 3e-2), 0.1
STARTS = {  # by name: δ, and whether it is noise in all factors
    "aligned": (0.0, False),
    "misaligned 1e-3": (1e-3, False),
    "misaligned 1e-2": (1e-2, False),
    "noise 1e-3": (1e-3, True),
    "noise 1e-2": (1e-2, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.trust", description=__doc__)
    parser.add_argument("--runs", type=int, default=16, help="of each start and depth")
    parser.add_argument("--seed", type=int, default=0, help="of the first problem")
    parser.add_argument("--start", choices=STARTS, help="of one start alone")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print("| objective | start | runs | off | warned | precision | recall | median error |")
    print("|---|---|---|---|---|---|---|---|")
    for objective in (js.JEPA(), js.MAE()):
        for name, (delta, noisy) in STARTS.items():
            if options.start not in (None, name):
                continue
            found = list(runs(objective, delta, noisy, options.runs, options.seed))
            print(f"| {objective.name} | {name} | {row(np.array(found))} |", flush=True)


def row(found: np.ndarray) -> str:
    """Counts, precision and recall of (run, 2): x and the largest relative error of a time."""
    warned, off = found[:, 0] < HOLDS_FROM, found[:, 1] > OFF
    right = (warned & off).sum()
    shares = [f"{right / n:.2f}" if n else "–" for n in (warned.sum(), off.sum())]
    error = f"{np.median(found[:, 1]):.2g}"
    return " | ".join([str(len(found)), str(off.sum()), str(warned.sum()), *shares, error])


def runs(
    objective: js.AbstractObjective, delta: float, noisy: bool, count: int, seed: int
) -> Iterator[tuple[float, float]]:
    """x of the warning, and the largest relative error of a critical time, of every problem."""
    for depth in DEPTHS:
        for i in range(count):
            # the same problems for all starts
            problem, key = posed(objective, depth, delta, np.random.default_rng([seed, depth, i]))
            trust = js.trust(problem, fraction=0.5)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", js.DisplacementWarning)  # it is judged here
                times = np.asarray(js.critical_times(problem, fraction=0.5))
            begun = problem.start
            if noisy:
                begun = noise(problem, delta, key)
            judged = js.Problem(problem.moments, objective, problem.network, begun)
            saves = np.geomspace(1e-2 * times.min(), 1.2 * times.max(), 400)
            solver = js.SleepingFlow() if isinstance(objective, js.JEPA) else js.GradientFlow()
            flow = js.simulate(judged, saves, solver, key=key)
            # the plateaus of a start with noise are not known, but they are those without
            flow = dataclasses.replace(flow, problem=problem)
            first = np.asarray(flow.critical_times(fraction=0.5))
            yield float(trust.ratio), float(np.max(np.abs(first / times - 1)))


def posed(
    objective: js.AbstractObjective, depth: int, delta: float, draw: np.random.Generator
) -> tuple[js.Problem, jax.Array]:
    """A problem whose start is known to be off by δ, and the key of its chance."""
    scale = float(np.exp(draw.uniform(*np.log(SCALES))))
    lam = np.arange(1, D + 1.0) ** -draw.choice([0.5, 1.0, 1.5])
    _, b = objective.exponents(depth, 1)
    least = (6 * scale) ** (b / depth)  # half of a plateau is above the start
    rho = draw.uniform(max(0.1, least), 0.95, D)
    start = js.Misaligned(scale, delta * D**0.5) if delta else js.Balanced(scale, rotated=True)
    moments = js.Moments.from_features(lam, rho)
    key = jr.key(int(draw.integers(2**31)))
    return js.Problem(moments, objective, js.DeepLinear(depth), start), key


def noise(problem: js.Problem, delta: float, key: jax.Array) -> js.Given:
    """The aligned, rotated start, with normal noise of δ times the root mean square of a factor."""
    start = js.Balanced(problem.start.scale, rotated=True)
    aligned = js.Problem(problem.moments, problem.objective, problem.network, start).weights(key)
    draw = np.random.default_rng(int(jr.randint(key, (), 0, 2**31 - 1)))

    def off(factor: jax.Array) -> np.ndarray:
        z = np.asarray(factor)
        return z + delta * np.sqrt(np.mean(z**2)) * draw.normal(size=z.shape)

    return js.Given(list(map(off, aligned.encoder)), list(map(off, aligned.predictor)))


if __name__ == "__main__":
    main()
