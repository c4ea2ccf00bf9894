"""Fixtures of the benchmarks: rows of the table, and a race of jepa_sim against its peers.

Everything runs in float64, and without the compilation cache, which would hide compile times.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import pytest

from benchmarks.report import FOLDER, Row, facts, write

jax.config.update("jax_enable_x64", True)

ROWS, FACTS = pytest.StashKey[list](), pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[ROWS], config.stash[FACTS] = [], facts()


def pytest_sessionfinish(session):
    rows = session.config.stash[ROWS]
    if rows:
        text = write(rows, session.config.stash[FACTS])
        print(f"\n\n{text}\nWritten to {FOLDER}/table.md and table.json")


@pytest.fixture
def record(request) -> Callable[[Row], None]:
    """Add a row to the table. The table is written each time, so that a stopped run leaves it."""

    def add(row: Row) -> None:
        rows = request.config.stash[ROWS]
        rows.append(row)
        write(rows, request.config.stash[FACTS])

    return add


@pytest.fixture
def race(benchmark) -> Callable[..., dict[str, float]]:
    """Fewest seconds of ours and of each peer. They run in turns, so noise affects all alike."""

    def run(
        ours: Callable[[], Any], peers: dict[str, Callable[[], Any]], rounds: int = 3
    ) -> dict[str, float]:
        fewest = dict.fromkeys(peers, float("inf"))
        for first in (ours, *peers.values()):  # compiles, and warms up
            jax.block_until_ready(first())

        def others():
            for name, peer in peers.items():
                begin = time.perf_counter()
                jax.block_until_ready(peer())
                fewest[name] = min(fewest[name], time.perf_counter() - begin)

        benchmark.pedantic(
            lambda: jax.block_until_ready(ours()), setup=others, rounds=rounds, iterations=1
        )
        return {"ours": benchmark.stats.stats.min, **fewest}

    return run
