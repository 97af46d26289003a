"""What an import without a zip brings: a file of the folder of uploads that lists it, for as long as the import runs.

It may name identifiers, such as those of studies in a PACS, which the database does not hold; so it is a file, and is
removed when the import ends, as a zip is.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from portal.intake import film_files
from portal.models import Upload


class PlanKind(StrEnum):
    QUARANTINE = "quarantine"  # files of quarantine, by UUID
    PACS = "pacs"  # the name of a PACS, then studies by their UIDs


@dataclass(frozen=True)
class ImportPlan:
    kind: PlanKind
    items: list[str]


def plan_path(upload: Upload) -> Path:
    return film_files.upload_path(f"{upload.uuid}.plan.json")


def write_plan(upload: Upload, plan: ImportPlan) -> None:
    film_files.write_once(plan_path(upload), json.dumps(asdict(plan)).encode())


def read_plan(upload: Upload) -> ImportPlan:
    stored = json.loads(plan_path(upload).read_text(encoding="utf-8"))
    return ImportPlan(PlanKind(stored["kind"]), stored["items"])
