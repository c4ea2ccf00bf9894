# %% [markdown]
# # In the order of ρ*? Thousands of pairs of moments that do not commute
#
# Goh (2026) claims that a deep JEPA learns features in the order of ρ*, the generalised eigenvalues
# of (Σyx, Σxx), also where the two do not commute. The ledger tests this with 64 pairs of moments.
# This script does so with thousands, for several depths L, scales ε of the start, and distances
# from commuting. Only pairs of features that ρ* and λ* order differently are counted. Standard
# errors treat all pairs of moments as independent draws.
#
# `python notebooks/laboratory/rho_order.py 8` makes the table of the page "Which published claims
# hold?", in about half an hour of one core.

# %%
import sys

import numpy as np
from ledger import FEATURES, goh_case

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 1
CALL = 128  # pairs of moments in one call of the compiled program
TURNS = (0.01, 0.1, 0.3, 1.0)  # how far the bases of signal and noise are turned
# L, ε, and the number of calls in a run; a small ε takes long where L > 1
CASES = ((1, 1e-2, 1), (1, 1e-3, 1), (2, 1e-2, 1), (2, 1e-3, 0.25), (3, 1e-2, 0.5))

# %%
print(f"random pairs of moments, {FEATURES} features")
print("L   ε      distance   pairs   larger ρ* is first, by first crossing   by last crossing")
for depth, scale, share in CASES:
    for turn in TURNS:
        calls = max(1, round(share * RUNS))
        found = [goh_case(depth, turn, scale, CALL, seed) for seed in range(calls)]
        distance = np.mean([distance for distance, _ in found])
        right = np.concatenate([right for _, right in found])
        mean = 100 * right.mean(0)
        error = 100 * right.std(0) / np.sqrt(CALL * calls)
        print(
            f"{depth}   {scale:5.0e}  {distance:8.3f}  {CALL * calls:6,}"
            f"{mean[0]:20.1f} ± {error[0]:.1f} %{mean[1]:24.1f} ± {error[1]:.1f} %",
            flush=True,
        )
