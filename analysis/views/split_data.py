"""The data of a split: Table 1, the flow from files to parts, where its labels come from."""

import math
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.attributes import GROUPS
from analysis.table_one import COMPARED_WITH, Column, TableOne, flow, table_one
from portal.access import get_visible, require
from portal.models import Split
from portal.signed_in import Request

SOURCES = {"import": "the import", "reader": "readers", "adjudication": "adjudication"}


@require_GET
def split_data(request: Request, uuid: UUID) -> HttpResponse:
    split = get_visible(Split.objects.select_related("site"), request.user, uuid)
    require(request.user, "see the site", split.site)
    table = table_one(split)
    context = {
        "room": "data",
        "split": split,
        "table": table,
        "rows": [(name, cells, zip(table.columns, told, strict=True)) for name, cells, told in _rows(table)],
        "flow": flow(split),
        "compared_with": COMPARED_WITH,
    }
    return render(request, "analysis/split_data.html", context)


def _rows(table: TableOne) -> Iterator[tuple[str, list[str], list[str]]]:
    """Name, a cell a part, and the standardised differences of the parts, blank where there is none to tell."""
    columns = table.columns
    blank = [""] * len(columns)
    yield "Patients", [f"{column.patients:,}" for column in columns], blank
    yield "Patients without an identifier", [f"{column.unidentified:,}" for column in columns], blank
    yield "Films", [f"{column.films:,}" for column in columns], blank
    ages = [f"{column.age_words}{_of_known(column)}" for column in columns]
    yield "Age in years, median (quartiles)", ages, [_difference(column, "age") for column in columns]
    for attribute, categories in table.rows.items():
        for place, category in enumerate(categories):
            cells = [_share(column.categories[attribute][category], column.films) for column in columns]
            told = [_difference(column, attribute) for column in columns] if place == 0 else blank
            yield f"{GROUPS[attribute]}: {category}", cells, told
    for label, source in table.references:
        counts = [column.references.get(label, Counter()) for column in columns]
        cells = [_share(count[source], column.films) for count, column in zip(counts, columns, strict=True)]
        yield f"Labelled {label} by {SOURCES[source]}", cells, blank
    for finding in table.findings:
        yield f"Finding: {finding}", [_share(column.findings[finding], column.films) for column in columns], blank


def _of_known(column: Column) -> str:
    return f", of {len(column.ages):,} films" if 0 < len(column.ages) < column.films else ""


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f} %)" if total else "0"


def _difference(column: Column, name: str) -> str:
    value = column.differences.get(name)
    return "" if value is None else f"{value:.2f}" if math.isfinite(value) else "complete"
