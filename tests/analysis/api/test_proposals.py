"""Proposals of normals and of adjudications by API: the same acts as by the pages."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from analysis.models import AdjudicationProposal, NormalProposal, Worklist
from ml_engine.runs import lifecycle
from portal.models import AuditEvent, Cohort, Exposure, Role, User
from portal.people.blinding import open_for
from tests.analysis.reading.test_normal_proposals import dismiss, end, new_films
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, widened, worklist
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def wide(scored: Scored) -> Scored:
    return widened(scored)


@pytest.fixture
def of(wide: Scored, analyst: User) -> Worklist:
    return worklist(wide, analyst, value=0.85)


def post(client: Client, door: str, at: Any, **body: Any) -> Any:
    return client.post(reverse(door, args=[at]), body, content_type="application/json")


def test_from_the_readings_to_the_next_normal_set(of: Worklist, wide: Scored, analyst: User) -> None:
    by, curator = reader(), factories.curator()
    first, second, *_ = new_films(wide)
    readings = [dismiss(of, film, by) for film in (first, second)]
    client, as_curator = with_token(analyst), with_token(curator)
    made = post(client, "api-propose-normals", of.uuid, readings=[str(readings[0].uuid)])
    assert (made.status_code, made.json()["decision"], made.json()["proposed_by"]) == (201, None, "analyst")
    assert client.get(reverse("api-normal-proposals")).json()["results"] == [made.json()]

    address = reverse("api-normal-proposal", args=[made.json()["uuid"]])
    waiting = client.get(address).json()
    assert (waiting["films"], waiting["effect"]) == ([str(first.uuid)], None)
    assert "is not done yet" in waiting["waiting"]
    proposal = end(NormalProposal.objects.get(), {first: 0.0})
    shown = client.get(address).json()
    assert [row["image"] for row in shown["effect"]["vanished"]] == [str(first.uuid)]
    assert (shown["effect"]["vanished"][0]["is_proposed"], shown["waiting"]) == (True, "")
    kinds = set(Exposure.objects.filter(person=analyst, image=first).values_list("kind", flat=True))
    assert kinds >= {Exposure.Kind.LABEL, Exposure.Kind.SCORE}

    assert post(client, "api-decide-normals", proposal.uuid, decision="accept", name="normals").status_code == 403
    accepted = post(as_curator, "api-decide-normals", proposal.uuid, decision="accept", name="normals")
    cohort = Cohort.objects.get(name="normals")
    assert (accepted.status_code, accepted.json()["cohort"], accepted.json()["decision"]) == (
        201, str(cohort.uuid), "accepted",
    )  # fmt: skip
    again = post(as_curator, "api-decide-normals", proposal.uuid, decision="refuse", reason="late")
    assert (again.status_code, "decided already" in again.json()["detail"]) == (400, True)


def test_all_films_that_may_be_proposed_are_by_default(of: Worklist, wide: Scored, analyst: User) -> None:
    by = reader()
    for film in new_films(wide)[:3]:
        dismiss(of, film, by)
    client = with_token(analyst)
    made = post(client, "api-propose-normals", of.uuid)
    assert len(client.get(reverse("api-normal-proposal", args=[made.json()["uuid"]])).json()["films"]) == 3


def test_what_cannot_be_proposed_or_refused_is_answered_with_a_sentence(
    of: Worklist, wide: Scored, analyst: User
) -> None:
    client = with_token(analyst)
    nothing = post(client, "api-propose-normals", of.uuid)
    assert (nothing.status_code, "No film can be proposed" in nothing.json()["detail"]) == (400, True)
    unknown = uuid4()
    for door in ("api-propose-normals", "api-propose-adjudications"):
        answer = post(client, door, of.uuid, readings=[str(unknown)])
        assert (answer.status_code, answer.json()["readings"]) == (400, [f"The worklist has no reading {unknown}."])
    dismiss(of, new_films(wide)[0], reader())
    post(client, "api-propose-normals", of.uuid)
    silent = post(with_token(factories.curator()), "api-decide-normals", NormalProposal.objects.get().uuid,
                  decision="refuse")  # fmt: skip
    assert (silent.status_code, "Write why the proposal is refused" in silent.json()["detail"]) == (400, True)


def test_blindness_holds(of: Worklist, wide: Scored, analyst: User) -> None:
    film = new_films(wide)[0]
    dismiss(of, film, reader())
    client = with_token(analyst)
    proposal = post(client, "api-propose-normals", of.uuid).json()
    open_for(person=analyst, images=[film], source=wide.split.uuid, words="another list", days=3)
    shown = client.get(reverse("api-normal-proposal", args=[proposal["uuid"]]))
    assert str(film.uuid) not in shown.text
    assert "1 film is omitted" in shown.json()["omitted"]
    refused = post(client, "api-propose-normals", of.uuid)
    assert (refused.status_code, "blinded" in refused.json()["detail"]) == (403, True)


def test_readings_are_proposed_for_adjudication_all_or_none(of: Worklist, analyst: User) -> None:
    by, client = reader(), with_token(analyst)
    one, other = (read(item, by, "abnormal") for item in items(of)[:2])
    read(items(of)[1], by, "normal")  # which replaces the other
    stale = post(client, "api-propose-adjudications", of.uuid, readings=[str(one.uuid), str(other.uuid)])
    assert (stale.status_code, "propose the newer reading" in stale.json()["detail"]) == (400, True)
    assert not AdjudicationProposal.objects.exists()
    done = post(client, "api-propose-adjudications", of.uuid, readings=[str(one.uuid)])
    assert (done.status_code, done.json()) == (201, {"readings": 1})
    post(client, "api-propose-adjudications", of.uuid, readings=[str(one.uuid)])
    assert AdjudicationProposal.objects.get().reading == one
    assert AuditEvent.objects.filter(verb="propose adjudication").count() == 1


def test_who_may(of: Worklist, wide: Scored, analyst: User) -> None:
    dismiss(of, new_films(wide)[0], reader())
    proposal = post(with_token(analyst), "api-propose-normals", of.uuid).json()
    curator = with_token(factories.curator())
    stranger = with_token(factories.user("stranger", *Role, at=factories.site("Busan")))
    for client, status in ((curator, 403), (stranger, 404)):
        assert post(client, "api-propose-normals", of.uuid).status_code == status
        assert post(client, "api-propose-adjudications", of.uuid, readings=[str(uuid4())]).status_code == status
    assert stranger.get(reverse("api-normal-proposal", args=[proposal["uuid"]])).status_code == 404
    assert stranger.get(reverse("api-normal-proposals")).json()["results"] == []
    assert len(curator.get(reverse("api-normal-proposals")).json()["results"]) == 1
