"""Search: what the site has, nothing of other sites, and no film that a person reads blinded."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from analysis.views.search import SHOWN
from ml_engine.models import Run
from portal.grid.saved_views import save_view
from portal.grid.tagging import add_tag
from portal.models import Role, User
from portal.people.blinding import open_for
from tests.analysis.scored import Scored
from tests.analysis.worklists import worklist
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
    assert "Nothing that you may see at Busan is called or described by “Split”." in search(client, "Split")


def test_a_film_that_is_read_blinded_is_left_out(as_analyst: Client, analyst: User, scored: Scored) -> None:
    film = factories.film(scored.films[0].dataset, "normal", original_name="okapi-7.png")
    open_for(person=analyst, images=[film], source=scored.run.uuid, words="the worklist Blinded", days=28)
    for text in ("okapi", str(film.uuid)[:8]):
        page = search(as_analyst, text)
        assert str(film.uuid) not in page
        assert "Films that you have yet to read blinded" in page


def test_runs_are_found_by_note_and_tags_and_worklists_by_name(
    as_analyst: Client, analyst: User, scored: Scored
) -> None:
    Run.objects.filter(pk=scored.run.pk).update(note="with the new resnet", tags=["pilot"])
    of = worklist(scored, analyst, name="Tuesday")
    for text in ("NEW resnet", "pilot"):
        assert reverse("ml_engine:run", args=[scored.run.uuid]) in search(as_analyst, text)
    assert reverse("analysis:worklist", args=[of.uuid]) in search(as_analyst, "tues")
    curator = Client()
    curator.force_login(factories.curator("cleo", at=scored.run.site))
    assert "Nothing that you may see" in search(curator, "tues")


def test_patients_findings_tags_and_views_lead_to_their_films(
    as_analyst: Client, analyst: User, scored: Scored
) -> None:
    of = scored.films[0].dataset
    film = factories.film(of, person="okapi")
    factories.event(film, "abnormal", findings=["okapi sign", "nodule"])
    add_tag(images=of.images.filter(pk=film.pk), among=of.images.all(), name="okapis", author=analyst, site=of.site)
    view = save_view(dataset=of, name="Okapi view", query={"finding": "okapi sign"}, author=analyst)
    page = search(as_analyst, "okapi")
    grid = reverse("portal:dataset", args=[of.uuid])
    assert f'<a href="{grid}?finding=okapi+sign">okapi sign: 1 film of {of}</a>' in page
    assert f'<a href="{grid}?tag=okapis">okapis: 1 film of {of}</a>' in page
    assert f'<a href="{grid}?saved={view.uuid}">Okapi view of {of}</a>' in page
    assert "nodule" not in page
    by_patient = search(as_analyst, film.patient.pseudonym[:10])
    assert reverse("portal:image", args=[film.uuid]) in by_patient
    assert f"patient {film.patient} (1 film)" in by_patient


def test_findings_tags_and_patients_of_a_film_that_is_read_blinded_are_not_found(
    as_analyst: Client, analyst: User, scored: Scored
) -> None:
    of = scored.films[0].dataset
    film = factories.film(of, person="okapi")
    factories.event(film, "abnormal", findings=["okapi sign"])
    add_tag(images=of.images.filter(pk=film.pk), among=of.images.all(), name="okapis", author=analyst, site=of.site)
    open_for(person=analyst, images=[film], source=scored.run.uuid, words="the worklist Blinded", days=28)
    page = search(as_analyst, "okapi")
    assert "okapi sign" not in page
    assert "okapis: no film" in page  # the word is the site's; that a film has it is not told
    assert f"patient {film.patient}" not in search(as_analyst, film.patient.pseudonym[:10])


def test_private_views_of_others_are_not_found(as_analyst: Client, scored: Scored) -> None:
    of = scored.films[0].dataset
    save_view(dataset=of, name="Okapi view", query={}, author=factories.curator("cleo", at=of.site))
    assert "Nothing that you may see" in search(as_analyst, "okapi view")


def test_many_of_a_kind_are_counted_and_the_first_listed(as_analyst: Client, scored: Scored) -> None:
    of = scored.films[0].dataset
    for number in range(SHOWN + 3):
        factories.film(of, original_name=f"okapi-{number}.png")
    page = search(as_analyst, "okapi")
    assert page.count("okapi-") == SHOWN
    assert 'Films <span class="text-secondary tabular">23</span>' in page
    assert "Not all are listed: enter more of the name." in page


def test_the_api_finds_the_same(analyst: User, as_analyst: Client, scored: Scored) -> None:
    answer = as_analyst.get("/api/v1/search/", {"q": "res 0"}).json()
    runs = [{"name": "Scores 0", "address": reverse("ml_engine:run", args=[scored.run.uuid])}]
    assert answer["groups"] == [{"kind": "Runs", "count": 1, "hits": runs}]
    assert (answer["site"], answer["left_out"]) == (str(scored.run.site.uuid), "")
    named = as_analyst.get("/api/v1/search/", {"q": "res 0", "site": str(factories.site("Busan").uuid)})
    assert named.status_code == 404


def test_a_person_without_a_site_is_told_so(client: Client) -> None:
    client.force_login(factories.user("nobody"))
    assert client.get(reverse("analysis:search"), {"q": "set"}).status_code == 403
