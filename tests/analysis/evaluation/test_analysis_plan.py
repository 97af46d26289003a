"""Analysis plans: locked before the first look, with a hash, and their effect on figures and comparisons."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.urls import reverse

from analysis.evaluation.analysis_plan import (
    CannotPlan,
    Intent,
    approve_plan,
    current_plan,
    lock_plan,
    plan_contents,
    why_sealed,
)
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.looks import CannotEvaluate, look, looks_at_test, note_of
from analysis.evaluation.operating_point import RequestedPoint
from analysis.models import AnalysisPlan, TestLook
from analysis.sections.comparison import compare
from analysis.statistics import holm
from ml_engine.models import Run
from portal.models import AuditEvent, Part, Role, User
from portal.sets.sealing import TestRules, set_test_rules
from portal.sets.splits import SplitRequest, split_from_csv
from tests.analysis.scored import Scored
from tests.analysis.sections.test_comparison import scored_again
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager(scored: Scored) -> User:
    return factories.user("manager", Role.MANAGER, at=scored.split.site)


def detector_of(scored: Scored) -> Run:
    assert scored.run.detector is not None
    return scored.run.detector.run


def seal(scored: Scored, manager: User, *, second_person: bool = False) -> None:
    set_test_rules(site=scored.split.site, rules=TestRules(plan=True, second_person=second_person), author=manager)
    scored.split.site.refresh_from_db()
    scored.run.site.refresh_from_db()
    assert scored.run.detector is not None
    scored.run.detector.split.site.refresh_from_db()


def test_the_hash_is_that_of_the_documents_bytes(scored: Scored, analyst: User, as_analyst: Client) -> None:
    intent = Intent(
        primary=detector_of(scored), looks=2, hypothesis="Region helps.", operating_point=RequestedPoint(target=0.95)
    )
    plan = lock_plan(split=scored.split, author=analyst, intent=intent)
    response = as_analyst.get(reverse("analysis:plan-document", args=[plan.uuid]))
    assert hashlib.sha256(response.content).hexdigest() == plan.sha256
    contents = json.loads(response.content)
    assert contents["primary_detector"]["run"] == str(detector_of(scored).uuid)
    assert (contents["operating_point"]["target"], contents["looks"], contents["hypothesis"]) == (
        0.95,
        2,
        "Region helps.",
    )
    assert AuditEvent.objects.get(verb="lock analysis plan").after == {"sha256": plan.sha256}


def test_no_plan_is_locked_after_a_look(scored: Scored, analyst: User) -> None:
    evaluate(run=scored.run, author=analyst)
    with pytest.raises(
        CannotPlan, match="was already looked at 1 time, so no plan can be locked before the first look"
    ):
        lock_plan(split=scored.split, author=analyst, intent=Intent())
    assert current_plan(scored.split) is None


def test_a_new_version_names_the_one_that_it_replaces_until_the_first_look(scored: Scored, analyst: User) -> None:
    first = lock_plan(split=scored.split, author=analyst, intent=Intent())
    second = lock_plan(split=scored.split, author=analyst, intent=Intent(metric="average_precision"))
    assert (second.version, plan_contents(second)["replaces"]) == (2, first.sha256)
    assert current_plan(scored.split) == second
    evaluate(run=scored.run, author=analyst)
    assert TestLook.objects.get().plan == second
    with pytest.raises(CannotPlan, match="looked at 1 time"):
        lock_plan(split=scored.split, author=analyst, intent=Intent())


@pytest.mark.parametrize("act", ["update", "delete"])
def test_a_plan_is_append_only(scored: Scored, analyst: User, act: str) -> None:
    lock_plan(split=scored.split, author=analyst, intent=Intent())
    plans = AnalysisPlan.objects.all()
    with pytest.raises(Exception, match="append-only"):
        plans.update(document="{}") if act == "update" else plans.delete()


def test_invalid_plans_are_refused(scored: Scored, analyst: User, manager: User) -> None:
    mine = detector_of(scored)
    for intent, sentence in (
        (Intent(metric="accuracy"), "The metric 'accuracy' is unknown; use one of auroc,"),
        (Intent(looks=0), "0 looks are planned; enter a number from 1 to 100"),
        (Intent(compared=[mine]), "No primary detector is chosen to compare the other detectors with: choose one"),
        (Intent(primary=mine, compared=[mine]), "would be compared with itself"),
        (Intent(primary=scored.run), "fits no detector on the split"),
        (Intent(primary=mine, compared=[mine] * 6), "6 detectors are to be compared; choose at most 5"),
        (Intent(hypothesis="x" * 2001), "The hypothesis has 2001 characters; shorten it to 2000 or fewer"),
    ):
        with pytest.raises(CannotPlan, match=sentence):
            lock_plan(split=scored.split, author=analyst, intent=intent)


def test_a_split_without_test_has_nothing_to_plan(scored: Scored, analyst: User) -> None:
    dataset = factories.dataset("Fit only", at=scored.split.site)
    for n in range(3):
        factories.film(dataset, "normal", person=f"only fit {n}", csv_split="fit")
    split_request = SplitRequest(site=scored.split.site, name="Bare", datasets=[dataset], seed=0, author=analyst)
    with pytest.raises(CannotPlan, match="The split “Bare” has no test part, so there is nothing to plan"):
        lock_plan(split=split_from_csv(split_request), author=analyst, intent=Intent())


def test_a_sealed_test_opens_with_a_plan(scored: Scored, analyst: User, manager: User) -> None:
    seal(scored, manager)
    evaluation = evaluate(run=scored.run, author=analyst)
    assert list(evaluation.metrics["parts"]) == [Part.TUNE]
    assert looks_at_test(scored.split) == 0
    with pytest.raises(CannotEvaluate, match="is sealed: lock an analysis plan for the split first"):
        look(split=scored.run.detector.split, author=analyst, reason="sweep shown")  # type: ignore[union-attr]
    lock_plan(split=scored.split, author=analyst, intent=Intent())
    again_made = evaluate(run=scored.run, author=analyst)
    assert again_made == evaluation
    assert set(again_made.metrics["parts"]) == {Part.TUNE, Part.TEST}
    assert looks_at_test(scored.split) == 1


def test_a_second_person_opens_it_where_the_site_requires_one(scored: Scored, analyst: User, manager: User) -> None:
    seal(scored, manager, second_person=True)
    split = scored.run.detector.split  # type: ignore[union-attr]
    plan = lock_plan(split=split, author=analyst, intent=Intent())
    assert "a second person has to approve version 1" in why_sealed(split)
    with pytest.raises(CannotPlan, match="You locked this plan yourself: a second person approves it"):
        approve_plan(plan=plan, approver=analyst)
    approve_plan(plan=plan, approver=manager)
    assert why_sealed(split) == ""
    with pytest.raises(CannotPlan, match="is already approved"):
        approve_plan(plan=plan, approver=manager)
    evaluate(run=scored.run, author=analyst)
    assert note_of(split, "test").endswith("approved by a second person.")


def test_a_new_version_needs_its_own_approval(scored: Scored, analyst: User, manager: User) -> None:
    seal(scored, manager, second_person=True)
    split = scored.run.detector.split  # type: ignore[union-attr]
    first = lock_plan(split=split, author=analyst, intent=Intent())
    approve_plan(plan=first, approver=manager)
    lock_plan(split=split, author=analyst, intent=Intent(looks=9))
    assert "approve version 2" in why_sealed(split)
    with pytest.raises(CannotPlan, match="replaced by version 2: approve that version"):
        approve_plan(plan=first, approver=factories.user("third", Role.MANAGER, at=split.site))


def test_who_may_plan_approve_and_set_rules(scored: Scored, analyst: User) -> None:
    reader = factories.user("reader", Role.READER, at=scored.split.site)
    plan = lock_plan(split=scored.split, author=analyst, intent=Intent())
    for act, refusal in (
        (lambda: lock_plan(split=scored.split, author=reader, intent=Intent()), "To plan analyses at"),
        (lambda: approve_plan(plan=plan, approver=reader), "To approve plans at"),
        (
            lambda: set_test_rules(
                site=scored.split.site, rules=TestRules(plan=False, second_person=False), author=analyst
            ),
            "To set rules for test at",
        ),
    ):
        with pytest.raises(PermissionDenied, match=refusal):
            act()


def test_figures_print_the_plan_and_looks_beyond_it(scored: Scored, analyst: User) -> None:
    plan = lock_plan(split=scored.split, author=analyst, intent=Intent(looks=1))
    evaluate(run=scored.run, author=analyst)
    assert note_of(scored.split, "test").startswith(
        "Looks at this test part: 1 of 1 planned; analysis plan " + plan.sha256[:12]
    )
    look(split=scored.split, author=analyst, reason="curiosity")
    assert note_of(scored.split, "test").startswith("Looks at this test part: 2, more than the 1 planned; ")


@pytest.mark.django_db(transaction=True)
def test_a_plan_changed_by_hand_is_reported(scored: Scored, analyst: User) -> None:
    lock_plan(split=scored.split, author=analyst, intent=Intent())
    plan = current_plan(scored.split)
    assert plan is not None
    with connection.cursor() as cursor:  # as somebody with access to the database could
        cursor.execute("ALTER TABLE analysis_analysisplan DISABLE TRIGGER USER")
        cursor.execute("UPDATE analysis_analysisplan SET document = replace(document, '\"looks\": 1', '\"looks\": 7')")
        cursor.execute("ALTER TABLE analysis_analysisplan ENABLE TRIGGER USER")
    assert "was changed after it was locked" in note_of(scored.split, "test")


# declared comparisons


def differing(scored: Scored, count: int) -> list[Run]:
    """`count` scoring runs on one split, each with its own detector, none evaluated yet."""
    return [scored.run, *(scored_again(scored, seed=seed, config={}) for seed in range(1, count))]


def fitted_by(runs: list[Run]) -> list[Run]:
    return [run.detector.run for run in runs if run.detector]


def test_a_declared_comparison_is_not_corrected_for_those_that_were_not(scored: Scored, analyst: User) -> None:
    runs = differing(scored, 4)
    fitted = fitted_by(runs)
    lock_plan(split=scored.split, author=analyst, intent=Intent(primary=fitted[1], compared=[fitted[2]]))
    evaluations = [evaluate(run=run, author=analyst) for run in runs]
    comparison = compare(evaluations, part="test")
    assert [row.evaluation for row in comparison.rows] == [evaluations[k] for k in (1, 0, 2, 3)]  # the primary first
    assert [row.declared for row in comparison.rows] == [False, False, True, False]
    raw = [row.difference.p_value for row in comparison.rows if row.difference and row.difference.p_value is not None]
    assert comparison.rows[2].adjusted_p_value == raw[1]
    among_all = holm(raw)
    assert comparison.rows[1].adjusted_p_value == pytest.approx(among_all[0])
    assert comparison.rows[3].adjusted_p_value == pytest.approx(among_all[2])


def test_declared_comparisons_are_corrected_for_each_other_even_unseen(scored: Scored, analyst: User) -> None:
    runs = differing(scored, 3)
    fitted = fitted_by(runs)
    lock_plan(split=scored.split, author=analyst, intent=Intent(primary=fitted[0], compared=fitted[1:]))
    evaluations = [evaluate(run=run, author=analyst) for run in runs]
    comparison = compare(evaluations[:2], part="test")
    assert comparison.rows[1].difference is not None and comparison.rows[1].difference.p_value is not None
    assert comparison.rows[1].adjusted_p_value == pytest.approx(min(1, 2 * comparison.rows[1].difference.p_value))


# pages


def test_a_plan_is_locked_by_form_and_shown(as_analyst: Client, scored: Scored) -> None:
    address = reverse("analysis:plan", args=[scored.split.uuid])
    assert "No plan yet" in as_analyst.get(address).text
    fields = {"metric": "partial_auroc", "rule": "sensitivity", "target": "0.95", "prevalence": "0.1", "looks": "3"}
    primary = str(detector_of(scored).uuid)
    answer = as_analyst.post(address, {**fields, "primary": primary, "hypothesis": "It works."}, follow=True)
    plan = AnalysisPlan.objects.get()
    for text in (plan.sha256, "sensitivity of 0.95", "It works.", "Partial AUROC", "Detector 0", "not approved yet"):
        assert text in answer.text
    page = as_analyst.get(reverse("analysis:evaluation", args=[_evaluated(as_analyst, scored)]), {"part": "test"})
    assert '<option value="sensitivity" selected>' in page.text  # the operating point of the plan
    foot = page.context["figures"]["roc"]["layout"]["annotations"][-1]["text"].replace("<br>", " ")
    assert foot.startswith(f"Looks at this test part: 1 of 3 planned; analysis plan {plan.sha256[:12]} of")


def _evaluated(client: Client, scored: Scored) -> Any:
    client.post(reverse("analysis:make-evaluation", args=[scored.run.uuid]))
    return scored.run.evaluations.get().uuid


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("target", "high", "The target &#x27;high&#x27; is not a number; write a share such as 0.9"),
        ("target", "0.2", "The target is 0.2; it must lie from 0.5 to 0.999"),
        ("primary", "nonsense", "No run &#x27;nonsense&#x27; fits a detector on the split"),
        ("looks", "0", "0 looks are planned"),
        ("looks", "1.5", "The looks planned are &#x27;1.5&#x27;: give a whole number"),
    ],
)
def test_a_bad_form_is_answered_with_a_sentence(
    as_analyst: Client, scored: Scored, field: str, value: str, sentence: str
) -> None:
    fields = {"metric": "auroc", "looks": "1", field: value}
    answer = as_analyst.post(reverse("analysis:plan", args=[scored.split.uuid]), fields)
    assert answer.status_code == 400
    assert sentence in answer.text
    assert not AnalysisPlan.objects.exists()


def test_a_sealed_evaluation_shows_what_opens_it(
    as_analyst: Client, scored: Scored, analyst: User, manager: User, client: Client
) -> None:
    seal(scored, manager, second_person=True)
    uuid = _evaluated(as_analyst, scored)
    page = as_analyst.get(reverse("analysis:evaluation", args=[uuid]))
    assert "is sealed: lock an analysis plan for the split first" in page.text
    assert "Show test (counts as a look)" not in page.text
    plan = lock_plan(split=scored.split, author=analyst, intent=Intent())
    client.force_login(manager)
    approved = client.post(reverse("analysis:approve-plan", args=[plan.uuid]), follow=True)
    assert "Version 1 of the plan is approved." in approved.text
    client.force_login(analyst)
    assert "Show test (counts as a look)" in client.get(reverse("analysis:evaluation", args=[uuid])).text
    client.post(reverse("analysis:make-evaluation", args=[scored.run.uuid]))
    assert "?part=test" in client.get(reverse("analysis:evaluation", args=[uuid])).text


def test_a_plan_by_api_is_the_plan_of_the_page(as_analyst: Client, scored: Scored) -> None:
    address = reverse("api-plan", args=[scored.split.uuid])
    assert as_analyst.get(address).status_code == 404
    response = as_analyst.post(address, {"looks": 2, "primary": str(detector_of(scored).uuid)}, "application/json")
    assert response.status_code == 201, response.json()
    plan = as_analyst.get(address).json()
    assert hashlib.sha256(plan["document"].encode()).hexdigest() == plan["sha256"]
    assert (plan["plan"]["looks"], plan["approved_by"], plan["sealed"]) == (2, None, "")
    refused = as_analyst.post(reverse("api-approve-plan", args=[plan["uuid"]]))
    assert "a second person approves it" in refused.json()["detail"]
    for wrong in ({"looks": 0}, {"metric": "accuracy"}, {"target": 3}, {"primary": str(scored.split.uuid)}):
        assert as_analyst.post(address, wrong, "application/json").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_a_look_and_a_plan_at_the_same_time_come_one_after_the_other(
    scored: Scored, analyst: User, data_dir: Path
) -> None:
    """Whichever comes first, the other sees it: a look names the plan, or the plan is refused."""
    barrier = threading.Barrier(2)
    refused: list[str] = []

    def run(act: Any) -> None:
        barrier.wait()
        try:
            act()
        except CannotPlan as refusal:
            refused.append(str(refusal))
        finally:
            connection.close()

    acts = [
        lambda: lock_plan(split=scored.split, author=analyst, intent=Intent()),
        lambda: look(split=scored.split, author=analyst, reason="at the same time"),
    ]
    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    test_look = TestLook.objects.get()
    plans = AnalysisPlan.objects.count()
    assert plans + len(refused) == 1
    assert (test_look.plan is not None) == (plans == 1)


def test_the_rules_for_test_are_read_and_set_by_api(scored: Scored, analyst: User) -> None:
    address = reverse("api-rules-for-test", args=[scored.split.site.uuid])
    manager, client = Client(), Client()
    manager.force_login(factories.user("boss", Role.MANAGER))
    client.force_login(analyst)
    assert client.get(address).json() == {"plan": False, "second_person": False}
    rules = {"plan": True, "second_person": True}
    assert client.put(address, rules, content_type="application/json").status_code == 403
    assert manager.put(address, rules, content_type="application/json").json() == rules
    assert client.get(address).json() == rules
    assert manager.put(address, {"plan": "maybe"}, content_type="application/json").status_code == 400
