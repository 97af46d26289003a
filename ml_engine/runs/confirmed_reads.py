"""What people said of the films of a scored run, for a semi-supervised head.

Readings are rows of `analysis`, which this app does not know: `analysis` registers here how they are gathered.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from ml_engine.models import ReadSource, Run

READINGS, LABELS = "readings", "labels"
SOURCES = {
    READINGS: "Verdicts of worklists, with and without the model",
    LABELS: "Labels of curators",
}


@dataclass(frozen=True)
class ConfirmedRead:
    """What people agree on for a film. `weight` is the inverse of the probability with which it was drawn for
    reading; `model_shown` unless at least one of the verdicts was given without the model."""

    image: int
    verdict: str  # normal or abnormal
    source: ReadSource
    weight: float
    model_shown: bool


@dataclass(frozen=True)
class GatheredReads:
    """`left_out` counts films without a verdict that counts, by reason."""

    reads: tuple[ConfirmedRead, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


Gather = Callable[[Run, Collection[str]], GatheredReads]
_registered: list[Gather] = []


def register(gather: Gather) -> None:
    """Let `gather` answer `reads_of`. Called once, when the app starts."""
    _registered[:] = [gather]


def reads_of(scored: Run, sources: Collection[str]) -> GatheredReads:
    """The reads of the films that `scored` scored, from these `SOURCES`."""
    return _registered[0](scored, sources) if _registered else GatheredReads()
