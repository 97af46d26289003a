"""The pages and the API of reader studies: who sees what, what is revealed when, and what the files hold."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from analysis.models import HeatmapUse, Reading, Worklist, WorklistAssignment, WorklistReader
from analysis.reading.study_reference import state_reference
from analysis.reading.worklists import begin
from ml_engine.models import Score
from portal.models import Exposure, Role, User
from portal.people.blinding import open_for
from tests.analysis.scored import Scored
from tests.analysis.worklists import calibrated, items, read_stage, read_study, reader, study, worklist
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return study(scored, analyst)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def post(client: Client, address: str, body: dict[str, Any]) -> Any:
    return client.post(address, json.dumps(body), content_type="application/json")


def new_reading(of_item: Any, stage: str, **changes: Any) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid4()), "item": str(of_item.uuid), "verdict": "normal", "stage": stage, "rating": 20,
        "active_seconds": 3.5, "total_seconds": 4,
    } | changes  # fmt: skip


def single(of: Worklist) -> Any:
    twice = {item.image_id for item in items(of) if item.repeat}
    return next(item for item in items(of) if item.image_id not in twice)


READERS, MAKERS = {Role.READER}, {Role.ANALYST, Role.MANAGER}
ADDRESSES = {
    "/reading/{worklist}/study/": (MAKERS, "get"),
    "/reading/{worklist}/study/long.csv": (MAKERS, "get"),
    "/reading/{worklist}/study/imrmc.csv": (MAKERS, "get"),
    "/reading/{worklist}/reference/": (MAKERS, "post"),
    "/reading/{worklist}/assignments/": (MAKERS, "post"),
    "/reading/{worklist}/items/{item}/revealed/overlay": (set(), "get"),
    "/reading/{worklist}/items/{item}/revealed/maps": (set(), "get"),
    "/api/v1/worklists/{worklist}/items/{item}/reveal/": (READERS, "post"),
    "/api/v1/worklists/{worklist}/assignments/": (MAKERS, "get"),
    "/api/v1/worklists/{worklist}/assignments/nobody/": (MAKERS, "delete"),
    "/api/v1/worklists/{worklist}/reference/": (MAKERS, "post"),
    "/api/v1/worklists/{worklist}/study/": (MAKERS, "get"),
    "/api/v1/worklists/{worklist}/study/long.csv": (MAKERS, "get"),
    "/api/v1/worklists/{worklist}/study/imrmc.csv": (MAKERS, "get"),
}


@pytest.mark.parametrize("role", list(Role))
def test_each_address_answers_its_roles_and_refuses_the_others(of: Any, role: Role) -> None:
    client = signed_in(factories.user("someone", role))
    addresses = {"worklist": of.uuid, "item": single(of).uuid}
    wrong = {}
    for pattern, (allowed, method) in ADDRESSES.items():
        response = getattr(client, method)(pattern.format(**addresses))
        is_answered = response.status_code in (200, 302, 400) or b"not assigned to this person" in response.content
        if is_answered != (role in allowed) or (not is_answered and response.status_code != 403):
            wrong[pattern] = response.status_code
    assert wrong == {}


def test_nothing_of_a_study_exists_for_another_site_or_in_another_worklist(
    of: Any, scored: Scored, analyst: User
) -> None:
    theirs = signed_in(factories.user("theirs", *Role, at=factories.site("Busan")))
    addresses = {"worklist": of.uuid, "item": single(of).uuid}
    for pattern, (_, method) in ADDRESSES.items():
        assert getattr(theirs, method)(pattern.format(**addresses)).status_code == 404, pattern
    plain = worklist(scored, analyst)
    ours = signed_in(factories.user("ours", Role.READER, Role.ANALYST))
    for address in ("study/", "study/long.csv"):
        assert ours.get(f"/reading/{plain.uuid}/{address}").status_code == 404
        assert ours.get(f"/api/v1/worklists/{plain.uuid}/{address}").status_code == 404
    elsewhere = f"/api/v1/worklists/{plain.uuid}/items/{single(of).uuid}/reveal/"
    assert post(ours, elsewhere, {}).status_code == 404


# Reading in two stages ---------------------------------------------------------------------------------------


def test_the_two_stages_by_api(of: Any, scored: Scored) -> None:
    person, item = reader(), single(of)
    score = Score.objects.get(run=scored.run, image=item.image).fused_score
    calibrated(scored.run, [score - 1, score + 1])
    client = signed_in(person)
    assert client.post(f"/reading/{of.uuid}/begin/").status_code == 302
    readings, items_of = f"/api/v1/worklists/{of.uuid}/readings/", f"/api/v1/worklists/{of.uuid}/items/"
    reveal = f"/api/v1/worklists/{of.uuid}/items/{item.uuid}/reveal/"
    pictures = [f"/reading/{of.uuid}/items/{item.uuid}/revealed/{name}" for name in ("overlay", "maps")]

    refused = post(client, reveal, {})
    assert (refused.status_code, HeatmapUse.objects.count(), Exposure.objects.count()) == (400, 0, 0)
    assert "Read this film without the model first" in refused.json()["detail"]
    assert f"{score:.3g}" not in refused.content.decode()
    assert [client.get(address).status_code for address in pictures] == [403, 403]

    assert post(client, readings, new_reading(item, "unaided", rating=33)).json()["rating"] == 33
    assert [client.get(address).status_code for address in pictures] == [403, 403]
    answer = post(client, reveal, {}).json()
    assert (answer["score"], answer["percentile"], answer["normals"]) == (score, 50, 2)
    assert answer["flagged"] is item.flagged
    overlay = client.get(pictures[0]).json()
    assert overlay["maps_url"] == pictures[1]
    assert overlay["weight_locked"]
    assert client.get(pictures[1]).status_code == 200
    # what others have said stays withheld: film, scores, heatmap elsewhere
    for address in (f"/results/runs/{of.run.uuid}/films/{item.image.uuid}/overlay",
                    f"/results/runs/{of.run.uuid}/films/{item.image.uuid}/"):  # fmt: skip
        assert client.get(address).status_code == 403

    again = post(client, readings, new_reading(item, "unaided"))
    assert (again.status_code, "is locked" in again.json()["detail"]) == (400, True)
    stored = post(client, readings, new_reading(item, "aided", agreement="disagree", reason="device")).json()
    assert (stored["stage"], stored["agreement"], stored["reason"]) == ("aided", "disagree", "device")
    row = next(row for row in client.get(items_of).json()["items"] if row["item"] == str(item.uuid))
    assert row["stages"] == ["unaided", "aided"]
    assert [reading["stage"] for reading in row["readings"]] == ["unaided", "aided"]
    assert client.get(f"/results/runs/{of.run.uuid}/films/{item.image.uuid}/").status_code == 200


def test_the_page_and_the_items_of_a_study_carry_no_score_flag_or_repeat(of: Any) -> None:
    person, other = reader("mine"), reader("somebody-else")
    read_stage(single(of), other, "unaided", comment="a word of mine")
    client = signed_in(person)
    answers = [
        client.get("/reading/"),
        client.get(f"/reading/{of.uuid}/"),
        client.post(f"/reading/{of.uuid}/begin/", follow=True),
        client.get(f"/api/v1/worklists/{of.uuid}/items/"),
        client.get(f"/api/v1/worklists/{of.uuid}/"),
    ]
    text = "\n".join(f"{answer.headers} {answer.content.decode()}" for answer in answers)
    numbers = {f"{score.fused_score:.3f}"[:5] for score in Score.objects.filter(run=of.run)}
    hidden = {"somebody-else", "a word of mine", "sampling", "threshold", '"repeat"', '"flagged"'}
    assert {word for word in hidden | numbers if word in text} == set()
    assert "reader study" in one_line(answers[1])


def test_a_crossover_waits_on_its_page_and_in_its_items(scored: Scored, analyst: User) -> None:
    of, person = study(scored, analyst, design="crossover"), reader()
    read_study(of, person, lambda item, stage: "normal")
    client = signed_in(person)
    opens = timezone.now() + timezone.timedelta(days=28)
    page = one_line(client.get(f"/reading/{of.uuid}/"))
    assert f"Your second session opens on {opens:%Y-%m-%d}" in page
    assert '<button class="btn btn-primary"' not in page
    answer = client.get(f"/api/v1/worklists/{of.uuid}/items/")
    assert (answer.status_code, "Your second session opens" in answer.json()["detail"]) == (400, True)


def test_a_person_whose_scores_are_hidden_is_told_when_beginning(of: Any) -> None:
    person = reader()
    open_for(person=person, images=[single(of).image], source=uuid.uuid4(), words="another list", days=3)
    client = signed_in(person)
    page = client.post(f"/reading/{of.uuid}/begin/", follow=True)
    assert "The score of 1 film of this study is hidden from you" in page.content.decode()
    answer = client.post(f"/api/v1/worklists/{of.uuid}/begin/")
    assert "or leave the study to another reader" in answer.json()["detail"]
    assert not WorklistReader.objects.exists()


# Assignments -------------------------------------------------------------------------------------------------


def test_a_study_is_made_and_assigned_by_form_and_by_api(scored: Scored, analyst: User) -> None:
    mine, other = reader("mine"), reader("other")
    client = signed_in(analyst)
    form = {
        "run": scored.run.uuid, "name": "By form", "point": "tune sensitivity", "value": 0.85, "unflagged_percent": 50,
        "seed": 3, "design": "crossover", "repeat_percent": 10, "readers": ["mine"], "washout_days": 14,
    }  # fmt: skip
    assert client.post("/reading/new/", form).status_code == 302
    stored = Worklist.objects.get(name="By form")
    assert (stored.design, stored.repeat_share, stored.blinded, stored.washout_days) == ("crossover", 0.1, True, 14)
    body = {"name": "By API", "point": "tune sensitivity", "value": 0.85, "design": "sequential", "readers": ["mine"]}
    answer = post(client, f"/api/v1/runs/{scored.run.uuid}/worklists/", body)
    assert (answer.json()["design"], answer.json()["repeat_share"]) == ("sequential", 0.05)
    refused = post(client, f"/api/v1/runs/{scored.run.uuid}/worklists/", {**body, "name": "C", "readers": ["analyst"]})
    assert "analyst is no reader at Seoul" in refused.json()["detail"]
    assert set(WorklistAssignment.objects.values_list("worklist__name", "reader__username")) == {
        ("By form", "mine"), ("By API", "mine"),
    }  # fmt: skip
    assert signed_in(mine).get("/api/v1/worklists/").json()["count"] == 2
    assert signed_in(other).get("/api/v1/worklists/").json()["count"] == 0
    assert "By form" not in signed_in(other).get("/reading/").content.decode()
    assert signed_in(other).get(f"/reading/{stored.uuid}/").status_code == 403
    assert signed_in(other).get(f"/api/v1/worklists/{stored.uuid}/").status_code == 403


@pytest.mark.parametrize("is_study", [True, False])
def test_readers_are_added_and_taken_away_on_the_page_and_by_api(scored: Scored, analyst: User, is_study: bool) -> None:
    of = study(scored, analyst) if is_study else worklist(scored, analyst)
    for name in ("one", "two"):
        reader(name)
    client = signed_in(analyst)
    address, api = f"/reading/{of.uuid}/assignments/", f"/api/v1/worklists/{of.uuid}/assignments/"
    page = client.post(address, {"reader": ["one"]}, follow=True)
    assert "Take it from one" in page.content.decode()
    assert post(client, api, {"readers": ["two"]}).json() == {"readers": ["one", "two"]}
    assert "nobody is no reader" in client.post(address, {"reader": ["nobody"]}, follow=True).content.decode()
    assert client.delete(f"{api}one/").status_code == 204
    assert client.delete(f"{api}one/").status_code == 404
    begin(worklist=of, reader=User.objects.get(username="two"))
    assert "so the assignment stays" in client.delete(f"{api}two/").json()["detail"]
    page = client.post(address, {"remove": "two"}, follow=True)
    assert "so the assignment stays" in page.content.decode()
    assert client.get(api).json() == {"readers": ["two"]}


# Results -----------------------------------------------------------------------------------------------------


def test_the_results_of_two_readers_on_the_page_by_api_and_in_files(of: Any, as_analyst: Client) -> None:
    for name in ("one", "two"):
        read_study(of, reader(name), lambda item, stage: "abnormal" if item.flagged or stage == "aided" else "normal")
    page = one_line(as_analyst.get(f"/reading/{of.uuid}/study/"))
    assert "State first what the readers are compared with" in page
    refused = as_analyst.get(f"/reading/{of.uuid}/study/long.csv")
    assert (refused.status_code, "State first" in refused.content.decode()) == (400, True)
    body = {"source": "ct", "statement": "CT within a week"}
    page = one_line(as_analyst.post(f"/reading/{of.uuid}/reference/", body, follow=True))
    for words in ("CT within a week", "With 2 of at least 5 readers", "Right to wrong", "Cohen's kappa, one and two",
                  "random weights, not for evaluation", "Looks at this test part: 2"):  # fmt: skip
        assert words in page or words in page.replace("&#x27;", "'"), words
    results = as_analyst.get(f"/api/v1/worklists/{of.uuid}/study/").json()
    assert [row["reader"] for row in results["with_reference"]["readers"]] == ["one", "two"]
    assert post(as_analyst, f"/api/v1/worklists/{of.uuid}/reference/", body).status_code == 201
    wrong = post(as_analyst, f"/api/v1/worklists/{of.uuid}/reference/", {**body, "statement": "\t"})
    assert wrong.status_code == 400
    for prefix in ("/reading", "/api/v1/worklists"):
        answer = as_analyst.get(f"{prefix}/{of.uuid}/study/imrmc.csv")
        assert answer.content.decode().startswith("readerID,caseID,modalityID,score\n")
        assert "random-weights-not-for-evaluation" in answer["Content-Disposition"]
    shown = Exposure.objects.filter(person__username="analyst", kind="label").values("image").distinct()
    assert shown.count() == len({item.image_id for item in items(of)})


def test_a_file_is_refused_to_those_who_read_one_of_its_films_blinded(of: Any, analyst: User) -> None:
    read_study(of, reader(), lambda item, stage: "normal")
    state_reference(worklist=of, source="ct", statement="CT", author=analyst)
    open_for(person=analyst, images=[single(of).image], source=uuid.uuid4(), words="another list", days=3)
    client = signed_in(analyst)
    answer = client.get(f"/reading/{of.uuid}/study/long.csv")
    assert answer.status_code == 403
    assert "have yet to read blinded" in answer.content.decode()
    assert client.get(f"/api/v1/worklists/{of.uuid}/study/long.csv").status_code == 403


def test_results_are_refused_while_a_person_still_reads(of: Any) -> None:
    person = factories.user("both", Role.READER, Role.ANALYST)
    begin(worklist=of, reader=person)
    client = signed_in(person)
    for address in (f"/reading/{of.uuid}/study/", f"/reading/{of.uuid}/study/long.csv",
                    f"/api/v1/worklists/{of.uuid}/study/", f"/reading/{of.uuid}/assignments/"):  # fmt: skip
        answer = client.post(address) if address.endswith("assignments/") else client.get(address)
        assert (answer.status_code, "left to read" in answer.content.decode()) == (403, True), address
    assert not Reading.objects.exists()


def test_the_csv_of_readings_has_stage_rating_and_agreement(of: Any, as_analyst: Client) -> None:
    person = reader()
    for stage in ("unaided", "aided"):
        read_stage(single(of), person, stage)
    lines = as_analyst.get(f"/reading/{of.uuid}/readings.csv").content.decode().splitlines()
    assert lines[0].startswith("image,patient,reader,repeat,stage,verdict,rating,agreement,")
    assert [line.split(",")[3:8] for line in lines[1:]] == [
        ["0", "unaided", "normal", "10", ""], ["0", "aided", "normal", "10", "agree"],
    ]  # fmt: skip
    rows = as_analyst.get(f"/api/v1/worklists/{of.uuid}/readings/").json()
    assert [(row["stage"], row["rating"], row["reference"]) for row in rows] == [
        ("unaided", 10, True), ("aided", 10, False),
    ]  # fmt: skip
