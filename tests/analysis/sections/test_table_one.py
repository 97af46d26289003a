"""The data of a split: patients and films of each part, films left out, sources of the labels."""

from __future__ import annotations

import csv
import io
from collections import Counter

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.figures import NOTICE
from analysis.report.csv_tables import as_csv
from analysis.report.table_one_table import table_one_table
from analysis.sections.attributes import UNKNOWN, scanner
from analysis.sections.data_flow import data_of
from analysis.sections.table_one import Column, compared, differences_in_words, flow, table_one
from portal.models import Image, Role, Split, SplitImage, User
from portal.sets.splits import SplitRequest, split_from_csv
from tests.analysis.scored import Scored
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def split(data_dir: object) -> Split:
    """Six fit films of three patients and four test films of four, two of them abnormal by a reader."""
    at = factories.site()
    dataset = factories.dataset("Set", at=at)
    curator = factories.curator()
    for n in range(6):
        factories.film(dataset, "normal", person=f"fit {n // 2}", csv_split="fit")
    test = [factories.film(dataset, "normal", person=f"test {n}", csv_split="test") for n in range(4)]
    factories.label_films(images=test[:2], value="abnormal", findings=["nodule"], author=curator, site=at)
    unsure = factories.film(dataset, "normal", person="fit 0", csv_split="fit")
    factories.label_films(images=[unsure], value="unsure", author=curator, site=at)
    for n, film in enumerate(test):
        film.patient.sex = "F" if n else "M"
        film.patient.save()
    for film in dataset.images.filter(csv_split="fit"):
        film.patient.sex = "M"
        film.patient.save()
    return split_from_csv(SplitRequest(site=at, name="Split", datasets=[dataset], seed=0, author=curator))


def test_each_part_is_counted(split: Split) -> None:
    fit, test = table_one(split).columns
    assert (fit.part, fit.patients, fit.films) == ("fit", 3, 6)
    assert (test.part, test.patients, test.films) == ("test", 4, 4)
    assert fit.categories["sex"] == {"male": 6}
    assert test.categories["sex"] == {"male": 1, "female": 3}
    assert test.references == {"normal": {"import": 2}, "abnormal": {"reader": 2}}
    assert test.findings == {"nodule": 2}


def test_parts_are_compared_with_fit(split: Split) -> None:
    fit, test = table_one(split).columns
    assert fit.differences == {}
    assert test.differences["age"] is None
    p, q = 1.0, 0.25
    assert test.differences["sex"] == pytest.approx((p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2))


def test_each_part_has_a_column_of_normal_and_one_of_abnormal_films(split: Split) -> None:
    table = table_one(split)
    assert [(group.name, group.patients, group.films) for group in table.groups] == [
        ("fit, normal", 3, 6),
        ("test, normal", 2, 2),
        ("test, abnormal", 2, 2),
    ]
    normal, abnormal = table.columns[1].groups
    assert (normal.findings, abnormal.findings) == ({}, {"nodule": 2})
    assert (normal.categories["sex"], abnormal.categories["sex"]) == ({"female": 2}, {"male": 1, "female": 1})


def test_normals_are_compared_with_those_of_fit_and_abnormal_films_with_the_normals_of_their_part(split: Split) -> None:
    fit, normal, abnormal = table_one(split).groups
    assert (fit.compared_with, normal.compared_with, abnormal.compared_with) == ("", "fit, normal", "test, normal")
    assert normal.differences["sex"] == np.inf  # all female, all male
    p, q = 0.5, 1.0
    wanted = (q - p) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert abnormal.differences["sex"] == pytest.approx(wanted)


@pytest.mark.parametrize("door", ["analysis:table-one-csv", "api-table-one-csv"])
def test_it_is_exported_as_it_is_printed(client: Client, split: Split, door: str) -> None:
    dataset = split.datasets.get()
    dataset.name = "=1+1"
    dataset.save()
    client.force_login(factories.user("reader", Role.READER))
    answer = client.get(reverse(door, args=[split.uuid]))
    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (200, "text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    by_name = {row["characteristic"]: row for row in rows}
    assert by_name["Films"]["test, abnormal"] == "2"
    assert by_name["Sex: female"]["test, normal"] == "2 (100.0 %)"
    of_sex = [row["standardised difference of test, abnormal from test, normal"] for row in rows if "Sex" in str(row)]
    assert of_sex == ["1.41", ""]
    assert by_name["Dataset: =1+1"]["fit, normal"] == "6 (100.0 %)"
    assert all(row["notice"] == NOTICE for row in rows)
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(reverse(door, args=[split.uuid])).status_code == 404


def test_a_difference_below_zero_is_no_formula(split: Split) -> None:
    table = table_one(split)
    for group in table.groups:
        group.differences["sex"] = -0.054
    in_print = dict(differences_in_words(table))
    assert set(in_print["Sex"]) == {"−0.05"}
    lines = as_csv(table_one_table(table), notice=NOTICE).splitlines()
    assert next(line for line in lines if line.startswith("Sex: ")).count(",−0.05") == len(compared(table))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"manufacturer": "other", "model": "other"}, "other"),
        ({"manufacturer": "siemens", "model": "axiom"}, "siemens axiom"),
        ({"manufacturer": "siemens"}, "siemens"),
        ({}, UNKNOWN),
    ],
)
def test_a_scanner_is_maker_and_model_and_other_only_once(header: dict[str, str], words: str) -> None:
    assert scanner(Image(header=header)) == words


def test_a_film_whose_label_is_neither_has_a_column_of_its_own(split: Split) -> None:
    film = SplitImage.objects.filter(member__split=split, member__part="test").latest("pk").image
    factories.label_films(images=[film], value="unsure", author=factories.user("second", Role.CURATOR), site=split.site)
    split.label_cutoff = timezone.now()
    assert [group.name for group in table_one(split).columns[1].groups] == [
        "test, normal", "test, abnormal", "test, neither",
    ]  # fmt: skip


def test_the_flow_adds_up(split: Split) -> None:
    films = flow(split)
    assert (films.imported, films.left_out, films.parts, films.since) == (11, {"unsure": 1}, {"fit": 6, "test": 4}, 0)
    factories.film(split.datasets.get(), "normal", person="later")
    assert flow(split).since == 1


def test_the_page_shows_it(client: Client, split: Split) -> None:
    client.force_login(factories.user("reader", Role.READER))
    page = client.get(reverse("analysis:split-data", args=[split.uuid])).content.decode()
    assert "2 (100.0 %)" in page
    assert page.count('<th scope="colgroup"') == 2
    assert "from test, normal" in page
    assert reverse("analysis:table-one-csv", args=[split.uuid]) in page
    assert "Labelled abnormal by readers" in page
    assert "Finding: nodule" in page
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(reverse("analysis:split-data", args=[split.uuid])).status_code == 404


def test_the_api_returns_the_same(client: Client, split: Split) -> None:
    client.force_login(factories.user("reader", Role.READER))
    answer = client.get(reverse("api-split-data", args=[split.uuid])).json()
    test = table_one(split).columns[1]
    assert answer["flow"]["parts"] == {"fit": 6, "test": 4}
    assert [part["part"] for part in answer["parts"]] == ["fit", "test"]
    assert answer["parts"][1]["categories"]["sex"] == dict(test.categories["sex"])
    assert answer["parts"][1]["differences"]["sex"] == test.differences["sex"]
    by_label = answer["parts"][1]["by_label"]
    assert (by_label["normal"]["films"], by_label["abnormal"]["compared_with"]) == (2, "test, normal")
    assert by_label["normal"]["differences"]["sex"] == "complete"
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(reverse("api-split-data", args=[split.uuid])).status_code == 404


def test_an_evaluation_names_normal_films_first_whatever_came_first(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    evaluation.split.counts["parts"]["test"] = {"unresolved": 1, "abnormal": 6, "normal": 6}
    assert list(data_of(evaluation)["parts"]["test"].items()) == [("normal", 6), ("abnormal", 6), ("unresolved", 1)]


@pytest.mark.parametrize(
    ("ages", "words"),
    [([48, 49], "48.5 (48.2–48.8)"), ([37, 38, 38, 40], "38 (37.8–38.5)"), ([50], "50 (50–50)"), ([], "not known")],
)
def test_ages_between_two_years_keep_a_decimal(ages: list[float], words: str) -> None:
    column = Column(
        part="fit", patients=1, unidentified=0, films=1, ages=ages, categories={}, references={}, findings=Counter()
    )
    assert column.age_words == words
