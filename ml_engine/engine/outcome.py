"""How a run ended. The command line exits with these statuses, and the portal's supervisor interprets them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit status of a command."""

    DONE = 0
    BUG = 1  # the details are in log.txt
    REFUSED = 2  # with the reason for the user
    UNREADABLE = 3  # done, but some films could not be read
    PARENT_GONE = 4  # the process that started the engine has ended
    DIFFERS = 5  # a repetition whose results differ from the original run's


@dataclass(frozen=True)
class Outcome:
    """``sentence`` is the reason for the user, empty on success. ``unreadable`` is the number of films that could not
    be read. ``is_temporary`` if the same run may succeed later: the disk was full, or the folder was in use."""

    status: ExitStatus
    sentence: str = ""
    unreadable: int = 0
    is_temporary: bool = False

    @property
    def has_results(self) -> bool:
        return self.status in (ExitStatus.DONE, ExitStatus.UNREADABLE)
