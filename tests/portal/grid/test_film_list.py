"""Films as a CSV: the chosen ones, in the order of the grid, for those who may see their labels."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from portal.grid.film_list import COLUMNS, export_films, file_name
from portal.grid.film_order import ORDERS
from portal.grid.tagging import add_tag
from portal.models import AuditEvent, Dataset, Exposure, Image, Role, User
from portal.people.blinding import open_for
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


def rows(of: Dataset, person: User, images: Any = None, **fields: Any) -> list[dict[str, str]]:
    lines = export_films(dataset=of, images=of.images.all() if images is None else images, person=person, **fields)
    return list(csv.DictReader(io.StringIO("".join(lines))))


def test_a_line_says_what_the_tile_shows(of: Dataset, ann: User) -> None:
    film = factories.film(of, person="p", original_name="=1+1.png")
    factories.event(film, "abnormal", findings=["nodule", "effusion"])
    add_tag(images=of.images.all(), among=of.images.all(), name="for teaching", author=ann, site=of.site)
    [row] = rows(of, ann)
    assert tuple(row) == COLUMNS
    assert (row["image"], row["patient"]) == (str(film.uuid), str(film.patient.uuid))
    assert (row["filename"], row["label"], row["findings"]) == ("'=1+1.png", "abnormal", "nodule|effusion")
    assert (row["tags"], row["view"], row["columns"], row["rows"]) == ("for teaching", "PA", "20", "24")
    assert factories.film(of).patient.identified is False
    assert rows(of, ann)[1]["patient"] == ""


def test_lines_are_in_the_order_that_was_asked_for(of: Dataset, ann: User) -> None:
    films = [factories.film(of, view=view) for view in ("PA", "AP", "PA")]
    listed = [row["image"] for row in rows(of, ann, order=ORDERS["view"])]
    assert listed == [str(films[number].uuid) for number in (1, 0, 2)]
    assert [row["image"] for row in rows(of, ann, of.images.filter(pk=films[2].pk))] == [str(films[2].uuid)]


def test_the_labels_count_as_shown_and_the_export_is_audited(of: Dataset, ann: User) -> None:
    film = factories.film(of, "normal")
    rows(of, ann, words="normal")
    assert Exposure.objects.get().image == film
    assert AuditEvent.objects.get(verb="export films").after == {"films": 1, "which": "normal"}
    assert file_name(of) == f"hilum-dataset-{of.uuid}-films.csv"


def test_it_is_refused_to_who_reads_a_film_of_the_dataset_blinded(of: Dataset, ann: User) -> None:
    film, other = factories.film(of), factories.film(of)
    open_for(person=ann, images=[film], source=film.uuid, words="the worklist Tuesday", days=3)
    with pytest.raises(PermissionDenied, match="The dataset holds a film that you have yet to read blinded"):
        rows(of, ann, Image.objects.filter(pk=other.pk))


def test_a_stranger_gets_none(of: Dataset) -> None:
    with pytest.raises(PermissionDenied):
        rows(of, factories.user("eve", Role.MANAGER, at=factories.site("Busan")))
