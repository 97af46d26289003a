"""Search by name: what the site has, nothing of other sites, and no film that a person reads blinded."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Role, User
from portal.people.blinding import open_for
from tests.analysis.scored import Scored
from tests.portal import factories

pytestmark = pytest.mark.django_db


def search(client: Client, text: str) -> str:
    return client.get(reverse("analysis:search"), {"q": text}).text


def test_everything_is_found_by_a_part_of_its_name(as_analyst: Client, scored: Scored) -> None:
    page = search(as_analyst, "0")
    assert "Enter at least 2 characters" in page
    page = search(as_analyst, "res 0")
    assert f'<a href="{reverse("ml_engine:run", args=[scored.run.uuid])}">Scores 0</a>' in page
    assert f'<a href="{reverse("portal:split", args=[scored.split.uuid])}">Split 0</a>' in search(as_analyst, "split")
    assert f'<a href="{reverse("portal:dataset", args=[scored.films[0].dataset.uuid])}">Set 0</a>' in search(
        as_analyst, "SET"
    )


def test_a_film_is_found_by_the_name_of_its_file_and_by_its_address(as_analyst: Client, scored: Scored) -> None:
    film = factories.film(scored.films[0].dataset, "normal", original_name="okapi-7.png")
    address = reverse("portal:image", args=[film.uuid])
    assert address in search(as_analyst, "okapi")
    assert address in search(as_analyst, str(film.uuid)[:8])
    assert address in search(as_analyst, str(film.uuid))
    assert address in search(as_analyst, f"film {str(film.uuid)[:8]}")


def test_nothing_of_another_site_is_found(client: Client, scored: Scored) -> None:
    client.force_login(factories.user("eve", Role.MANAGER, at=factories.site("Busan")))
    assert "Nothing at Busan has “Split” in its name." in search(client, "Split")


def test_a_film_that_is_read_blinded_is_left_out(as_analyst: Client, analyst: User, scored: Scored) -> None:
    film = factories.film(scored.films[0].dataset, "normal", original_name="okapi-7.png")
    open_for(person=analyst, images=[film], source=scored.run.uuid, words="the worklist Blinded", days=28)
    for text in ("okapi", str(film.uuid)[:8]):
        page = search(as_analyst, text)
        assert str(film.uuid) not in page
        assert "Films that you have yet to read blinded" in page


def test_a_person_without_a_site_is_told_so(client: Client) -> None:
    client.force_login(factories.user("nobody"))
    assert client.get(reverse("analysis:search"), {"q": "set"}).status_code == 403
