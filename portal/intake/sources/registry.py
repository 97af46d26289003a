"""The published datasets that Hilum knows."""

from __future__ import annotations

from portal.intake.sources import chexpert, mimic, nih, padchest, rsna, vindr
from portal.intake.sources.source import InvalidSource, PublishedSource

SOURCES: dict[str, PublishedSource] = {
    module.SOURCE.key: module.SOURCE for module in (padchest, nih, chexpert, mimic, rsna, vindr)
}


def source_named(key: str) -> PublishedSource:
    """Raises InvalidSource."""
    if key not in SOURCES:
        raise InvalidSource(f"The source is {key[:40]!r}; choose one of {', '.join(SOURCES)}, or none for other files.")
    return SOURCES[key]
