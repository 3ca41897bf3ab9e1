"""Weights in memory: one place for all models, which holds no more of them than it is allowed.

An encoder asks for its weights whenever it needs them, by what they are: a checkpoint and how it is
loaded. So any number of encoders of one model, with whatever prompts, share one set of weights.
"""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

from harness.errors import InputError

T = TypeVar("T")


class Models:
    """Models that are loaded, the one used last kept longest. Any thread may ask for them."""

    def __init__(self, limit: int = 1) -> None:
        """Hold nothing yet.

        Args:
            limit: Models at a time outside of scopes.
        """
        self._held: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = RLock()
        self._scopes = 0
        self._limit = 1
        self.limit = limit

    @property
    def limit(self) -> int:
        """Models at a time outside of scopes; setting it drops those that are too many."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if limit < 1:
            raise InputError(f"models in memory: limit={limit}: expected at least 1")
        with self._lock:
            self._limit = limit
            self._trim(limit)

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """Give a model, which is loaded where it is not here.

        Args:
            key: All that decides the weights and how they compute.
            load: Loads them. Models that are too many are dropped before it is called.

        Returns:
            The model; the same object until it is dropped.
        """
        with self._lock:  # also while one is loaded: two threads never load at the same time
            if key not in self._held:
                self._trim(self._limit - 1)
                self._held[key] = load()
            self._held.move_to_end(key)
            found: T = self._held[key]
            return found

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Keep whatever is loaded within, for systems that need several models in turn.

        When the outermost scope ends, those that are more than the limit are dropped.
        """
        with self._lock:
            self._scopes += 1
        try:
            yield
        finally:
            with self._lock:
                self._scopes -= 1
                self._trim(self._limit)

    def clear(self) -> None:
        """Drop every model."""
        with self._lock:
            self._drop(0)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def _trim(self, limit: int) -> None:
        """Drop the models that were not used for longest, unless a scope keeps them."""
        if not self._scopes:
            self._drop(limit)

    def _drop(self, limit: int) -> None:
        if len(self._held) <= limit:
            return
        while len(self._held) > limit:
            self._held.popitem(last=False)
        gc.collect()  # modules of torch refer to each other in circles
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


MODELS = Models()
