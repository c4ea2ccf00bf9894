"""Work in a thread beside the event loop, so that a page responds while pictures are made.

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
    """Return the result of the work; the event loop goes on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_thread, partial(work, *arguments))


class Latest:
    """Answers only the latest of requests that come faster than the work can be done.

    One request at a time is in the thread; `show` is called with its result.
    """

    def __init__(self, work: Callable[..., T], show: Callable[[T], object]):
        self.work, self.show = work, show
        self._turn, self._asked = asyncio.Lock(), 0

    async def ask(self, *arguments: Any) -> None:
        """Do the work for these arguments, unless a later request comes before its turn."""
        self._asked += 1
        number = self._asked
        async with self._turn:
            if number == self._asked:
                self.show(await in_thread(self.work, *arguments))
