"""MIMIC-CXR-JPG (Johnson et al. 2019): 377,110 films of Boston as 8-bit JPEG. The CheXpert labeler mined the labels of
studies from reports; a radiologist read those of the test part's reports, and counts there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from portal.imaging.handled_elements import ElementOutcome
from portal.imaging.views import view_of_word
from portal.intake.csv_labels import CsvRow
from portal.intake.sources.reported_findings import FATES_OF_FINDINGS, ReportedLabel, label_of_columns
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions, Tables, TableShape
from portal.intake.table_columns import FILE, HASHED, PART, VIEW
from portal.models import LabelOrigin

_TITLE = "MIMIC-CXR-JPG"
_PARTS = {"train": "train", "validate": "tune", "test": "test"}
_Studies = Mapping[str, tuple[ReportedLabel, str]]  # label and origin


def _films(tables: Tables, options: SourceOptions) -> Iterator[SourceFilm | LeftOut]:
    studies = _studies(tables)
    parts = {row["dicom_id"]: _PARTS.get(row["split"], "") for table in tables["split"] for row in table.rows()}
    for table in tables["films"]:
        for row in table.rows():
            yield _film(row, options, studies, parts.get(row["dicom_id"], ""))


def _studies(tables: Tables) -> _Studies:
    """By study. Equal labels are one object: of 227,827 studies few differ in their labels."""
    same: dict[tuple[ReportedLabel, str], tuple[ReportedLabel, str]] = {}
    studies: dict[str, tuple[ReportedLabel, str]] = {}
    for key, origin in (("labels", LabelOrigin.SOFTWARE), ("radiologist", LabelOrigin.REPORT)):
        for table in tables[key]:
            for row in table.rows():
                label = (label_of_columns(row), origin.value)
                studies[row["study_id"]] = same.setdefault(label, label)
    return studies


def _film(row: Mapping[str, str], options: SourceOptions, studies: _Studies, part: str) -> SourceFilm | LeftOut:
    word = row.get("ViewPosition", "")
    view = view_of_word(word)
    # Where View Position is blank, the code often is not.
    view = view or view_of_word(row.get("ViewCodeSequence_CodeMeaning", "")) or view
    if left_out := options.left_out(view=view if view is not None else word, age_years=""):
        return left_out
    subject, study, film = row["subject_id"], row["study_id"], row["dicom_id"]
    reported, origin = studies.get(study, (ReportedLabel(""), ""))
    return SourceFilm(
        CsvRow(
            filename=f"files/p{subject[:2]}/p{subject}/s{study}/{film}.jpg",
            label=reported.label,
            findings=reported.findings,
            attributes=reported.attributes,
            patient_id=f"{_TITLE} {subject}",
            projection=view or "",
            split=part,
            origin=origin if reported.label else "",
            extra={"unsure of": "|".join(reported.unsure)} if reported.unsure else {},
        )
    )


_LABELS = frozenset({"study_id", "Cardiomegaly", "Support Devices"})
SOURCE = PublishedSource(
    key="mimic",
    title=_TITLE,
    shapes={
        "films": TableShape("mimic-cxr-2.0.0-metadata.csv", frozenset({"dicom_id", "subject_id", "ViewPosition"})),
        "labels": TableShape("mimic-cxr-2.0.0-chexpert.csv", _LABELS | {"subject_id"}, part_of_name="chexpert"),
        "split": TableShape("mimic-cxr-2.0.0-split.csv", frozenset({"dicom_id", "split"}), is_needed=False),
        "radiologist": TableShape(
            "mimic-cxr-2.1.0-test-set-labeled.csv", _LABELS, lacks=frozenset({"subject_id"}), is_needed=False
        ),
    },
    films=_films,
    fates={
        "dicom_id": FILE,
        "subject_id": HASHED,
        "study_id": (ElementOutcome.KEPT, "part of the film's path, and joins the tables"),
        "ViewPosition": VIEW,
        "ViewCodeSequence_CodeMeaning": VIEW,
        "split": PART,
        **FATES_OF_FINDINGS,
    },
)
