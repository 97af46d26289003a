"""The data of a split: patients and films of each part, films left out, sources of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from analysis.sections.table_one import flow, table_one
from portal.models import Role, Split
from portal.sets.splits import SplitRequest, split_from_csv
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


def test_the_flow_adds_up(split: Split) -> None:
    films = flow(split)
    assert (films.imported, films.left_out, films.parts, films.since) == (11, {"unsure": 1}, {"fit": 6, "test": 4}, 0)
    factories.film(split.datasets.get(), "normal", person="later")
    assert flow(split).since == 1


def test_the_page_shows_it(client: Client, split: Split) -> None:
    client.force_login(factories.user("reader", Role.READER))
    page = client.get(reverse("analysis:split-data", args=[split.uuid])).content.decode()
    assert "3 (75.0 %)" in page
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
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(reverse("api-split-data", args=[split.uuid])).status_code == 404
