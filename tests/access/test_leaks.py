"""Ways to learn, by acts and by inference, what is withheld from a person who reads blinded."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from analysis.models import NormalProposal, WorklistReader
from analysis.reading import verdicts
from analysis.reading.worklists import begin
from portal.intake.csv_labels import read_labels
from portal.intake.entries import entries_of
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.labels.events import LabelChange
from portal.models import Image, Role, Upload, User
from portal.people.blinding import hand_back, open_for
from portal.people.exposure import has_seen_label
from portal.sets.double_reading import begin as begin_queue
from portal.sets.double_reading import read_blinded
from portal.sets.screening_queues import Order, queue_films
from portal.sets.splits import SplitRequest, draw_split
from tests.access.url_table import URLS
from tests.access.world import everyone
from tests.analysis.scored import Scored, scored_run
from tests.analysis.worklists import items, read, read_stage, read_study, study, worklist
from tests.portal import factories

pytestmark = pytest.mark.django_db
LIST = UUID(int=5)


@pytest.fixture
def scored(data_dir: Path) -> Scored:
    return scored_run(factories.site(), author=everyone("boss", factories.site()))


@pytest.fixture
def boss(scored: Scored) -> User:
    return User.objects.get(username="boss")


@pytest.fixture
def person(scored: Scored) -> User:
    return everyone("reader", factories.site())


@pytest.fixture
def web(client: Client, person: User) -> Client:
    client.force_login(person)
    return client


def withhold(person: User, *films: Any) -> None:
    open_for(person=person, images=films, source=LIST, words="the worklist Tuesday", days=28)


# The model's result ----------------------------------------------------------------------------------------


def test_a_crossover_that_began_with_the_model_does_not_show_it_again_before_the_reading_without(
    scored: Scored, boss: User, person: User, web: Client
) -> None:
    of = study(scored, boss, design="crossover", washout_days=10)
    begin(worklist=of, reader=person)
    WorklistReader.objects.update(first_stage="aided")
    read_study(of, person, lambda item, stage: "normal")
    twice = {item.image_id for item in items(of) if item.repeat}
    item = next(item for item in items(of) if item.image_id not in twice)
    addresses = [f"/reading/{of.uuid}/items/{item.uuid}/revealed/{name}" for name in ("overlay", "maps")]

    def statuses() -> list[int]:
        shown = web.post(f"/api/v1/worklists/{of.uuid}/items/{item.uuid}/reveal/")
        return [shown.status_code, *(web.get(address).status_code for address in addresses)]

    assert statuses() == [400, 403, 403]  # during the washout
    WorklistReader.objects.update(first_ended_at=timezone.now() - timedelta(days=11))
    assert statuses() == [400, 403, 403]
    read_stage(item, person, "unaided")
    assert statuses() == [200, 200, 200]


def test_nobody_draws_a_worklist_from_scores_of_films_that_they_read_blinded(
    scored: Scored, boss: User, person: User, web: Client
) -> None:
    """Which films are flagged at a threshold of one's choice, without any others mixed in, tells their scores."""
    withhold(person, scored.films[-1])
    request = {"name": "Probe", "point": "tune sensitivity", "value": 0.5, "unflagged_share": 0}
    answer = web.post(f"/api/v1/runs/{scored.run.uuid}/worklists/", request, content_type="application/json")
    assert (answer.status_code, "you have yet to read blinded" in answer.text) == (403, True)
    with pytest.raises(PermissionDenied):
        worklist(scored, person)
    hand_back(person=person, source=LIST)
    assert worklist(scored, person).items.exists()


# What others said ------------------------------------------------------------------------------------------


def test_lists_of_escalated_and_disputed_films_do_not_tell_whether_a_withheld_film_is_one(
    scored: Scored, boss: User, person: User, web: Client
) -> None:
    of = worklist(scored, boss)
    item = items(of)[0]
    reading = read(item, factories.user("other", Role.READER), "normal", reason="artefact")
    addresses = ("/reading/escalations/", "/reading/adjudications/", "/api/v1/escalations/", "/reading/")

    def lists() -> list[str]:
        return [re.sub(r"[A-Za-z0-9]{64}", "a token", web.get(place).text) for place in addresses]

    withhold(person, item.image)
    before = lists()
    verdicts.escalate(item=item, reader=reading.reader, reason="Look at this")
    verdicts.propose_adjudication(reading=reading, author=boss)
    assert lists() == before
    assert all("left out" in text for text in before[:3])


def test_deciding_a_proposal_does_not_tell_whether_a_withheld_film_is_proposed(
    scored: Scored, boss: User, person: User, web: Client
) -> None:
    of = worklist(scored, boss)
    flagged = next(item for item in items(of, flagged=True) if item.image.current_label.value == "normal")
    other = next(film for film in scored.films if film != flagged.image)
    proposal = NormalProposal.objects.create(
        worklist=of, run=of.run, left_out={}, label_cutoff=timezone.now(), proposed_by=boss
    )
    proposal.films.set([flagged.image])
    answers = []
    for film in (flagged.image, other):
        withhold(person, film)
        answer = web.post(f"/reading/normals/{proposal.uuid}/decide/", {"decision": "refuse", "reason": "No"})
        answers.append((answer.status_code, "holds a film that you have yet to read" in answer.text))
        hand_back(person=person, source=LIST)
    assert answers == [(403, True)] * 2


# Labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guess", ["normal", "abnormal"])
def test_a_csv_of_labels_neither_tells_nor_changes_the_label(
    scored: Scored, person: User, tmp_path: Path, guess: str
) -> None:
    secret, other = scored.films[0], scored.films[1]
    withhold(person, secret)
    for film in (secret, other):
        factories.event(film, "normal", source="import")
    upload = Upload.objects.create(dataset=secret.dataset, uploaded_by=person)
    rows = [
        {"filename": film.uuid, "image": film.uuid, "label": label, "split": film.csv_split}
        for film, label in ((secret, guess), (other, "normal"))
    ]
    report = ImportReport()
    entries = entries_of({}, read_labels(factories.table(tmp_path / "labels.csv", *rows)), None, report)
    counts = import_entries(upload=upload, entries=entries, report=report, actor=person).to_json()
    assert counts == {"labels unchanged": 1, "read blinded": 1}
    assert "has yet to read blinded" in Upload.objects.get(pk=upload.pk).message
    assert secret.label_events.count() == 2


def test_a_split_is_not_drawn_from_films_that_its_author_reads_blinded(
    scored: Scored, boss: User, person: User
) -> None:
    """The counts of its parts tell labels: a part may hold a single patient."""
    dataset = scored.films[0].dataset
    withhold(person, scored.films[0])
    fields = {"site": dataset.site, "datasets": [dataset], "author": person}
    with pytest.raises(PermissionDenied, match="The split holds a film that you have yet to read blinded"):
        draw_split(SplitRequest(name="Probe", seed=1, **fields), fractions={"fit": 1.0})
    hand_back(person=person, source=LIST)
    assert draw_split(SplitRequest(name="Probe", seed=1, **fields), fractions={"fit": 1.0}).counts


# What a person was shown -----------------------------------------------------------------------------------


def test_a_label_by_api_is_recorded_as_seen(scored: Scored, person: User, web: Client) -> None:
    film = scored.films[0]
    data = {"images": [str(film.uuid)], "value": "unsure"}
    assert web.post("/api/v1/labels/", data, content_type="application/json").status_code == 201
    assert has_seen_label(person, film)


def test_a_link_to_a_film_under_a_filter_by_label_is_recorded(scored: Scored, person: User, web: Client) -> None:
    films = [film for film in scored.films if film.current_label.value == "abnormal"]
    web.get(f"/images/{films[1].uuid}/?view=PA")
    assert [has_seen_label(person, film) for film in films[:4]] == [False, True, False, False]
    web.get(f"/images/{films[1].uuid}/?label=abnormal")
    assert [has_seen_label(person, film) for film in films[:5]] == [True, True, True, True, False]


def test_a_look_into_the_admin_is_recorded(scored: Scored, client: Client) -> None:
    root = User.objects.create_superuser("root", password=factories.PASSWORD)
    client.force_login(root)
    film, other = scored.films[:2]
    assert client.get(f"/admin/portal/image/{film.pk}/change/").status_code == 200
    assert not has_seen_label(root, film)  # that page does not show its label
    assert client.get(f"/admin/portal/labelevent/{film.label_events.get().pk}/change/").status_code == 200
    assert (has_seen_label(root, film), has_seen_label(root, other)) == (True, False)
    assert client.get("/admin/portal/labelevent/").status_code == 200
    assert has_seen_label(root, other)


def test_a_double_reading_knows_who_read_the_film_with_the_model_at_hand(
    scored: Scored, boss: User, person: User
) -> None:
    """Without ever opening the heatmap."""
    item = items(worklist(scored, boss))[0]
    read(item, person, "normal", reason="artefact")
    queue = queue_films(
        site=item.image.dataset.site,
        name="Twice",
        images=Image.objects.filter(pk=item.image_id),
        author=boss,
        source="one",
        order=Order.IMPORTED,
        readers=[person, boss],
    )
    begin_queue(queue=queue, person=person)
    change = LabelChange(value="normal")
    (row,) = read_blinded(queue=queue, images=[item.image], change=change, act=uuid4(), reader=person)
    assert row.model_shown


# The work behind an answer ---------------------------------------------------------------------------------


def test_an_answer_about_a_withheld_film_takes_the_same_work_whatever_is_known_of_it(
    scored: Scored, boss: User, person: User
) -> None:
    """What an answer takes tells of what is behind it. Compared are its queries, since no time is the same twice."""
    item = items(worklist(scored, boss))[0]
    rich, other = item.image, everyone("other", factories.site())
    read(item, other, "normal", reason="artefact")
    factories.label_films(images=[rich], value="exclude", author=other, site=rich.dataset.site)
    plain = factories.film(rich.dataset, person="nobody knows", view=rich.view_position)
    withhold(person, rich, plain)

    def work(name: str, film: Image) -> tuple[Any, ...]:
        client = Client(raise_request_exception=False)
        client.force_login(person)
        saved = transaction.savepoint()
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(reverse(name, args=[film.uuid]))
            body = b"".join(answer) if answer.streaming else answer.content
        transaction.savepoint_rollback(saved)
        text = body.decode() if "text" in answer["Content-Type"] or "json" in answer["Content-Type"] else ""
        statements = [re.sub(r"'[^']*'(::\w+)?|\d+", "…", query["sql"]) for query in queries]
        return answer.status_code, sorted(answer.headers), _without_names(text, film), statements

    names = [name for name, url in URLS.items() if url.of == ("film",) and url.method == "get"]
    different = {name: (work(name, rich), work(name, plain)) for name in names}
    assert {name: pair for name, pair in different.items() if pair[0] != pair[1]} == {}
    assert len(names) > 10


def _without_names(text: str, film: Image) -> str:
    for name in (str(film.uuid), str(film.uuid)[:8]):
        text = text.replace(name, "the film")
    return re.sub(r"[A-Za-z0-9]{64}", "a token", text)
