"""Double reading by API: from making it to the consensus label, and what each person gets."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEvent, CurrentLabel, Dataset, Exposure, QueueReading, Role, ScreeningQueue, User
from tests.portal import factories
from tests.portal.double import adjudicator, begun, close, films_of, manager, read

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def ben(of: Dataset) -> User:
    return factories.curator("ben")


def as_(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def post(client: Client, address: str, **data: Any) -> Any:
    return client.post(address, data, content_type="application/json")


@pytest.fixture
def queue(of: Dataset, ann: User, ben: User) -> ScreeningQueue:
    """Two films that both people may read; nobody has begun."""
    factories.films(of, unlabelled=2)
    answer = post(
        as_(manager()),
        f"/api/v1/datasets/{of.uuid}/double-readings/?label=unlabelled",
        name="Pairs",
        readers=["ann", "ben"],
        order="imported",
    )
    assert answer.status_code == 201, answer.content
    assert (answer.json()["blinded"], answer.json()["source"]) == (True, "Normals: unlabelled")
    return ScreeningQueue.objects.get()


def test_a_disagreement_from_the_beginning_to_the_label(queue: ScreeningQueue, ann: User, ben: User) -> None:
    address = f"/api/v1/queues/{queue.uuid}/"
    agreed, disputed = films_of(queue)
    for person, value in ((ann, "abnormal"), (ben, "normal")):
        client = as_(person)
        refused = post(client, f"{address}readings/", image=str(agreed.uuid), value="normal")
        assert refused.status_code == 403
        assert post(client, f"{address}begin/").json()["readers"] == [
            {"reader": person.username, "read": 0, "state": "reading"}
        ]
        for film, said in ((agreed, "normal"), (disputed, value)):
            findings = ["a rare word"] if said == "abnormal" else []
            answer = post(client, f"{address}readings/", image=str(film.uuid), value=said, findings=findings)
            assert (answer.status_code, answer.json()["value"]) == (201, said)
        own = client.get(f"{address}readings/").json()
        assert [row["value"] for row in own] == ["normal", value]
    assert "a rare word" not in as_(ben).get(f"{address}readings/").content.decode()
    maria = as_(manager())
    assert post(as_(ann), f"{address}close/").status_code == 403
    assert post(maria, f"{address}close/").json() == {
        "agreed": 1, "differing": 1, "shown_first": 0, "not_read_by_all": 0,
    }  # fmt: skip
    assert "is closed already" in post(maria, f"{address}close/").json()["detail"]
    ada = factories.user("ada", Role.ADJUDICATOR)
    assert "may adjudicate labels" in post(maria, f"{address}adjudicator/", adjudicator="ann").json()["detail"]
    assert post(maria, f"{address}adjudicator/", adjudicator="ada").json()["adjudicator"] == "ada"
    client, film = as_(ada), f"{address}adjudication/{disputed.uuid}/"
    assert client.get(f"{address}adjudication/").json()["films"] == [{"image": str(disputed.uuid), "own_verdict": None}]
    assert "Begin the adjudication first" in post(client, f"{film}verdict/", value="normal").json()["detail"]
    assert post(client, f"{address}adjudication/begin/").status_code == 204
    assert "own verdict first" in client.get(f"{film}readings/").content.decode()
    assert post(client, f"{film}verdict/", value="normal").status_code == 201
    assert "is locked" in post(client, f"{film}verdict/", value="abnormal").json()["detail"]
    readings = client.get(f"{film}readings/")
    assert {row["value"] for row in readings.json()["readings"]} == {"abnormal", "normal"}
    assert "ann" not in readings.content.decode()
    assert Exposure.objects.filter(person=ada, image=disputed, kind="label").exists()
    assert post(client, f"{film}settle/", value="abnormal", findings=["a rare word"], comment="yes").status_code == 201
    assert "settled already" in post(client, f"{film}settle/", value="normal").json()["detail"]
    labels = {label.image_id: (label.value, label.source) for label in CurrentLabel.objects.all()}
    assert labels == {agreed.pk: ("normal", "consensus"), disputed.pk: ("abnormal", "adjudication")}
    assert as_(ann).get(f"{address}double-reading/").json()["finished"] is True
    assert post(client, f"{address}adjudication/hand-back/").status_code == 204
    verbs = set(AuditEvent.objects.values_list("verb", flat=True))
    assert verbs >= {"ask for double reading", "begin double reading", "read film of double reading"}
    assert verbs >= {"close double reading", "name adjudicator", "begin adjudication", "give own verdict"}
    assert verbs >= {"settle double reading", "hand back adjudication"}


def test_an_act_is_stored_once_and_undone(queue: ScreeningQueue, ann: User) -> None:
    address, client = f"/api/v1/queues/{queue.uuid}/", as_(ann)
    post(client, f"{address}begin/")
    film, act = films_of(queue)[0], str(uuid.uuid4())
    for _ in range(2):
        post(client, f"{address}readings/", image=str(film.uuid), value="unsure", act=act)
    assert QueueReading.objects.count() == 1
    assert post(client, f"{address}readings/undo/", act=act).json() == []
    assert "already undone" in post(client, f"{address}readings/undo/", act=act).json()["detail"]
    assert post(client, f"{address}readings/", image=str(uuid.uuid4()), value="unsure").status_code == 404
    assert "unknown" in post(client, f"{address}readings/", image=str(film.uuid), value="perhaps").json()["detail"]
    assert post(client, f"{address}hand-back/").json()["readers"][0]["state"] == "handed back"
    assert "nothing to hand back" in post(client, f"{address}hand-back/").json()["detail"]


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"readers": ["ann"]}, "at least 2"),
    ({"readers": ["ann", "nobody"]}, "Nobody named"),
    ({"readers": ["ann", "ann"]}, "two or more different people"),
    ({"order": "unlabelled"}, "not a valid choice"),
])  # fmt: skip
def test_an_invalid_double_reading_is_refused(
    of: Dataset, ann: User, ben: User, changes: dict[str, Any], sentence: str
) -> None:
    factories.film(of)
    data = {"name": "n", "readers": ["ann", "ben"], **changes}
    answer = post(as_(ann), f"/api/v1/datasets/{of.uuid}/double-readings/", **data)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert not ScreeningQueue.objects.exists()


def test_a_state_says_no_more_than_the_page(queue: ScreeningQueue, ann: User, ben: User) -> None:
    address = f"/api/v1/queues/{queue.uuid}/double-reading/"
    assert [row["reader"] for row in as_(ann).get(address).json()["readers"]] == ["ann"]
    assert as_(ann).get(address).json()["read_by_all"] is None
    assert [row["reader"] for row in as_(manager()).get(address).json()["readers"]] == ["ann", "ben"]
    assert as_(factories.curator("carl")).get(address).json()["readers"] == []


def test_others_and_strangers_get_nothing(of: Dataset, ann: User, ben: User) -> None:
    factories.films(of, unlabelled=1)
    queue = begun(of, ann, ben)
    film = films_of(queue)[0]
    for person, value in ((ann, "abnormal"), (ben, "normal")):
        read(queue, film, person, value, reason="a rare word")
    close(queue)
    adjudicator(queue)
    stranger = as_(factories.user("stranger", *Role, at=factories.site("Busan")))
    address = f"/api/v1/queues/{queue.uuid}/"
    data = {"value": "normal", "image": str(film.uuid), "act": str(uuid.uuid4()), "adjudicator": "ada"}
    for act in ("readings/", "readings/undo/", "begin/", "hand-back/", "close/", "adjudicator/"):
        assert post(stranger, address + act, **data).status_code == 404
    for act in ("double-reading/", "readings/", "adjudication/", f"adjudication/{film.uuid}/readings/"):
        assert stranger.get(address + act).status_code == 404
    for person in (ann, manager()):
        client = as_(person)
        assert client.get(f"{address}adjudication/").status_code == 403
        answer = client.get(f"{address}adjudication/{film.uuid}/readings/")
        assert answer.status_code == 403
        assert "a rare word" not in answer.content.decode()
        for act in ("begin/", "hand-back/", f"{film.uuid}/verdict/", f"{film.uuid}/settle/"):
            assert post(client, f"{address}adjudication/{act}", **data).status_code == 403
