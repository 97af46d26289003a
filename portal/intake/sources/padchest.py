"""PadChest (Bustos et al. 2020): 160,868 films as 16-bit PNG, of which 12 bits are used, with one table.

Films whose list of labels is exactly `normal` are normal; a film without a finding of the table is not. A label says
whether a physician read the report or a network did (`MethodLabel`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from portal.imaging.handled_elements import ElementOutcome
from portal.imaging.views import placement_of_word, quoted, view_of_word
from portal.intake.csv_labels import CsvRow, separated
from portal.intake.csv_people import age_of, sex_of
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions, Tables, TableShape, Views
from portal.intake.table_columns import FILE, HASHED, ORIGIN, SEX, VIEW, YEAR
from portal.models import LabelOrigin

_TITLE = "PadChest"
_ORIGINS = {"physician": LabelOrigin.REPORT, "rnn_model": LabelOrigin.SOFTWARE}
_NO_FINDINGS = frozenset({"normal", "unchanged", "suboptimal study"})
_COLUMNS = ("ImageID", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM", "Projection")
# Published as truncated or empty files.
BROKEN = frozenset(
    f"216840111366964{name}.png"
    for name in (
        *("012819207061112010307142602253_04-014-084", "012989926673512011074122523403_00-163-058"),
        *("012959786098432011033083840143_00-176-115", "012558082906712009327122220177_00-102-064"),
        *("012339356563862009072111404053_00-043-192", "013076187734852011291090445391_00-196-188"),
        *("012373310883942009117084022290_00-064-025", "012283393834152009033102258826_00-059-087"),
        *("012373310883942009170084120009_00-097-074", "012819207061112010315104455352_04-024-184"),
        *("012819207061112010306085429121_04-020-102", "012989926673512011083134050913_00-168-009"),
        *("012373310883942009152114636712_00-102-045", "012819207061112010281134410801_00-129-131"),
        *("012487858717522009280135853083_00-075-001", "012989926673512011151082430686_00-157-045"),
        *("013686042548532013208193054515_02-026-007", "013590140476722013058110301622_02-056-111"),
        *("013590140476722013043111952381_02-065-198", "013829543166512013353113303615_02-092-190"),
        "013962490064942014134093945580_01-178-104",
    )
)


def _films(tables: Tables, options: SourceOptions) -> Iterator[SourceFilm | LeftOut]:
    for table in tables["labels"]:
        for row in table.rows():
            yield _film(row, options)


def _film(row: Mapping[str, str], options: SourceOptions) -> SourceFilm | LeftOut:
    if row["ImageID"] in BROKEN:
        return LeftOut.BROKEN
    word = row.get("Projection", "")
    view = view_of_word(word)
    age = _age(row)
    left_out = options.left_out(view=view or word, age_years=age)
    if left_out is None and not options.children and row.get("Pediatric", "").lower() not in ("", "no"):
        left_out = LeftOut.CHILD
    if left_out is not None:
        return left_out
    label, findings = label_of(row.get("Labels", ""))
    method = row.get("MethodLabel", "")
    extra = {"methodlabel": method, "photometric interpretation": row.get("PhotometricInterpretation_DICOM", "")}
    if placement := placement_of_word(word):
        extra["projection as written"] = placement
    return SourceFilm(
        CsvRow(
            filename=row["ImageID"],
            label=label,
            findings=findings,
            patient_id=f"{_TITLE} {row['PatientID']}" if row.get("PatientID") else "",
            projection=view or "",
            unknown_projection=quoted(word) if view is None else "",
            sex=sex_of(row.get("PatientSex_DICOM", "")),
            age_years=age,
            photometric=_photometric(row),
            origin=_ORIGINS.get(method.lower(), "") if label else "",
            extra={name: value for name, value in extra.items() if value},
        )
    )


def _photometric(row: Mapping[str, str]) -> str:
    """The pictures hold the values of the DICOM files as they were stored, so where 0 was white it still is."""
    return "MONOCHROME1" if row.get("PhotometricInterpretation_DICOM", "").upper() == "MONOCHROME1" else ""


def label_of(text: str) -> tuple[str, tuple[str, ...]]:
    """The label and the findings of a list as the table writes it: `['normal']`, `['effusion', ' nodule']`. A list that
    says neither normal nor a finding, such as `['unchanged']`, is unsure; an empty one is no label."""
    named = list(dict.fromkeys(word.lower() for word in separated(text)))
    if named == ["normal"]:
        return "normal", ()
    if "exclude" in named:
        return "exclude", ()
    findings = tuple(word for word in named if word not in _NO_FINDINGS)
    if findings:
        return "abnormal", findings
    return ("unsure" if named else ""), ()


def _age(row: Mapping[str, str]) -> str:
    """The difference of two years: the table has no age and no day of birth."""
    study = re.match(r"(\d{4})\d{4}", row.get("StudyDate_DICOM", ""))
    birth = re.match(r"\d{4}", row.get("PatientBirth", ""))
    if not study or not birth:
        return ""
    years = int(study[1]) - int(birth[0])
    return age_of(str(years)) if years >= 0 else ""  # some births are after the study


SOURCE = PublishedSource(
    key="padchest",
    title=_TITLE,
    shapes={
        "labels": TableShape(
            "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", frozenset({*_COLUMNS, "Labels", "MethodLabel"})
        )
    },
    films=_films,
    fates={
        "ImageID": FILE,
        "StudyDate_DICOM": YEAR,
        "PatientBirth": YEAR,
        "PatientID": HASHED,
        "PatientSex_DICOM": SEX,
        "Projection": VIEW,
        "Pediatric": (ElementOutcome.REMOVED, "says which films of children to leave out, and is not kept"),
        "Labels": (ElementOutcome.KEPT, "label and findings"),
        "MethodLabel": ORIGIN,
        "PhotometricInterpretation_DICOM": (ElementOutcome.KEPT, "photometric interpretation, for showing the film"),
    },
    views=Views.PA,
    bits=12,
)
