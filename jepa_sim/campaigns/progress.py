"""Show the progress of a campaign: a bar in a terminal or notebook, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from tqdm.auto import tqdm

EVERY = 30.0  # seconds between plain lines


class Watcher(Protocol):
    """Shows how many lanes are computed, and how many blocks are written."""

    def computed(self, lanes: int) -> None:
        """So many lanes more are computed: of a block, or of a part of one."""
        ...

    def wrote(self, failed: int) -> None:
        """One block more is written, in which so many lanes failed."""
        ...


@contextlib.contextmanager
def watched(total: int, done: int, blocks: int, show: bool) -> Iterator[Watcher]:
    """Show progress over `total` lanes.

    done: how many are on disk already.  blocks: how many blocks the others are in.
    """
    if not show:
        yield _Silent()
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        with tqdm(total=total, initial=done, unit="run", unit_scale=True) as bar:
            yield _Bar(bar, blocks)
    else:
        lines = _Lines(total, done, blocks)
        yield lines
        lines.say()


class _Silent:
    def computed(self, lanes: int) -> None:
        pass

    def wrote(self, failed: int) -> None:
        pass


class _Bar:
    def __init__(self, bar: Any, blocks: int):
        self.bar, self.blocks = bar, blocks
        self.written = self.failed = 0

    def computed(self, lanes: int) -> None:
        self.bar.update(lanes)

    def wrote(self, failed: int) -> None:
        self.written, self.failed = self.written + 1, self.failed + failed
        self.bar.set_postfix(blocks=f"{self.written:,}/{self.blocks:,}", failed=self.failed)


class _Lines:
    def __init__(self, total: int, done: int, blocks: int):
        self.total, self.done, self.blocks = total, done, blocks
        self.fresh = self.written = self.failed = 0
        self.begin = self.last = time.monotonic()

    def computed(self, lanes: int) -> None:
        self.done, self.fresh = self.done + lanes, self.fresh + lanes
        if time.monotonic() > self.last + EVERY:
            self.say()

    def wrote(self, failed: int) -> None:
        self.written, self.failed = self.written + 1, self.failed + failed

    def say(self) -> None:
        self.last = time.monotonic()
        rate = self.fresh / max(self.last - self.begin, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        print(
            f"{self.done:,} of {self.total:,} runs ({100 * self.done / max(self.total, 1):.1f} %), "
            f"block {self.written:,} of {self.blocks:,}, {self.failed:,} failed, "
            f"{rate:,.0f} runs a second, {duration(left)} left",
            file=sys.stderr,
            flush=True,
        )


def duration(seconds: float) -> str:
    """Seconds in the two largest units, as in 3 h 05 min."""
    if not seconds < 1e9:  # true of NaN
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
