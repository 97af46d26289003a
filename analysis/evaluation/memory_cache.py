"""Statistics that are asked for again at each step of a slider, kept in this process."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar, cast

from cachetools import LRUCache

T = TypeVar("T")


class Remembered:
    """The latest `size` answers by key; the one that was asked for the longest ago goes first. Safe among threads,
    of which two may work out one answer at once."""

    def __init__(self, size: int) -> None:
        self._answers: LRUCache[Hashable, object] = LRUCache(size)
        self._lock = Lock()

    def __call__(self, key: Hashable, work_out: Callable[[], T]) -> T:
        with self._lock:
            if key in self._answers:
                return cast(T, self._answers[key])
        answer = work_out()
        self.put(key, answer)
        return answer

    def put(self, key: Hashable, answer: object) -> None:
        """Remember an answer that was worked out elsewhere."""
        with self._lock:
            self._answers[key] = answer

    def clear(self) -> None:
        with self._lock:
            self._answers.clear()
