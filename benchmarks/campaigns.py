"""Large campaigns: time, memory, disk, and the cost of storing.

`python -m benchmarks.campaigns closed_form`: a million trajectories (2 objectives × 5 depths × 4
scales × 25,000 spectra of 8 features, critical times and gains at 32 times).
`python -m benchmarks.campaigns flow`: 1,536 matrix flows of 8 features.
A further argument is the number of spectra.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim.campaigns import blocks
from jepa_sim.campaigns.store import open_store

FEATURES, TIMES = 8, 32
SPECTRA = {"closed_form": 25_000, "flow": 128}


def planned(kind: str, spectra: int) -> js.Plan:
    draw = np.random.default_rng(0)
    lam = draw.uniform(0.1, 1, (spectra, FEATURES))
    rho = draw.uniform(0.2, 0.95, (spectra, FEATURES))
    closed = kind == "closed_form"
    grid = js.Grid(
        spectrum=jax.vmap(js.Moments.from_features)(lam, rho),
        objective=[js.JEPA(), js.MAE()],
        depth=[1, 2, 3, 4, 5] if closed else [1, 2, 3],
        scale=[1e-1, 1e-2, 1e-3, 1e-4] if closed else [1e-1, 1e-2],
    )
    return js.plan(
        grid,
        js.ClosedForm() if closed else js.GradientFlow(rtol=1e-6),
        times=js.CriticalGrid(TIMES),
        observables=(js.observables.features,),
    )


def measure(plan: js.Plan) -> None:
    """Run a campaign; then take some of its blocks, compute each again, and write it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        begin = time.perf_counter()
        run = js.campaign(path, plan, progress=False)
        whole = time.perf_counter() - begin
        store = open_store(path)
        first = store.marks()[store.blocks[0]]["seconds"]
        size = sum(file.stat().st_size for file in path.rglob("*"))
        raw = sum(value.nbytes for value in run.values())
        assert int((run.result != 0).sum()) == 0
        begin = time.perf_counter()
        run.critical_time.sel(critical_fraction=0.5).mean(("spectrum", "feature")).compute()
        reading = time.perf_counter() - begin
        alone = stored = 0.0
        for block in store.blocks[:: max(len(store.blocks) // 8, 1)]:
            begin = time.perf_counter()
            arrays, mark = compute(plan, store, block)
            computed = time.perf_counter()
            store.write(block, arrays, mark)
            alone += computed - begin
            stored += time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lanes = run.result.size
    print(f"{lanes:,} trajectories in {whole:.1f} s, of which the first block {first:.1f} s")
    print(f"  {len(store.blocks)} blocks; after the first", end=" ")
    print(f"{(whole - first) / max(len(store.blocks) - 1, 1):.2f} s a block")
    print(f"  storing a block takes {100 * (stored / alone - 1):.1f} % of computing it,", end=" ")
    print("and is done while the next is computed")
    print(f"  peak memory {peak:.2f} GiB, {size / 2**30:.2f} GiB on disk of {raw / 2**30:.2f} raw")
    print(f"  a mean over all critical times: {reading:.1f} s")


def compute(plan: js.Plan, store, block) -> tuple[dict, dict]:
    """Compute a block as if nothing of it were on disk."""
    shape, region = store.shape(block), store.region(block)
    index = np.indices(shape).reshape(len(shape), -1)
    index += np.array([part.start for part in region])[:, None]
    found, _ = plan.compute(index, lambda lanes: None)
    arrays = {name: value.reshape(*shape, *value.shape[1:]) for name, value in found.items()}
    return arrays, {"computed": index.shape[1], "failed": 0, "seconds": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=sorted(SPECTRA))
    parser.add_argument("spectra", nargs="?", type=int)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    plan = planned(arguments.kind, arguments.spectra or SPECTRA[arguments.kind])
    print(blocks.forecast(plan), flush=True)
    measure(plan)


if __name__ == "__main__":
    main()
