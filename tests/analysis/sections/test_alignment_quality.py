"""Alignment quality of an evaluation, and its data on page and API."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.metrics import roc_auc_score

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.statistics import subgroups
from ml_engine.runs.paths import run_folder
from portal.models import Exposure, LabelValue, Role, User
from portal.people.blinding import close_read, open_for
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine import reports
from tests.ml_engine.scored_folders import change_array, change_summary
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def scored(data_dir: Any, analyst: User) -> Scored:
    return scored_run(factories.site(), author=analyst, alignment=reports.alignment_report())


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    """Films 13 and 20 of the run are flagged, and film 15 is the least similar to the canonical image."""
    folder = run_folder(scored.run.uuid)
    change_summary(folder, flagged=[13, 20])
    quality = np.tile(np.linspace(0.4, 0.9, 24)[:, None], (1, 5))
    quality[15, 1] = -0.2
    change_array(folder, "alignment_quality", quality)
    return evaluate(run=scored.run, author=analyst)


def answered(client: Client, evaluation: Evaluation, part: str = "test") -> tuple[dict[str, Any], str]:
    api = client.get(reverse("api-alignment", args=[evaluation.uuid]), {"part": part})
    page = client.get(reverse("analysis:alignment", args=[evaluation.uuid]), {"part": part})
    assert (api.status_code, page.status_code) == (200, 200)
    return api.json(), page.text


def test_the_share_flagged_and_the_measures_are_those_of_the_part(as_analyst: Client, evaluation: Evaluation) -> None:
    answer, page = answered(as_analyst, evaluation)
    assert (answer["flagged"]["successes"], answer["flagged"]["total"]) == (2, 12)
    of_part = np.linspace(0.4, 0.9, 24)[12:]
    assert answer["measures"]["ncc_before"]["median"] == pytest.approx(np.median(of_part))
    assert answer["measures"]["ncc_after"]["least"] == -0.2
    assert f'data-value="{answer["flagged"]["value"]}"' in page
    assert f'data-value="{answer["measures"]["ncc_after"]["median"]}"' in page
    assert reverse("ml_engine:run", args=[answer["alignment"]]) in page
    assert (answer["fitted_on"]["films"], answer["fitted_on"]["ncc_after"]) == (8, 0.75)
    assert "NCC of the 8 films that it was fitted on" in page
    assert answered(as_analyst, evaluation, "tune")[0]["flagged"]["successes"] == 0


def test_the_worst_films_come_first(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    answer, page = answered(as_analyst, evaluation)
    films = [str(film.uuid) for film in scored.films]
    worst = [film["image"] for film in answer["worst"]]
    assert worst == [films[13], films[20], films[15], films[12], films[14], *films[16:20], *films[21:24]]
    assert [film["flagged"] for film in answer["worst"]][:3] == [True, True, False]
    assert re.findall(r'data-image="([^"]+)"', page) == worst


def test_hidden_films_are_not_named(client: Client, scored: Scored, evaluation: Evaluation) -> None:
    factories.event(scored.films[13], LabelValue.UNSURE, factories.curator("other"))
    client.force_login(factories.user("both", Role.ANALYST, Role.CURATOR))
    answer, page = answered(client, evaluation)
    assert answer["hidden"] == 1
    assert str(scored.films[13].uuid) not in page + json.dumps(answer)
    assert "1 film of test is hidden from you until you have labelled or read it" in page


def test_a_withheld_film_is_counted_over_the_part_and_what_is_shown_is_recorded(
    as_analyst: Client, analyst: User, scored: Scored, evaluation: Evaluation
) -> None:
    flagged, source = scored.films[13], uuid.UUID(int=3)
    open_for(person=analyst, images=[flagged], source=source, words="the worklist", days=28)
    (run_folder(scored.run.uuid) / "aligned.npy").unlink()  # so that the flagged films are the only ones listed
    answer, page = answered(as_analyst, evaluation)
    assert answer["hidden"] == 1
    assert str(flagged.uuid) not in page + json.dumps(answer)
    shown = Exposure.objects.filter(person=analyst, image=flagged)
    assert not shown.exists()
    close_read(person=analyst, image=flagged, source=source)
    assert str(flagged.uuid) in answered(as_analyst, evaluation)[1]
    assert set(shown.values_list("kind", "run")) == {("label", Exposure.NO_RUN), ("score", scored.run.uuid)}


def test_few_films_have_no_figure_and_many_have_theirs(
    as_analyst: Client, scored: Scored, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row["name"]: row for row in answered(as_analyst, evaluation)[0]["groups"]}
    assert {name: (row["films"], row["auroc"]) for name, row in rows.items()} == {
        "aligned well": (10, None),
        "flagged": (2, None),
    }
    monkeypatch.setattr(subgroups, "LEAST_FILMS", 5)
    answer, page = answered(as_analyst, evaluation)
    row = next(row for row in answer["groups"] if row["name"] == "aligned well")
    kept = [k for k in range(12, 24) if k not in (13, 20)]
    labels = np.array([0] * 6 + [1] * 6)[np.array(kept) - 12]
    assert row["auroc"]["auroc"] == pytest.approx(roc_auc_score(labels, scored.sweep[kept, 60]), abs=1e-9)
    cell = page.split('data-group="aligned well"')[1]
    assert f'data-value="{row["auroc"]["auroc"]}"' in cell.split("</tr>")[0]


def test_a_run_of_an_older_engine_reports_what_it_has(
    as_analyst: Client, scored: Scored, evaluation: Evaluation
) -> None:
    folder = run_folder(scored.run.uuid)
    (folder / "aligned.npy").unlink()
    answer, page = answered(as_analyst, evaluation)
    assert answer["measures"] is None
    assert [film["ncc_after"] for film in answer["worst"]] == [None, None]  # the flagged ones
    assert "score the films again" in " ".join(page.split())
    facts = json.loads((folder / "score.json").read_text())
    del facts["flagged"]
    (folder / "score.json").write_text(json.dumps(facts))
    assert "score again" in answered(as_analyst, evaluation)[0]["reason"]


def test_without_an_alignment_a_sentence_gives_the_reason(as_analyst: Client, data_dir: Any, analyst: User) -> None:
    evaluation = evaluate(run=scored_run(factories.site(), author=analyst, seed=1).run, author=analyst)
    answer, page = answered(as_analyst, evaluation)
    assert answer["reason"].startswith("This run's films are not aligned")
    assert "films are not aligned" in page


def test_gone_results_are_said_so(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    (run_folder(scored.run.uuid) / "score.json").unlink()
    assert as_analyst.get(reverse("api-alignment", args=[evaluation.uuid])).status_code == 410


def test_page_and_api_show_the_data(as_analyst: Client, scored: Scored, evaluation: Evaluation) -> None:
    answer = as_analyst.get(reverse("api-evaluation-data", args=[evaluation.uuid])).json()
    assert answer["parts"] == {
        "fit": {"normal": 8},
        "tune": {"normal": 6, "abnormal": 6},
        "test": {"normal": 6, "abnormal": 6},
    }
    assert answer["evaluated"]["test"] == {"normal": 6, "abnormal": 6, "patients": 12, "left_out": {}}
    assert (answer["looks_at_test"], answer["looks_at_this_evaluation"]) == (1, 1)
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid])).text
    block = one_line(page.split('id="data"')[1])
    assert re.search(r'data-part="fit".*?8 normal </td>', block)
    assert "6 normal, 6 abnormal of 12 patients" in block
    assert "1, 1 of them by this evaluation" in block
    assert reverse("analysis:split-data", args=[scored.split.uuid]) in block


@pytest.mark.parametrize("name", ["analysis:alignment", "api-alignment", "api-evaluation-data"])
def test_a_curator_and_a_stranger_see_nothing(client: Client, evaluation: Evaluation, name: str) -> None:
    address = reverse(name, args=[evaluation.uuid])
    client.force_login(factories.user("cu", Role.CURATOR))
    assert client.get(address).status_code == 403
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(address).status_code == 404
