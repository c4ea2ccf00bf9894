"""Work off the event loop, so that a page stays responsive while pictures are made.

All pages share one thread: matplotlib has one style for all threads, and a figure must not be read
while it is drawn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_thread = ThreadPoolExecutor(1, "pictures")


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """What the work gives; the event loop goes on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_thread, partial(work, *arguments))


class Latest:
    """Work that is asked for faster than it can be done: all but the latest is left out.

    One piece of work is in the thread at a time; `show` is called with what it gave.
    """

    def __init__(self, work: Callable[..., T], show: Callable[[T], object]):
        self.work, self.show = work, show
        self._turn, self._asked = asyncio.Lock(), 0

    async def ask(self, *arguments: Any) -> None:
        """Do the work for these arguments, unless it is asked for others before its turn."""
        self._asked += 1
        number = self._asked
        async with self._turn:
            if number == self._asked:
                self.show(await in_thread(self.work, *arguments))
