# %% [markdown]
# # Noisy features of photographs, at scale
#
# In which order do a JEPA and an MAE learn the features of real photographs, and in which order
# does each keep them? The two views of a patch differ in light and in sensor noise. Light is the
# noisy part: it has a large λ and a small ρ.
#
# RUNS square crops are drawn from the two photographs of scikit-learn, and for each how strong its
# light is. Patches have 4 × 4 pixels, which makes 16 features. Light is of two kinds. With light
# along the patches' own patterns the moments commute. With flat light (uniform brightness and two
# ramps) they do not.
# `python notebooks/laboratory/photographs.py 32` made the numbers of the page "How a JEPA avoids
# noisy features".

# %%
import itertools
import sys
from collections import Counter

import jax
import numpy as np
import xarray as xr
from censored import kendall

import jepa_sim as js

jax.config.update("jax_enable_x64", True)

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 2
SEEDS = range(4)
CROP, PATCH = 160, 4  # pixels along the edge
LEAST = 0.1  # λ of a feature, where pixels have a variance of 1
LIGHT = (0.5, 1.0)  # range of its standard deviation, in units of that of `js.data.Lit`
SCALE, SMALL = 1e-2, 1e-3
times = js.CriticalGrid(400, last=10.0)  # until 10 times the closed form's last critical time
flow = js.GradientFlow(js.ROCK4(), rtol=1e-5)

# %%
rng = np.random.default_rng(0)
photographs = js.data.sample_photographs()
kinds = {"own": None, "flat": js.data.flat_patterns(PATCH)}


def crop(photograph: np.ndarray) -> js.data.Patches:
    """Patches of a random crop that is not smooth, as sky is: it would be learned late."""
    while True:
        row, column = (rng.integers(length - CROP) for length in photograph.shape)
        patches = js.data.Patches(PATCH, [photograph[row : row + CROP, column : column + CROP]])
        if np.linalg.eigvalsh(patches.covariance)[0] > LEAST:
            return patches


moments, is_light = ({kind: [] for kind in kinds} for _ in range(2))
for place in range(RUNS):
    patches, strength = crop(photographs[place % len(photographs)]), rng.uniform(*LIGHT)
    sd = {"brightness_sd": 0.45 * strength, "gradient_sd": 0.4 * strength}
    for kind, patterns in kinds.items():
        lit = js.data.Lit(patches, patterns=patterns, **sd)
        moments[kind].append(lit.exact_moments())
        share = lit.lighting_share(moments[kind][-1].features())
        is_light[kind].append(share >= np.sort(share)[-3])  # light has three patterns
is_light = {kind: np.array(which) for kind, which in is_light.items()}

# %% [markdown]
# The commutator is ‖Σxx Σyx − Σyx Σxx‖ / (‖Σxx‖ ‖Σyx‖), the overlap the largest |cosine| of two
# patterns. In photographs λ and ρ are not independent: coarse patterns of the scene have the
# largest λ and the largest ρ of it. So an order by λ alone has a τ with ρ that is not 0.

# %%
for kind, each in moments.items():
    features = [one.features() for one in each]
    lam, rho = (np.array([getattr(f, name) for f in features]) for name in ("lam", "rho"))
    away = {name: [getattr(f, name) for f in features] for name in ("commutator", "overlap")}
    said = ", ".join(
        f"{k} {np.median(x):.2g} ({min(x):.2g} to {max(x):.2g})" for k, x in away.items()
    )
    print(f"{kind} light: τ of λ with ρ {kendall(-lam, rho):.2f}, {said}")
    for name, which in (("light", is_light[kind]), ("scene", ~is_light[kind])):
        spans = (f"{x[which].min():.2f} to {x[which].max():.2f}" for x in (lam, rho))
        print("  {}: λ {}, ρ {}".format(name, *spans))

# %% [markdown]
# One sweep has all problems of a start and a scale, at all depths, by JEPA and MAE.

# %%
STARTS = {"balanced": js.RandomBalanced, "Gaussian": js.RandomGaussian, "closed form": js.Balanced}
ROWS = {("balanced", SCALE): (1, 2, 3), ("closed form", SCALE): (1, 2, 3)}
if RUNS > 2:  # the program of each start and scale takes 20 s to compile
    ROWS |= {("Gaussian", SCALE): (1, 2, 3), **{(start, SMALL): (1,) for start in STARTS}}


def run(kind: str, start: str, scale: float, depths: tuple[int, ...]) -> xr.Dataset:
    grid = js.Grid(
        spectrum=moments[kind],
        objective=[js.JEPA(), js.MAE()],
        depth=depths,
        scale=[scale],
        seed=SEEDS,
        start=STARTS[start],
    )
    found = js.sweep(
        grid,
        js.ClosedForm() if start == "closed form" else flow,
        times=times,
        critical_fraction=[0.5],
        observables=[js.observables.features],
        progress=False,
    )
    found = found.squeeze(["predictor_depth", "scale", "critical_fraction"])
    return found.stack(run=("spectrum", "seed")).transpose("objective", "depth", "run", ...)


runs = {
    (kind, start, scale): run(kind, start, scale, depths)
    for (start, scale), depths in ROWS.items()
    for kind in kinds
}
failed = sum(int((found.result > 0).sum()) for found in runs.values())
print(f"{failed} of {sum(found.result.size for found in runs.values())} runs failed")

# %% [markdown]
# A feature is evicted where it last rises past half of its plateau later than it first does. "By ρ"
# is the share of pairs in which the feature of larger ρ comes first, of those pairs that ρ and λ
# order differently. It is 0 where λ alone decides, and 1 where ρ alone does.


# %%
def by_rho(when: np.ndarray, rho: np.ndarray, lam: np.ndarray) -> float:
    """All (run, feature). A pair of which nothing is learned in time does not count."""
    first = when[:, :, None] < when[:, None, :]
    disputed = (rho[:, :, None] > rho[:, None, :]) & (lam[:, :, None] < lam[:, None, :])
    return float(first[disputed & (first | first.swapaxes(1, 2))].mean())


print(f"{RUNS} problems for each row, from {len(SEEDS)} starts each")
print("| light | objective | start | L | ε | evicted | of light | τ(ρ) first | τ(ρ) last |", end="")
print(" τ(λ) first | τ(λ) last | by ρ first | by ρ last | not learned |")
for (kind, start, scale), found in runs.items():
    for objective, depth in itertools.product(found.objective.values, found.depth.values):
        at = found.sel(objective=objective, depth=depth)
        first, last = at.critical_time.values, at.learned_time.values
        rho, lam = at.rho.values, at.lam.values
        lost, light = last > first * (1 + 1e-6), np.repeat(is_light[kind], len(SEEDS), axis=0)
        shares = [f"{each.mean():.0%}" for each in (lost, lost[light])]
        shares += [f"{kendall(t, size):.2f}" for size in (rho, lam) for t in (first, last)]
        shares += [f"{by_rho(t, rho, lam):.0%}" for t in (first, last)]
        print(
            f"| {kind} | {objective.upper()} | {start} | {depth} | {scale:.0e} |",
            *(f"{share} |" for share in (*shares, f"{np.isinf(last).mean():.0%}")),
        )

# %% [markdown]
# How far is the closed form from the flow? The next cell prints medians, and the range of 80 % of
# the features, for balanced starts: of last crossings over times of the closed form ("t"), and of
# gains in the end over plateaus ("gain").

# %%
for (kind, start, scale), found in runs.items():
    if start != "balanced":
        continue
    theory = runs[kind, "closed form", scale]
    for objective, depth in itertools.product(found.objective.values, found.depth.values):
        at, other = (each.sel(objective=objective, depth=depth) for each in (found, theory))
        late = at.learned_time.values / other.critical_time.values
        gains = (at.features.isel(time=-1) / at.plateau).values
        said = [f"{kind} light, {objective.upper()}, L = {depth}, ε = {scale:.0e}:"]
        for name, which in (("light", is_light[kind]), ("scene", ~is_light[kind])):
            which = np.repeat(which, len(SEEDS), axis=0) & np.isfinite(late)
            for about, values in (("t", late), ("gain", gains)):
                low, median, high = np.quantile(values[which], (0.1, 0.5, 0.9))
                said.append(f"{name} {about} {median:.2f} ({low:.2f} to {high:.2f})")
        print(*said)

# %% [markdown]
# Not every fall is an eviction. A large latent may carry some of another feature, whose gain then
# passes half of its plateau though it has no latent of its own. `evictions` finds that from the
# cosines of latents. The next cell counts falls of a JEPA of depth 1 from a balanced start.

# %%
watched = (js.observables.features, js.observables.latent_cosines)
for kind, each in moments.items():
    falls = Counter()
    for seed, one in enumerate(each):
        problem = js.Problem(one, js.JEPA(), js.DeepLinear(1), js.RandomBalanced(SCALE))
        key, when = jax.random.key(seed), times.times(problem)
        found = js.simulate(problem, when, flow, observables=watched, key=key)
        rho = found.problem.features.rho
        for fall in js.evictions(found):
            if fall.carrier is not None:
                falls["of what a larger latent carried"] += 1
            elif fall.by is not None and rho[fall.by] > rho[fall.feature]:
                falls["evicted by a cleaner feature"] += 1
            else:
                falls["other"] += 1
    print(f"{kind} light: {falls.total()} falls in {len(each)} runs:", dict(falls))
