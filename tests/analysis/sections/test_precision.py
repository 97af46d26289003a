"""Average precision, partial AUROC and fixed points of an evaluation; page and API show the same numbers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.evaluation import disk_cache
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from analysis.sections.precision import precision_of
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_summary
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return evaluate(run=scored.run, author=analyst)


def answered(client: Client, evaluation: Evaluation, **query: str) -> tuple[dict[str, Any], str]:
    api = client.get(reverse("api-precision", args=[evaluation.uuid]), query)
    page = client.get(reverse("analysis:precision", args=[evaluation.uuid]), query)
    assert (api.status_code, page.status_code) == (200, 200)
    return api.json(), page.content.decode()


@pytest.mark.parametrize(("kind", "at"), [("global", 0), ("region", 100), ("fused", 25)])
def test_areas_are_those_of_scikit_learn(scored: Scored, evaluation: Evaluation, kind: Any, at: int) -> None:
    precision = precision_of(evaluation, evaluated_part(evaluation, "tune"), weight=0.25)
    labels, scores = np.repeat([0, 1], 6), scored.sweep[:12, at]
    assert precision.auprc[kind].auprc == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert precision.partial_auc[kind].partial_auc == pytest.approx(
        roc_auc_score(labels, scores, max_fpr=0.2), abs=1e-12
    )
    assert precision.auprc[kind].prevalence == 0.5


def test_page_and_api_show_the_same(as_analyst: Client, evaluation: Evaluation) -> None:
    answer, page = answered(as_analyst, evaluation, part="tune", weight="0.25")
    assert answer["weight"] == 0.25
    for kind in ("global", "region", "fused"):
        areas = {"auprc": "auprc", "partial-auc": "partial_auc", "bootstrap": "bootstrap"}
        for name, area in ((name, answer[key]) for name, key in areas.items()):
            cell = page.split(f'data-number="{name}-{kind}"')[1]
            match = re.search(r'data-value="([^"]+)" data-low="([^"]+)" data-high="([^"]+)"', cell)
            assert match
            value = area[kind]
            wanted = (value[{"bootstrap": "auroc"}.get(name, areas[name])], value["low"], value["high"])
            assert tuple(map(str, wanted)) == match.groups()


def test_the_bootstrap_beside_delong_is_that_of_a_plain_loop(evaluation: Evaluation) -> None:
    part = replace(evaluated_part(evaluation, "test"), labels=np.tile(np.array([0, 1], np.int8), 6))
    precision, scores = precision_of(evaluation, part, weight=0.6), part.scores_at(0.6)
    generator, (well, ill) = np.random.default_rng(8), (scores[part.labels == label] for label in (0, 1))
    pairs = ((ill[:, None] > well) + 0.5 * (ill[:, None] == well)).astype(float)
    drawn = [pairs[np.ix_(*generator.integers(0, 6, (2, 6)))].mean() for _ in range(2000)]  # films within their class
    result = precision.bootstrap["fused"]
    assert (result.low, result.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)
    assert result.auroc == precision.auroc["fused"].auroc
    assert (result.method, precision.auroc["fused"].method) == ("bootstrap", "delong on the logit scale")


def test_points_are_those_of_the_operating_point(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    scores = {"calibration_scores": np.linspace(2, 4, 40).tolist(), "calibration_patients": list(range(40))}
    change_summary(run_folder(scored.run.uuid), **scores)
    answer, page = answered(as_analyst, evaluation, part="test")
    assert len(answer["points"]) == 3
    few = answer["points"].pop()  # a sensitivity of 0.95, with 6 abnormal films of tune
    assert few["threshold"] is None
    assert few["reason"] in page
    assert "promises specificity 0.796–0.972" in re.sub(r"\s+", " ", page)  # 1 - Beta(4, 37), 37th of 40
    for point in answer["points"]:
        query = {"part": "test", "rule": point["asked"]["rule"], "target": point["asked"]["target"]}
        operating = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), query).json()
        assert point["threshold"] is not None
        assert (point["threshold"], point["sensitivity"], point["specificity"]) == (
            operating["threshold"], operating["sensitivity"], operating["specificity"],
        )  # fmt: skip
        assert f'data-value="{point["threshold"]}"' in page
    assert 'data-rule="specificity"' in page


def test_it_is_kept_and_worked_out_once(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    part = evaluated_part(evaluation, "test")
    first = precision_of(evaluation, part, weight=0.6)
    disk_cache.clear_memory()
    monkeypatch.setattr("analysis.sections.precision.statistics.auprc", None)  # would fail if it were computed
    assert precision_of(evaluation, part, weight=0.6) == first


def test_a_damaged_file_is_computed_again(evaluation: Evaluation, data_dir: Any) -> None:
    part = evaluated_part(evaluation, "test")
    first = precision_of(evaluation, part, weight=0.6)
    disk_cache.clear_memory()
    path = data_dir / "evaluations" / str(evaluation.uuid) / "precision-test-060.json"
    path.write_text(path.read_text()[:100])
    assert precision_of(evaluation, part, weight=0.6) == first
    assert json.loads(path.read_text())["found"]["auprc"]


def test_another_weight_on_test_is_refused(as_analyst: Client, evaluation: Evaluation) -> None:
    query = {"part": "test", "weight": "0.3"}
    answer = as_analyst.get(reverse("api-precision", args=[evaluation.uuid]), query)
    assert answer.status_code == 400
    assert "On test the weight is the run's, 0.6" in answer.json()["detail"]
    page = as_analyst.get(reverse("analysis:precision", args=[evaluation.uuid]), query).content.decode()
    assert "On test the weight is the run&#x27;s, 0.6" in page


def test_gone_results_are_said_so(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    (run_folder(scored.run.uuid) / "sweep.npy").unlink()
    answer = as_analyst.get(reverse("api-precision", args=[evaluation.uuid]))
    assert answer.status_code == 410
    page = as_analyst.get(reverse("analysis:precision", args=[evaluation.uuid])).content.decode()
    assert "are not in the data folder any more" in page


@pytest.mark.parametrize("name", ["analysis:precision", "api-precision"])
def test_a_curator_and_a_stranger_see_nothing(client: Client, evaluation: Evaluation, name: str) -> None:
    address = reverse(name, args=[evaluation.uuid])
    client.force_login(factories.user("cu", Role.CURATOR))
    assert client.get(address).status_code == 403
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(address).status_code == 404
