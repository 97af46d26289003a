"""The comparison of runs: common films, paired differences, Holm, seeds, changed calls; the page."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.sections.comparison import CannotCompare, compare
from analysis.statistics import delong_paired, holm
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import DetectorModel, Run, Score
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine import reports
from tests.ml_engine.scored_folders import change_array
from tests.portal import factories

pytestmark = pytest.mark.django_db
LABELS = np.array([0] * 6 + [1] * 6)


def again(scored: Scored, analyst: User, *, seed: int, config: dict[str, object], drop: int = 0) -> Evaluation:
    """The evaluation of `scored_again`."""
    return evaluate(run=scored_again(scored, seed=seed, config=config, drop=drop), author=analyst)


def scored_again(scored: Scored, *, seed: int, config: dict[str, object], drop: int = 0) -> Run:
    """Another detector of the same split scored the same films, except the last `drop`, with other scores."""
    old = scored.run
    assert old.detector is not None
    fit = Run.objects.create(
        site=old.site, name=f"Detector {seed}", kind="fit_detector", split=scored.split, state="done", config=config
    )
    detector = DetectorModel.objects.create(
        site=old.site, run=fit, split=scored.split, sha256=f"{seed:064x}", config={},
        summary=reports.detector_report().to_json(), fusion_weight=0.6,
    )  # fmt: skip
    run = Run.objects.create(
        site=old.site, name=f"Scores {seed}", kind="score", split=scored.split, detector=detector, state="done"
    )
    folder = run_folder(run.uuid)
    folder.mkdir(parents=True)
    noise = np.random.default_rng(seed).normal(0, 1, (len(scored.films), 1)).astype(np.float32)
    change_array(folder, "sweep", scored.sweep + noise)
    ScoredFolder(folder).write_summary(ScoredFolder(run_folder(old.uuid)).summary)
    for row, film in enumerate(scored.films[: len(scored.films) - drop]):
        Score.objects.create(run=run, image=film, row=row, global_score=0, region_score=0, fused_score=0)
    return run


def fused(evaluation: Evaluation) -> np.ndarray:
    """Fused scores of the 12 test films at weight 0.6."""
    sweep = ScoredFolder(run_folder(evaluation.run.uuid)).array("sweep")
    return np.asarray(sweep[12:, 60], dtype=np.float64)


@pytest.fixture
def first(scored: Scored, analyst: User) -> Evaluation:
    assert scored.run.detector is not None
    Run.objects.filter(pk=scored.run.detector.run_id).update(config={"seed": 0, "alignment": {"epochs": 5}})
    return evaluate(run=Run.objects.select_related("detector__run").get(pk=scored.run.pk), author=analyst)


def test_differences_are_paired_with_the_first_run_and_adjusted(
    scored: Scored, analyst: User, first: Evaluation
) -> None:
    others = [again(scored, analyst, seed=seed, config={"seed": 0, "rate": seed}) for seed in (4, 7)]
    comparison = compare([first, *others], part="test")
    assert comparison.rows[0].difference is None
    assert comparison.changed is None
    raw = []
    for row, other in zip(comparison.rows[1:], others, strict=True):
        wanted = delong_paired(LABELS, fused(other), fused(first), np.arange(12))
        assert row.difference is not None
        assert row.difference.difference == pytest.approx(wanted.difference)
        assert row.difference.p_value == pytest.approx(wanted.p_value)
        raw.append(wanted.p_value or 0.0)
    assert [row.adjusted_p_value for row in comparison.rows[1:]] == pytest.approx(holm(raw))
    assert min(raw) < comparison.rows[1].adjusted_p_value  # type: ignore[operator]


def test_only_films_that_all_scored_count(scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={}, drop=2)
    comparison = compare([first, other], part="test")
    assert len(comparison.images) == 10
    assert comparison.left_out == (2, 0)
    wanted = delong_paired(LABELS[:10], fused(other)[:10], fused(first)[:10], np.arange(10))
    assert comparison.rows[1].difference is not None
    assert comparison.rows[1].difference.difference == pytest.approx(wanted.difference)


def test_settings_that_differ_are_named_nested_ones_too(scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={"seed": 0, "rate": 0.1, "alignment": {"epochs": 9}})
    assert compare([first, other], part="test").settings == {"alignment.epochs": [5, 9], "rate": [None, 0.1]}


def test_seeds_are_summarised_apart(scored: Scored, analyst: User, first: Evaluation) -> None:
    others = [again(scored, analyst, seed=s, config={"seed": s, "alignment": {"epochs": 5}}) for s in (4, 7)]
    comparison = compare([first, *others], part="test")
    areas = [row.auroc.auroc for row in comparison.rows]
    assert comparison.seeds is not None
    assert comparison.seeds.mean == pytest.approx(np.mean(areas))  # type: ignore[arg-type]
    assert comparison.seeds.deviation == pytest.approx(np.std(areas, ddof=1))  # type: ignore[arg-type]
    assert compare([first, again(scored, analyst, seed=9, config={"rate": 1})], part="test").seeds is None


def test_films_that_changed_sides(scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={})
    changed = compare([first, other], part="test").changed
    assert changed is not None
    called = []
    for evaluation in (first, other):
        tune = np.asarray(ScoredFolder(run_folder(evaluation.run.uuid)).array("sweep")[:6, 60], dtype=np.float64)
        called.append(fused(evaluation) > np.sort(tune)[5])  # eight tenths of 6 + 1, rounded up
    names = np.array([str(film.uuid) for film in scored.films[12:]])
    abnormal = LABELS == 1
    assert changed.found == names[~called[0] & called[1] & abnormal].tolist()
    assert changed.lost == names[called[0] & ~called[1] & abnormal].tolist()
    assert changed.alarms_gone == names[called[0] & ~called[1] & ~abnormal].tolist()
    assert changed.alarms_new == names[~called[0] & called[1] & ~abnormal].tolist()


def test_runs_that_cannot_be_compared_are_refused(scored: Scored, analyst: User, first: Evaluation) -> None:
    with pytest.raises(CannotCompare, match=r"1 runs are chosen; choose 2 to 6\."):
        compare([first], part="test")
    stranger = evaluate(run=scored_run(factories.site(), author=analyst, seed=3).run, author=analyst)
    with pytest.raises(CannotCompare, match=r"No film of test was scored by all 2 runs; choose runs of one split\."):
        compare([first, stranger], part="test")
    without = again(scored, analyst, seed=4, config={}, drop=12)
    with pytest.raises(CannotCompare, match=r"The run 'Scores 4' was not evaluated on test"):
        compare([first, without], part="test")


def test_the_page_shows_it(as_analyst: Client, scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={"rate": 0.25})
    address = reverse("analysis:comparison")
    page = as_analyst.get(address, {"evaluation": [first.uuid, other.uuid]}).content.decode()
    difference = compare([first, other], part="test").rows[1].difference
    assert difference is not None
    assert f'data-difference="{difference.difference}"' in page
    assert "<code>rate</code>" in page
    assert "Films classified differently" in page
    assert "random weights, not for evaluation" in page
    assert as_analyst.get(address, {"evaluation": [first.uuid]}).status_code == 400
    damaged = as_analyst.get(address, {"evaluation": ["x", "y"]})
    assert damaged.status_code == 400
    assert "The address names an evaluation that is not a UUID" in damaged.content.decode()


def test_another_site_s_run_is_not_compared(client: Client, scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={})
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    answer = client.get(reverse("analysis:comparison"), {"evaluation": [first.uuid, other.uuid]})
    assert answer.status_code == 404


def test_the_api_returns_the_same(as_analyst: Client, scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={"rate": 0.25})
    query = {"evaluation": [str(first.uuid), str(other.uuid)]}
    answer = as_analyst.get(reverse("api-comparison"), query).json()
    row = compare([first, other], part="test").rows[1]
    assert row.difference is not None
    assert answer["films"] == 12
    assert answer["runs"][0]["difference"] is None
    assert answer["runs"][1]["difference"]["difference"] == row.difference.difference
    assert answer["runs"][1]["adjusted_p_value"] == row.adjusted_p_value
    assert answer["settings"]["rate"] == [None, 0.25]
    refused = as_analyst.get(reverse("api-comparison"), {"evaluation": [str(first.uuid)]})
    assert refused.status_code == 400
    assert refused.json()["detail"] == "1 runs are chosen; choose 2 to 6."
