"""The filter by what labels were made from; the other filters: tests/portal/views/test_datasets.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from portal.models import Dataset, Image
from portal.sets.film_filters import Filters, UnknownFilter, origin_choices
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def films(data_dir: Path) -> dict[str, Image]:
    of = factories.dataset()
    made = {name: factories.film(of) for name in ("software", "report", "reader", "table", "people", "")}
    for origin in ("software", "report", "reader"):
        factories.event(made[origin], "normal", origin=origin)
    factories.event(made["table"], "normal")
    factories.event(made["people"], "normal", author=factories.curator())
    return made


@pytest.mark.both
@pytest.mark.parametrize("origin", ["software", "report", "reader", "table", "people"])
def test_each_origin_has_its_films(films: dict[str, Image], origin: str) -> None:
    of = films[""].dataset
    filters = Filters.from_query({"origin": origin}, [])
    assert [film.pk for film in filters.apply(of.images.all())] == [films[origin].pk]
    assert filters.query() == f"origin={origin}"
    assert filters.words()


def test_choices_are_offered_where_labels_state_their_origin(films: dict[str, Image]) -> None:
    of = films[""].dataset
    assert [value for value, _ in origin_choices(of)] == ["software", "report", "reader", "table", "people"]
    assert origin_choices(of)[0] == ("software", "mined from the report by software (1)")
    withheld = [films["software"].patient_id]
    assert next(value for value, _ in origin_choices(of, without=withheld)) == "report"
    plain: Dataset = factories.dataset("Plain")
    factories.film(plain, "normal")
    assert origin_choices(plain) == []


def test_another_origin_is_refused_where_filters_must_be_exact() -> None:
    with pytest.raises(UnknownFilter, match="The filter origin is 'x'"):
        Filters.exactly({"origin": "x"}, [])


def test_the_grid_and_the_api_filter_by_origin(films: dict[str, Image]) -> None:
    client = Client()
    client.force_login(factories.curator("other"))
    of = films[""].dataset
    page = one_line(client.get(f"/datasets/{of.uuid}/?origin=report"))
    assert "1 film matching these filters" in page
    assert str(films["report"].uuid) in page
    assert str(films["software"].uuid) not in page
    listed = client.get(f"/api/v1/datasets/{of.uuid}/images/?origin=report").json()["results"]
    assert [film["uuid"] for film in listed] == [str(films["report"].uuid)]
