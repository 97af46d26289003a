"""A semi-supervised head in the portal: requested, refused, carried out by the real engine, stored."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from ml_engine.core.head.confirmed_head import load_head
from ml_engine.engine import repeat
from ml_engine.engine.study_plans import HeadPlan
from ml_engine.models import HeadModel, HeadRead, ReadSource, Run, RunKind, RunState, Score
from ml_engine.runs import confirmed_reads, head_requests, lifecycle, paths, supervisor, write_folder
from ml_engine.runs.confirmed_reads import ConfirmedRead, GatheredReads
from ml_engine.runs.head_requests import request_head
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, request_score
from portal.models import Role, TrainingFilm
from portal.people import blinding
from tests.ml_engine import headed, made
from tests.ml_engine.headed import POOL, READ, Headed
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
PLAN = HeadPlan(repeats=1)


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def world(data_dir: Path) -> Headed:
    """Rows, without an engine."""
    return headed.world(with_engine=False)


def registered(monkeypatch: pytest.MonkeyPatch, reads: GatheredReads) -> None:
    monkeypatch.setattr(confirmed_reads, "_registered", [lambda scored, sources: reads])


def requested(of: Headed, *, plan: HeadPlan = PLAN, **more: Any) -> Run:
    return request_head(RunRequest(site=of.site, name="Head"), scored=of.scored, plan=plan, **more)


# Requests ---------------------------------------------------------------------------------------------


def test_the_reads_of_now_are_stored_with_the_run(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, world.reads(left_out={"unsure": 3}))

    run = requested(world)

    assert (run.kind, run.split, run.detector, run.scored) == (
        RunKind.FIT_HEAD, world.split, world.detector, world.scored,
    )  # fmt: skip
    assert run.asked == {"head": PLAN.to_json(), "reads": {"sources": ["readings"], "left_out": {"unsure": 3}}}
    rows = list(run.reads.all())
    assert [row.image_id for row in rows if row.verdict == "abnormal"] == [film.pk for film in world.pool[POOL:]]
    assert {row.source for row in rows} == {ReadSource.BLINDED, ReadSource.ASSISTED, ReadSource.UNREAD}
    assert all(row.model_shown == (row.source == ReadSource.ASSISTED) for row in rows)
    unread = {row.image_id for row in rows if row.source == ReadSource.UNREAD}
    assert unread == {film.pk for film in [*world.pool[2:POOL], *world.parts["tune"]]}  # never calibrate or test


def test_films_of_calibrate_and_test_never_train(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [*world.parts["calibrate"][:3], *world.parts["test"][:2]]
    more = tuple(ConfirmedRead(film.pk, "abnormal", ReadSource.BLINDED, 1.0, False) for film in held)
    registered(monkeypatch, GatheredReads(world.reads().reads + more, {}))

    run = requested(world)

    assert run.asked["reads"]["left_out"] == {
        "of patients in calibrate of the detector’s split, which stay held out": 3,
        "of patients in test of the detector’s split, which stay held out": 2,
    }
    assert not run.reads.filter(image__in=held).exists()


def test_films_of_test_of_another_split_never_train(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    headed.second_split(world, "test", [*world.pool[POOL : POOL + 2], world.parts["tune"][0]])
    registered(monkeypatch, world.reads())

    run = requested(world)

    assert run.reads.filter(verdict="abnormal").count() == READ - 2
    assert run.asked["reads"]["left_out"] == {"of patients in calibrate or test of another split": 2}
    assert run.reads.filter(image=world.parts["tune"][0]).exists()  # tune of the detector's own split


def test_copies_of_held_out_films_and_of_known_normals_never_train(world: Headed) -> None:
    elsewhere = factories.dataset("Copies", at=world.site)
    tested, normal = (factories.copy(world.parts[part][0], elsewhere) for part in ("test", "fit"))
    for number, film in enumerate((tested, normal)):
        Score.objects.create(run=world.scored, image=film, row=900 + number, fused_score=1.0)
    factories.pair(*sorted((world.parts["calibrate"][0], world.pool[0]), key=lambda film: film.pk))

    pool = head_requests.pool_of(world.scored, world.split)

    assert pool.refused[tested.pk] == "of patients in test of the detector’s split, which stay held out"
    assert pool.refused[world.pool[0].pk] == "of patients in calibrate of the detector’s split, which stay held out"
    assert pool.refused[normal.pk] == "known normals, which the detector was fitted on"
    assert world.pool[1].pk in pool.patients


def test_fewer_than_ten_confirmed_are_refused_with_the_numbers(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    held = ConfirmedRead(world.parts["test"][2].pk, "abnormal", ReadSource.BLINDED, 1.0, False)
    registered(monkeypatch, GatheredReads(world.reads(abnormal=9).reads + (held,), {"on which nobody is sure": 4}))

    with pytest.raises(RunRefused) as refused:
        requested(world)

    assert str(refused.value) == (
        "The reads hold 9 films confirmed as abnormal and 2 as normal, and a semi-supervised head needs at least 10 "
        "abnormal ones: read more films first. Left out: 4 on which nobody is sure; 1 of patients in test of the "
        "detector’s split, which stay held out."
    )
    assert not Run.objects.filter(kind=RunKind.FIT_HEAD).exists()


def test_a_person_who_reads_one_of_the_films_blinded_is_refused(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, world.reads())
    analyst = made.person("ana", at=world.site, role=Role.ANALYST)
    blinding.open_for(person=analyst, images=[world.pool[0]], source=world.scored.uuid, words="a worklist", days=3)
    with pytest.raises(PermissionDenied, match="holds a film that you have yet to read blinded"):
        request_head(RunRequest(site=world.site, name="Head", requested_by=analyst), scored=world.scored, plan=PLAN)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": RunKind.FIT_DETECTOR}, "has no scores: choose a scoring run that is done"),
        ({"state": RunState.FAILED}, "has no scores: choose a scoring run that is done"),
    ],
)
def test_only_a_run_with_scores_has_a_pool(world: Headed, change: dict[str, Any], sentence: str) -> None:
    for name, value in change.items():
        setattr(world.scored, name, value)
    with pytest.raises(RunRefused, match=sentence):
        requested(world)


def test_a_grown_bank_is_not_the_detector(world: Headed) -> None:
    world.scored.grown_with.add(world.pool[0])
    with pytest.raises(RunRefused, match="scored with a grown bank"):
        requested(world)


def test_sources_are_checked(world: Headed) -> None:
    with pytest.raises(RunRefused, match="There is no source “rumours” of reads"):
        requested(world, sources=["rumours"])
    with pytest.raises(RunRefused, match="No source of reads is chosen"):
        requested(world, sources=[])


def test_a_detector_that_aligns_by_landmarks_is_refused(world: Headed) -> None:
    world.detector.config = world.detector.config | {"align": "network", "alignment": {"method": "landmarks"}}
    with pytest.raises(RunRefused, match="aligns films by landmarks, which read films do not have"):
        requested(world)


def test_at_most_so_many_unread_films_are_compared(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, world.reads())
    monkeypatch.setattr(head_requests, "MOST_UNREAD", 25)
    first, second = requested(world), requested(world)
    drawn = [list(run.reads.filter(verdict="").values_list("image_id", flat=True)) for run in (first, second)]
    assert len(drawn[0]) == 25
    assert drawn[0] == drawn[1]


def test_reads_are_never_changed(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, world.reads())
    requested(world)
    with pytest.raises(DatabaseError, match="ml_engine_headread is append-only"), transaction.atomic():
        HeadRead.objects.update(verdict="normal", source="label")


# Form and API -----------------------------------------------------------------------------------------


def test_the_form_requests_it_and_a_clone_starts_with_the_same(
    world: Headed, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    registered(monkeypatch, world.reads())
    client.force_login(made.person("ana", at=world.site, role=Role.ANALYST))
    new = reverse("ml_engine:run-new", args=["fit_head"])
    assert f'value="{world.scored.uuid}" selected' in client.get(f"{new}?scored={world.scored.uuid}").text
    fields = {"name": "Head", "scored": str(world.scored.uuid), "sources": ["readings", "labels"], "penalty": "folds"}

    response = client.post(new, {**fields, "read_normals": "on", "false_alarm_rate": "0.2", "repeats": "2"})

    run = Run.objects.get(kind=RunKind.FIT_HEAD)
    assert response.headers["Location"] == reverse("ml_engine:run", args=[run.uuid])
    assert run.asked["head"] == {"penalty": "folds", "read_normals": True, "false_alarm_rate": 0.2, "repeats": 2}
    assert run.asked["reads"]["sources"] == ["labels", "readings"]
    page = client.get(reverse("ml_engine:run", args=[run.uuid])).text
    assert "0.2 false alarms" in page
    clone = client.get(f"{new}?clone={run.uuid}").text
    assert f'value="{world.scored.uuid}" selected' in clone and 'value="folds"' in clone


def test_the_form_says_what_is_wrong(world: Headed, monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    registered(monkeypatch, world.reads())
    client.force_login(made.person("ana", at=world.site, role=Role.ANALYST))
    fields = {"name": "Head", "scored": str(world.scored.uuid), "sources": ["readings"], "repeats": "2"}
    answer = client.post(reverse("ml_engine:run-new", args=["fit_head"]), {**fields, "penalty": "much"})
    assert answer.status_code == 400
    assert "penalty is &#x27;much&#x27;: it must be a number from 0.001 to 1000000, or folds" in answer.text


def test_the_api_requests_it(world: Headed, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, world.reads())
    client = APIClient()
    client.force_login(made.person("ana", at=world.site, role=Role.ANALYST))

    answer = client.post(reverse("api-fit-head"), {"name": "Head", "scored": str(world.scored.uuid)}, format="json")

    assert answer.status_code == 201, answer.content
    assert answer.json()["asked"]["head"]["penalty"] == 100.0
    assert answer.json()["asked"]["reads"] == {"sources": ["readings"]}  # no count of what people said
    few = world.reads(abnormal=3)
    registered(monkeypatch, few)
    refused = client.post(reverse("api-fit-head"), {"name": "Head", "scored": str(world.scored.uuid)}, format="json")
    assert refused.status_code == 400 and "The reads hold 3 films" in refused.json()["detail"]


# Scores beside the detector -----------------------------------------------------------------------------


def test_a_head_scores_beside_its_own_detector_only(world: Headed, client: Client) -> None:
    head = headed.head_model(world)
    other = made.detector_model(world.split)
    request = RunRequest(site=world.site, name="Both")
    with pytest.raises(RunRefused, match="was fitted beside the detector “A detector”: choose that detector"):
        request_score(request, detector=other, head=head, parts=["tune"])
    client.force_login(made.person("ana", at=world.site, role=Role.ANALYST))
    fields = {"name": "Both", "detector": str(world.detector.run.uuid), "head": str(head.run.uuid), "parts": ["tune"]}
    client.post(reverse("ml_engine:run-new", args=["score"]), fields)
    run = Run.objects.get(name="Both")
    assert run.head == head
    answer = client.post(
        reverse("api-score"),
        {"name": "By API", "detector": str(world.detector.uuid), "head": str(head.uuid), "parts": ["tune"]},
        content_type="application/json",
    )
    assert answer.status_code == 201 and answer.json()["head"] == str(head.uuid)
    page = one_line(client.get(reverse("ml_engine:run", args=[run.uuid])).text)
    assert "<dt>Semi-supervised head</dt><dd>A head</dd>" in page.replace("</dt> <dd>", "</dt><dd>")


# The page ---------------------------------------------------------------------------------------------


def test_the_page_counts_the_reads_by_source_unless_one_is_withheld(
    world: Headed, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    registered(monkeypatch, world.reads(left_out={"on which nobody is sure": 7}))
    run = requested(world)
    analyst = made.person("ana", at=world.site, role=Role.ANALYST)
    client.force_login(analyst)
    address = reverse("ml_engine:run", args=[run.uuid])
    page = one_line(client.get(address).text)
    assert "Read in a worklist, without the model" in page and "7 on which nobody is sure" in page

    blinding.open_for(person=analyst, images=[world.pool[-1]], source=world.scored.uuid, words="a worklist", days=3)

    page = one_line(client.get(address).text)
    assert "is hidden from you until you have read the films" in page
    assert "Read in a worklist, without the model" not in page and "7 on which" not in page


# With the engine --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_head_is_fitted_stored_and_repeated_to_the_byte(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client
) -> None:
    world = headed.world()
    client.force_login(made.person("ana", at=world.site, role=Role.ANALYST))
    registered(monkeypatch, world.reads())
    run = requested(world)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.message == ""

    folder = paths.run_folder(run.uuid)
    head = run.head_made
    page = one_line(client.get(reverse("ml_engine:run", args=[run.uuid])).text)
    assert "the control is passed" in page and "<strong>Semi-supervised</strong>" in page
    assert head.sha256 == paths.file_sha256(paths.model_path(head.sha256))
    assert head.summary["facts"]["abnormal_reads"] == READ
    assert head.summary["facts"]["assisted_reads"] == 3
    assert set(head.tune) == {str(film.uuid) for film in world.parts["tune"]}
    loaded = load_head(folder / "head.safetensors", detector_sha256=world.detector.sha256)
    assert loaded.facts == head.summary["facts"]
    with (folder / "inputs" / "reads.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["weight"] for line in lines if line["verdict"] == "abnormal"][:3] == ["1.0", "2.0", "3.0"]
    assert {line["site"] for line in lines} == {"Phantoms"}
    inputs = json.loads((folder / "run.json").read_text())["inputs"]
    assert set(inputs) == {"detector", "reads", "fit_scores"}
    assert {film.image_id for film in TrainingFilm.objects.filter(source=head.uuid)} == {
        film.pk for film in world.pool[POOL:]
    }

    # it scores beside the detector, which scores as before
    few = [*world.parts["tune"], *world.parts["test"]]
    score = request_score(
        RunRequest(site=world.site, name="Both"), detector=world.detector, head=head, parts=["tune", "test"]
    )
    supervisor.execute(score.uuid)
    score.refresh_from_db()
    assert score.message == ""
    rows = {row.image_id: row for row in Score.objects.filter(run=score)}
    assert set(rows) == {film.pk for film in few}
    for row in rows.values():
        assert row.fused_score is not None and row.head_score is not None
        assert row.combined_score == pytest.approx(row.one_class_z + row.head_z)
        assert 0 < row.combined_p_value <= 1
    request = json.loads((paths.run_folder(score.uuid) / "run.json").read_text())
    assert request["inputs"]["head"]["sha256"] == head.sha256
    page = client.get(reverse("ml_engine:run-new", args=["score"]) + f"?clone={score.uuid}").text
    assert f'value="{run.uuid}" selected' in page

    # a later attempt keeps the request, and another run of the same reads gives the same bytes
    before = (folder / "run.json").read_bytes()
    write_folder.write_folder(run, tick=lambda: None)
    assert (folder / "run.json").read_bytes() == before
    again = requested(world)
    write_folder.write_folder(again, tick=lambda: None)  # by a worker that was killed then
    supervisor.execute(again.uuid)
    again.refresh_from_db()
    assert (again.state, again.message) == (RunState.DONE, "")
    assert again.head_made.sha256 == head.sha256
    assert repeat.repeat(folder, tmp_path / "again").has_results
    assert {film.verdict for film in repeat.compare(folder, tmp_path / "again")} == {"same"}
    with pytest.raises(DatabaseError, match="ml_engine_headmodel is write-once"), transaction.atomic():
        HeadModel.objects.update(sha256="0" * 64)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_refused_control_is_a_failed_run_with_the_groups(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    world = headed.world(exposure=0.85)
    client.force_login(made.person("ana", at=world.site, role=Role.ANALYST))
    registered(monkeypatch, world.reads())
    run = requested(world, plan=HeadPlan(repeats=1, false_alarm_rate=0.1))
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "is refused" in run.message and "it would learn the population instead of the disease" in run.message
    page = client.get(reverse("ml_engine:run", args=[run.uuid])).text
    assert "The interval does not contain 0.5: the head is refused" in one_line(page)
    assert "site: Elsewhere" in page and "100 %" in page
    assert not HeadModel.objects.exists() and not TrainingFilm.objects.exists()
