"""How a sweep is cut into blocks, and what it will cost."""

import math
from collections.abc import Mapping

import jax

from jepa_sim.campaigns.progress import duration
from jepa_sim.solvers.base import AbstractMatrixSolver
from jepa_sim.sweeps.sweep import Plan

FIRST_CALL = 15.0  # seconds to trace and compile one program for the first time
BLOCK_BYTES = 2**26  # most bytes that are saved of a block
# Most lanes of a block where matrices are integrated: a kill loses the block in hand, and 256 lanes
# take seconds.
UNSAVED_LANES = 256


def block_shape(planned: Plan, per_lane: int) -> tuple[int, ...]:
    """How many lanes a block has along each axis.

    Blocks hold whole axes, from the last axis on, while they fit.  per_lane: bytes of a lane.
    """
    axes = planned.axes
    room = max(BLOCK_BYTES // per_lane, 1)
    # a block of several depths or objectives would take several programs
    apart = isinstance(planned.solver, AbstractMatrixSolver) and not planned.padded
    if isinstance(planned.solver, AbstractMatrixSolver):
        room = min(room, UNSAVED_LANES)
    shape = []
    for name, length in reversed(axes.items()):
        alone = apart and name in ("objective", "depth", "predictor_depth")
        size = 1 if alone else min(length, room)
        shape.insert(0, size)
        room = room // size if size == length else 1  # after an axis that is cut, one lane each
    return tuple(shape)


def lane_bytes(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> int:
    """Bytes that are saved of one lane."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in shapes.values())


def forecast(planned: Plan, *, in_blocks: bool = True) -> str:
    """The size of a sweep in words: lanes, blocks, programs; time, memory and disk roughly.

    in_blocks: whether it is a campaign. Without blocks all results are in memory.
    """
    lanes, per_lane = math.prod(planned.axes.values()), lane_bytes(planned.shapes())
    shape = block_shape(planned, per_lane)
    blocks = math.prod(
        math.ceil(n / size) for n, size in zip(planned.axes.values(), shape, strict=True)
    )
    programs, seconds = planned.cost()
    block = math.prod(shape) * per_lane
    parts, held, what = "", float(lanes * per_lane), "results"
    if in_blocks:
        parts, held = f", in {blocks:,} blocks of up to {math.prod(shape):,}", 4.0 * block
        what = "blocks"
    return "\n".join(
        [
            f"{lanes:,} runs{parts}",
            f"{programs} programs to compile, about {duration(programs * FIRST_CALL)}",
            f"computing: about {duration(seconds)} on two cores",
            f"memory: about {_bytes(held)} for {what}, beside what JAX takes",
            f"disk: at most {_bytes(float(lanes * per_lane))}",
        ]
    )


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
