"""Which lanes run together: a batch takes as many steps as the slowest of its lanes.

Lanes are sorted by the work that is predicted of them and cut into chunks of one size, and a chunk
of unlike lanes into four, where that saves more than compiling another size costs.
"""

import math

import numpy as np

LEAST = 16  # lanes; fewer do not fill a processor
COMPILATION = 5.0  # seconds


def schedule(work: np.ndarray, largest: int, seconds: float) -> list[tuple[np.ndarray, int]]:
    """Chunks of lanes (positions in `work`), each with the size it is to be padded to.

    work: (lanes,) predicted steps of each.  largest: size of a chunk.  seconds: of a lane's step.
    """
    order = np.argsort(work, kind="stable")
    size = math.ceil(len(order) / math.ceil(len(order) / largest))
    chunks = [(order[begin : begin + size], size) for begin in range(0, len(order), size)]
    while size > LEAST:
        smaller = max(math.ceil(size / 4), LEAST)
        split = [_quarter(chunk, smaller) if n == size else [(chunk, n)] for chunk, n in chunks]
        saved = [
            _steps(work, [old]) - _steps(work, new) for old, new in zip(chunks, split, strict=True)
        ]
        unlike = [s > _steps(work, [old]) / 4 for s, old in zip(saved, chunks, strict=True)]
        if sum(s for s, u in zip(saved, unlike, strict=True) if u) * seconds < COMPILATION:
            break
        pieces = [new if u else [old] for old, new, u in zip(chunks, split, unlike, strict=True)]
        chunks = [chunk for piece in pieces for chunk in piece]
        size = smaller
    return chunks


def occupancy(steps: np.ndarray, chunks: list[tuple[np.ndarray, int]]) -> float:
    """Steps that lanes needed, over all that batches took."""
    return float(np.sum(steps) / max(_steps(steps, chunks), 1))


def _quarter(chunk: np.ndarray, size: int) -> list[tuple[np.ndarray, int]]:
    return [(chunk[begin : begin + size], size) for begin in range(0, len(chunk), size)]


def _steps(work: np.ndarray, chunks: list[tuple[np.ndarray, int]]) -> float:
    """Lane-steps of batches that each go on until their slowest lane ends."""
    return sum(size * float(np.max(work[chunk])) for chunk, size in chunks)
