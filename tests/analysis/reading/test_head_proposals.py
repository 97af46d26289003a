"""At the end of a worklist: which score flagged each film, and the proposal that the model learns it."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from analysis.models import HeadDecision, HeadProposal, Worklist
from analysis.reading import head_proposals as teaching
from analysis.reading.head_proposals import TeachingRefused
from analysis.reading.verdicts import record
from ml_engine.models import Run, RunKind, Score
from ml_engine.runs import lifecycle
from portal.models import AuditEvent, Exposure, Image, Role, User
from portal.people.blinding import open_for
from tests.analysis.headed import with_head
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, new_reading, read, read_stage, reader, study, worklist
from tests.pages import one_line
from tests.portal import factories

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


def read_all(of: Worklist, by: User, films: list[Image] | None = None) -> None:
    """Everything: abnormal for `films`, normal for the others."""
    abnormal = {film.pk for film in films or []}
    for item in items(of):
        read(item, by, "abnormal" if item.image_id in abnormal else "normal")


def end(of: Worklist) -> str:
    return reverse("analysis:worklist-end", args=[of.uuid])


def test_nothing_is_told_before_every_film_is_read(scored: Scored, analyst: User, client: Client) -> None:
    of, by = worklist(scored, analyst), reader()
    client.force_login(by)
    for item in items(of)[:-1]:
        refused = client.get(end(of))
        assert refused.headers["Location"] == reverse("analysis:read", args=[of.uuid])
        client.post(reverse("analysis:propose-head", args=[of.uuid]))
        assert not HeadProposal.objects.exists()
        read(item, by)
    with pytest.raises(TeachingRefused, match="You have 1 film of this worklist left to read"):
        teaching.propose(worklist=of, reader=by)
    read(items(of)[-1], by)
    page = client.get(end(of)).text
    assert page.count("flagged by the one-class score") == of.items.filter(flagged=True).count()
    assert page.count("not flagged") == of.items.filter(flagged=False).count()
    shown = set(Exposure.objects.filter(person=by, kind=Exposure.Kind.SCORE).values_list("image_id", flat=True))
    assert shown == {item.image_id for item in items(of)}


def test_each_film_names_the_score_that_flagged_it(scored: Scored, analyst: User, client: Client) -> None:
    with_head(scored)
    of, by = (
        worklist(scored, analyst, score="combined", point="tune specificity", value=0.7, unflagged_share=0.5),
        reader(),
    )
    read_all(of, by, [item.image for item in of.items.filter(flagged_by="one-class")])  # all against the model
    client.force_login(by)
    page = client.get(end(of)).text
    words = {
        "both": "both scores",
        "combined": "the semi-supervised score alone",
        "one-class": "the one-class score alone",
    }
    for by_score, text in words.items():
        assert page.count(f"flagged by {text}") == of.items.filter(flagged_by=by_score).count()
    assert of.items.filter(flagged_by="combined").exists()
    client.force_login(analyst)
    summary = one_line(client.get(reverse("analysis:worklist", args=[of.uuid])).text)
    for by_score, text in words.items():
        here = "not flagged; the one-class score alone calls it" if by_score == "one-class" else f"flagged by {text}"
        assert summary.count(f"<td> {here} </td>") == of.items.filter(flagged_by=by_score).count() > 0
    assert "Semi-supervised: one-class and head combined" in page


def test_a_verdict_changed_afterwards_was_given_with_the_model(scored: Scored, analyst: User, client: Client) -> None:
    of, by = worklist(scored, analyst, blinded=True), reader()
    read_all(of, by)
    client.force_login(by)
    client.get(end(of))
    item = items(of)[0]
    assert item.readings.get().model_shown is False
    assert record(item=item, reader=by, new=new_reading("abnormal")).model_shown is True


def test_films_that_are_read_blinded_elsewhere_are_left_out(scored: Scored, analyst: User, client: Client) -> None:
    of, by = worklist(scored, analyst), reader()
    read_all(of, by)
    film = items(of)[0].image
    open_for(person=by, images=[film], source=scored.split.uuid, words="another list", days=3)
    client.force_login(by)
    page = one_line(client.get(end(of)).text)
    assert str(film.uuid) not in page
    assert "are left out here and not counted" in page


def test_a_reader_study_ends_with_both_stages(scored: Scored, analyst: User, client: Client) -> None:
    of, by = study(scored, analyst, repeat_share=0.0), reader()
    client.force_login(by)
    for item in items(of):
        assert client.get(end(of)).status_code == 302
        read_stage(item, by, "unaided")
        read_stage(item, by, "aided")
    assert client.get(end(of)).status_code == 200


# The proposal -------------------------------------------------------------------------------------------


def test_from_the_reader_to_the_run(scored: Scored, pool: list[Image], analyst: User, client: Client) -> None:
    of, by = worklist(scored, analyst, value=0.85, unflagged_share=0.0), reader()
    read_all(of, by, pool[:12])
    client.force_login(by)
    assert "Teach the model what you confirmed" in client.get(end(of)).text
    client.post(reverse("analysis:propose-head", args=[of.uuid]))
    page = one_line(client.get(end(of)).text)
    assert "it waits for an analyst or manager to start it" in page and 'id="teach"' not in page
    assert client.get(reverse("analysis:head-proposals")).status_code == 403
    proposal = HeadProposal.objects.get()
    assert client.post(reverse("analysis:decide-head", args=[proposal.uuid]), {"decision": "start"}).status_code == 403

    client.force_login(analyst)
    assert "Teach the model (1 proposed)" in one_line(client.get(reverse("analysis:worklists")).text)
    listed = client.get(reverse("analysis:head-proposals")).text
    assert of.name in listed and "Start the run" in listed
    answer = client.post(reverse("analysis:decide-head", args=[proposal.uuid]), {"decision": "start"})

    run = Run.objects.get(kind=RunKind.FIT_HEAD)
    assert answer.headers["Location"] == reverse("ml_engine:run", args=[run.uuid])
    assert run.scored == scored.run and run.requested_by == analyst
    abnormal = set(run.reads.filter(verdict="abnormal").values_list("image_id", flat=True))
    assert abnormal == {film.pk for film in pool[:12]}
    assert HeadDecision.objects.get().run == run
    assert {"propose head", "start head"} <= set(AuditEvent.objects.values_list("verb", flat=True))
    assert "Started by analyst" in one_line(client.get(reverse("analysis:head-proposals")).text)
    with pytest.raises(TeachingRefused, match="has been decided already"):
        teaching.start(proposal=proposal, author=analyst)
    teaching.propose(worklist=of, reader=by)  # after more reads it may be proposed again


def test_too_few_confirmed_films_are_said_and_nothing_is_decided(
    scored: Scored, pool: list[Image], analyst: User, client: Client
) -> None:
    of, by = worklist(scored, analyst, value=0.85, unflagged_share=0.0), reader()
    read_all(of, by, pool[:4])
    proposal = teaching.propose(worklist=of, reader=by)
    client.force_login(analyst)
    answer = client.post(reverse("analysis:decide-head", args=[proposal.uuid]), {"decision": "start"}, follow=True)
    assert "The reads hold 4 films confirmed as abnormal" in answer.text
    assert not HeadDecision.objects.exists() and not Run.objects.filter(kind=RunKind.FIT_HEAD).exists()


def test_it_is_proposed_once_at_a_time_and_refused_with_a_reason(scored: Scored, analyst: User, client: Client) -> None:
    of, by = worklist(scored, analyst), reader()
    read_all(of, by)
    proposal = teaching.propose(worklist=of, reader=by)
    with pytest.raises(TeachingRefused, match="This is proposed already"):
        teaching.propose(worklist=of, reader=by)
    with pytest.raises(TeachingRefused, match="Write why the run is not started"):
        teaching.refuse(proposal=proposal, author=analyst, reason=" ")
    client.force_login(analyst)
    client.post(reverse("analysis:decide-head", args=[proposal.uuid]), {"decision": "refuse", "reason": "too early"})
    assert HeadDecision.objects.get().reason == "too early"
    assert "too early" in client.get(reverse("analysis:head-proposals")).text
    with pytest.raises(DatabaseError, match="analysis_headdecision is append-only"), transaction.atomic():
        HeadDecision.objects.all().delete()


def test_who_reads_a_scored_film_blinded_starts_nothing(scored: Scored, pool: list[Image], analyst: User) -> None:
    of, by = worklist(scored, analyst, value=0.85, unflagged_share=0.0), reader()
    read_all(of, by, pool[:12])
    proposal = teaching.propose(worklist=of, reader=by)
    open_for(person=analyst, images=[pool[0]], source=scored.split.uuid, words="a list", days=3)
    with pytest.raises(PermissionDenied, match="holds a film that you have yet to read blinded"):
        teaching.start(proposal=proposal, author=analyst)
    assert not HeadDecision.objects.exists()


def test_only_readers_of_the_list_propose(scored: Scored, analyst: User) -> None:
    of = worklist(scored, analyst)
    with pytest.raises(PermissionDenied):
        teaching.propose(worklist=of, reader=factories.user("curator", Role.CURATOR))
