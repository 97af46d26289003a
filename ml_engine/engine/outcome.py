"""How a run ended. The exit statuses are the command line's, and the portal's supervisor reads them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command ends with."""

    DONE = 0
    BUG = 1  # the details are in log.txt
    REFUSED = 2  # with a sentence for the user
    UNREADABLE = 3  # done, but some films could not be read
    PARENT_GONE = 4  # whoever started the engine is gone
    DIFFERS = 5  # a repetition whose results are not those of the run repeated


@dataclass(frozen=True)
class Outcome:
    """``sentence`` is the reason for the user, empty when all went well, ``unreadable`` how many films could not be
    read. ``passing`` where the same run may succeed later: the disk was full, the folder in use."""

    status: ExitStatus
    sentence: str = ""
    unreadable: int = 0
    passing: bool = False

    @property
    def has_results(self) -> bool:
        return self.status in (ExitStatus.DONE, ExitStatus.UNREADABLE)
