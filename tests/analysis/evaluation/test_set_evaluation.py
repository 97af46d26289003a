"""From a dataset to its evaluation in one request: each step is done once, whichever process does it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from analysis.evaluation import set_evaluation
from analysis.evaluation.looks import looks_at_test
from analysis.evaluation.set_evaluation import (
    CLAIM,
    CannotEvaluateSet,
    SetRequest,
    advance,
    due,
    runs_of,
    start,
    try_again,
)
from analysis.evaluation.set_progress import outlook, part_to_show, progress_of
from analysis.models import SetEvaluation, TestLook
from analysis.tasks import advance_set_evaluations
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import lifecycle
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Dataset, Part, Role, Split, Upload, User
from portal.people.blinding import open_for
from tests.analysis.scored import Scored
from tests.ml_engine import made
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def labelled(data_dir: Path) -> Dataset:
    """Ten normal and four abnormal films, each of a patient."""
    dataset = factories.dataset()
    for number in range(14):
        factories.film(dataset, "normal" if number < 10 else "abnormal", person=f"patient {number}")
    return dataset


def asked(dataset: Dataset, author: User, **changes: Any) -> SetRequest:
    values = {"name": "All films", "config": made.small_config(), **changes}
    return SetRequest(dataset=dataset, author=author, **values)


def importing(dataset: Dataset, **fields: Any) -> Upload:
    return Upload.objects.create(dataset=dataset, state=fields.pop("state", Upload.State.IMPORTING), **fields)


def states(row: SetEvaluation) -> dict[str, str]:
    return {step.title: step.state for step in progress_of(set_evaluation.rows().get(pk=row.pk)).steps}


# Requesting it ---------------------------------------------------------------------------------------


def test_a_request_freezes_a_split_and_queues_three_runs_in_a_row(labelled: Dataset, analyst: User) -> None:
    row = start(asked(labelled, analyst))
    assert row.split is not None
    assert (row.split.name, row.split.origin, row.split.created_by) == ("All films", "drawn", analyst)
    alignment, detector, score = runs_of(row)
    kinds = [run.kind for run in (alignment, detector, score)]
    assert kinds == [RunKind.FIT_ALIGNMENT, RunKind.FIT_DETECTOR, RunKind.SCORE]
    assert (alignment.after, detector.after, score.after) == (None, alignment, detector)
    assert score.parts == ["tune", "calibrate", "test"]
    assert AuditEvent.objects.get(verb="request evaluation of set").after["opens_test"] is True
    assert TestLook.objects.count() == 0


def test_the_parts_are_those_of_the_table_if_it_names_any(data_dir: Path, analyst: User) -> None:
    dataset = factories.dataset()
    for number, part in enumerate(["fit"] * 6 + ["tune"] * 2 + ["calibrate"] * 2 + ["test"] * 2):
        factories.film(dataset, "normal", person=f"patient {number}", csv_split=part)
    expected = outlook(dataset, made.small_config(), aligned=True, opens_test=True, viewer=analyst)
    assert (expected.normal, expected.abnormal, expected.from_table) == (12, 0, True)
    assert expected.parts == {"fit": 6, "tune": 2, "calibrate": 2, "test": 2}
    row = start(asked(dataset, analyst))
    assert row.split is not None
    assert row.split.origin == "csv"


def test_without_alignment_and_test_there_are_two_runs_and_test_is_not_scored(labelled: Dataset, analyst: User) -> None:
    row = start(asked(labelled, analyst, aligned=False, opens_test=False))
    assert [run.kind for run in runs_of(row)] == [RunKind.FIT_DETECTOR, RunKind.SCORE]
    assert row.score is not None
    assert row.score.parts == ["tune", "calibrate"]


def test_the_parts_to_be_drawn_are_foreseen(labelled: Dataset, analyst: User) -> None:
    expected = outlook(labelled, made.small_config(), aligned=True, opens_test=True, viewer=analyst)
    assert (expected.normal, expected.abnormal, expected.from_table, expected.forecast) == (10, 4, False, None)
    assert sum(expected.parts.values()) == pytest.approx(14, abs=2)
    assert set(expected.parts) == {"fit", "tune", "calibrate", "test"}


def test_a_refused_request_leaves_nothing(data_dir: Path, analyst: User) -> None:
    dataset = factories.dataset()
    with pytest.raises(CannotEvaluateSet, match="has no film: import some first"):
        start(asked(dataset, analyst))
    factories.film(dataset, "abnormal")
    with pytest.raises(CannotEvaluateSet, match="No film would be in fit"):
        start(asked(dataset, analyst))
    counts = [model.objects.count() for model in (SetEvaluation, Split, Run)]  # type: ignore[attr-defined]
    assert counts == [0, 0, 0]
    assert not AuditEvent.objects.filter(verb__in=["request evaluation of set", "freeze split"]).exists()


def test_parts_without_a_film_are_not_scored(data_dir: Path, analyst: User) -> None:
    dataset = factories.dataset()
    for number, part in enumerate(["fit"] * 4 + ["test"] * 2):
        factories.film(dataset, "normal", person=f"patient {number}", csv_split=part)
    with pytest.raises(CannotEvaluateSet, match="No film would be in tune, where scores are compared with labels"):
        start(asked(dataset, analyst, opens_test=False))
    assert not Split.objects.exists()
    row = start(asked(dataset, analyst))
    assert row.score is not None
    assert row.score.parts == ["test"]


def test_a_name_is_needed_that_no_split_has(labelled: Dataset, analyst: User) -> None:
    start(asked(labelled, analyst))
    with pytest.raises(CannotEvaluateSet, match="A split named 'All films' already exists at Seoul"):
        start(asked(labelled, analyst))
    with pytest.raises(CannotEvaluateSet, match="The name has 0 characters: enter 1 to 80"):
        start(asked(labelled, analyst, name="  "))


def test_weights_that_are_not_there_are_refused_before_anything_is_made(labelled: Dataset, analyst: User) -> None:
    config = made.small_config(backbone="resnet50", weights="imagenet")
    with pytest.raises(CannotEvaluateSet, match="resnet50"):
        start(asked(labelled, analyst, config=config))
    assert not Split.objects.exists()


@pytest.mark.parametrize("role", [Role.CURATOR, Role.READER])
def test_the_author_needs_every_role_that_a_step_needs(labelled: Dataset, role: Role) -> None:
    with pytest.raises(PermissionDenied):
        start(asked(labelled, factories.user("other", role)))


def test_an_author_who_reads_films_blinded_is_refused(labelled: Dataset, analyst: User) -> None:
    films = list(labelled.images.all()[:1])
    open_for(person=analyst, images=films, source=labelled.uuid, words="the worklist Blinded", days=28)
    with pytest.raises(PermissionDenied, match="yet to read blinded"):
        start(asked(labelled, analyst))


# An import that still runs -----------------------------------------------------------------------------


def test_an_import_is_waited_for(labelled: Dataset, analyst: User) -> None:
    upload = importing(labelled, done=3, total=14)
    row = start(asked(labelled, analyst))
    advance_set_evaluations()
    row.refresh_from_db()
    assert (row.split, row.score, row.message) == (None, None, "")
    assert states(row)["Import the films"] == "running"
    assert states(row)["Freeze the split"] == "waiting"
    Upload.objects.filter(pk=upload.pk).update(state=Upload.State.DONE, finished_at=timezone.now())
    advance_set_evaluations()
    row.refresh_from_db()
    assert row.split is not None
    assert states(row)["Fit the alignment"] == "waiting"


def test_a_failed_import_ends_the_way_with_its_reason(labelled: Dataset, analyst: User) -> None:
    upload = importing(labelled)
    row = start(asked(labelled, analyst))
    Upload.objects.filter(pk=upload.pk).update(
        state=Upload.State.FAILED, message="The zip is damaged.", finished_at=timezone.now()
    )
    advance(row.uuid)
    failed = progress_of(set_evaluation.rows().get(pk=row.pk)).failed
    assert failed is not None
    assert failed.title == "Freeze the split"
    assert failed.sentence.startswith("The import failed: The zip is damaged. Import the films again")
    assert not due().exists()


def test_films_without_a_normal_one_end_the_way_with_what_to_do(data_dir: Path, analyst: User) -> None:
    dataset = factories.dataset()
    upload = importing(dataset)
    row = start(asked(dataset, analyst))
    factories.film(dataset, "abnormal")
    Upload.objects.filter(pk=upload.pk).update(state=Upload.State.DONE)
    advance(row.uuid)
    row.refresh_from_db()
    assert "a detector needs films that are labelled normal" in row.message
    assert not Split.objects.exists()


# The evaluation ----------------------------------------------------------------------------------------


@pytest.fixture
def row(scored: Scored, analyst: User) -> SetEvaluation:
    """One whose films are scored."""
    return SetEvaluation.objects.create(
        dataset=scored.films[0].dataset, name="All", author=analyst, config={}, split=scored.split, score=scored.run
    )


def test_scores_are_evaluated_once_with_one_look(row: SetEvaluation) -> None:
    advance(row.uuid)
    row.refresh_from_db()
    assert row.evaluation is not None
    assert (row.message, row.claimed_until) == ("", None)
    assert looks_at_test(row.split) == 1  # type: ignore[arg-type]
    assert part_to_show(row.evaluation, opens_test=True) == Part.TEST
    assert part_to_show(row.evaluation, opens_test=False) == Part.TUNE
    advance(row.uuid)
    advance_set_evaluations()
    assert TestLook.objects.count() == 1
    assert set(states(row).values()) == {"done"}


def test_test_stays_closed_while_it_is_sealed(row: SetEvaluation) -> None:
    site = row.dataset.site
    site.plan_before_test = True
    site.save()
    advance(row.uuid)
    row.refresh_from_db()
    assert row.evaluation is not None
    assert list(row.evaluation.metrics["parts"]) == ["tune"]
    assert TestLook.objects.count() == 0
    assert part_to_show(row.evaluation, opens_test=True) == Part.TUNE


def test_a_step_that_a_process_works_on_is_left_to_it_until_it_must_be_dead(row: SetEvaluation) -> None:
    SetEvaluation.objects.update(claimed_until=timezone.now() + CLAIM)
    advance(row.uuid)
    row.refresh_from_db()
    assert row.evaluation is None
    SetEvaluation.objects.update(claimed_until=timezone.now())  # its process was killed
    advance(row.uuid)
    row.refresh_from_db()
    assert row.evaluation is not None


def test_a_refused_evaluation_says_why_and_can_be_tried_again(row: SetEvaluation, analyst: User) -> None:
    assert row.score is not None
    folder = run_folder(row.score.uuid)
    away = folder.with_name("away")
    shutil.move(folder, away)
    advance(row.uuid)
    row.refresh_from_db()
    assert row.message
    assert states(row)["Evaluate tune and test"] == "failed"
    shutil.move(away, folder)
    advance_set_evaluations()
    assert states(row)["Evaluate tune and test"] == "failed"  # until a person asks
    try_again(row=row, actor=analyst)
    advance_set_evaluations()
    assert states(row)["Evaluate tune and test"] == "done"


def test_a_bug_leaves_a_reference(row: SetEvaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**values: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(set_evaluation, "evaluate", broken)
    advance(row.uuid)
    row.refresh_from_db()
    assert row.message.startswith(f"Internal error, reference {row.uuid}. Try once more")


# Runs that fail ----------------------------------------------------------------------------------------


def test_a_failed_run_is_named_and_retried_with_those_that_waited_for_it(labelled: Dataset, analyst: User) -> None:
    row = start(asked(labelled, analyst))
    alignment, detector, score = runs_of(row)
    lease = lifecycle.claim(run_uuid=alignment.uuid, owner="worker")
    assert lease is not None
    assert states(row)["Fit the alignment"] == "running"
    lifecycle.fail(lease=lease, message="The disk is full: free some space.")
    progress = progress_of(set_evaluation.rows().get(pk=row.pk))
    assert progress.failed is not None
    assert (progress.failed.title, progress.failed.sentence) == (
        "Fit the alignment",
        "The disk is full: free some space.",
    )
    try_again(row=set_evaluation.rows().get(pk=row.pk), actor=analyst)
    for run in (alignment, detector, score):
        run.refresh_from_db()
        assert run.state == RunState.QUEUED


def test_a_reader_may_not_try_again(row: SetEvaluation) -> None:
    with pytest.raises(PermissionDenied):
        try_again(row=row, actor=factories.user("rho", Role.READER))


# Time --------------------------------------------------------------------------------------------------


def test_the_time_of_all_steps_is_unknown_until_each_is_known(labelled: Dataset, analyst: User) -> None:
    row = start(asked(labelled, analyst))
    assert progress_of(set_evaluation.rows().get(pk=row.pk)).seconds_left is None
    Run.objects.filter(kind__in=[RunKind.FIT_ALIGNMENT, RunKind.FIT_DETECTOR]).update(state=RunState.DONE)
    score = runs_of(row)[-1]
    Run.objects.filter(pk=score.pk).update(
        state=RunState.RUNNING, lease_owner="w", lease_until=timezone.now(), run_seconds_left=90
    )
    assert progress_of(set_evaluation.rows().get(pk=row.pk)).seconds_left == 90


def test_other_runs_before_it_are_counted(labelled: Dataset, analyst: User) -> None:
    made.run(made.small_split(labelled.site), state=RunState.RUNNING)
    row = start(asked(labelled, analyst))
    assert progress_of(set_evaluation.rows().get(pk=row.pk)).before == 1
