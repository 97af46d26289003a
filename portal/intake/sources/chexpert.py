"""CheXpert (Irvin et al. 2019): 224,316 films of Stanford as 8-bit JPEG. Software mined the labels of train from
reports; three radiologists read the films of valid, eight those of test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from portal.imaging.handled_elements import ElementOutcome
from portal.imaging.views import view_of_word
from portal.intake.csv_labels import CsvRow
from portal.intake.csv_people import age_of, sex_of
from portal.intake.sources.published_table import PublishedTable
from portal.intake.sources.reported_findings import DEVICES, FATES_OF_FINDINGS, NO_FINDING, label_of_columns
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions, Tables, TableShape
from portal.intake.table_columns import AGE, SEX, VIEW
from portal.intake.tables import InvalidCsv
from portal.models import LabelOrigin

_TITLE = "CheXpert"
_PATH = re.compile(r"(?:^|/)((train|valid|test)/(patient\d+)/.+)$")
# Published beside train.csv, with the same films and columns: labels that two other labelers made of the reports.
_NOT_CHEXBERT = r"^(?!.*chexbert)"
_PARTS = {"train": "train", "valid": "tune", "test": "test"}


def _films(tables: Tables, options: SourceOptions) -> Iterator[SourceFilm | LeftOut]:
    _refuse_two_tables_of_a_part(tables["labels"])
    for table in tables["labels"]:
        for row in table.rows():
            yield _film(row, options)


def _refuse_two_tables_of_a_part(tables: Sequence[PublishedTable]) -> None:
    """A film would get the label of the table that comes last. Raises InvalidCsv."""
    of_part: dict[str, str] = {}
    for table in tables:
        place = _PATH.search(next(table.rows(), {}).get("Path", "").replace("\\", "/"))
        if place is None:
            continue
        if other := of_part.get(place[2]):
            raise InvalidCsv(f"{other} and {table.name} both label the part {place[2]} of {_TITLE}; keep one of them.")
        of_part[place[2]] = table.name


def _film(row: Mapping[str, str], options: SourceOptions) -> SourceFilm | LeftOut:
    path = row["Path"].replace("\\", "/")
    place = _PATH.search(path)  # the folder above, such as CheXpert-v1.0-small, is that of a size
    name, folder, patient = place.groups() if place else (path, "", "")
    # The table of test has neither sex, age nor view.
    side = row.get("Frontal/Lateral", "") or ("Lateral" if "lateral" in path.lower() else "Frontal")
    view = view_of_word(row.get("AP/PA", "") or side) or view_of_word(side) or ""
    age = age_of(row.get("Age", ""))
    if left_out := options.left_out(view=view, age_years=age):
        return left_out
    reported = label_of_columns(row)
    origin = LabelOrigin.SOFTWARE if folder == "train" else LabelOrigin.READER
    return SourceFilm(
        CsvRow(
            filename=name,
            label=reported.label,
            findings=reported.findings,
            attributes=reported.attributes,
            patient_id=f"{_TITLE} {patient}" if patient else "",
            projection=view,
            split=_PARTS.get(folder, ""),
            sex=sex_of(row.get("Sex", "")),
            age_years=age,
            origin=origin if reported.label else "",
            extra={"unsure of": "|".join(reported.unsure)} if reported.unsure else {},
        )
    )


SOURCE = PublishedSource(
    key="chexpert",
    title=_TITLE,
    shapes={
        "labels": TableShape(
            "train.csv", frozenset({"Path", NO_FINDING, DEVICES}), part_of_name=_NOT_CHEXBERT, may_be_several=True
        )
    },
    films=_films,
    fates={
        "Path": (
            ElementOutcome.REPLACED,
            "patient of the path, as a keyed hash; the path stays as the name of the film's file",
        ),
        "Frontal/Lateral": VIEW,
        "AP/PA": VIEW,
        "Age": AGE,
        "Sex": SEX,
        **FATES_OF_FINDINGS,
    },
    parts_of_name=3,
)
