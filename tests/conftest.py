"""Strict numerics for every test: one precision, no silent promotion of types or ranks.

`pytest` runs all tests in float64; `pytest --precision=32` runs those marked `float32` with JAX's
64-bit types switched off.
"""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

# Equinox's runtime errors are host callbacks, and some versions of JAX cannot cache programs that
# have them. As NaN they can. Equinox reads this when it is imported.
os.environ.setdefault("EQX_ON_ERROR", "nan")
# Else some versions of jaxlib print false alarms for every program from the cache.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Most of the suite's time is compilation: with less work for LLVM it is an eighth less. At level 0
# a batch is not rounded as its lanes are alone (`test_a_batch_is_its_lanes` sees it).
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--precision",
        choices=("64", "32"),
        default="64",
        help="64: all tests, in float64. 32: the tests marked float32, without 64-bit types.",
    )


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_enable_x64", config.getoption("--precision") == "64")
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_compilation_cache_dir", str(config.rootpath / ".cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
