"""Looks at a test part: who made them, at what, and the note on figures."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from analysis import figures, statistics
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.looks import look, looks_at_test, note_of
from analysis.models import TestLook
from portal.models import AuditEvent, Role, User
from tests.analysis.scored import Scored
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
