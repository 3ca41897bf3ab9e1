"""Threads that work ahead of another, and what those of one process must not do at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")

AHEAD = 2  # steps that a thread works ahead

PARSING = threading.RLock()
"""Held where Python makes a syntax tree of text: numpy does, for the header of an array, and so
does `inspect`, for the signature of what is written in C. Before Python 3.12 that may fail in two
threads at a time (https://github.com/python/cpython/issues/106905).
"""


def work_ahead(works: Sequence[Iterator[T]]) -> Iterator[T]:
    """Let each of several go on in a thread of its own, some steps ahead; one step of each in turn.

    The threads have no settings of the caller's.
    """
    with ExitStack() as stack:
        going = deque[tuple[Iterator[T], ThreadPoolExecutor, deque[Future[T | None]]]]()
        for work in works:
            pool = ThreadPoolExecutor(1)
            stack.callback(pool.shutdown, cancel_futures=True)
            going.append((work, pool, deque(pool.submit(next, work, None) for _ in range(AHEAD))))
        while going:
            work, pool, steps = going.popleft()
            found = steps.popleft().result()
            if found is not None:
                steps.append(pool.submit(next, work, None))
                going.append((work, pool, steps))
                yield found
