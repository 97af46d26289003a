"""The learning curve on the page of a semi-supervised head, and as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client
from django.urls import reverse

from analysis.report.head_tables import COLUMNS
from ml_engine.models import HeadModel
from portal.models import Role, User
from portal.people.blinding import open_for
from tests.analysis.headed import CURVE, fitted_head
from tests.analysis.scored import Scored
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def head(scored: Scored) -> HeadModel:
    return fitted_head(scored, trained=scored.films[6:8])


def curve(head: HeadModel, name: str = "head-curve") -> str:
    return reverse(f"analysis:{name}", args=[head.run.uuid])


def test_the_page_of_the_run_shows_reads_control_and_curve(as_analyst: Client, head: HeadModel) -> None:
    page = one_line(as_analyst.get(reverse("ml_engine:run", args=[head.run.uuid])).text)
    assert "<strong>Semi-supervised</strong>" in page
    assert f'hx-get="{curve(head)}"' in page
    assert "0.520" in page and "(0.410–0.630)" in page
    assert "scanner: Acme" in page and "20 %" in page and "40 %" in page
    assert "worth 9.5 films of equal weight" in page
    section = one_line(as_analyst.get(curve(head)).text)
    assert "With 40 reads, 20 of them abnormal" in section
    assert "0.050" in section and "(-0.010 to 0.110)" in section
    assert 'Expected of 20 more reads: <strong class="tabular">0.020</strong>' in section
    assert CURVE["note"] in section
    assert "Combined 0.700" in section and "are semi-supervised" in section and "random weights" in section


def test_the_csv_has_every_point_in_full(as_analyst: Client, head: HeadModel) -> None:
    answer = as_analyst.get(curve(head, "head-curve-table"))
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0]) == [*COLUMNS, "notice"]
    assert [float(row["reads [films]"]) for row in rows] == [10, 20, 40]
    assert float(rows[2]["gain_high"]) == 0.11 and float(rows[0]["one_class_auroc_low"]) == 0.6
    assert "Semi-supervised" in rows[0]["notice"] and "random weights" in rows[0]["notice"]


def test_a_head_without_a_curve_says_why(as_analyst: Client, scored: Scored) -> None:
    none = {"films": 3, "abnormal": 1, "one_class": None, "points": [], "further_gain": None, "further_reads": 20}
    head = fitted_head(scored, learning_curve=none | {"note": "Tune has abnormal films of 1 patients: too few."})
    section = one_line(as_analyst.get(curve(head)).text)
    assert "too few" in section and "Expected of" not in section
    assert len(as_analyst.get(curve(head, "head-curve-table")).text.splitlines()) == 1


def test_who_reads_one_of_its_films_blinded_sees_no_count(
    as_analyst: Client, analyst: User, head: HeadModel, scored: Scored
) -> None:
    open_for(person=analyst, images=[scored.films[6]], source=scored.run.uuid, words="a worklist", days=3)
    page = one_line(as_analyst.get(reverse("ml_engine:run", args=[head.run.uuid])).text)
    assert "is hidden from you until you have read the films" in page
    assert "worth 9.5 films" not in page and "scanner: Acme" not in page
    for name in ("head-curve", "head-curve-table"):
        assert as_analyst.get(curve(head, name)).status_code == 403


def test_who_may(client: Client, head: HeadModel, scored: Scored) -> None:
    client.force_login(factories.user("curator", Role.CURATOR))
    assert client.get(curve(head)).status_code == 403
    client.force_login(factories.user("reader", Role.READER))
    assert client.get(curve(head)).status_code == 200
    assert client.get(reverse("analysis:head-curve", args=[scored.run.uuid])).status_code == 404
