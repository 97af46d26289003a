"""Labelling by key and in bulk, as the grid's script sends it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from portal.models import CurrentLabel, Dataset, Image, LabelEvent, Membership, Role
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def film(of: Dataset) -> Image:
    return factories.film(of, "normal")


def send(client: Client, *films: Image, value: str = "abnormal", **more: Any) -> Any:
    data = {"image": [str(film.uuid) for film in films], "value": value, **more}
    return client.post("/labels/", data, headers={"Accept": "application/json"})


def take_back(client: Client, **data: Any) -> Any:
    return client.post("/labels/undo/", data, headers={"Accept": "application/json"})


def test_films_are_labelled_in_one_act(curator: Client, of: Dataset) -> None:
    films = factories.films(of, unlabelled=3)
    answer = send(curator, *films, finding=["nodule"], reason="second look")
    assert answer.json()["labels"] == {
        str(film.uuid): {"value": "abnormal", "findings": ["nodule"], "attributes": [], "seen": 1} for film in films
    }
    events = LabelEvent.objects.all()
    assert {str(event.batch) for event in events} == {answer.json()["act"]}
    assert {(tuple(event.findings), event.reason) for event in events} == {(("nodule",), "second look")}


def test_attributes_are_stated_kept_and_removed(curator: Client, film: Image) -> None:
    def attributes_after(**more: Any) -> Any:
        return send(curator, film, value="normal", **more).json()["labels"][str(film.uuid)]["attributes"]

    assert attributes_after(attribute=["variant", "device"]) == ["device", "variant"]
    assert attributes_after() == ["device", "variant"]  # without the field, the film keeps them
    assert attributes_after(attribute=[""]) == []


def test_the_answer_has_the_criteria_in_force(curator: Client, film: Image) -> None:
    assert send(curator, film).json()["criteria"] is None
    factories.criteria("No device.")
    newest = factories.criteria("A device is normal.")
    assert send(curator, film).json()["criteria"] == 2
    assert film.label_events.latest("pk").criteria == newest


def test_a_merge_keeps_stated_attributes(film: Image) -> None:
    judge = as_(factories.user("judge", Role.ADJUDICATOR))
    send(as_(factories.curator("other")), film, value="abnormal", seen=1)
    fields = {"image": str(film.uuid), "value": "normal", "seen": 2, "choice": "mine", "attribute": ["device"]}
    answer = judge.post("/labels/merge/", fields)
    assert answer.json()["labels"][str(film.uuid)] == {
        "value": "normal", "findings": [], "attributes": ["device"], "seen": 3,
    }  # fmt: skip


def test_undo_reverts_the_named_act(curator: Client, of: Dataset) -> None:
    film, other_film = factories.films(of, normal=2)
    first, _second = (send(curator, acted_on).json()["act"] for acted_on in (film, other_film))
    assert take_back(curator, act=first).json()["labels"] == {
        str(film.uuid): {"value": "normal", "findings": [], "attributes": [], "seen": 3}
    }
    assert CurrentLabel.objects.get(image=other_film).value == "abnormal"


def test_undo_without_an_act_names_the_latest_and_reverts_nothing(curator: Client, of: Dataset) -> None:
    films = factories.films(of, normal=5)
    act = send(curator, *films, value="exclude").json()["act"]
    last = take_back(curator).json()["last"]
    assert (last["uuid"], last["value"], last["films"]) == (act, "exclude", 5)
    assert last["names"] == [str(film) for film in films[:3]]
    assert last["made_at"]
    assert {label.value for label in CurrentLabel.objects.all()} == {"exclude"}
    take_back(curator, act=act)
    answer = take_back(curator)
    assert (answer.status_code, answer.json()["error"]) == (400, "You have nothing to undo here.")


def test_on_a_film_only_acts_that_touched_it_are_named(curator: Client, of: Dataset) -> None:
    first_film, second_film, third_film = factories.films(of, normal=3)
    first = send(curator, first_film).json()["act"]
    send(curator, second_film)
    assert take_back(curator, image=first_film.uuid).json()["last"]["uuid"] == first
    answer = take_back(curator, image=third_film.uuid)
    assert (answer.status_code, answer.json()["error"]) == (400, "You have nothing to undo on this film.")
    assert take_back(curator, image=factories.somewhere()).status_code == 404


def test_a_film_that_never_had_a_label_is_blank_after_undo(curator: Client, of: Dataset) -> None:
    film = factories.film(of)
    act = send(curator, film).json()["act"]
    blank = {"value": "", "findings": [], "attributes": [], "seen": 2}
    assert take_back(curator, act=act).json()["labels"] == {str(film.uuid): blank}


def test_nobody_undoes_the_act_of_another(curator: Client, film: Image) -> None:
    act = send(curator, film).json()["act"]
    other = as_(factories.curator("other"))
    answer = take_back(other, act=act)
    assert (answer.status_code, "not yours" in answer.json()["error"]) == (400, True)
    assert CurrentLabel.objects.get(image=film).value == "abnormal"


def test_a_reader_may_not_label_and_sees_why(reader: Client, film: Image) -> None:
    for answer in (send(reader, film), take_back(reader)):
        assert answer.status_code == 403
        assert (
            "To label films at Seoul you need one of these roles: adjudicator, curator, manager."
            in (answer.json()["error"])
        )


def test_films_of_another_site_do_not_exist(stranger: Client, film: Image) -> None:
    assert send(stranger, film).status_code == 404
    assert LabelEvent.objects.count() == 1


def test_a_film_of_my_other_site_is_labelled_by_my_role_there(of: Dataset, film: Image) -> None:
    """Another site is chosen in the navigation bar, where the person is only a reader."""
    person, aachen = factories.user("both", Role.CURATOR), factories.site("Aachen")
    Membership.objects.create(user=person, site=aachen, role=Role.READER)
    client = as_(person)
    assert client.get("/datasets/").context["site"] == aachen
    assert client.get(f"/images/{film.uuid}/").context["site"].name == "Seoul"
    assert 'id="labelbar"' in client.get(f"/images/{film.uuid}/").content.decode()
    assert send(client, film).status_code == 200
    client.post("/site/", {"site": aachen.uuid})
    assert take_back(client, site=of.site.uuid).status_code == 200
    assert take_back(client).status_code == 403


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        ({"image": [], "value": "normal"}, 400, "0 films are selected; select 1 to 5000."),
        ({"image": ["nonsense"], "value": "normal"}, 400, "The identifier of a film is invalid; reload the page."),
        (
            {"image": [str(factories.somewhere())], "value": "normal"},
            404,
            "A film does not exist or belongs to another site",
        ),
        ({"value": "fine"}, 400, "The label 'fine' is unknown; use one of normal"),
        ({"value": ""}, 400, "The label '' is unknown"),
        ({"value": "normal", "reason": "a\0b"}, 400, "contains a NUL character"),
        ({"value": "normal", "finding": ["a\0b"]}, 400, "contains a NUL character"),
        ({"value": "normal", "finding": ["a|b"]}, 400, "The finding 'a|b'"),
        ({"value": "normal", "attribute": ["pacemaker"]}, 400, "The attribute 'pacemaker' is unknown"),
        ({"value": "unsure", "attribute": ["device"]}, 400, "an attribute of normal films"),
    ],
)
def test_a_refusal_is_explained(curator: Client, film: Image, data: dict[str, Any], status: int, sentence: str) -> None:
    answer = curator.post("/labels/", {"image": [str(film.uuid)], **data})
    assert answer.status_code == status
    assert sentence in answer.json()["error"]
    assert LabelEvent.objects.count() == 1


def test_an_invalid_undo_is_refused(curator: Client) -> None:
    assert "invalid" in take_back(curator, act="nonsense").json()["error"]
    assert "nothing to undo" in take_back(curator, act=str(factories.somewhere())).json()["error"]
    assert take_back(curator, site=str(factories.somewhere())).status_code == 404


@pytest.mark.parametrize("address", ["/labels/", "/labels/undo/"])
def test_labels_accept_only_post(curator: Client, address: str) -> None:
    assert curator.get(address).status_code == 405


def test_a_form_without_its_token_is_refused_with_a_sentence(film: Image) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.curator("kim"))
    assert "reload the page" in send(client, film).json()["error"]
    page = client.post("/labels/", {"value": "normal"})
    assert page.status_code == 403
    assert "reload the page" in page.content.decode()


@pytest.mark.parametrize("films", [2, 30])
def test_labelling_takes_a_constant_number_of_queries(
    curator: Client, of: Dataset, films: int, django_assert_max_num_queries: Any
) -> None:
    chosen = factories.films(of, unlabelled=films)
    with django_assert_max_num_queries(27):
        send(curator, *chosen)


# what is kept and what goes --------------------------------------------------------------------------------------

BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}


@pytest.fixture
def nodule(of: Dataset) -> Image:
    film = factories.film(of)
    factories.event(film, "abnormal", findings=["nodule"], boxes=[BOX])
    return film


def test_a_confirmed_label_keeps_findings_and_boxes(curator: Client, nodule: Image) -> None:
    for _ in range(2):
        answer = send(curator, nodule, value="abnormal").json()
        assert answer["labels"][str(nodule.uuid)]["findings"] == ["nodule"]
        assert (answer["gone"], answer["note"]) == ({}, "")
        assert nodule.label_events.latest("pk").boxes == [BOX]


def test_a_changed_label_says_what_goes(curator: Client, nodule: Image) -> None:
    answer = send(curator, nodule, value="normal").json()
    assert answer["gone"] == {str(nodule.uuid): {"findings": ["nodule"], "boxes": 1, "attributes": []}}
    assert answer["note"] == (
        "The finding nodule and 1 box of the earlier label no longer count; undo brings them back."
    )
    back = take_back(curator, act=answer["act"]).json()["labels"][str(nodule.uuid)]
    assert (back["value"], back["findings"]) == ("abnormal", ["nodule"])


def test_a_single_blank_finding_states_that_there_is_none(curator: Client, nodule: Image) -> None:
    answer = send(curator, nodule, value="abnormal", finding=[""]).json()
    assert answer["labels"][str(nodule.uuid)]["findings"] == []
    assert answer["gone"] == {str(nodule.uuid): {"findings": ["nodule"], "boxes": 0, "attributes": []}}


def test_a_film_may_keep_a_finding_that_the_site_does_not_list(curator: Client, nodule: Image) -> None:
    nodule.dataset.site.findings = ["effusion"]
    nodule.dataset.site.save()
    answer = send(curator, nodule, value="abnormal", finding=["nodule", "effusion"])
    assert answer.json()["labels"][str(nodule.uuid)]["findings"] == ["nodule", "effusion"]
    answer = send(curator, nodule, factories.film(nodule.dataset), value="abnormal", finding=["nodule"])
    assert "'nodule' is not among the findings of Seoul" in answer.json()["error"]


def test_boxes_are_saved_with_the_label(curator: Client, nodule: Image) -> None:
    boxes = [{"x": 1, "y": 1, "width": 4, "height": 4, "finding": "nodule"}, {**BOX, "x": 5}]
    send(curator, nodule, value="abnormal", boxes=json.dumps(boxes))
    assert nodule.label_events.latest("pk").boxes == boxes
    answer = send(curator, nodule, value="abnormal", boxes="[]").json()
    assert answer["gone"] == {str(nodule.uuid): {"findings": [], "boxes": 2, "attributes": []}}
    assert nodule.label_events.latest("pk").boxes == []


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    [
        ("nonsense", "The boxes are not a list of boxes"),
        ('{"x": 1}', "The boxes are not a list of boxes"),
        ("[1]", "The boxes are not a list of boxes"),
        ("[" * 100_000, "The boxes are not a list of boxes"),
        (json.dumps([{**BOX, "width": 19}]), "does not fit the film of 20 × 24 pixels; draw it inside the film."),
        ('[{"x": NaN, "y": 0, "width": 1, "height": 1}]', "draw it inside the film"),
    ],
)
def test_unusable_boxes_are_refused_with_a_sentence(curator: Client, nodule: Image, boxes: str, sentence: str) -> None:
    answer = send(curator, nodule, value="abnormal", boxes=boxes)
    assert (answer.status_code, sentence in answer.json()["error"]) == (400, True)
    assert nodule.label_events.count() == 1


def test_boxes_belong_to_one_film(curator: Client, nodule: Image) -> None:
    answer = send(curator, nodule, factories.film(nodule.dataset), boxes=json.dumps([BOX]))
    assert "Boxes belong to one film, and 2 are selected" in answer.json()["error"]


def test_keeping_mine_at_a_merge_says_what_goes(of: Dataset, nodule: Image) -> None:
    judge = factories.user("judge", Role.CURATOR, Role.ADJUDICATOR)
    send(as_(factories.curator("other")), nodule, value="abnormal", seen=1)
    answer = merge(as_(judge), nodule, "mine", seen=2, value="normal").json()
    assert answer["gone"] == {str(nodule.uuid): {"findings": ["nodule"], "boxes": 1, "attributes": []}}


# two people, and acts that are sent twice ------------------------------------------------------------------------


def merge(client: Client, film: Image, choice: str, *, seen: int, value: str = "unsure") -> Any:
    return client.post("/labels/merge/", {"image": str(film.uuid), "value": value, "seen": seen, "choice": choice})


def test_a_film_that_another_labelled_meanwhile_is_a_conflict_with_both_labels(curator: Client, film: Image) -> None:
    other = as_(factories.curator("other"))
    assert send(other, film, value="abnormal", reason="a shadow", seen=1).status_code == 200
    answer = send(curator, film, value="unsure", seen=1)
    assert answer.status_code == 409
    assert answer.json()["error"] == "Somebody else has labelled this film since you opened it."
    conflict = answer.json()["changed"][str(film.uuid)]
    assert (conflict["value"], conflict["seen"], conflict["may_settle"]) == ("abnormal", 2, False)
    assert {name: conflict["theirs"][name] for name in ("value", "by", "reason")} == {
        "value": "abnormal",
        "by": "other",
        "reason": "a shadow",
    }
    assert film.label_events.count() == 2


def test_a_merge_returns_the_new_label(curator: Client, film: Image) -> None:
    send(as_(factories.curator("other")), film, value="abnormal", seen=1)
    answer = merge(curator, film, "unresolved", seen=2)
    label = answer.json()["labels"][str(film.uuid)]
    assert label == {"value": "unresolved", "findings": [], "attributes": [], "seen": 3}
    assert merge(curator, film, "mine", seen=3).status_code == 403


def test_a_merge_of_what_changed_again_shows_the_newest(curator: Client, film: Image) -> None:
    send(as_(factories.curator("other")), film, value="abnormal", seen=1)
    send(as_(factories.curator("third")), film, value="abnormal", seen=2)
    answer = merge(curator, film, "theirs", seen=2)
    assert (answer.status_code, answer.json()["changed"][str(film.uuid)]["theirs"]["by"]) == (409, "third")


def test_a_bulk_act_returns_the_films_changed_meanwhile(curator: Client, of: Dataset) -> None:
    films = factories.films(of, unlabelled=3)
    send(as_(factories.curator("other")), films[0], value="abnormal")
    answer = send(curator, *films, value="normal", seen=[0, 0, 0]).json()
    assert set(answer["labels"]) == {str(film.uuid) for film in films[1:]}
    assert set(answer["changed"]) == {str(films[0].uuid)}
    assert answer["changed"][str(films[0].uuid)]["value"] == "abnormal"


def test_an_act_sent_twice_is_stored_once_and_undone_once(curator: Client, film: Image) -> None:
    act = str(factories.somewhere())
    for _ in range(2):
        assert send(curator, film, act=act, seen=1).json()["act"] == act
    assert film.label_events.count() == 2
    assert take_back(curator, act=act).status_code == 200
    assert take_back(curator, act=act).status_code == 400


@pytest.mark.parametrize("seen", [["x"], ["1", "2"], ["-1"], ["²"], ["1.5"]])
def test_seen_must_be_a_number_for_each_film(curator: Client, film: Image, seen: list[str]) -> None:
    answer = send(curator, film, seen=seen)
    assert (answer.status_code, "a whole number for each film" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("name", ["act", "queue"])
def test_an_invalid_identifier_is_refused(curator: Client, film: Image, name: str) -> None:
    answer = send(curator, film, **{name: "x"})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        f"The identifier of the {name} is invalid; reload the page.",
    )


@pytest.mark.parametrize("address", ["/labels/", "/labels/merge/", "/labels/undo/"])
def test_nothing_is_saved_in_the_name_of_another_person(curator: Client, film: Image, address: str) -> None:
    data = {"image": str(film.uuid), "value": "unsure", "choice": "mine", "person": str(factories.somewhere())}
    answer = curator.post(address, data, headers={"Accept": "application/json"})
    assert (answer.status_code, "Somebody else is logged in" in answer.json()["error"]) == (403, True)
    assert film.label_events.count() == 1


def test_the_session_has_the_person_and_a_token(curator: Client, client: Client) -> None:
    session = curator.get("/labels/session/").json()
    assert len(session["csrf"]) == 64
    assert client.get("/labels/session/").status_code == 302


def test_strangers_and_readers_may_not_merge(reader: Client, stranger: Client, film: Image) -> None:
    assert merge(reader, film, "theirs", seen=1).status_code == 403
    assert merge(stranger, film, "theirs", seen=1).status_code == 404
