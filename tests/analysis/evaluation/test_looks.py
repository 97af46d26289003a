"""Looks at a test part: who made them, at what, and the note on figures."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import reverse

from analysis import figures, statistics
from analysis.evaluation.evaluate import evaluate, look_at_weight
from analysis.evaluation.looks import ARCHIVE, look, looks_at_test, note_of, require_look
from analysis.models import TestLook, Worklist
from analysis.reading.worklists import WorklistRefused
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Image, Role, Site, User
from tests.analysis.scored import Scored
from tests.analysis.sections.test_comparison import scored_again
from tests.analysis.worklists import worklist
from tests.portal import factories


@pytest.mark.django_db
def test_a_look_without_an_evaluation_counts_for_the_split(scored: Scored, analyst: User) -> None:
    look(split=scored.split, author=analyst, reason="sweep shown on test", run=scored.run)
    assert looks_at_test(scored.split) == 1
    event = AuditEvent.objects.filter(verb="look at test").get()
    assert event.after == {"reason": "sweep shown on test"}


@pytest.mark.django_db
def test_who_may_not_evaluate_may_not_look(scored: Scored) -> None:
    reader = factories.user("reader", Role.READER, at=scored.split.site)
    with pytest.raises(PermissionDenied, match="To evaluate runs at"):
        look(split=scored.split, author=reader, reason="curiosity", run=scored.run)
    assert looks_at_test(scored.split) == 0


@pytest.mark.django_db
def test_figures_of_test_print_the_number_of_looks(scored: Scored, analyst: User) -> None:
    evaluate(run=scored.run, author=analyst)
    assert note_of(scored.split, "test").startswith("Looks at this test part: 1; ")
    assert note_of(scored.split, "tune") == ""


def test_a_note_is_above_the_notice_and_leaves_the_drawn_figure_alone() -> None:
    labels, scores = np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 3.0, 4.0])
    curve = statistics.roc_curve(labels, scores), statistics.auroc_interval(labels, scores)
    drawn = figures.as_json(
        figures.comparison_figure([figures.RunCurve("One", *curve)], theme="light", random_weights=True)
    )
    before = copy.deepcopy(drawn)
    note = "Looks at this test part: 3 of 5 planned; analysis plan a1b2c3d4e5f6 of 2026-11-24."
    noted = figures.with_note(drawn, note)
    foot = [note["text"] for note in noted["layout"]["annotations"] if figures.NOTICE in note["text"]]
    assert foot == [
        "Looks at this test part: 3 of 5 planned;<br>analysis plan a1b2c3d4e5f6 of 2026-11-24.<br>" + figures.NOTICE
    ]
    grown = noted["layout"]["height"] - before["layout"]["height"]
    assert grown == noted["layout"]["margin"]["b"] - before["layout"]["margin"]["b"] > 20  # the plot keeps its size
    assert drawn == before
    assert figures.with_note(drawn, "") is drawn


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_looks_from_before_get_their_split_and_stay_append_only(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    MigrationExecutor(connection).migrate([("analysis", "0006_fill_looks")])
    try:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE analysis_testlook SET split_id = NULL, run_id = NULL")
        MigrationExecutor(connection).migrate([("analysis", "0005_looks_of_splits")])
    finally:
        MigrationExecutor(connection).migrate(latest)
    look_made = TestLook.objects.get()
    assert (look_made.split, look_made.run, look_made.evaluation) == (scored.split, scored.run, evaluation)
    with pytest.raises(Exception, match="append-only"):
        TestLook.objects.all().delete()


@pytest.mark.django_db
def test_films_of_test_are_open_to_readers_of_a_worklist_of_before(scored: Scored, analyst: User) -> None:
    """It was made when none was counted as a look."""
    drawn, run = worklist(scored, analyst), scored_again(scored, seed=1, config={})
    with pytest.raises(PermissionDenied, match="nobody has looked at the results"):
        require_look(run)
    old = Worklist.objects.get(pk=drawn.pk)
    old.pk, old.uuid, old.run, old.parts = None, uuid4(), run, ["tune"]
    old._state.adding = True
    old.save()
    with pytest.raises(PermissionDenied, match="nobody has looked at the results"):
        require_look(run)
    old.pk, old.uuid, old.name, old.parts = None, uuid4(), "Of all parts", []
    old._state.adding = True
    old.save()
    require_look(run)
    assert not TestLook.objects.filter(run=run).exists()


def archive_of(client: Client, scored: Scored) -> Any:
    folder = run_folder(scored.run.uuid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"kind": "score"}))
    return client.get(reverse("analysis:run-archive", args=[scored.run.uuid]))


@pytest.mark.django_db
def test_the_archive_is_a_look_at_every_weight_and_two_downloads_are_one(
    as_analyst: Client, analyst: User, scored: Scored
) -> None:
    assert archive_of(as_analyst, scored).status_code == 200
    assert archive_of(as_analyst, scored).status_code == 200
    assert looks_at_test(scored.split) == 1
    evaluation = evaluate(run=scored.run, author=analyst)
    look_at_weight(evaluation=evaluation, author=analyst, weight=0.1)
    assert looks_at_test(scored.split) == 1  # these numbers were in the archive
    again = AuditEvent.objects.filter(verb="see test again").order_by("pk")
    assert [event.after["reason"] for event in again] == [ARCHIVE, "evaluation made", "fusion weight moved on test"]
    evaluate(run=scored.run, author=analyst, label_cutoff=scored.split.label_cutoff - timedelta(seconds=1))
    assert looks_at_test(scored.split) == 2  # other labels give other numbers


@pytest.mark.django_db
def test_a_sealed_archive_is_refused_and_says_why(as_analyst: Client, scored: Scored) -> None:
    Site.objects.filter(pk=scored.split.site_id).update(plan_before_test=True)
    answer = archive_of(as_analyst, scored)
    assert answer.status_code == 403
    assert "lock an analysis plan for the split first" in answer.content.decode()
    assert not AuditEvent.objects.filter(verb="download run").exists()


@pytest.mark.django_db
def test_the_same_weight_is_counted_once_whoever_moves_it(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    other = factories.user("other", Role.ANALYST, at=scored.split.site)
    counts = []
    for person, weight in ((analyst, 0.3), (other, 0.3), (other, 0.31), (analyst, 0.31)):
        look_at_weight(evaluation=evaluation, author=person, weight=weight)
        counts.append(looks_at_test(scored.split))
    assert counts == [2, 2, 3, 3]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["film", "overlay", "maps", "nearest", "heatmap-dicom", "segmentation-dicom"])
def test_a_film_of_test_needs_a_look_and_one_of_tune_does_not(
    as_analyst: Client, analyst: User, scored: Scored, name: str
) -> None:
    def refusal(film: Image) -> bool:
        answer: Any = as_analyst.get(reverse(f"analysis:{name}", args=[scored.run.uuid, film.uuid]))
        return answer.status_code == 403 and "nobody has looked at the results" in answer.content.decode()

    assert (refusal(scored.films[0]), refusal(scored.films[-1])) == (False, True)
    evaluate(run=scored.run, author=analyst)
    assert not refusal(scored.films[-1])


@pytest.mark.django_db
def test_the_page_of_a_film_in_test_names_no_score_before_a_look(
    as_analyst: Client, analyst: User, scored: Scored
) -> None:
    address = reverse("analysis:film-scores", args=[scored.films[-1].uuid])
    before = as_analyst.get(address).content.decode()
    assert "1 hidden" in before and "until the run is evaluated there" in before
    assert scored.run.name not in before
    evaluate(run=scored.run, author=analyst)
    assert scored.run.name in as_analyst.get(address).content.decode()


@pytest.mark.django_db
def test_a_worklist_with_films_of_test_is_a_look_and_refused_while_sealed(scored: Scored, analyst: User) -> None:
    worklist(scored, analyst, name="Tune alone", parts=["tune"])
    assert looks_at_test(scored.split) == 0
    Site.objects.filter(pk=scored.split.site_id).update(plan_before_test=True)
    scored.run.refresh_from_db()
    with pytest.raises(WorklistRefused, match="choose other parts for the worklist"):
        worklist(scored, analyst, name="Sealed")
    assert not Worklist.objects.filter(name="Sealed").exists()
    Site.objects.filter(pk=scored.split.site_id).update(plan_before_test=False)
    scored.run.refresh_from_db()
    worklist(scored, analyst, name="All")
    worklist(scored, analyst, name="Again")
    assert looks_at_test(scored.split) == 1
