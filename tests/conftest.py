"""Strict numerics for every test: one precision, no silent promotion of types or ranks.

`pytest` runs all tests in float64; `pytest --precision=32` runs those marked `float32` with JAX's
64-bit types switched off.
"""

import contextlib
import faulthandler
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.compiler import compile_quickly

compile_quickly()

import jax  # noqa: E402
import pytest  # noqa: E402

# Tracing makes many small objects that live for long. The collector looks at them all over again
# unless it comes seldom.
gc.set_threshold(100_000, 50, 100)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--precision",
        choices=("64", "32"),
        default="64",
        help="64: all tests, in float64. 32: the tests marked float32, without 64-bit types.",
    )


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_enable_x64", config.getoption("--precision") == "64")
    # Every operation would note the stack of Python that led to it.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_compilation_cache_dir", str(config.rootpath / ".cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_unconfigure() -> None:
    # pytest collects garbage five times at its end. The process ends anyway.
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--precision") == "32":
        config.hook.pytest_deselected(
            items=[i for i in items if not i.get_closest_marker("float32")]
        )
        items[:] = [item for item in items if item.get_closest_marker("float32")]


@pytest.fixture
def time_limit() -> Callable[[float], AbstractContextManager[None]]:
    """`with time_limit(60): …` ends the process, and prints all stacks, when the time is up.

    A thread outside of Python measures the time, so that it also ends deadlocks in compiled code.
    """

    @contextlib.contextmanager
    def limit(seconds: float) -> Iterator[None]:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    return limit
