"""Show the progress of a run. Its folder is enough, and it may be running."""

import math
from pathlib import Path

import xarray as xr

from jepa_sim.campaigns.store.lock import writer
from jepa_sim.campaigns.store.store import Store
from jepa_sim.campaigns.store.template import PENDING


def status(store: Store) -> str:
    """Lanes and blocks on disk, failures, rate, and which process is writing, in words."""
    marks, pending = store.marks(), store.pending()
    total = math.prod(store.lane_shape)
    left = sum(math.prod(store.shape(block)) for block in pending)
    failed = sum(mark.get("failed", 0) for mark in marks.values())
    seconds = sum(mark.get("seconds", 0.0) for mark in marks.values())
    computed = sum(mark.get("computed", 0) for mark in marks.values())
    needed = sum(mark.get("steps", 0) for mark in marks.values())
    taken = sum(mark.get("lane_steps", 0) for mark in marks.values())
    lines = [
        f"{_complete(store.path, total - left, total)}, "
        f"{len(store.blocks) - len(pending):,} of {len(store.blocks):,} blocks",
        f"{failed:,} failed",
        f"{seconds:.1f} s of computing, {computed / seconds if seconds else 0:,.0f} runs a second"
        + (f", occupancy {needed / taken:.2f}" if taken else ""),
        f"{writer(store.path) or 'no process'} is writing it",
    ]
    return "\n".join(lines)


def status_of_file(path: Path, dataset: xr.Dataset) -> str:
    """Lanes in a NetCDF file and failures, in words. A file of an unfinished run has fewer."""
    codes = dataset.result.values
    there = int((codes != PENDING).sum())
    return f"{_complete(path, there, codes.size)}, in one file\n{(codes > 0).sum():,} failed"


def _complete(path: Path, there: int, total: int) -> str:
    return f"{path}: {there:,} of {total:,} runs ({100 * there / total:.1f} %)"
