"""The comparison of runs: common films, paired differences, Holm, seeds, changed calls; the page."""

from __future__ import annotations

import re
from uuid import uuid4

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.sections.comparison import CannotCompare, compare, default_part
from analysis.statistics import delong_paired, holm
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import DetectorModel, Run, Score
from ml_engine.runs.paths import run_folder
from portal.models import Exposure, Role, User
from portal.people import blinding
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine import reports
from tests.ml_engine.scored_folders import change_array
from tests.pages import one_line, without_gaps
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
    page = as_analyst.get(address, {"evaluation": [first.uuid, other.uuid], "part": "test"}).content.decode()
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


def test_a_finding_of_few_films_has_no_auroc_here_either(as_analyst: Client, scored: Scored, analyst: User) -> None:
    change = {"value": "abnormal", "findings": ["effusion"], "author": factories.curator(), "site": scored.run.site}
    factories.label_films(images=scored.films[18:21], **change)
    now, other = timezone.now(), scored_again(scored, seed=4, config={})
    both = [evaluate(run=run, author=analyst, label_cutoff=now) for run in (scored.run, other)]
    query = {"evaluation": [one.uuid for one in both], "part": "test"}
    page = without_gaps(one_line(as_analyst.get(reverse("analysis:comparison"), query)))
    few = '<td class="tabular"><span class="text-secondary">below 30 films</span></td>'
    assert f'<th scope="row">effusion</th><td class="tabular">3</td>{few}{few}' in page


def test_another_site_s_run_is_not_compared(client: Client, scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={})
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    answer = client.get(reverse("analysis:comparison"), {"evaluation": [first.uuid, other.uuid]})
    assert answer.status_code == 404


def test_the_api_returns_the_same(as_analyst: Client, scored: Scored, analyst: User, first: Evaluation) -> None:
    other = again(scored, analyst, seed=4, config={"rate": 0.25})
    query = {"evaluation": [str(first.uuid), str(other.uuid)]}
    assert as_analyst.get(reverse("api-comparison"), query).json()["part"] == "tune"  # as on the page of one run
    answer = as_analyst.get(reverse("api-comparison"), query | {"part": "test"}).json()
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


def test_the_part_is_by_default_the_first_that_all_were_evaluated_on(
    scored: Scored, analyst: User, first: Evaluation
) -> None:
    other = again(scored, analyst, seed=4, config={})
    assert default_part([first, other]) == "tune"
    other.metrics["parts"].pop("tune")
    assert default_part([first, other]) == "test"
    assert default_part([]) == "tune"


def test_the_reference_is_chosen(as_analyst: Client, scored: Scored, analyst: User, first: Evaluation) -> None:
    others = [again(scored, analyst, seed=seed, config={}) for seed in (4, 7)]
    compared = compare([first, *others], part="test", reference=others[1])
    assert [row.evaluation for row in compared.rows] == [others[1], first, others[0]]
    wanted = delong_paired(LABELS, fused(first), fused(others[1]), np.arange(12))
    assert compared.rows[1].difference is not None
    assert compared.rows[1].difference.difference == pytest.approx(wanted.difference)
    query = {"evaluation": [str(one.uuid) for one in (first, *others)], "part": "test", "reference": others[1].uuid}
    answer = as_analyst.get(reverse("api-comparison"), query).json()
    assert answer["runs"][0]["evaluation"] == str(others[1].uuid)
    page = one_line(as_analyst.get(reverse("analysis:comparison"), query))
    assert page.index("Scores 7</a>") < page.index("Scores 0</a>")
    assert f"reference={others[1].uuid}&amp;part=tune" in page  # kept by the tabs
    stranger = again(scored, analyst, seed=9, config={})
    refused = as_analyst.get(reverse("analysis:comparison"), query | {"reference": stranger.uuid})
    assert refused.status_code == 400
    assert "The reference &#x27;Scores 9&#x27; is none of the runs compared" in refused.content.decode()


def test_each_run_has_its_films_that_changed_sides(scored: Scored, analyst: User, first: Evaluation) -> None:
    others = [again(scored, analyst, seed=seed, config={}) for seed in (4, 7)]
    compared = compare([first, *others], part="test")
    assert compared.rows[0].changed is None
    for row, other in zip(compared.rows[1:], others, strict=True):
        assert row.changed == compare([first, other], part="test").changed


def test_films_that_changed_sides_are_one_click_away(
    as_analyst: Client, scored: Scored, analyst: User, first: Evaluation
) -> None:
    """The last abnormal film of test is found by the second run only, the first normal one is its false alarm."""
    other = with_scores(scored, analyst, first)
    query = {"evaluation": [str(first.uuid), str(other.uuid)], "part": "test"}
    page = one_line(as_analyst.get(reverse("analysis:comparison"), query))
    links = re.findall(r'<dt>([^<]+)</dt><dd><a href="([^"]+)">(\d+)</a></dd>', without_gaps(page))
    assert [(words, count) for words, _, count in links] == [
        ("Abnormal, found by Scores 4 only", "1"),
        ("Abnormal, found by Scores 0 only", "0"),
        ("Normal, called abnormal by Scores 0 only", "0"),
        ("Normal, called abnormal by Scores 4 only", "1"),
    ]
    films = without_gaps(as_analyst.get(links[0][1].replace("&amp;", "&").partition("#")[0]))
    assert re.findall(r'data-side="(\w+)"', films) == ["found", "alarms_new"]
    found, alarm = str(scored.films[23].uuid), str(scored.films[12].uuid)
    assert re.findall(r'data-image="([^"]+)"', films) == [found, alarm]
    for run in (first.run, other.run):
        assert reverse("analysis:film", args=[run.uuid, found]) in films
    assert "Looks at this test part" in films
    assert Exposure.objects.filter(person=analyst, image__uuid=found, kind=Exposure.Kind.SCORE).count() == 2
    tune = as_analyst.get(reverse("analysis:changed-films"), query | {"part": "tune"})
    assert tune.status_code == 400
    assert "has no threshold for a specificity of 0.8 on tune" in tune.content.decode()
    wrong = as_analyst.get(reverse("analysis:changed-films"), query | {"run": "x"})
    assert "The run &#x27;x&#x27; is not compared with the reference" in wrong.content.decode()


def test_films_that_a_person_may_not_see_did_not_change_sides_for_them(
    client: Client, scored: Scored, analyst: User, first: Evaluation
) -> None:
    other = with_scores(scored, analyst, first)
    query = {"evaluation": [str(first.uuid), str(other.uuid)], "part": "test"}
    factories.event(scored.films[23], "unsure", factories.curator("other"))
    person = factories.user("both", Role.ANALYST, Role.CURATOR)
    client.force_login(person)
    for page in (reverse("analysis:comparison"), reverse("analysis:changed-films")):
        text = one_line(client.get(page, query))
        assert str(scored.films[23].uuid) not in text
    assert "1 film of test is hidden from you" in text
    assert re.findall(r'data-side="(\w+)"', text) == ["alarms_new"]
    blinding.open_for(person=person, images=[scored.films[12]], source=uuid4(), words="a worklist", days=1)
    text = one_line(client.get(reverse("analysis:changed-films"), query))
    assert "data-side" not in text
    assert "1 film is omitted: you have yet to read it" in text


def with_scores(scored: Scored, analyst: User, first: Evaluation) -> Evaluation:
    """Another evaluation; both runs call every film as its label, except for two films each in its own way: the first
    misses the last film of test, the second calls the first one of test abnormal."""
    right = np.tile(np.r_[np.arange(6.0), np.arange(6.0) + 20], 2)
    for seed, film, score in ((0, 23, -1.0), (4, 12, 30.0)):
        scores = right.copy()
        scores[film] = score
        run = first.run if seed == 0 else scored_again(scored, seed=seed, config={})
        sweep = np.repeat(scores[:, None], 101, axis=1).astype(np.float32)
        change_array(run_folder(run.uuid), "sweep", sweep)
    return evaluate(run=run, author=analyst)
