# %% [markdown]
# # What a bottleneck keeps
#
# An encoder of k rows can keep k of d features. Which ones? RUNS problems of d = 6 features, with
# λ and ρ drawn independently, are trained from 8 random starts each, until their weights no
# longer change. A JEPA keeps the k features of largest ρ: each cleaner feature evicts a noisier
# one. An MAE keeps the k of largest λρ, as reduced-rank regression says.
#
# `python notebooks/laboratory/narrow.py 8` computes the numbers of the page "How a JEPA avoids
# noisy features". A word after the 8 chooses rows: `narrow.py 8 teacher` computes those of slow
# teachers alone, and `narrow.py 8 decay` those of weight decay.

# %%
import itertools
import sys
from typing import NamedTuple

import jax
import numpy as np

import jepa_sim as js

jax.config.update("jax_enable_x64", True)

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 8
ROWS = sys.argv[2] if len(sys.argv) > 2 and sys.argv[1].isdigit() else ""
SEEDS = range(8)
FEATURES, SCALE = 6, 1e-2
STARTS = {"Gaussian": js.RandomGaussian, "balanced": js.RandomBalanced}


class Case(NamedTuple):
    """last: how long runs are, in the closed form's last critical time."""

    objective: js.AbstractObjective
    training: js.Training = js.Training()
    depths: tuple[int, ...] = (1,)
    last: float = 100.0


SLOW = js.JEPA(js.MovingAverage(1e3))
DECAY = js.Training(decay=0.003)
MORE_DECAY = js.Training(decay=0.01)
CASES = {
    "JEPA": Case(js.JEPA(), depths=(1, 2, 3)),
    "MAE": Case(js.MAE(), depths=(1, 2, 3)),
    "JEPA, teacher of τ = 10": Case(js.JEPA(js.MovingAverage(10.0))),
    "JEPA, teacher of τ = 1000": Case(SLOW),
    "JEPA, teacher of τ = 1000, 10 × as long": Case(SLOW, last=1000.0),
    "JEPA, weight decay 0.003": Case(js.JEPA(), DECAY),
    "JEPA, weight decay 0.01": Case(js.JEPA(), MORE_DECAY),
    "MAE, weight decay 0.003": Case(js.MAE(), DECAY),
    "MAE, weight decay 0.01": Case(js.MAE(), MORE_DECAY),
}

rng = np.random.default_rng(0)
lam = rng.uniform(0.5, 1.5, (RUNS, FEATURES))
rho = rng.uniform(0.4, 0.95, (RUNS, FEATURES))
spectra = [js.Moments.from_features(*each) for each in zip(lam, rho, strict=True)]


def kept(case: Case, start, depth: int, width: int) -> np.ndarray:
    """(run, feature): which features have a gain above a tenth of their plateau in the end."""
    grid = js.Grid(
        spectrum=spectra,
        objective=[case.objective],
        depth=[depth],
        scale=[SCALE],
        seed=SEEDS,
        network=lambda depth, predictor_depth: js.DeepLinear(depth, predictor_depth, width),
        start=start,
        training=case.training,
    )
    found = js.sweep(
        grid,
        js.GradientFlow(js.ROCK4(), rtol=1e-5),
        times=js.CriticalGrid(2, last=case.last),
        observables=[js.observables.features],
        progress=False,
    )
    found = found.stack(run=("spectrum", "seed")).transpose("run", ...)
    gains = found.features.isel(time=-1).values.reshape(-1, FEATURES)
    return gains > 0.1 * found.plateau.values.reshape(-1, FEATURES)


def largest(size: np.ndarray, width: int) -> np.ndarray:
    """(run, feature): the features of largest size."""
    return np.repeat(np.argsort(np.argsort(-size, axis=1), axis=1) < width, len(SEEDS), axis=0)


# %%
print(
    f"{RUNS} problems from {len(SEEDS)} starts each: what is kept in the end, in share of the runs"
)
print(f"{'case':40} start     k  L   largest ρ   largest λρ   largest λ   fewer than k   others")
for name, case in CASES.items():
    if ROWS not in name:
        continue
    choices = itertools.product(STARTS.items(), (1, 2, 3), case.depths)
    for (origin, start), width, depth in choices:
        found = kept(case, start, depth, width)
        is_kept = [(found == largest(size, width)).all(1) for size in (rho, lam * rho, lam)]
        fewer = found.sum(1) < width  # a latent has died, or nothing is learned in time
        others = ~np.any([*is_kept, fewer], axis=0)
        shares = "   ".join(f"{each.mean():9.0%}" for each in (*is_kept, fewer, others))
        print(f"{name:40} {origin} {width:2} {depth:2} {shares}", flush=True)
