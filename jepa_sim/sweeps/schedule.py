"""Which lanes run together: a batch takes as many steps as the slowest of its lanes.

Lanes are sorted by their predicted work, and cut into chunks of one size. Then chunks whose lanes
differ much are cut into quarters, as long as this saves more time than compiling the program for
another size costs.
"""

import math

import numpy as np

LEAST = 16  # lanes; chunks are not cut into smaller ones, which would leave a processor idle
COMPILATION = 5.0  # seconds to compile a program, traced already, for another size


Chunk = tuple[np.ndarray, int]  # lanes, and the size to which they are padded


def schedule(work: np.ndarray, largest: int, seconds: float, cores: int) -> list[Chunk]:
    """Chunks of lanes (positions in `work`), each with the size it is to be padded to.

    work: (lanes,) predicted steps of each.  largest: size of a chunk.  seconds: of a lane's step.
    cores: how many chunks run at a time.
    """
    order = np.argsort(work, kind="stable")
    rounds = math.ceil(len(order) / (largest * cores))
    size = max(math.ceil(len(order) / (rounds * cores)), min(LEAST, len(order), largest))
    chunks = _cut(order, size)
    while size > LEAST:
        size, before = max(math.ceil(size / 4), LEAST), size
        pieces = [_split(work, chunk, size) if chunk[1] == before else [chunk] for chunk in chunks]
        smaller = [piece for some in pieces for piece in some]
        if (_steps(work, chunks) - _steps(work, smaller)) * seconds < COMPILATION:
            break
        chunks = smaller
    return chunks


def occupancy(steps: np.ndarray, chunks: list[Chunk]) -> float:
    """Steps that lanes needed, as a share of the steps that their batches took."""
    return float(np.sum(steps) / max(_steps(steps, chunks), 1))


def _cut(lanes: np.ndarray, size: int) -> list[Chunk]:
    return [(lanes[begin : begin + size], size) for begin in range(0, len(lanes), size)]


def _split(work: np.ndarray, chunk: Chunk, size: int) -> list[Chunk]:
    """Smaller chunks in place of one, if that saves a quarter of its steps."""
    smaller = _cut(chunk[0], size)
    return smaller if _steps(work, smaller) < 0.75 * _steps(work, [chunk]) else [chunk]


def _steps(work: np.ndarray, chunks: list[Chunk]) -> float:
    """Steps of all lanes, each as many as the slowest lane of its batch takes."""
    return sum(size * float(np.max(work[chunk])) for chunk, size in chunks)
