"""Engines compute the blocks of a campaign: in this process, or on a Dask cluster."""

import abc
import collections
import contextlib
import dataclasses
import functools
import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import jax

from jepa_sim.arguments import checks
from jepa_sim.arguments.errors import check_extra
from jepa_sim.arguments.kinds import check_kind
from jepa_sim.campaigns.store import keeps_empty_chunks, open_store

Block = tuple[int, ...]
WRITERS = 2

INTERRUPTED = "Every block that was computed is stored. The same call continues the run."


class AbstractEngine(abc.ABC):
    """Runs a task on blocks: writes every block, and then yields its mark.

    is_here: whether tasks run in this process, where they can say how far a block is.
    """

    is_here: ClassVar[bool] = False

    @abc.abstractmethod
    def run(self, task: Any, blocks: list[Block]) -> Iterator[dict]:
        """Yield the marks of all blocks, each as soon as its block is written.

        After Ctrl-C the blocks that were begun are written, and KeyboardInterrupt is raised.
        """


@dataclasses.dataclass(frozen=True)
class Local(AbstractEngine):
    """Computes in this process. Blocks are written while the next ones are computed."""

    is_here: ClassVar[bool] = True

    def run(self, task: Any, blocks: list[Block]) -> Iterator[dict]:
        store = open_store(task.path)
        writing: collections.deque[Future] = collections.deque()

        def write(block: Block, arrays: dict, mark: dict) -> dict:
            store.write(block, arrays, mark)
            return mark

        # A writer waits for the disk for much of its time: two save a sixth of it, three no more.
        # Each has one block, since a slow disk must not fill the memory with blocks.
        with keeps_empty_chunks(), ThreadPoolExecutor(WRITERS) as pool, _held_back() as interrupted:
            for block in blocks:
                computed = task.compute(store, block)
                if len(writing) == WRITERS:
                    yield writing.popleft().result()
                writing.append(pool.submit(write, block, *computed))
                if interrupted.is_set():
                    break
            while writing:
                yield writing.popleft().result()
            if interrupted.is_set():
                raise KeyboardInterrupt(INTERRUPTED)


@dataclasses.dataclass(frozen=True)
class Dask(AbstractEngine):
    """Computes on the workers of a Dask cluster, one process for each device.

    scheduler: the address of a running one; None starts a cluster on this machine.  workers: how
    many processes that cluster has.

    Each block is one task, in which a worker computes the block and writes it. Only positions and
    marks of blocks go through the scheduler. If a worker dies, another one computes its block.
    Needs `pip install 'jepa_sim[dask]'`.

    Raises ValueError where `workers` is not a whole number from 1 on or `scheduler` is no string,
    ImportError where Dask is not installed, and ConnectionError, in `campaign`, where the
    scheduler cannot be reached or is lost.
    """

    scheduler: str | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        check_kind("scheduler", self.scheduler, str | None)
        check_kind("workers", self.workers, int)
        checks.check_integer_from("workers", self.workers, 1)
        check_extra("dask", "Engine `Dask`", "distributed")

    def run(self, task: Any, blocks: list[Block]) -> Iterator[dict]:
        import cloudpickle
        from distributed import Client, as_completed

        # in a file, past the scheduler: the task has all arrays of the grid
        pickled = Path(task.path) / "task.pickle"
        pickled.write_bytes(cloudpickle.dumps((_settings(), cloudpickle.dumps(task))))
        with _without_tracebacks(), contextlib.ExitStack() as stack:
            stack.callback(pickled.unlink, missing_ok=True)
            try:
                address = self.scheduler or stack.enter_context(self._cluster())
                # Not the default of the process: else other computations with Dask would go to this
                # cluster, and wait for ever once it is gone.
                client = stack.enter_context(Client(address, set_as_default=False))
            except (OSError, RuntimeError, ValueError) as error:
                reason = f"cannot be reached: {error}"
                raise ConnectionError(f"Dask cluster {self._where} {reason}") from error
            stack.enter_context(self._living())
            interrupted = stack.enter_context(_held_back())
            # pure=False: else Dask could answer a block from the result of an earlier call
            futures = client.map(
                functools.partial(_work, str(pickled)), blocks, pure=False, retries=2, batch_size=64
            )
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
                if interrupted.is_set():
                    client.cancel([f for f in futures if f.status == "pending"])
                    raise KeyboardInterrupt(INTERRUPTED)

    @contextlib.contextmanager
    def _living(self) -> Iterator[None]:
        """Raise ConnectionError where the scheduler dies, or one worker after another."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            yield
        except (CancelledError, CommClosedError) as error:
            rule = "must live until all blocks are written, but was lost"
            again = "The same command continues the run."
            raise ConnectionError(f"Dask cluster {self._where} {rule}. {again}") from error
        except KilledWorker as error:
            rule = "must live while they compute a block, but died"
            raise ConnectionError(
                f"Workers of Dask cluster {self._where} {rule}: do they have enough memory? {error}"
            ) from error

    @property
    def _where(self) -> str:
        return self.scheduler or "of this machine"

    def _cluster(self) -> Any:
        """A cluster that listens, as its dashboard does, on the loopback address alone."""
        from distributed import LocalCluster

        return LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Silence Dask's client, which logs the traceback of an error that it also raises."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _settings() -> dict[str, Any]:
    """The settings of JAX that a worker must share."""
    names = (
        "jax_enable_x64",
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    return {name: getattr(jax.config, name) for name in names}


def _work(pickled: str, block: Block) -> dict:
    task = _loaded(pickled, Path(pickled).stat().st_mtime_ns)
    store = open_store(task.path)
    arrays, mark = task.compute(store, block)
    store.write(block, arrays, mark)
    return mark


@functools.lru_cache(maxsize=1)
def _loaded(pickled: str, written: int) -> Any:
    """The task of a file, unpickled once for each process.

    The settings are made before the task is unpickled, else its arrays would be of another
    precision.  written: when the file was written, so that a new file is loaded again.
    """
    import cloudpickle

    settings, task = cloudpickle.loads(Path(pickled).read_bytes())
    for name, value in settings.items():
        jax.config.update(name, value)
    return cloudpickle.loads(task)


@contextlib.contextmanager
def _held_back() -> Iterator[threading.Event]:
    """A first Ctrl-C sets the event; a second one interrupts at once."""
    event = threading.Event()
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # only the main thread can handle signals
        yield event
        return

    def handle(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
