"""What earlier imports stored beside the films can be listed and dropped, and never added to."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from portal.intake.further_columns import ColumnKind
from portal.intake.kept_columns import drop_columns, stored_columns
from portal.models import AuditEvent, Dataset, Image
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def of(data_dir: object) -> Dataset:
    of = factories.dataset()
    for n in range(12):
        further = {
            "bmi": f"24.{n}",
            "smoking": "never" if n else "pipe",
            "uhid": f"99{n}",
            "finding without a label": "x",
        }
        factories.film(of, extra=further)
    factories.film(of)
    factories.film(factories.dataset("D", at=factories.site("Elsewhere")), extra={"uhid": "1"})
    return of


def test_columns_are_listed_with_what_they_look_like(of: Dataset) -> None:
    assert [(one.name, one.films, one.values, one.fits) for one in stored_columns(of.site)] == [
        ("bmi", 12, 12, (ColumnKind.NUMBER,)),
        ("smoking", 12, 2, (ColumnKind.CATEGORY,)),
        ("uhid", 12, 12, ()),
    ]


def test_others_are_dropped_with_the_values_that_no_import_would_keep(of: Dataset) -> None:
    dropped = drop_columns(of.site, keep={"bmi": ColumnKind.NUMBER, "smoking": ColumnKind.CATEGORY}, actor=None)
    assert dropped == {"uhid": 12, "smoking": 1}
    first, second, *_ = of.images.order_by("pk")
    assert first.extra == {"bmi": "24.0", "finding without a label": "x"}
    assert second.extra == {"bmi": "24.1", "smoking": "never", "finding without a label": "x"}
    assert Image.objects.exclude(dataset=of).get().extra == {"uhid": "1"}
    event = AuditEvent.objects.get(verb="drop further columns")
    assert event.after == {"films": 12, "columns": 2, "kept": 2}


@pytest.mark.parametrize("changes", [{"extra": {"bmi": "25"}}, {"extra": {"uhid": "990", "new": "x"}}, {"rows": 1}])
def test_the_database_lets_columns_be_dropped_only(of: Dataset, changes: dict[str, object]) -> None:
    with pytest.raises(DatabaseError, match="write-once"), transaction.atomic():
        Image.objects.filter(pk=of.images.first().pk).update(**changes)
    with pytest.raises(DatabaseError, match="write-once"), transaction.atomic():
        Image.objects.filter(pk=of.images.first().pk).update(extra={}, rows=1)
    Image.objects.filter(pk=of.images.first().pk).update(extra={"bmi": "24.0"})


def command(**options: object) -> str:
    output = StringIO()
    call_command("further_columns", **options, stdout=output)
    return output.getvalue()


def test_the_command_lists_and_drops(of: Dataset) -> None:
    assert "uhid: 12 films, 12 values; looks like nothing that may be kept\n" in command(site="Seoul")
    assert "bmi: 12 films, 12 values; looks like number\n" in command(site="Seoul")
    assert command(site="Seoul", keep=["bmi=number"], drop=True).splitlines() == [
        "dropped smoking of 12 films",
        "dropped uhid of 12 films",
    ]
    command(site="Elsewhere", drop=True)
    assert command(site="Elsewhere") == "No film of Elsewhere has further columns.\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"site": "Nowhere"}, "There is no site 'Nowhere'; existing sites: "),
        ({"site": "Seoul", "keep": ["bmi"], "drop": True}, "--keep bmi: write COLUMN=number or COLUMN=category"),
        (
            {"site": "Seoul", "keep": ["kvp=number"], "drop": True},
            "No film of Seoul has a column 'kvp'",
        ),
        ({"site": "Seoul", "keep": ["bmi=number"]}, "--keep says what stays when the other columns are dropped"),
    ],
)
def test_what_the_command_refuses(of: Dataset, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        command(**options)
