"""A million trajectories in closed form, to a store: time, memory, disk, and what storing costs.

`python -m benchmarks.million` (2 objectives × 5 depths × 4 scales × 25,000 spectra of 8 features,
critical times and gains at 32 times); a number makes it so many spectra.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim import _campaign
from jepa_sim._store import open_store

FEATURES, TIMES = 8, 32


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    spectra = int(sys.argv[1]) if sys.argv[1:] else 25_000
    draw = np.random.default_rng(0)
    lam = draw.uniform(0.1, 1, (spectra, FEATURES))
    rho = draw.uniform(0.2, 0.95, (spectra, FEATURES))
    begin = time.perf_counter()
    grid = js.Grid(
        spectrum=jax.vmap(js.Moments.from_features)(lam, rho),
        objective=[js.JEPA(), js.MAE()],
        depth=[1, 2, 3, 4, 5],
        scale=[1e-1, 1e-2, 1e-3, 1e-4],
    )
    observables = (js.observables.features,)
    planned = js.plan(grid, js.ClosedForm(), times=js.CriticalGrid(TIMES), observables=observables)
    print(_campaign.forecast(planned), flush=True)
    print(f"asked and forecast: {time.perf_counter() - begin:.1f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        begin = time.perf_counter()
        run = js.campaign(path, planned, progress=False)
        whole = time.perf_counter() - begin
        store = open_store(path)
        computing = sum(mark["seconds"] for mark in store.marks().values())
        first = store.marks()[store.blocks[0]]["seconds"]
        size = sum(file.stat().st_size for file in path.rglob("*"))
        raw = sum(value.nbytes for value in run.values())
        assert int((run.result != 0).sum()) == 0
        begin = time.perf_counter()
        late = run.critical_time.sel(critical_fraction=0.5).mean(("spectrum", "feature")).compute()
        reading = time.perf_counter() - begin
    begin = time.perf_counter()
    index = np.indices(store.shape(store.blocks[0])).reshape(6, -1)
    planned.compute(index, lambda lanes: None)
    again = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lanes = run.result.size
    print(f"{lanes:,} trajectories in {whole:.1f} s, of which the first block {first:.1f} s")
    print(f"  {len(store.blocks)} blocks, computing {computing:.1f} s; a block again {again:.2f} s")
    print(f"  after the first block {(whole - first) / (len(store.blocks) - 1):.2f} s a block")
    print(f"  peak memory {peak:.2f} GiB, {size / 2**30:.2f} GiB on disk of {raw / 2**30:.2f} raw")
    print(f"  a mean over all of critical_time: {reading:.1f} s, shape {late.shape}")


if __name__ == "__main__":
    main()
