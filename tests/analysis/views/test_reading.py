"""The pages and the API of reading: who sees what, and what a reader never sees."""

from __future__ import annotations

import csv
import io
import json
import shutil
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.models import (
    AdjudicationProposal,
    Escalation,
    HeadProposal,
    HeatmapUse,
    NormalProposal,
    Reading,
    Worklist,
    WorklistReader,
)  # fmt: skip
from analysis.reading import verdicts
from analysis.reading.worklists import begin
from ml_engine.models import Run, Score
from ml_engine.runs.paths import run_folder
from portal.models import Exposure, Role, User
from tests.analysis.scored import Scored, scored_run
from tests.analysis.sections.test_comparison import scored_again
from tests.analysis.worklists import items, read, reader, worklist
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return worklist(scored, analyst)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def new_reading(of_item: Any, verdict: str = "normal", **changes: Any) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid4()), "item": str(of_item.uuid), "verdict": verdict, "active_seconds": 3.5,
        "total_seconds": 4,
    } | changes  # fmt: skip


def post(client: Client, address: str, body: dict[str, Any], **headers: str) -> Any:
    return client.post(address, json.dumps(body), content_type="application/json", **headers)


def beginner(of: Worklist, person: User) -> Client:
    """The browser of a person who has begun to read the worklist."""
    client = signed_in(person)
    assert client.post(f"/reading/{of.uuid}/begin/").status_code == 302
    return client


# Who ------------------------------------------------------------------------------------------------

READERS, MAKERS = {Role.READER}, {Role.ANALYST, Role.MANAGER}
BROKERS = {Role.BROKER}
PAGES = {
    "/reading/": (set(Role), "get"),
    "/reading/new/": (MAKERS, "get"),
    "/reading/{worklist}/": (READERS, "get"),
    "/reading/{worklist}/items/{item}/overlay": (READERS, "get"),
    "/reading/{worklist}/begin/": (READERS, "post"),
    "/reading/{worklist}/hand-back/": (READERS, "post"),
    "/reading/{worklist}/summary/": (MAKERS, "get"),
    "/reading/{worklist}/readings.csv": (MAKERS, "get"),
    "/reading/{worklist}/adjudications/": (MAKERS, "post"),
    "/reading/{worklist}/normals/": (MAKERS, "post"),
    "/reading/adjudications/": (MAKERS | {Role.ADJUDICATOR}, "get"),
    "/reading/escalations/": (BROKERS, "get"),
    "/reading/escalations/{escalation}/answer/": (BROKERS, "post"),
    "/reading/normals/": (MAKERS | {Role.CURATOR}, "get"),
    "/api/v1/worklists/{worklist}/": (MAKERS | READERS, "get"),
    "/api/v1/worklists/{worklist}/begin/": (READERS, "post"),
    "/api/v1/worklists/{worklist}/items/": (READERS, "get"),
    "/api/v1/worklists/{worklist}/hand-back/": (READERS, "post"),
    "/api/v1/worklists/{worklist}/readings/": (MAKERS, "get"),
    "/api/v1/worklists/{worklist}/summary/": (MAKERS, "get"),
    "/api/v1/escalations/{escalation}/answer/": (BROKERS, "post"),
}


@pytest.mark.parametrize("role", list(Role))
def test_each_address_answers_its_roles_and_refuses_the_others(of: Any, role: Role) -> None:
    item = items(of)[0]
    begin(worklist=of, reader=reader("one who began"))
    raised = verdicts.escalate(item=item, reader=User.objects.get(username="one who began"), reason="tension")
    person = factories.user("someone", role)
    if role == Role.READER:
        begin(worklist=of, reader=person)
    client = signed_in(person)
    addresses = {"worklist": of.uuid, "item": item.uuid, "escalation": raised.uuid}
    wrong = {}
    for pattern, (allowed, method) in PAGES.items():
        address = pattern.format(**addresses)
        body = {"action": "done"}
        response = client.get(address) if method == "get" else client.post(address, body)
        fine = response.status_code in (200, 302, 400)  # the last: it was answered by the page before
        if fine != (role in allowed) or (not fine and response.status_code != 403):
            wrong[address] = response.status_code
    assert wrong == {}


def test_nothing_of_it_exists_for_another_site(of: Any) -> None:
    item = items(of)[0]
    begin(worklist=of, reader=reader("one who began"))
    raised = verdicts.escalate(item=item, reader=User.objects.get(username="one who began"), reason="tension")
    client = signed_in(factories.user("theirs", *Role, at=factories.site("Busan")))
    addresses = {"worklist": of.uuid, "item": item.uuid, "escalation": raised.uuid}
    statuses = {
        pattern: client.get(pattern.format(**addresses)).status_code
        if method == "get"
        else client.post(pattern.format(**addresses), {"action": "done"}).status_code
        for pattern, (_, method) in PAGES.items()
        if "{" in pattern
    }
    assert set(statuses.values()) == {404}
    assert client.get("/api/v1/worklists/").json()["count"] == 0
    assert b"First" not in client.get("/reading/").content


# Blinding (T35) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("blinded", [False, True])
def test_a_reader_s_page_and_answers_carry_no_score_flag_or_other_verdict(
    scored: Scored, analyst: User, blinded: bool
) -> None:
    of = worklist(scored, analyst, blinded=blinded)
    person, other = reader("mine"), reader("somebody-else")
    for item in items(of):
        read(item, other, "abnormal", reason="artefact", comment="a word of mine", findings=["rare finding"])
    client = signed_in(person)
    answers = [
        client.get("/reading/"),
        client.get(f"/reading/{of.uuid}/"),
        client.post(f"/reading/{of.uuid}/begin/", follow=True),
        client.get(f"/api/v1/worklists/{of.uuid}/items/"),
        client.get(f"/api/v1/worklists/{of.uuid}/"),
        client.get("/api/v1/worklists/"),
        post(client, f"/api/v1/worklists/{of.uuid}/readings/", new_reading(items(of)[0])),
    ]
    text = "\n".join(f"{answer.headers} {answer.content.decode()}" for answer in answers)
    assert {answer.status_code for answer in answers} == {200, 201}
    scores = Score.objects.filter(run=scored.run)
    numbers = {
        f"{value:.3f}"[:5] for score in scores for value in (score.fused_score, score.global_score, score.region_score)
    }
    hidden = {"somebody-else", "a word of mine", "rare finding", "sampling", "threshold", str(of.threshold)[:5]}
    assert {word for word in hidden | numbers if word in text} == set()
    rows = client.get(f"/api/v1/worklists/{of.uuid}/items/").json()["items"]
    assert {frozenset(row) for row in rows} == {frozenset({"item", "image", "reading"})}
    assert sum(row["reading"] is not None for row in rows) == 1


def test_the_order_does_not_reveal_which_films_are_flagged(of: Any) -> None:
    """Over many readers, flagged films come as early as the others."""
    flags = {str(item.uuid): item.flagged for item in items(of)}
    places: dict[bool, list[int]] = {True: [], False: []}
    for number in range(40):
        client = beginner(of, reader(f"reader {number}"))
        for place, row in enumerate(client.get(f"/api/v1/worklists/{of.uuid}/items/").json()["items"]):
            places[flags[row["item"]]].append(place)
    means = {kind: sum(indices) / len(indices) for kind, indices in places.items()}
    middle = (len(flags) - 1) / 2
    assert means[True] == pytest.approx(middle, abs=1.5)
    assert means[False] == pytest.approx(middle, abs=1.5)


def test_the_heatmap_of_a_blinded_worklist_is_refused(scored: Scored, analyst: User) -> None:
    of = worklist(scored, analyst, blinded=True)
    client = beginner(of, reader())
    page = client.get(f"/reading/{of.uuid}/").content.decode()
    assert "overlay" not in page.replace("data-overlay-shown", "")
    answer = client.get(f"/reading/{of.uuid}/items/{items(of)[0].uuid}/overlay")
    assert answer.status_code == 403
    assert answer.json() == {"error": "This worklist is read without the model, so it has no heatmap."}


def test_a_request_for_the_heatmap_is_recorded_before_it_is_sent(of: Any) -> None:
    person, item = reader(), items(of)[0]
    client = beginner(of, person)
    client.get(f"/reading/{of.uuid}/")
    assert not HeatmapUse.objects.exists()
    answer = client.get(f"/reading/{of.uuid}/items/{item.uuid}/overlay")
    assert answer.json()["rows"] == 4
    assert HeatmapUse.objects.get().item == item
    shutil.rmtree(run_folder(of.run.uuid))
    other = items(of)[1]
    assert client.get(f"/reading/{of.uuid}/items/{other.uuid}/overlay").status_code == 410
    assert HeatmapUse.objects.count() == 1
    assert not Exposure.objects.filter(image=other.image).exists()
    assert client.get(f"/reading/{of.uuid}/items/{uuid.uuid4()}/overlay").status_code == 404


@pytest.mark.parametrize("address", ["/reading/{}/", "/api/v1/worklists/{}/items/"])
def test_looking_at_a_worklist_begins_nothing(of: Any, address: str) -> None:
    """A manager who also reads can look, and still gets the readings of the others."""
    person = factories.user("both", Role.READER, Role.MANAGER)
    client = signed_in(person)
    answer = client.get(address.format(of.uuid))
    assert "Begin" in answer.content.decode() or "You have not begun this worklist" in answer.json()["detail"]
    assert not WorklistReader.objects.exists()
    assert client.get(f"/reading/{of.uuid}/readings.csv").status_code == 200


def test_a_worklist_is_begun_and_handed_back_by_page_and_by_api(of: Any) -> None:
    person = factories.user("both", Role.READER, Role.MANAGER)
    client = beginner(of, person)
    refused = client.get(f"/reading/{of.uuid}/summary/")
    assert refused.status_code == 403
    assert "read them first, or hand the worklist back" in refused.content.decode()
    handed_back = client.post(f"/reading/{of.uuid}/hand-back/", follow=True)
    assert f"is handed back with {len(items(of))} film" in handed_back.content.decode()
    assert client.get(f"/reading/{of.uuid}/summary/").status_code == 200
    assert "expires_at" in client.post(f"/api/v1/worklists/{of.uuid}/begin/").json()
    assert client.post(f"/api/v1/worklists/{of.uuid}/hand-back/").json() == {"unread": len(items(of))}
    again = client.post(f"/api/v1/worklists/{of.uuid}/hand-back/")
    assert again.status_code == 400
    assert "nothing to hand back" in again.json()["detail"]


def test_a_reading_sent_after_handing_back_is_refused_and_accepted_after_beginning_again(of: Any) -> None:
    client = beginner(of, reader())
    address, body = f"/api/v1/worklists/{of.uuid}/readings/", new_reading(items(of)[0])
    client.post(f"/reading/{of.uuid}/hand-back/")
    refused = post(client, address, body)
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("You handed this worklist back on ")
    assert not Reading.objects.exists()
    client.post(f"/reading/{of.uuid}/begin/")
    assert post(client, address, body).status_code == 201


# Readings by API --------------------------------------------------------------------------------------


def test_a_reading_is_kept_by_session_and_by_token(of: Any) -> None:
    person = reader()
    one, two = items(of)[:2]
    client = beginner(of, person)
    answer = post(client, f"/api/v1/worklists/{of.uuid}/readings/", new_reading(one, "unsure", comment="blurred"))
    assert answer.status_code == 201
    assert answer.json()["comment"] == "blurred"
    token = f"Token {factories.api_token(person)}"
    answer = post(Client(), f"/api/v1/worklists/{of.uuid}/readings/", new_reading(two), HTTP_AUTHORIZATION=token)
    assert answer.status_code == 201
    assert Reading.objects.filter(reader=person).count() == 2
    rows = client.get(f"/api/v1/worklists/{of.uuid}/items/").json()["items"]
    assert {row["item"] for row in rows if row["reading"]} == {str(one.uuid), str(two.uuid)}


def test_a_session_without_its_token_is_refused_and_gets_a_fresh_one(of: Any) -> None:
    person = reader()
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    begin(worklist=of, reader=person)
    csrf = client.get(f"/api/v1/worklists/{of.uuid}/items/").json()["csrf"]
    address, body = f"/api/v1/worklists/{of.uuid}/readings/", new_reading(items(of)[0])
    assert post(client, address, body).status_code == 403
    assert post(client, address, body, HTTP_X_CSRFTOKEN=csrf).status_code == 201


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"item": str(uuid.uuid4())}, "The worklist has no item"),
    ({"reason": "true finding"}, "A normal film has no true finding"),
    ({"active_seconds": 9}, "active time is at most the total"),
    ({"verdict": "agree"}, "not a valid choice"),
    ({"uuid": "x"}, "Must be a valid UUID"),
    ({"boxes": [{"x": 1}]}, "required"),
    ({"comment": "a\0"}, "Null characters are not allowed"),
])  # fmt: skip
def test_a_bad_reading_is_400_with_a_sentence(of: Any, changes: dict[str, Any], sentence: str) -> None:
    client = beginner(of, reader())
    answer = post(client, f"/api/v1/worklists/{of.uuid}/readings/", new_reading(items(of)[0]) | changes)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()


def test_a_worklist_is_made_by_api_and_by_the_form(scored: Scored, analyst: User) -> None:
    client = signed_in(analyst)
    requested = {"name": "By API", "point": "tune sensitivity", "value": 0.85, "most": 6}
    answer = post(client, f"/api/v1/runs/{scored.run.uuid}/worklists/", requested)
    assert answer.status_code == 201
    assert (answer.json()["films"], answer.json()["most"]) == (6, 6)
    form = {
        "run": scored.run.uuid, "name": "By form", "point": "tune sensitivity", "value": 0.85, "unflagged_percent": 50,
        "parts": ["test"], "blinded": "on", "seed": 3,
    }  # fmt: skip
    answer = client.post("/reading/new/", form)
    stored = Worklist.objects.get(name="By form")
    assert answer["Location"] == f"/reading/{stored.uuid}/summary/"
    assert stored.unflagged_share == 0.5
    assert (stored.parts, stored.blinded, stored.seed, stored.most) == (["test"], True, 3, None)


def test_what_the_form_cannot_make_is_explained_in_the_form(scored: Scored, analyst: User) -> None:
    client = signed_in(analyst)
    form = {"run": scored.run.uuid, "name": "A", "point": "calibrate specificity", "value": 0.9}
    answer = client.post("/reading/new/", {**form, "unflagged_percent": 20, "seed": 0})
    assert answer.status_code == 400
    assert "no score of a normal film of calibrate" in answer.content.decode()
    answer = post(client, f"/api/v1/runs/{scored.run.uuid}/worklists/", {"name": "A"})
    assert answer.status_code == 400
    assert "no score of a normal film of calibrate" in answer.json()["detail"]


def test_another_site_s_run_is_not_offered_and_not_taken(scored: Scored) -> None:
    theirs = factories.user("theirs", Role.ANALYST, at=factories.site("Busan"))
    client = signed_in(theirs)
    assert client.get(f"/reading/new/?run={scored.run.uuid}").status_code == 404
    form = {"run": scored.run.uuid, "name": "A", "point": "tune sensitivity", "value": 0.85}
    answer = client.post("/reading/new/", {**form, "unflagged_percent": 20, "seed": 0})
    assert answer.status_code == 400
    assert not Worklist.objects.exists()


def test_the_schema_names_what_a_program_may_ask(as_analyst: Client) -> None:
    schema = as_analyst.get("/api/v1/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").content.decode()
    for word in ("/worklists/{uuid}/items/", "/worklists/{uuid}/readings/", "NewReading", "NewWorklist"):
        assert word in schema


# Summary, CSV, proposals ------------------------------------------------------------------------------


def test_the_summary_shows_the_draw_and_the_estimates(of: Any, as_analyst: Client) -> None:
    page = as_analyst.get(f"/reading/{of.uuid}/summary/").content.decode()
    assert "Nobody has started reading it" in page
    one = reader("one")
    for item in items(of):
        read(item, one, "abnormal" if item.flagged else "normal")
    page = one_line(as_analyst.get(f"/reading/{of.uuid}/summary/"))
    assert of.operating_point["words"] in page
    assert "Abnormal among flagged films" in page
    assert "1.000 <span" in page
    assert "random weights, not for evaluation" in page
    answer = as_analyst.get(f"/api/v1/worklists/{of.uuid}/summary/").json()
    assert answer["estimates"]["abnormal_among_flagged"]["value"] == 1


def test_the_csv_holds_every_standing_reading_and_starts_no_formula(of: Any, as_analyst: Client) -> None:
    item, one = items(of, flagged=True)[0], reader("one")
    read(item, one, "normal")
    read(item, one, "normal", reason="device", comment="=HYPERLINK()", findings=["@cmd", "b"])
    answer = as_analyst.get(f"/reading/{of.uuid}/readings.csv")
    (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
    assert row["image"] == str(item.image.uuid)
    assert (row["verdict"], row["reason"], row["flagged"], row["reference"]) == ("normal", "device", "True", "False")
    assert (row["comment"], row["findings"]) == ("'=HYPERLINK()", "'@cmd; b")
    assert row["sampling_probability"] == "1.0"
    assert row["reference_note"] == "model shown"
    assert row["notice"].startswith("random weights, not for evaluation")


def test_page_and_api_say_why_a_reading_is_no_reference(of: Any, as_analyst: Client) -> None:
    item = items(of, flagged=True)[0]
    read(item, reader(), "normal")
    Reading.objects.create(
        image=item.image, run=of.run, item=item, reader=reader("early"), verdict="normal", exposure_known=False,
        model_shown=False, active_seconds=1, total_seconds=1,
    )  # fmt: skip
    page = one_line(as_analyst.get(f"/reading/{of.uuid}/summary/"))
    unverified = "unverified: read before it was recorded what readers had been shown"
    assert "1 can serve as reference labels, 1 of them unverified" in page
    assert "Not usable: 1, model shown." in page
    assert f'<td class="small text-secondary">{unverified}</td>' in page
    rows = as_analyst.get(f"/api/v1/worklists/{of.uuid}/readings/").json()
    assert [(row["reference"], row["reference_note"]) for row in rows] == [(False, "model shown"), (True, unverified)]


def test_a_blinded_reader_is_given_no_name_of_a_file(scored: Scored, analyst: User) -> None:
    """A file name may say what is on the film."""
    dataset = scored.films[0].dataset
    film = factories.film(dataset, "abnormal", original_name="zebra-left.dcm")
    Score.objects.create(run=scored.run, image=film, row=900, fused_score=99)
    blinded, person = worklist(scored, analyst, blinded=True), reader()
    assert blinded.items.filter(image=film).exists()
    client = beginner(blinded, person)
    for item in items(blinded):
        if item.image_id != film.pk:  # so that the film is the one on the page
            read(item, person)
    answers = [
        client.get("/reading/"),
        client.get(f"/reading/{blinded.uuid}/"),
        client.get(f"/api/v1/worklists/{blinded.uuid}/items/"),
        client.get(reverse("portal:image-facts", args=[film.uuid])),
        client.get(reverse("portal:image-pixels", args=[film.uuid])),
    ]
    assert str(film.uuid) in answers[1].text
    for answer in answers:
        assert answer.status_code == 200
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert b"zebra" not in body
        assert "zebra" not in str(answer.headers)


def test_a_film_that_is_withheld_elsewhere_has_no_heatmap_here(scored: Scored, analyst: User) -> None:
    """The same film is on a blinded worklist of the reader too."""
    assisted, blinded = worklist(scored, analyst), worklist(scored, analyst, blinded=True, name="Blinded")
    person = reader()
    client = beginner(assisted, person)
    begin(worklist=blinded, reader=person)
    item = items(assisted)[0]
    assert client.get(f"/reading/{assisted.uuid}/items/{item.uuid}/overlay").status_code == 403
    assert not HeatmapUse.objects.exists()
    assert not Exposure.objects.exists()
    read(blinded.items.select_related("image", "worklist__run__site").get(image=item.image), person)
    assert client.get(f"/reading/{assisted.uuid}/items/{item.uuid}/overlay").status_code == 200


def test_a_list_of_worklists_asks_as_often_for_many_as_for_one(
    of: Any, scored: Scored, analyst: User, django_assert_num_queries: Any
) -> None:
    client = signed_in(factories.user("both", Role.READER, Role.ANALYST))
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get("/reading/")
    with CaptureQueriesContext(connection) as few:
        client.get("/reading/")
    for number in range(4):
        worklist(scored, analyst, name=f"Worklist {number}")
    with django_assert_num_queries(len(few)):
        client.get("/reading/")


def test_the_list_counts_own_readings_only(of: Any) -> None:
    person = reader("mine")
    read(items(of)[0], reader("other"))
    read(items(of)[1], person)
    read(items(of)[1], person, "unsure")
    page = signed_in(person).get("/reading/")
    (row,) = page.context["worklists"]
    assert (row.films, row.own) == (len(items(of)), 1)


def test_a_film_is_proposed_for_adjudication_without_its_reading(of: Any, as_analyst: Client) -> None:
    kept = read(items(of, flagged=True)[0], reader("one"), "normal", comment="surely nothing")
    as_analyst.post(f"/reading/{of.uuid}/adjudications/", {"reading": [str(kept.uuid), "damaged"]})
    assert AdjudicationProposal.objects.get().reading == kept
    page = signed_in(factories.user("judge", Role.ADJUDICATOR)).get("/reading/adjudications/").content.decode()
    assert str(kept.image) in page
    assert "surely nothing" not in page
    assert "one</" not in page
    unblinded = factories.user("unblinded", Role.READER, Role.ADJUDICATOR)
    read(items(of, flagged=True)[0], unblinded)
    page = signed_in(unblinded).get("/reading/adjudications/").content.decode()
    assert "leave it to another adjudicator" in page


def test_the_broker_sees_the_pseudonym_and_answers(of: Any) -> None:
    person, item = reader(), items(of)[0]
    client = signed_in(person)
    client.get(f"/reading/{of.uuid}/")
    body = {"item": str(item.uuid), "reason": "pneumothorax"}
    assert post(client, f"/api/v1/worklists/{of.uuid}/escalations/", body).status_code == 201
    broker = signed_in(factories.user("broker", Role.BROKER))
    page = broker.get("/reading/escalations/").content.decode()
    assert "pneumothorax" in page
    assert item.image.patient.pseudonym in page
    raised = Escalation.objects.get()
    assert broker.get("/api/v1/escalations/").json()["results"][0]["answered"] is False
    broker.post(f"/reading/escalations/{raised.uuid}/answer/", {"action": "ward told"})
    assert "ward told" in broker.get("/reading/escalations/").content.decode()
    assert broker.get("/api/v1/escalations/").json()["results"][0]["answered"] is True
    again = post(broker, f"/api/v1/escalations/{raised.uuid}/answer/", {"action": "again"})
    assert again.status_code == 400
    assert "answered already" in again.json()["detail"]


@pytest.mark.parametrize("random_weights", [True, False])
def test_proposals_and_forms_of_an_untrained_network_say_so(
    as_analyst: Client, analyst: User, random_weights: bool
) -> None:
    words = "random weights, not for evaluation"
    of = scored_run(factories.site(), author=analyst, random_weights=random_weights)
    listed = worklist(of, analyst)
    proposed = scored_again(of, seed=3, config={})
    Run.objects.filter(pk=proposed.pk).update(random_weights=random_weights)
    NormalProposal.objects.create(worklist=listed, run=proposed, label_cutoff=timezone.now(), proposed_by=analyst)
    HeadProposal.objects.create(worklist=listed, proposed_by=analyst)
    form = as_analyst.get(reverse("analysis:new-worklist"), {"run": of.run.uuid}).text
    assert (f"{of.run.name} · {words}</option>" in form) == random_weights
    pages = [
        form,
        *(as_analyst.get(reverse(f"analysis:{name}")).text for name in ("normal-proposals", "head-proposals")),
    ]
    notices = [f'role="note">{words}' in pages[0], *(f'random-small">{words}' in page for page in pages[1:])]
    assert notices == [random_weights] * 3
