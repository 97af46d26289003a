"""Which published dataset an upload is of, as a form, the API or a row says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from portal.intake.sources.registry import SOURCES, source_named
from portal.intake.sources.source import InvalidSource


@dataclass(frozen=True)
class SourceChoice:
    """`key` is blank for films with a table of one's own."""

    key: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


OWN_FILES = SourceChoice()


def chosen_source(data: Mapping[str, Any]) -> SourceChoice:
    """The choice in the fields `source`, `views` and `children`. Raises InvalidSource."""
    key = str(data.get("source") or "")
    asked = {"views": data.get("views") or "", "children": data.get("children") in (True, "1", "on", "yes", "true")}
    if key:
        return SourceChoice(key, source_named(key).options_of(asked).to_json())
    if asked["views"] or asked["children"]:
        raise InvalidSource(
            "Views and under-18s are chosen for a published dataset; choose which it is, one of "
            f"{', '.join(SOURCES)}, or leave them out."
        )
    return OWN_FILES
