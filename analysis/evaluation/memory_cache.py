"""A cache in this process, for statistics that each step of a slider needs again."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar, cast

from cachetools import LRUCache

T = TypeVar("T")


class MemoryCache:
    """At most `size` values by key; the least recently used is dropped first. Safe to share among threads, though two
    threads may compute one value at the same time."""

    def __init__(self, size: int) -> None:
        self._values: LRUCache[Hashable, object] = LRUCache(size)
        self._lock = Lock()

    def get_or_compute(self, key: Hashable, compute: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                return cast(T, self._values[key])
        value = compute()
        self.put(key, value)
        return value

    def put(self, key: Hashable, value: object) -> None:
        with self._lock:
            self._values[key] = value

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
