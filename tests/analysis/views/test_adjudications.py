"""The adjudication list by page and by API: what is shown before and after the own verdict, and to whom."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from analysis.models import Reading, Worklist
from analysis.reading import adjudication_list, verdicts
from portal.models import Adjudication, AdjudicatorVerdict, BlindedFilm, CurrentLabel, Exposure, Image, Role, User
from portal.people import blinding
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, worklist
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
LIST, API = "/reading/adjudications/", "/api/v1/adjudications/"


@pytest.fixture
def of(scored: Scored, analyst: User) -> Worklist:
    return worklist(scored, analyst)


@pytest.fixture
def proposed(of: Worklist, analyst: User) -> list[Reading]:
    person = reader("romy")
    first, second = items(of, flagged=True)[:2]
    rows = [
        read(first, person, "abnormal", reason="device", findings=["nodule"], comment="a rare word"),
        read(second, person, "normal"),
    ]
    for row in rows:
        verdicts.propose_adjudication(reading=row, author=analyst)
    return rows


@pytest.fixture
def ada(of: Worklist) -> User:
    return factories.user("ada", Role.ADJUDICATOR)


def as_(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def words(answer: Any) -> str:
    return one_line(answer.content.decode())


def post(client: Client, address: str, **body: Any) -> Any:
    return client.post(address, json.dumps(body), content_type="application/json")


def films(rows: list[Reading]) -> list[Image]:
    return [Image.objects.select_related("dataset__site", "patient").get(pk=row.image_id) for row in rows]


def test_a_film_is_adjudicated_blinded(proposed: list[Reading], ada: User) -> None:
    client, (film, other) = as_(ada), films(proposed)
    page = words(client.get(LIST))
    assert "2 of 2 films left to settle" in page
    assert film.neutral_name in page
    assert f"{LIST}{film.uuid}/" not in page  # not begun
    assert not BlindedFilm.objects.exists()  # opening the page begins nothing
    assert "Begin the list first" in words(client.get(f"{LIST}{film.uuid}/"))
    page = words(client.post(f"{LIST}begin/", follow=True))
    assert page.count("your verdict is missing") == 2
    assert f"/images/{film.uuid}/" not in page
    answer = client.get(f"{LIST}{film.uuid}/")
    assert answer["Cache-Control"].count("no-store") == 1
    page = words(answer)
    assert "It is locked once given" in page
    assert not [word for word in ("a rare word", "Reader 1", "romy", "Exclude") if word in page]
    assert not Exposure.objects.filter(person=ada).exists()
    page = words(client.post(f"{LIST}{film.uuid}/verdict/", {"value": "normal", "attribute": "device"}, follow=True))
    assert "a rare word" in page
    assert "device or tube: nodule" in page
    assert "with the model" in page
    assert "romy" not in page  # who read is not named
    assert Exposure.objects.filter(person=ada, image=film, kind=Exposure.Kind.LABEL).exists()
    assert "to settle" in words(client.get(LIST))
    answer = client.post(f"{LIST}{film.uuid}/settle/", {"value": "abnormal", "finding": "nodule", "comment": "yes"})
    assert answer["Location"] == f"{LIST}{other.uuid}/"
    label = CurrentLabel.objects.get(image=film)
    assert (label.value, label.findings, label.source) == ("abnormal", ["nodule"], "adjudication")
    page = words(client.get(LIST))
    assert "1 of 2 films left to settle" in page
    assert f"/images/{film.uuid}/" in page
    assert "Settled as" in words(client.get(f"{LIST}{film.uuid}/"))
    client.post(f"{LIST}{other.uuid}/verdict/", {"value": "normal"})
    answer = client.post(f"{LIST}{other.uuid}/settle/", {"value": "normal"})
    assert answer["Location"] == LIST
    assert Adjudication.objects.filter(own_verdict__isnull=False).count() == 2
    assert "To adjudicate (" not in words(client.get("/reading/"))


def test_names_of_files_are_not_shown_until_a_film_is_settled(
    of: Worklist, proposed: list[Reading], analyst: User, ada: User
) -> None:
    named = factories.film(factories.dataset("Named"), original_name="mass-left.png")
    row = Reading.objects.create(
        image=named, reader=proposed[0].reader, verdict="normal", model_shown=True, active_seconds=1, total_seconds=1
    )
    verdicts.propose_adjudication(reading=row, author=analyst)
    for person in (analyst, ada):
        page = words(as_(person).get(LIST))
        assert "mass-left" not in page
        assert named.neutral_name in page
    client = as_(ada)
    client.post(f"{LIST}begin/")
    assert "mass-left" not in words(client.get(LIST)) + words(client.get(f"{LIST}{named.uuid}/"))
    client.post(f"{LIST}{named.uuid}/verdict/", {"value": "normal"})
    client.post(f"{LIST}{named.uuid}/settle/", {"value": "normal"})
    assert "mass-left" in words(client.get(LIST))


def test_the_list_is_handed_back(proposed: list[Reading], ada: User) -> None:
    client = as_(ada)
    assert "nothing to hand back" in words(client.post(f"{LIST}hand-back/", follow=True))
    client.post(f"{LIST}begin/")
    page = words(client.post(f"{LIST}hand-back/", follow=True))
    assert "films without your verdict: 2" in page
    assert "waiting" in page
    client.post(f"{LIST}begin/")
    ada.memberships.update(role=Role.CURATOR)
    assert client.post(f"{LIST}hand-back/")["Location"] == "/"  # though they adjudicate no more
    assert not blinding.withheld_patients(ada)


def test_analysts_see_the_list_and_begin_nothing(proposed: list[Reading], analyst: User) -> None:
    client, (film, _) = as_(analyst), films(proposed)
    page = words(client.get(LIST))
    assert "Adjudicators and managers begin this list" in page
    assert f"{LIST}begin/" not in page
    assert len(client.get(API).json()["films"]) == 2
    assert client.get(f"{LIST}{film.uuid}/").status_code == 403
    for address in ("begin/", f"{film.uuid}/verdict/", f"{film.uuid}/settle/"):
        assert client.post(LIST + address, {"value": "normal"}).status_code == 403
        assert post(client, API + address, value="normal").status_code == 403
        assert client.get(LIST + address).status_code == 405
    assert client.get(f"{API}{film.uuid}/readings/").status_code == 403
    assert not BlindedFilm.objects.exists()


def test_nobody_is_offered_a_reading_of_their_own(of: Worklist, analyst: User) -> None:
    both = factories.user("both", Role.READER, Role.ADJUDICATOR)
    kept = read(items(of, flagged=True)[0], both, "abnormal", comment="a rare word")
    verdicts.propose_adjudication(reading=kept, author=analyst)
    (film,), client = films([kept]), as_(both)
    page = words(client.get(LIST))
    assert adjudication_list.OWN_READING in page
    assert f"{LIST}begin/" not in page
    assert "nothing to begin" in words(client.post(f"{LIST}begin/", follow=True))
    assert adjudication_list.OWN_READING in words(client.get(f"{LIST}{film.uuid}/"))
    assert client.get(API).json()["films"][0]["refusal"] == adjudication_list.OWN_READING


def test_invalid_verdicts_are_explained(proposed: list[Reading], ada: User) -> None:
    client, (film, _) = as_(ada), films(proposed)
    client.post(f"{LIST}begin/")
    page = words(client.post(f"{LIST}{film.uuid}/verdict/", {"value": "exclude"}, follow=True))
    assert "is unknown; use one of normal, abnormal, unsure" in page
    assert "own verdict first" in words(client.post(f"{LIST}{film.uuid}/settle/", {"value": "normal"}, follow=True))
    assert not AdjudicatorVerdict.objects.exists()


def test_findings_of_a_label_of_the_same_value_are_ticked_and_losing_them_is_said(
    proposed: list[Reading], ada: User
) -> None:
    client, (film, other) = as_(ada), films(proposed)
    for one in (film, other):
        factories.event(one, "abnormal", factories.user(f"curator {one.pk}", Role.CURATOR), findings=["hilar shadow"])
    client.post(f"{LIST}begin/")
    assert "hilar shadow" not in words(client.get(f"{LIST}{film.uuid}/"))
    page = words(client.post(f"{LIST}{film.uuid}/verdict/", {"value": "abnormal"}, follow=True))
    assert "Label until now" in page
    assert 'value="hilar shadow" checked' in page
    client.post(f"{LIST}{other.uuid}/verdict/", {"value": "normal"})
    page = words(client.post(f"{LIST}{other.uuid}/settle/", {"value": "normal"}, follow=True))
    assert "hilar shadow" in page
    assert "is settled" in page


def test_the_same_by_api(proposed: list[Reading], ada: User) -> None:
    client, (film, other) = as_(ada), films(proposed)
    assert "Begin the list first" in post(client, f"{API}{film.uuid}/verdict/", value="normal").json()["detail"]
    assert post(client, f"{API}begin/").json() == {"films": 2}
    assert "own verdict first" in client.get(f"{API}{film.uuid}/readings/").json()["detail"]
    assert post(client, f"{API}{film.uuid}/verdict/", value="exclude").status_code == 400
    given = post(client, f"{API}{film.uuid}/verdict/", value="normal", comment="clear")
    assert (given.status_code, given.json()) == (201, {"image": str(film.uuid), "own_verdict": "normal"})
    answer = client.get(f"{API}{film.uuid}/readings/")
    assert answer["Cache-Control"] == "no-store"
    (reading,) = answer.json()["readings"]
    assert (reading["verdict"], reading["comment"], reading["model_shown"]) == ("abnormal", "a rare word", True)
    assert not reading.keys() & {"reader", "run"}
    settled = post(client, f"{API}{film.uuid}/settle/", value="abnormal", findings=["nodule"])
    assert settled.json() == {
        "image": str(film.uuid), "value": "abnormal", "findings": ["nodule"], "changed_own_verdict": True,
    }  # fmt: skip
    listed = {row["image"]: row for row in client.get(API).json()["films"]}
    assert [listed[str(one.uuid)]["settled"] for one in (film, other)] == [True, False]
    assert [listed[str(one.uuid)]["begun"] for one in (film, other)] == [False, True]
    assert post(client, f"{API}hand-back/").json() == {"films": 1}
    assert post(client, f"{API}hand-back/").status_code == 400


def test_the_list_omits_films_that_are_read_blinded_elsewhere(of: Worklist, proposed: list[Reading], ada: User) -> None:
    client, (film, _) = as_(ada), films(proposed)
    blinding.open_for(person=ada, images=[film], source=of.uuid, words="the worklist Blinded", days=28)
    page = words(client.get(LIST))
    assert "are left out here and not counted" in page
    assert film.neutral_name not in page
    assert "are left out here and not counted" in client.get(API).json()["omitted"]
    assert "blinded in another list" in words(client.get(f"{LIST}{film.uuid}/"))


def test_nothing_of_it_exists_for_another_site(proposed: list[Reading]) -> None:
    client, (film, _) = as_(factories.user("theirs", *Role, at=factories.site("Busan"))), films(proposed)
    assert film.neutral_name not in words(client.get(LIST))
    assert client.get(API).json()["films"] == []
    assert client.get(f"{LIST}{film.uuid}/").status_code == 404
    for address in (f"{film.uuid}/verdict/", f"{film.uuid}/settle/"):
        assert client.post(LIST + address).status_code == 404
        assert post(client, API + address, value="normal").status_code == 404
    assert client.get(f"{API}{film.uuid}/readings/").status_code == 404
