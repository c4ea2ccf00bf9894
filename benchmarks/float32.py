"""The accuracy of float32: the same sweeps in float32 and float64, at the same times.

`python -m benchmarks.float32` prints, for every solver and scale, how many runs float32 resolves,
and the largest relative errors of critical times and gains among those.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js

SCALES, DEPTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6), (1, 2, 3, 5)
SOLVERS = {"ClosedForm": SCALES, "Modes": SCALES[:3], "GradientFlow": SCALES[:3]}
SPECTRA = 16
KEPT = ("critical_time", "features", "result")


def compute(path: Path, double: bool) -> None:
    """Write all sweeps, in one precision, to a file."""
    jax.config.update("jax_enable_x64", double)
    number = np.float64 if double else np.float32
    draw = np.random.default_rng(0)
    lam = draw.uniform(0.1, 1, (SPECTRA, 4)).astype(np.float32)
    rho = draw.uniform(0.2, 0.95, (SPECTRA, 4)).astype(np.float32)
    times = np.geomspace(1, 1e8, 65).astype(np.float32)
    found = {}
    for solver, scales in SOLVERS.items():
        grid = js.Grid(
            spectrum=jax.vmap(js.Moments.from_features)(lam.astype(number), rho.astype(number)),
            objective=[js.JEPA(), js.MAE()],
            depth=DEPTHS if solver == "ClosedForm" else DEPTHS[:2],
            scale=np.float32(scales).tolist(),
        )
        last = len(times) if solver == "ClosedForm" else 33  # to 1e4
        run = js.sweep(
            grid,
            getattr(js, solver)(),
            times=times[:last].astype(number),
            observables=(js.observables.features,),
            progress=False,
        )
        lanes = run.stack(run=("objective", "depth", "predictor_depth", "seed", "spectrum"))
        for name in KEPT:
            found[f"{solver} {name}"] = lanes[name].transpose("scale", "run", ...).values
    np.savez(path, **found)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        compute(Path(sys.argv[2]), sys.argv[3] == "64")
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for bits in ("32", "64"):
            path = Path(folder) / f"{bits}.npz"
            command = [sys.executable, "-m", "benchmarks.float32", "--child", str(path), bits]
            subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
            with np.load(path) as data:
                found[bits] = dict(data)
    print("| solver | ε | runs resolved | critical times | gains |\n|---|---|---|---|---|")
    for solver, scales in SOLVERS.items():
        single, double = (
            {name: found[bits][f"{solver} {name}"] for name in KEPT} for bits in ("32", "64")
        )
        for i, scale in enumerate(scales):
            fine = (single["result"][i] == 0) & (double["result"][i] == 0)
            errors = []
            for name in ("critical_time", "features"):
                a, b = single[name][i][fine].astype(float), double[name][i][fine]
                both = np.isfinite(a) & np.isfinite(b) & (b != 0)
                errors.append(np.max(np.abs(a[both] / b[both] - 1), initial=0))
            shown = " | ".join(f"{error:.1e}" for error in errors)
            print(f"| {solver} | {scale:g} | {fine.mean():.0%} | {shown} |")


if __name__ == "__main__":
    main()
