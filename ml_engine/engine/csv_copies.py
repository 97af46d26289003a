"""Films that a user's CSV names twice, by the content of their files: one copy is used, as in a split of the portal."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from ml_engine.core import files
from ml_engine.engine import manifest
from ml_engine.engine.manifest import HASH, PARTS, Selection
from portal.sets.same_person import Joined, parts_by_person

FURTHER = "further copy of a film"
CONTRADICTING = "copy of a film with another label"
Table = list[dict[str, str]]


def keep_one(table: Table, images: Path) -> tuple[Table, dict[str, int]]:
    """The rows without further copies of a film, and the numbers of rows left out, by reason.

    Patients who share a film become one, under the first of their names in order. Where the CSV names two parts for
    them, the stricter one counts, and the rows of the other patients are left out; where it names two labels for a
    film, all its copies are. Rows get the SHA-256 of their files under `HASH`; missing files have none. Raises
    InvalidManifest if a single patient is in two parts.
    """
    manifest.refuse_shared_patients(table)
    rows = [{**row, HASH: _hash(images / row["filename"])} for row in table]
    named, left_out = _under_one_name(rows), Counter[str]()
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row[HASH]:
            labels[row[HASH]] |= {row.get("label", "").lower()} - {""}
    kept: Table = []
    seen: set[str] = set()
    for row in sorted(rows, key=lambda row: (not _has_part(row), not row.get("label"))):  # the copy that says most
        part = named.get(row["patient_id"], "")
        if len(labels[row[HASH]]) > 1:
            left_out[CONTRADICTING] += 1
        elif _has_part(row) and part != row["split"].lower():
            left_out[f"of a patient who shares a film with one in {part}"] += 1
        elif row[HASH] in seen:
            left_out[FURTHER] += 1
        else:
            seen |= {row[HASH]} - {""}
            kept.append(row)
    if not kept:
        raise manifest.InvalidManifest(
            "Every film of the CSV is named twice, with two labels: delete the rows whose label is wrong."
        )
    kept.sort(key=lambda row: int(row[manifest.LINE]))
    return kept, dict(left_out)


def with_reasons(selection: Selection, left_out: dict[str, int]) -> Selection:
    return replace(selection, left_out=selection.left_out | left_out)


def _hash(path: Path) -> str:
    return files.sha256_of(path) if path.is_file() else ""


def _has_part(row: dict[str, str]) -> bool:
    return row.get("split", "").lower() in (*PARTS, "train")


def _under_one_name(rows: Table) -> dict[str, str]:
    """Give the patients who share a film one name, in place; return the part that counts for each name."""
    first: dict[str, str] = {}
    pairs = []
    for row in rows:
        patient = row.get("patient_id", "") or manifest.alone(row["filename"])
        row["patient_id"] = patient
        if row[HASH]:
            pairs.append((patient, first.setdefault(row[HASH], patient)))
    joined = Joined((one, other) for one, other in pairs if one != other)
    names = {patient: min(group) for group in joined.groups() for patient in group}
    patients = {row["patient_id"]: row["split"].lower() for row in rows if _has_part(row)}
    strictest = parts_by_person(patients, {patient: names.get(patient, patient) for patient in patients})
    for row in rows:
        row["patient_id"] = names.get(row["patient_id"], row["patient_id"])
    return {names.get(patient, patient): part for patient, part in strictest.items()}
