"""Batches of lanes with similar work, and how full they are."""

import numpy as np
import pytest

from jepa_sim.sweeps.schedule import LEAST, occupancy, schedule

DEAR = 1.0  # seconds of a lane's step: any split pays
CHEAP = 1e-12


def lane_steps(work, chunks):
    return sum(size * work[chunk].max() for chunk, size in chunks)


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("seconds", [DEAR, CHEAP])
@pytest.mark.parametrize("count", [1, 15, 100, 257, 5000])
def test_every_lane_runs_once_in_a_chunk_that_holds_it(count, seconds, cores):
    work = np.random.default_rng(count).lognormal(0, 3, count)
    chunks = schedule(work, 256, seconds, cores)
    assert sorted(np.concatenate([chunk for chunk, _ in chunks])) == list(range(count))
    assert all(0 < len(chunk) <= size <= 256 for chunk, size in chunks)


def test_one_stiff_lane_does_not_hold_up_the_others():
    work = np.ones(256)
    work[100] = 1000
    together = schedule(work, 256, CHEAP, 1)
    apart = schedule(work, 256, DEAR, 1)
    assert lane_steps(work, together) == 256 * 1000
    assert lane_steps(work, apart) <= 256 + LEAST * 1000
    assert occupancy(work, together) == pytest.approx(1255 / 256_000)
    assert occupancy(work, apart) > 10 * occupancy(work, together)


def test_like_lanes_stay_one_program():
    chunks = schedule(np.random.default_rng(0).uniform(1, 1.3, 1000), 256, DEAR, 1)
    assert len({size for _, size in chunks}) == 1
    assert occupancy(np.ones(1000), chunks) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("count", "cores", "chunks"), [(64, 2, 2), (300, 2, 4), (24, 8, 2), (300, 16, 16)]
)
def test_every_core_has_a_chunk_of_its_own(count, cores, chunks):
    """Of 128 lanes at most, and of `LEAST` at least."""
    assert len(schedule(np.ones(count), 128, CHEAP, cores)) == chunks
