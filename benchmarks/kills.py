"""Kill a campaign with SIGKILL at random moments: no block may be lost or differ by a bit.

`python -m benchmarks.kills 200` kills a local run 200 times. `python -m benchmarks.kills 200 dask`
does so on a Dask cluster, in turns the client with all workers, one worker, and the client alone.
Then the run is continued to its end and compared with a run that was not killed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import optax

import jepa_sim as js
from jepa_sim.campaigns import blocks, campaign

BLOCKS = 120
LOG = "JEPA_SIM_KILLS_LOG"


class Counted(campaign.Task):
    """A task that writes a line for every block that it begins."""

    def compute(self, store, block):
        with open(os.environ[LOG], "a", encoding="utf-8") as file:
            file.write(f"{block}\n")
        return super().compute(store, block)


def run(path: Path, engine: str) -> None:
    """The campaign, in this process."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(path.parent / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    seeds, d, times = 8, 4, 16
    blocks.UNSAVED_LANES = 8
    campaign.Task = Counted
    draw = np.random.default_rng(0)
    lam, rho = draw.uniform(0.1, 1, (BLOCKS, d)), draw.uniform(0.2, 0.9, (BLOCKS, d))
    grid = js.Grid(
        spectrum=jax.vmap(js.Moments.from_features)(lam, rho),
        objective=[js.JEPA()],
        seed=range(seeds),
        start=js.RandomGaussian,
    )
    planned = js.plan(
        grid,
        js.Descent(optax.sgd, 1e-2),
        times=np.linspace(1, 40, times),
        observables=(js.observables.features,),
    )
    js.campaign(path, planned, engine=js.Local() if engine == "local" else js.Dask(workers=2))


def kill_often(folder: Path, kills: int, engine: str, longest: float = 3.0) -> dict[str, float]:
    """Kill a run `kills` times, let it end, and compare. Returns counts of what happened."""
    from jepa_sim.campaigns.store import open_store

    def start(path: Path, log: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "benchmarks.kills", "--child", str(path), engine]
        settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "EQX_ON_ERROR": "nan", LOG: str(log)}
        with (folder / "errors.txt").open("ab") as errors:
            return subprocess.Popen(
                command, stderr=errors, start_new_session=True, env={**os.environ, **settings}
            )

    whole, killed, log = folder / "whole", folder / "killed", folder / "log.txt"
    assert start(whole, folder / "whole.txt").wait() == 0
    draw, done, ended, left = random.Random(0), 0, 0, []
    while done < kills:
        before = lines(log)
        child = start(killed, log)
        while lines(log) == before and child.poll() is None:
            time.sleep(0.02)
        try:
            child.wait(draw.uniform(0, longest))
            ended += 1  # before it was killed: a new run takes its place
            assert_alike(whole, killed)
            (killed / "manifest.json").unlink()
            killed.rename(folder / f"ended-{ended}")
        except subprocess.TimeoutExpired:
            workers = _children(child.pid)
            if engine == "dask" and workers and done % 3 == 1:
                os.kill(draw.choice(workers), signal.SIGKILL)
                time.sleep(draw.uniform(0.1, 1.0))
            if engine == "dask" and done % 3 == 2:
                child.kill()
                left += workers  # they end when they notice, while the next client runs already
            else:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            done += 1
    marked = len(open_store(killed).marks()) if killed.exists() else 0
    assert start(killed, log).wait() == 0
    assert_alike(whole, killed)
    assert not any(Path(f"/proc/{worker}").exists() for worker in left)
    blocks = len(open_store(killed).blocks)
    return {
        "kills": kills,
        "marked before the last": marked,
        "blocks": blocks * (ended + 1),
        "begun": lines(log),
        "runs that ended": ended,
    }


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def assert_alike(expected: Path, found: Path) -> None:
    """Every file of the arrays is the same, and every block is marked."""
    import zarr

    from jepa_sim.campaigns.store import open_store

    store, reference = open_store(found), open_store(expected)
    assert not store.pending()
    groups = [zarr.open_group(path / "data.zarr", mode="r") for path in (expected, found)]
    for name in reference.names:
        a, b = (np.asarray(group[name]) for group in groups)
        assert a.tobytes() == b.tobytes(), name


def _children(pid: int) -> list[int]:
    """Processes below `pid`."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    own = [int(line) for line in found.stdout.split()]
    return own + [below for child in own for below in _children(child)]


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        run(Path(sys.argv[2]), sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int)
    parser.add_argument("engine", nargs="?", choices=("local", "dask"), default="local")
    arguments = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = kill_often(Path(folder), arguments.kills, arguments.engine)
    print(f"{counts}, in {time.monotonic() - begin:.0f} s: arrays bit for bit alike")


if __name__ == "__main__":
    main()
