"""Show the progress of a run. Its folder is enough, and it may be running."""

import math

from jepa_sim.campaigns.store.lock import writer
from jepa_sim.campaigns.store.store import Store


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
        f"{store.path}: {total - left:,} of {total:,} runs ({100 * (1 - left / total):.1f} %), "
        f"{len(store.blocks) - len(pending):,} of {len(store.blocks):,} blocks",
        f"{failed:,} failed",
        f"{seconds:.1f} s of computing, {computed / seconds if seconds else 0:,.0f} runs a second"
        + (f", occupancy {needed / taken:.2f}" if taken else ""),
        f"{writer(store.path) or 'no process'} is writing it",
    ]
    return "\n".join(lines)
