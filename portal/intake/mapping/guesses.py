"""What the columns of a table may mean: a draft for the person who maps them, never applied without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from portal.intake.csv_columns import (
    CORNERS,
    LIKE_LABEL,
    SECOND_NAMES,
    SECOND_NAMES_OF_BOXES,
    SIZES,
    column_name,
)
from portal.intake.csv_people import is_age_column, is_sex_column
from portal.intake.label_words import MOST_LABELS, meaning_of_word
from portal.intake.mapping.facts import ColumnValues, TableFacts
from portal.intake.mapping.meaning import FIELDS, MEANINGS, TableKind, TableMapping
from portal.intake.name_matching import ENDINGS, loosest

# Names of columns as tables of hospitals and challenges have them, without spaces, hyphens and underscores.
_NAMES: dict[str, tuple[str, ...]] = {
    "filename": (
        *("path", "img", "image", "imageid", "imgid", "dicom", "dicomid", "dicompath", "imgpath", "picture", "fname"),
        *("datei", "dateiname", "bild", "bildname", "pfad", "fichier", "archivo", "imagen", "study", "id"),
    ),
    "label": (
        *("dx", "diagnose", "diagnostic", "diagnostico", "diagnostik", "klasse", "classe", "clase", "etikett"),
        *("groundtruth", "reference", "finallabel", "imagelabel", "labels", "targets", "befundklasse"),
    ),
    "finding": (
        *("befund", "befunde", "pathology", "pathologies", "pathologie", "disease", "diseases", "hallazgos"),
        *("impression", "conclusion", "labels", "findingslist"),
    ),
    "patient_id": ("subject", "case", "caseid", "person", "participant", "patnr", "fallnummer", "patienten", "patnum"),
    "projection": ("view", "position", "projektion", "ansicht", "vue", "proyeccion", "imageview", "orientation"),
    "split": ("set", "part", "fold", "partition", "subset", "teil", "dataset"),
}


def guess_mapping(facts: TableFacts, files: Sequence[str] = ()) -> TableMapping:
    """The columns that fit a field best, each of one field. `files`: the names of the files of the import."""
    names = {column: column_name(column) for column in facts.columns}
    is_boxes = "x_min" in names.values() or {"x", "y"} <= set(names.values())
    kind = TableKind.BOXES if is_boxes else TableKind.LABELS
    columns: dict[str, str] = {}
    for field, fits in _tests(kind, facts, files):
        free = [column for column in facts.columns if column not in columns.values() and fits(column)]
        if field not in columns and free:
            columns[field] = free[0]
    if kind == TableKind.BOXES and not set(CORNERS) <= set(columns):
        columns = {field: column for field, column in columns.items() if field not in CORNERS}
    elif kind == TableKind.BOXES:
        columns = {field: column for field, column in columns.items() if field not in SIZES}
    labels = guess_meanings(facts.values_of(columns["label"])) if "label" in columns else {}
    return TableMapping(kind, columns, labels=labels)


def guess_meanings(values: ColumnValues) -> dict[str, str]:
    """Meanings of the values whose word says it. Numbers are left to the person: 1 may be either."""
    folded = (value.casefold() for value in values.counts)
    return {value: meaning for value in folded if (meaning := meaning_of_word(value)) is not None}


def _tests(kind: TableKind, facts: TableFacts, files: Sequence[str]) -> list[tuple[str, Callable[[str], bool]]]:
    """Field and test of a column, the surest first."""
    fields = FIELDS[kind]
    there = {loosest(name).rsplit("/", 1)[-1] for name in files}

    def named(field: str) -> Callable[[str], bool]:
        return lambda column: column_name(column) == field

    def second(field: str) -> Callable[[str], bool]:
        joined = _NAMES.get(field, ())
        seconds = SECOND_NAMES_OF_BOXES if kind == TableKind.BOXES else SECOND_NAMES
        return lambda column: seconds.get(column_name(column)) == field or _joined(column) in joined

    def names_files(column: str) -> bool:
        firsts = list(facts.values_of(column).counts)[:50]
        ends = [loosest(value.replace("\\", "/")).rsplit("/", 1)[-1] for value in firsts]
        return bool(ends) and sum(end in there for end in ends) * 2 > len(ends)

    def has_endings(column: str) -> bool:
        firsts = list(facts.values_of(column).counts)[:50]
        return bool(firsts) and all("." + value.lower().rsplit(".", 1)[-1] in ENDINGS for value in firsts)

    def says_labels(column: str) -> bool:
        counts = facts.values_of(column).counts
        return bool(counts) and all(value.casefold() in MEANINGS for value in counts)

    def like_label(column: str) -> bool:
        name, few = column_name(column), len(facts.values_of(column).counts) <= MOST_LABELS
        return few and (name in LIKE_LABEL or not {"label", "labels"}.isdisjoint(name.split("_")))

    def few_and_second(column: str) -> bool:
        return len(facts.values_of(column).counts) <= MOST_LABELS and second("label")(column)

    tests = [(field, named(field)) for field in fields]
    if kind == TableKind.LABELS:
        tests += [("sex", is_sex_column), ("age", is_age_column)]
    tests += [("filename", names_files), ("filename", has_endings), ("filename", second("filename"))]
    if kind == TableKind.LABELS:
        tests += [("label", says_labels), ("label", few_and_second), ("label", like_label)]
    return [*tests, *((field, second(field)) for field in fields if field != "filename")]


def _joined(column: str) -> str:
    return column_name(column).replace("_", "")
