"""The end of a worklist and the proposal of a semi-supervised head, by API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analysis.models import HeadProposal
from ml_engine.models import Run, RunKind, Score
from ml_engine.runs import lifecycle
from portal.models import Exposure, Image, Role, User
from portal.people.blinding import open_for
from tests.analysis.reading.test_head_proposals import read_all
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, worklist
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def pool(scored: Scored) -> list[Image]:
    """Fourteen films in no part, which score above all others."""
    films = [factories.film(scored.films[0].dataset, "") for _ in range(14)]
    for k, film in enumerate(films):
        Score.objects.create(run=scored.run, image=film, row=100 + k, fused_score=100.0 + k)
    return films


def decide(client: Client, proposal: dict[str, Any], **body: Any) -> Any:
    return client.post(reverse("api-decide-head", args=[proposal["uuid"]]), body, content_type="application/json")


def test_nothing_is_told_before_every_film_is_read(scored: Scored, analyst: User) -> None:
    of, by = worklist(scored, analyst, blinded=True), reader()
    client = with_token(by)
    for item in items(of)[:-1]:
        read(item, by)
    for door, ask in (("api-worklist-end", client.get), ("api-propose-head", client.post)):
        refused = ask(reverse(door, args=[of.uuid]))
        assert (refused.status_code, "1 film of this worklist left to read" in refused.json()["detail"]) == (400, True)
    assert not Exposure.objects.filter(person=by, kind=Exposure.Kind.SCORE).exists()
    read(items(of)[-1], by)
    results = client.get(reverse("api-worklist-end", args=[of.uuid])).json()["results"]
    flagged = [row for row in results if row["flagged"] == "flagged by the one-class score"]
    assert (len(flagged), len(results)) == (of.items.filter(flagged=True).count(), of.items.count())
    shown = set(Exposure.objects.filter(person=by, kind=Exposure.Kind.SCORE).values_list("image_id", flat=True))
    assert shown == {item.image_id for item in items(of)}


def test_films_that_are_read_blinded_elsewhere_are_left_out(scored: Scored, analyst: User) -> None:
    of, by = worklist(scored, analyst), reader()
    read_all(of, by)
    film = items(of)[0].image
    open_for(person=by, images=[film], source=scored.split.uuid, words="another list", days=3)
    answer = with_token(by).get(reverse("api-worklist-end", args=[of.uuid]))
    assert str(film.uuid) not in answer.text
    assert "are left out here and not counted" in answer.json()["left_out"]


def test_from_the_reader_to_the_run(scored: Scored, pool: list[Image], analyst: User) -> None:
    of, by = worklist(scored, analyst, value=0.85, unflagged_share=0.0), reader()
    read_all(of, by, pool[:12])
    as_reader, as_analyst = with_token(by), with_token(analyst)
    proposal = as_reader.post(reverse("api-propose-head", args=[of.uuid])).json()
    assert (proposal["worklist"], proposal["decision"], proposal["proposed_by"]) == (str(of.uuid), None, "reader")
    assert as_reader.post(reverse("api-propose-head", args=[of.uuid])).status_code == 400
    assert as_reader.get(reverse("api-head-proposals")).json()["results"] == []
    assert decide(as_reader, proposal, decision="start").status_code == 403
    assert as_analyst.get(reverse("api-head-proposals")).json()["results"] == [proposal]

    started = decide(as_analyst, proposal, decision="start")
    run = Run.objects.get(kind=RunKind.FIT_HEAD)
    assert (started.status_code, started.json()["run"], started.json()["decision"]) == (201, str(run.uuid), "started")
    again = decide(as_analyst, proposal, decision="refuse", reason="late")
    assert (again.status_code, "has been decided already" in again.json()["detail"]) == (400, True)


def test_it_is_refused_with_a_reason(scored: Scored, analyst: User) -> None:
    of, by = worklist(scored, analyst), reader()
    read_all(of, by)
    proposal = with_token(by).post(reverse("api-propose-head", args=[of.uuid])).json()
    client = with_token(analyst)
    silent = decide(client, proposal, decision="refuse")
    assert (silent.status_code, "Write why the run is not started" in silent.json()["detail"]) == (400, True)
    refused = decide(client, proposal, decision="refuse", reason="too few films").json()
    assert (refused["decision"], refused["reason"], refused["run"]) == ("refused", "too few films", None)
    stranger = with_token(factories.user("stranger", *Role, at=factories.site("Busan")))
    assert decide(stranger, proposal, decision="start").status_code == 404
    assert HeadProposal.objects.get().decision.reason == "too few films"
