"""Bank studies and blind spots: their numbers, who sees them, and what counts as a look."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from analysis.models import TestLook
from analysis.studies import bank, bank_results, blind
from analysis.studies.opening import open_test
from ml_engine.core.errors import EngineError
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Membership, Role, Site
from tests.analysis import studied
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def site(data_dir: Path) -> Site:
    return factories.site()


def as_role(client: Client, *roles: Role, name: str = "someone") -> Client:
    client.force_login(factories.user(name, *roles))
    return client


# Numbers ---------------------------------------------------------------------------------------------


def by_hand(**fused: list[float]) -> bank.BankScores:
    """Banks by name with the fused scores of four normal films, four abnormal ones and one that does not count.
    The global scores are the fused ones turned round, the region scores tell nothing. Calibration normals: 1 to 9."""
    amounts = {"whole": (1.0, 0.0, 20, 0), "half": (0.5, 0.0, 10, 0), "dirty": (1.0, 0.05, 20, 1)}
    facts = []
    for name in fused:
        share, contamination, normals, abnormals = amounts[name.partition("_")[0]]
        facts.append(
            {"name": name, "share": share, "contamination": contamination, "repeat": 0, "normal_films": normals,
             "normal_patients": normals, "abnormal_films": abnormals}
        )  # fmt: skip
    one = np.array(list(fused.values()))
    scores = np.stack([-one, np.zeros_like(one), one], axis=2)
    calibration = np.broadcast_to(np.arange(1.0, 10.0)[None, :, None], (len(one), 9, 3))
    summary = {"cells": facts, "false_alarm_rate": 0.2, "fusion_weight": 0.6}
    return bank.BankScores(summary, [f"film {n}" for n in range(9)], scores, calibration)


# of 16 pairs of a normal and an abnormal film: 14, all, 7 and 16 in the right order
WHOLE = [1, 2, 3, 9, 4, 8, 10, 11, 5]
HALVES = ([1, 2, 3, 4, 5, 6, 7, 9, 5], [2, 4, 6, 9, 1, 3, 5, 10, 5])
DIRTY = [1, 2, 3, 4, 5, 6, 7, 8, 5]
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1])


def results_by_hand(labels: Any = LABELS) -> bank.BankResults:
    study = by_hand(whole=WHOLE, half_0=HALVES[0], half_1=HALVES[1], dirty_0=DIRTY)
    return bank.bank_results(study, labels, np.arange(9), {"unsure": 1})


def test_a_bank_has_the_auroc_of_each_map_and_its_difference_from_the_whole() -> None:
    results = results_by_hand()
    whole, first, second, dirty = results.banks
    assert [row.aurocs["fused"].auroc for row in results.banks] == [14 / 16, 1, 7 / 16, 1]
    assert (second.aurocs["global"].auroc, second.aurocs["region"].auroc) == (9 / 16, 0.5)
    assert whole.difference is None
    changes = [row.difference.difference for row in (first, second, dirty) if row.difference]
    assert changes == pytest.approx([2 / 16, -7 / 16, 2 / 16])
    assert (results.normal, results.abnormal, results.patients, results.left_out) == (4, 4, 8, {"unsure": 1})


def test_the_threshold_is_just_above_the_calibration_normal_that_the_rate_allows() -> None:
    """Of nine normals 0.2 allows one above it: it lies just above the eighth, which is 8."""
    results = results_by_hand()
    assert [row.threshold for row in results.banks] == [np.nextafter(8, 9)] * 4
    alarms = [row.false_alarms.successes for row in results.banks if row.false_alarms]
    hits = [row.sensitivity.successes for row in results.banks if row.sensitivity]
    assert (alarms, hits) == ([1, 0, 1, 0], [2, 1, 1, 0])


def test_points_keep_the_two_spreads_apart() -> None:
    results = results_by_hand()
    half, whole = results.by_size["fused"]
    assert (half.films, half.repeats, half.mean, half.lowest, half.highest) == (10, 2, 23 / 32, 7 / 16, 1)
    assert half.deviation == pytest.approx(0.397748, abs=1e-6)  # 9/16 apart, over the root of two
    assert (whole.films, whole.repeats, whole.mean, whole.deviation) == (20, 1, 14 / 16, None)
    assert results.by_contamination["fused"][0] == whole
    assert results.by_contamination["fused"][1].contamination == pytest.approx(1 / 21)

    limits = [binomtest(alarms, 4).proportion_ci(method="wilson") for alarms in (0, 1)]
    alarms = results.by_size["false alarms"][0]
    assert (alarms.mean, results.by_size["sensitivity"][0].mean) == (1 / 8, 1 / 4)
    assert (alarms.low, alarms.high) == pytest.approx(np.mean(limits, axis=0))


def test_a_film_that_one_bank_could_not_score_counts_for_none() -> None:
    study = by_hand(whole=WHOLE, half_0=[1, 2, 3, 4, 5, 6, 7, float("nan"), 5])
    results = bank.bank_results(study, LABELS, np.arange(9), {})
    assert (results.normal, results.abnormal, results.left_out) == (4, 3, {"unreadable": 1})
    assert results.banks[0].aurocs["fused"].auroc == 10 / 12


def test_a_bank_study_of_the_portal_joins_labels_and_patients_of_its_split(site: Site) -> None:
    run, laid = studied.bank_study(site)
    results = bank_results.bank_results_of(run)
    known = laid["labels"] >= 0
    assert (results.normal, results.abnormal, results.patients) == (12, 12, 23)
    assert [point.films for point in results.by_size["fused"]] == [5, 10, 20]
    for k, row in enumerate(results.banks):
        for column, name in enumerate(studied.MAPS):
            expected = roc_auc_score(laid["labels"][known], laid["scores"][k][known, column])
            assert row.aurocs[name].auroc == pytest.approx(expected, abs=1e-12)


def test_a_film_no_longer_in_the_split_is_left_out_and_counted(site: Site) -> None:
    run, laid = studied.bank_study(site)
    assert (laid["labels"] == -1).sum() == 1
    assert bank_results.bank_results_of(run).left_out == {"erased": 1}


def test_too_few_calibration_films_fix_no_threshold(site: Site) -> None:
    run, _ = studied.bank_study(site)
    study = bank.read_bank_study(run_folder(run.uuid))
    study.summary["false_alarm_rate"] = 0.05
    labels = np.array([0, 1] * 12 + [-1])
    results = bank.bank_results(study, labels, np.arange(25), {})
    assert results.reason.startswith("A false-alarm rate of 0.05 needs normal films of more patients than the 9 of c")
    assert all(row.threshold is None and row.false_alarms is None for row in results.banks)
    assert results.by_size["false alarms"][0].mean is None and results.by_size["fused"][0].mean is not None


@pytest.mark.parametrize("read", [bank.read_bank_study, blind.read_blind_spots])
def test_a_folder_without_a_study_is_refused(read: Any, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no finished"):
        read(tmp_path)


def table_cells(printed: str) -> list[list[str]]:
    """The cells of each line of the Markdown tables that were printed."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_command_line_prints_the_table(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = studied.blind_spots(site, random_weights=True)
    assert blind.main([str(run_folder(run.uuid))]) == 0
    printed = capsys.readouterr().out
    assert ["nodule", "30", "0.2", "12"] in [cells[:4] for cells in table_cells(printed)]
    assert "Random weights, not for evaluation" in printed
    study, laid = studied.bank_study(site)
    labels = Path(run_folder(study.uuid)) / "labels.csv"
    words = {0: "normal", 1: "abnormal", -1: "unsure"}
    lines = [f"{film.uuid},{words[int(label)]}" for film, label in zip(laid["films"], laid["labels"], strict=True)]
    labels.write_text("filename,label\n" + "\n".join(lines))
    assert bank.main([str(run_folder(study.uuid)), "--csv", str(labels)]) == 0
    assert ["whole", "20", "0"] in [cells[:3] for cells in table_cells(capsys.readouterr().out)]


# Figures ---------------------------------------------------------------------------------------------


def test_figures_say_n_units_notice_and_looks(site: Site) -> None:
    run, _ = studied.bank_study(site, random_weights=True)
    open_test(run=run, author=factories.user("ana", Role.ANALYST))
    drawn = bank_results.bank_figures(run, bank_results.bank_results_of(run), theme="light")
    assert set(drawn) == {"auroc-by-size", "alarms-by-size", "auroc-by-contamination", "alarms-by-contamination"}
    for figure in drawn.values():
        texts = [one["text"] for one in figure["layout"]["annotations"]]
        assert any(
            "Research use only" in text and "Looks at this test part: 1;" in text.replace("<br>", " ") for text in texts
        )
        assert any("random weights" in text for text in texts)
        assert "n = 12 abnormal, 12 normal of test" in figure["layout"]["legend"]["title"]["text"]
    axis = drawn["auroc-by-contamination"]["layout"]["xaxis"]["title"]["text"]
    assert axis == "Abnormal films in the bank (%)"


def test_the_grid_shows_every_cell_with_its_number(site: Site) -> None:
    run, _ = studied.blind_spots(site)
    results = bank_results.blind_results_of(run)
    drawn = bank_results.blind_figures(run, results, theme="dark")
    words = [one["text"] for one in drawn["places-nodule"]["layout"]["annotations"]]
    for place in results.places["nodule"]:
        assert any(f"n = {place.lesions}" in text for text in words)
    assert "n = 144 lesions" in drawn["places-nodule"]["layout"]["legend"]["title"]["text"]
    z = drawn["places-nodule"]["data"][0]["z"]
    for place in results.places["nodule"]:
        assert z[place.row][place.column] == (place.found.value if place.found else None)


# Looks and access ------------------------------------------------------------------------------------

BANK = ("analysis:bank-study", "analysis:bank-study-table", "api-bank-study")
BLIND = ("analysis:blind-spots", "analysis:blind-spots-table", "api-blind-spots")


def test_test_figures_come_after_one_counted_look(client: Client, site: Site) -> None:
    run, _ = studied.bank_study(site)
    as_role(client, Role.ANALYST)
    page = client.get(reverse("analysis:bank-study", args=[run.uuid])).content.decode()
    assert "Show test" in page
    assert 'id="study"' not in page and 'id="banks"' not in page
    for name in BANK[1:]:
        refused = client.get(reverse(name, args=[run.uuid]))
        assert refused.status_code == 400 and "nobody has looked yet" in refused.content.decode()
    assert TestLook.objects.count() == 0

    for _ in range(2):
        answer = client.post(reverse("analysis:show-bank-study", args=[run.uuid]))
        assert answer["Location"] == reverse("analysis:bank-study", args=[run.uuid])
    look = TestLook.objects.get()
    assert (look.split, look.run, look.reason) == (run.split, run, "bank study opened")
    assert AuditEvent.objects.filter(verb="look at test").count() == 1
    for name in BANK:
        assert client.get(reverse(name, args=[run.uuid])).status_code == 200
    assert 'id="banks"' in client.get(reverse("analysis:bank-study", args=[run.uuid])).content.decode()


def test_blind_spots_on_tune_need_no_look_and_on_test_one(client: Client, site: Site) -> None:
    as_role(client, Role.ANALYST)
    free, _ = studied.blind_spots(site)
    assert 'id="groups"' in client.get(reverse("analysis:blind-spots", args=[free.uuid])).content.decode()
    assert TestLook.objects.count() == 0
    free.parts = ["test"]
    free.save()
    assert 'id="groups"' not in client.get(reverse("analysis:blind-spots", args=[free.uuid])).content.decode()
    answer = client.post(reverse("api-show-blind-spots", args=[free.uuid]))
    assert answer.status_code == 200 and answer.json()["looks_at_test"] == 1
    assert TestLook.objects.get().reason == "blind spots on test opened"


def test_who_sees_and_who_looks(client: Client, site: Site) -> None:
    run, _ = studied.bank_study(site)
    spots, _ = studied.blind_spots(site)
    everything = [(name, run) for name in BANK] + [(name, spots) for name in BLIND]
    shows = [("analysis:show-bank-study", run), ("api-show-bank-study", run), ("analysis:show-blind-spots", spots),
             ("api-show-blind-spots", spots)]  # fmt: skip
    as_role(client, Role.CURATOR, name="cho")
    assert {client.get(reverse(name, args=[one.uuid])).status_code for name, one in everything} == {403}
    assert {client.post(reverse(name, args=[one.uuid])).status_code for name, one in shows} == {403}
    as_role(client, Role.READER, name="rho")
    assert client.get(reverse("analysis:bank-study", args=[run.uuid])).status_code == 200
    assert {client.post(reverse(name, args=[one.uuid])).status_code for name, one in shows} == {403}
    assert TestLook.objects.count() == 0
    eve = factories.user("eve")
    Membership.objects.create(user=eve, site=factories.site("Busan"), role=Role.MANAGER)
    client.force_login(eve)
    assert {client.get(reverse(name, args=[one.uuid])).status_code for name, one in everything} == {404}
    assert {client.post(reverse(name, args=[one.uuid])).status_code for name, one in shows} == {404}
    as_role(client, Role.ANALYST, name="ana")
    assert {client.get(reverse(name, args=[one.uuid])).status_code for name, one in shows} == {405}
    for name, one in (("analysis:bank-study", spots), ("analysis:blind-spots", run)):
        assert client.get(reverse(name, args=[one.uuid])).status_code == 404


def test_a_study_on_its_way_and_one_whose_files_are_gone_say_so(client: Client, site: Site) -> None:
    as_role(client, Role.ANALYST)
    run, _ = studied.bank_study(site, state="queued")
    answer = client.get(reverse("analysis:bank-study", args=[run.uuid]))
    assert answer.status_code == 400 and "its results appear when it is done" in answer.content.decode()
    run.state = "done"
    run.save()
    (run_folder(run.uuid) / "bank_study.json").unlink()
    answer = client.get(reverse("analysis:bank-study", args=[run.uuid]))
    assert answer.status_code == 410 and "are not in the data folder any more" in answer.content.decode()
    shown = client.post(reverse("api-show-bank-study", args=[run.uuid]))
    assert shown.status_code == 410 and "are not in the data folder any more" in shown.json()["detail"]


def test_the_csv_has_the_apis_numbers_in_full(client: Client, site: Site) -> None:
    as_role(client, Role.ANALYST)
    run, _ = studied.bank_study(site, random_weights=True)
    study = client.post(reverse("api-show-bank-study", args=[run.uuid])).json()
    lines = list(csv.DictReader(io.StringIO(client.get(reverse(BANK[1], args=[run.uuid])).content.decode())))
    assert [line["bank"] for line in lines] == [cell["name"] for cell in study["cells"]]
    for line, cell in zip(lines, study["cells"], strict=True):
        for name in studied.MAPS:
            assert float(line[f"AUROC {name}"]) == cell["aurocs"][name]["auroc"]
            assert float(line[f"AUROC {name} low"]) == cell["aurocs"][name]["low"]
        assert float(line["false-alarm rate high"]) == cell["false_alarms"]["high"]
        assert "random weights, not for evaluation" in line["notice"]
    spots, _ = studied.blind_spots(site)
    study = client.get(reverse("api-blind-spots", args=[spots.uuid])).json()
    lines = list(csv.DictReader(io.StringIO(client.get(reverse(BLIND[1], args=[spots.uuid])).content.decode())))
    expected = [one["found"]["value"] for group in study["groups"] for one in group["maps"]]
    assert [float(line["found there"]) for line in lines] == expected
    assert "synthetic" in study["limits"]


def test_the_results_list_both_studies(client: Client, site: Site) -> None:
    client.force_login(factories.user("ana", Role.ANALYST))
    bank_run, _ = studied.bank_study(site)
    blind_run, _ = studied.blind_spots(site)
    page = client.get(reverse("analysis:results"))
    assert {(study.run, study.is_open) for study in page.context["studies"]} == {(bank_run, False), (blind_run, True)}
    for name, run in (("bank-study", bank_run), ("blind-spots", blind_run)):
        assert reverse(f"analysis:{name}", args=[run.uuid]) in page.text


def test_a_closed_study_of_a_sealed_split_says_what_opens_it(client: Client, site: Site) -> None:
    site.plan_before_test = True
    site.save()
    client.force_login(factories.user("ana", Role.ANALYST))
    run, _ = studied.bank_study(site)
    page = client.get(reverse("analysis:bank-study", args=[run.uuid])).text
    assert "is sealed: lock an analysis plan for the split first" in page
    assert ">Show test</button>" not in page
    refused = client.post(reverse("analysis:show-bank-study", args=[run.uuid]))
    assert refused.status_code == 400 and "is sealed" in refused.content.decode()
    assert not TestLook.objects.exists()
