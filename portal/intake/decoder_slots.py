"""No more films are decoded at once than HILUM_IMPORT_PROCESSES says, however many imports of an installation run.

Whoever decodes a film locks one of as many files of the data folder. The system unlocks it when the process ends,
however it ends. The lock is for a film, so that imports take turns and none waits for the end of another.
"""

import fcntl
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

_SECONDS_BETWEEN_LOOKS = 0.01


class GivenUp(Exception):
    """The import ended while a film waited for its turn."""


class DecoderSlots:
    """The slots of the installation, of which an import uses the first `number`."""

    def __init__(self, number: int) -> None:
        self._folder = Path(settings.DATA_DIR) / "decoders"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number = number
        self._is_given_up = threading.Event()

    def give_up(self) -> None:
        """End the waiting of all threads."""
        self._is_given_up.set()

    @contextmanager
    def one(self) -> Iterator[int]:
        """A slot by its number, for as long as the block runs; waits for a free one. Raises GivenUp."""
        while True:
            for number in random.sample(range(self._number), self._number):
                descriptor = os.open(self._folder / f"slot-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    if _is_locked_now(descriptor):
                        yield number
                        return
                finally:
                    os.close(descriptor)  # unlocks it
            if self._is_given_up.wait(_SECONDS_BETWEEN_LOOKS):
                raise GivenUp


def _is_locked_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
