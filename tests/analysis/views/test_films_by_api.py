"""A film's heatmap, its scores, a run's archive and a fusion weight by API: what the pages show, under their rules."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation.evaluate import evaluate
from analysis.models import TestLook
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from portal.people.blinding import open_for
from portal.sets.sealing import TestRules, set_test_rules
from tests.access.world import OTHER_LIST
from tests.analysis.scored import Scored
from tests.portal import factories

pytestmark = pytest.mark.django_db


def test_the_heatmap_is_that_of_the_page(as_analyst: Client, scored: Scored) -> None:
    args = [scored.run.uuid, scored.films[0].uuid]  # of tune
    page = as_analyst.get(reverse("analysis:overlay", args=args)).json()
    answer = as_analyst.get(reverse("api-heatmap", args=args)).json()
    assert answer["maps_url"] == reverse("api-maps", args=args)
    assert {**answer, "maps_url": page["maps_url"]} == page
    maps = np.frombuffer(as_analyst.get(answer["maps_url"]).content, "<f4")
    assert maps.size == 2 * answer["rows"] * answer["columns"]
    assert maps.tobytes() == as_analyst.get(page["maps_url"]).content


def test_refusals_are_those_of_the_page_in_the_form_of_the_api(as_analyst: Client, scored: Scored) -> None:
    args = [scored.run.uuid, scored.films[0].uuid]
    for name in ("api-heatmap", "api-maps"):
        answer = as_analyst.get(reverse(name, args=args), {"map": "head"})
        assert (answer.status_code, "no semi-supervised head" in answer.json()["detail"]) == (400, True)
    answer = as_analyst.get(reverse("api-nearest", args=args), {"neighbours": "many"})
    assert (answer.status_code, "give a whole number" in answer.json()["detail"]) == (400, True)
    of_test = [scored.run.uuid, scored.films[-1].uuid]
    for name in ("api-heatmap", "api-maps", "api-nearest"):
        answer = as_analyst.get(reverse(name, args=of_test))
        assert (answer.status_code, "nobody has looked" in answer.json()["detail"]) == (403, True)


def test_the_scores_of_a_film_wait_for_a_look(as_analyst: Client, analyst: User, scored: Scored) -> None:
    film = scored.films[-1]
    address = reverse("api-film-scores", args=[film.uuid])
    assert as_analyst.get(address).json() == {"image": str(film.uuid), "scores": [], "hidden": 1}
    evaluate(run=scored.run, author=analyst)
    (row,) = as_analyst.get(address).json()["scores"]
    assert row["fused"] == pytest.approx(scored.sweep[-1, 60])
    open_for(person=analyst, images=[film], source=OTHER_LIST, words="the worklist Blinded", days=28)
    assert as_analyst.get(address).status_code == 403


def test_the_archive_is_the_same_counted_look(as_analyst: Client, scored: Scored) -> None:
    (run_folder(scored.run.uuid) / "run.json").write_text(json.dumps({"kind": "score"}))
    answer = as_analyst.get(reverse("api-run-archive", args=[scored.run.uuid]))
    names = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))).namelist()
    assert any(name.endswith("scores.csv") for name in names)
    assert TestLook.objects.count() == 1


def weight(client: Client, evaluation: Any, status: int = 200, **fields: Any) -> Any:
    answer = client.post(reverse("api-weight", args=[evaluation.uuid]), fields, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_another_weight_on_test_is_counted_once(as_analyst: Client, analyst: User, scored: Scored) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    stored = evaluation.metrics["parts"]
    assert weight(as_analyst, evaluation, part="tune", weight=0.6)["auroc"]["fused"] == stored["tune"]["auroc"]["fused"]
    assert weight(as_analyst, evaluation, part="test", weight=0.6)["looks_at_test"] == 1
    for _ in range(2):
        answer = weight(as_analyst, evaluation, part="test", weight=1)
        assert answer["looks_at_test"] == 2
        assert answer["auroc"]["fused"]["auroc"] == stored["test"]["auroc"]["region"]["auroc"]
    manager = factories.user("manager", Role.MANAGER, at=scored.run.site)
    set_test_rules(site=scored.run.site, rules=TestRules(plan=True, second_person=False), author=manager)
    assert "sealed" in weight(as_analyst, evaluation, part="test", weight=0.1, status=400)["detail"]
    assert "not one of" in str(weight(as_analyst, evaluation, weight=0.123, status=400))
    weight(as_analyst, evaluation, part="fit", weight=0.1, status=404)
