"""The pages of bulk relabelling: choose, preview, confirm, undo."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from portal.models import CurrentLabel, Dataset, Image, LabelEvent, User
from portal.people.blinding import open_for
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    return factories.films(of, normal=2, abnormal=1)


def address(of: Dataset, query: str = "") -> str:
    return f"/datasets/{of.uuid}/relabel/{query}"


def text_of(page: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def previewed(client: Client, of: Dataset, *films: Image, value: str = "exclude", query: str = "", **more: Any) -> Any:
    data = {"preview": "", "image": [str(film.uuid) for film in films], "value": value, **more}
    return client.post(address(of, query), data)


def confirmed(client: Client, of: Dataset, page: Any) -> Any:
    return client.post(address(of) + "apply/", {"token": page.context["preview"].token, "value": "exclude"})


def test_the_form_offers_the_chosen_films_and_all_that_match(curator: Client, of: Dataset, films: list[Image]) -> None:
    page = curator.post(address(of, "?label=normal"), {"image": [str(films[2].uuid)]})
    words = text_of(page)
    assert "The 1 chosen film" in words
    assert "All 2 films that match: normal" in words
    assert "preview" not in page.context
    assert "The 1 chosen" not in text_of(curator.get(address(of, "?label=normal")))
    assert not LabelEvent.objects.filter(author__isnull=False).exists()


def test_chosen_films_are_previewed_relabelled_and_restored(curator: Client, of: Dataset, films: list[Image]) -> None:
    page = previewed(curator, of, films[0], films[2], reason="lateral views")
    assert "2 films change to exclude: 1 from abnormal and 1 from normal." in text_of(page)
    assert not LabelEvent.objects.filter(author__isnull=False).exists()
    done = confirmed(curator, of, page)
    values = dict(CurrentLabel.objects.values_list("image", "value"))
    assert values == {films[0].pk: "exclude", films[1].pk: "normal", films[2].pk: "exclude"}
    outcome = curator.get(done["Location"])
    assert "You labelled 2 films exclude" in text_of(outcome)
    assert "Reason: lateral views." in text_of(outcome)
    undone = curator.post(done["Location"] + "undo/", follow=True)
    assert "The label of 2 films is taken back" in text_of(undone)
    assert "The act is undone: the former labels count again." in text_of(undone)
    assert CurrentLabel.objects.get(image=films[2]).value == "abnormal"
    again = curator.post(done["Location"] + "undo/", follow=True)
    assert "There is nothing to undo" in text_of(again)


def test_all_films_that_match_the_filters(curator: Client, of: Dataset, films: list[Image]) -> None:
    page = previewed(curator, of, query="?label=normal", value="abnormal")
    assert page.context["preview"].moves == {("normal", "abnormal"): 2}
    # with films chosen, the form says which of the two is meant
    assert previewed(curator, of, films[0], query="?label=normal").context["preview"].films == 1
    assert previewed(curator, of, films[0], query="?label=normal", films="all").context["preview"].films == 2


def test_findings_are_those_of_the_form_and_attributes_only_of_normals(curator: Client, of: Dataset) -> None:
    film = factories.film(of)
    fields: dict[str, Any] = {"finding": ["nodule"], "findings": "effusion, nodule ,", "attribute": ["device"]}
    change = previewed(curator, of, film, value="abnormal", **fields).context["preview"].change
    assert (change.findings, change.attributes) == (["nodule", "effusion"], None)
    assert previewed(curator, of, film, value="normal", attribute=["device"]).context["preview"].change.attributes == [
        "device"
    ]
    of.site.findings = ["nodule"]
    of.site.save()
    page = previewed(curator, of, film, value="abnormal", finding=["hat"])
    assert (page.status_code, "preview" in page.context) == (400, False)
    assert "&#x27;hat&#x27; is not among the findings" in page.content.decode()


def test_films_labelled_in_between_are_left_aside_and_counted(curator: Client, of: Dataset, films: list[Image]) -> None:
    page = previewed(curator, of, *films)
    factories.event(films[0], "unsure", factories.curator("other"))
    outcome = curator.get(confirmed(curator, of, page)["Location"])
    assert "1 film was left aside and not changed" in text_of(outcome)
    assert "You labelled 2 films exclude" in text_of(outcome)
    assert CurrentLabel.objects.get(image=films[0]).value == "unsure"


def test_if_all_have_changed_the_preview_is_shown_anew(curator: Client, of: Dataset, films: list[Image]) -> None:
    page = previewed(curator, of, films[0])
    factories.event(films[0], "unsure", factories.curator("other"))
    data = {"token": page.context["preview"].token, "value": "exclude", "image": str(films[0].uuid)}
    again = curator.post(address(of) + "apply/", data)
    assert (again.status_code, again.context["preview"].moves) == (409, {("unsure", "unresolved"): 1})
    assert "Nothing was changed" in text_of(again)


def test_new_criteria_show_the_preview_anew(curator: Client, of: Dataset, films: list[Image]) -> None:
    page = previewed(curator, of, *films, value="normal")
    factories.criteria("No device.")
    again = curator.post(address(of) + "apply/", {"token": page.context["preview"].token, "value": "normal"})
    assert again.status_code == 409
    assert "has changed to v1" in text_of(again)
    assert "The labels name the criteria v1." in text_of(again)


def test_a_broken_token_and_a_wrong_film_are_refused(curator: Client, of: Dataset) -> None:
    refused = curator.post(address(of) + "apply/", {"token": "x"})
    assert refused.status_code == 400
    assert "did not arrive as it was sent" in text_of(refused)
    assert curator.post(address(of), {"image": "x"}).status_code == 404


def test_films_of_another_dataset_are_not_labelled(curator: Client, of: Dataset, films: list[Image]) -> None:
    other = factories.film(factories.dataset("Other"), "normal")
    page = previewed(curator, of, films[0], other)
    assert page.context["preview"].films == 1


def test_withheld_films_are_omitted_whatever_the_filter(curator: Client, of: Dataset, films: list[Image]) -> None:
    person = User.objects.get(username="curator")
    open_for(person=person, images=[films[0]], source=uuid.uuid4(), words="the worklist Tuesday", days=28)
    for label in ("normal", "abnormal"):
        page = previewed(curator, of, query=f"?label={label}", value="unsure")
        assert "1 film is omitted: you have yet to read it" in text_of(page)
        assert page.context["preview"].films == 1
        assert f"All 1 film that matches: {label}" in text_of(page)


def test_who_may_not_label_or_is_a_stranger_is_refused(
    reader: Client, stranger: Client, curator: Client, of: Dataset, films: list[Image]
) -> None:
    token = previewed(curator, of, *films).context["preview"].token
    act = confirmed(curator, of, previewed(curator, of, *films))["Location"]
    for client, refusal in ((reader, 403), (stranger, 404)):
        assert client.get(address(of)).status_code == refusal
        assert client.post(address(of), {"preview": "", "value": "normal"}).status_code == refusal
        assert client.post(address(of) + "apply/", {"token": token}).status_code == refusal
        assert client.get(act).status_code == refusal
        assert client.post(act + "undo/").status_code == refusal
    assert curator.get(address(of) + "apply/").status_code == 405
    assert curator.get(act + "undo/").status_code == 405
    assert curator.get(address(of) + f"{factories.somewhere()}/").status_code == 404


def test_the_act_of_another_person_is_not_shown_or_undone(curator: Client, of: Dataset, films: list[Image]) -> None:
    other = Client()
    other.force_login(factories.curator("other"))
    act = confirmed(curator, of, previewed(curator, of, *films))["Location"]
    assert other.get(act).status_code == 404
    assert "There is nothing to undo" in text_of(other.post(act + "undo/", follow=True))
    assert CurrentLabel.objects.filter(value="exclude").count() == 3
