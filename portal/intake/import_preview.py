"""What an import would do with its tables under a mapping, before any film is decoded: by the functions of the import
itself, up to the point where it opens the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portal.intake.entries import Entry, entries_of
from portal.intake.film_labels import AmbiguousName, FilmNames
from portal.intake.import_report import ImportReport
from portal.intake.patient_identifiers import PatientSource, patient_identifier
from portal.intake.zip_uploads import Contents
from portal.models import Dataset, User
from portal.people import blinding


@dataclass(frozen=True)
class MappingPreview:
    """`labels`: films by label, blank for those without one; `there`: rows for films that are in the dataset;
    `without_file`: rows that name neither a file nor a film. `findings`: films by finding. `sentences`: those of the
    import's report that are known before the files are opened."""

    labels: Mapping[str, int]
    films: int
    there: int
    rows: int
    without_file: int
    patients: int
    without_patient: int
    findings: Mapping[str, int]
    boxes: int
    sentences: Sequence[str]

    @property
    def matches_nothing(self) -> bool:
        return self.rows > 0 and self.films + self.there == 0


def preview_import(contents: Contents, dataset: Dataset, uploader: User | None) -> MappingPreview:
    """Films that the uploader reads blinded are left out of every count beside their own, as the import leaves them
    out: what is counted of a row would tell whether its label is that of the film."""
    report = ImportReport()
    report.skipped.extend(contents.skipped)
    report.counts.update(contents.counts)
    entries = entries_of(contents.files, contents.rows, contents.boxes, report)
    new = [entry for entry in entries if entry.path is not None]
    there = _of_films_that_are_there(entries, dataset, uploader, report)
    used = [*new, *there]
    patients = [entry.row.patient_id if entry.row else "" for entry in new]
    with_identifier = {identifier.casefold() for identifier in map(_patient, patients) if identifier}
    labels = Counter(entry.row.label if entry.row else "" for entry in used)
    return MappingPreview(
        labels=labels,
        films=len(new),
        there=len(there),
        rows=report.rows,
        without_file=len(report.missing),
        patients=len(with_identifier),
        without_patient=sum(not _patient(identifier) for identifier in patients),
        findings=Counter(finding for entry in used if entry.row for finding in dict.fromkeys(entry.row.findings)),
        boxes=sum(len(entry.boxes or ()) for entry in used if entry.row and entry.row.label),
        sentences=report.sentences() if report.to_json() else [],
    )


def _patient(identifier: str) -> str:
    spellings = patient_identifier(table=identifier, header="", counts=PatientSource.TABLE).spellings
    return spellings[0] if spellings else ""


def _of_films_that_are_there(
    entries: Sequence[Entry], dataset: Dataset, uploader: User | None, report: ImportReport
) -> list[Entry]:
    """The entries that label a film of the dataset; the others of those without a file go to the report."""
    without_file = [(entry, entry.row) for entry in entries if entry.path is None and entry.row is not None]
    if not without_file:
        return []
    names = FilmNames(dataset, [row for _, row in without_file])
    withheld = set(blinding.withheld_images(uploader).values_list("pk", flat=True)) if uploader else set()
    seen: set[int] = set()
    there = []
    for entry, row in without_file:
        try:
            film, _ = names.id_of(row)
        except AmbiguousName:
            report.ambiguous_films.append(row)
            report.counts["ambiguous names"] += 1
            continue
        if film is None:
            report.missing.append(row)
        elif film in seen:
            report.counts["the same film again"] += 1
        elif film in withheld:
            report.counts["read blinded"] += 1
        else:
            there.append(entry)
        seen |= {film} if film is not None else set()
    return there
