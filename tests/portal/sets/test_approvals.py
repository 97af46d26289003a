"""Approval of a dataset: changed by managers, announced 30 days before its end, and nothing new after it."""

from __future__ import annotations

from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.test import Client

from analysis.reading.worklists import WorklistRefused
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import lifecycle, requests
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import AuditEvent, Dataset, Role, User
from portal.sets import approvals
from portal.sets.approvals import InvalidDatasetFact, approval_of, change_facts, date_of, why_ended
from portal.sets.cohorts import freeze_cohort
from portal.sets.splits import InvalidSplit, SplitRequest, draw_split
from tests.analysis.scored import Scored, scored_run
from tests.analysis.worklists import worklist
from tests.ml_engine import made
from tests.pages import one_line
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
TODAY = date(2026, 11, 29)


@pytest.fixture(autouse=True)
def _a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "today", lambda: TODAY)


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann() -> User:
    return factories.user("ann", Role.MANAGER, first_name="Ann", last_name="Park")


def ends(of: Dataset, *, days: int) -> Dataset:
    Dataset.objects.filter(pk=of.pk).update(expires_on=TODAY + timedelta(days=days))
    of.refresh_from_db()
    return of


# notice and end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "words"), [
    (31, ""), (30, "ends on 2026-12-29 (in 30 days); after that no run"), (1, "(in 1 day)"),
    (0, "(today is the last day)"), (-1, "ended on 2026-11-28: no new run, worklist or split may use its films"),
])  # fmt: skip
def test_the_notice_begins_30_days_before(of: Dataset, ann: User, days: int, words: str) -> None:
    approval = approval_of(ends(of, days=days))
    assert words in approval.sentence
    assert bool(approval.sentence) == bool(words)
    assert approval.has_ended == (days < 0)
    assert bool(why_ended([of])) == (days < 0)
    if words:
        assert approval.sentence.endswith("A manager of Seoul can change the date on the dataset's page: Ann Park.")


def test_a_dataset_without_a_date_never_ends(of: Dataset) -> None:
    assert (approval_of(of).sentence, why_ended([of])) == ("", "")


def test_the_earliest_end_is_named(of: Dataset) -> None:
    other = ends(factories.dataset("Older"), days=-9)
    assert why_ended([ends(of, days=-1), other]).startswith("The approval of Older ended on 2026-11-20")


def test_pages_and_list_say_so(of: Dataset, ann: User) -> None:
    ends(of, days=12)
    client = as_(ann)
    for address in (f"/datasets/{of.uuid}/", f"/datasets/{of.uuid}/about/"):
        assert "The approval of Normals ends on 2026-12-11 (in 12 days)" in one_line(client.get(address))
    assert "ends soon" in one_line(client.get("/datasets/"))
    ends(of, days=-1)
    assert ">ended<" in one_line(client.get("/datasets/")).replace("> ", ">").replace(" <", "<")


# doors --------------------------------------------------------------------------------------------------------


def test_no_split_of_films_whose_approval_ended(of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=4, abnormal=4)
    cohort = freeze_cohort(site=of.site, name="C", images=of.images.all(), author=ann)
    other = factories.dataset("Other")
    factories.film(other, "normal", person="x")
    ends(of, days=-1)
    for chosen in ({"datasets": [other, of]}, {"cohorts": [cohort]}):
        request = SplitRequest(site=of.site, name="S", seed=0, author=ann, **chosen)  # type: ignore[arg-type]
        with pytest.raises(InvalidSplit, match=r"The approval of Normals ended on 2026-11-28: no new run"):
            draw_split(request, fractions={"fit": 1.0})
    assert len(films) == 8
    ends(of, days=0)
    assert draw_split(SplitRequest(site=of.site, name="S", seed=0, author=ann, datasets=[of]), fractions={"fit": 1.0})


@pytest.fixture
def scored(ann: User) -> Scored:
    return scored_run(factories.site(), author=ann)


def test_no_run_and_no_worklist_with_films_whose_approval_ended(scored: Scored, ann: User) -> None:
    factories.user("reader", Role.READER)
    failed = made.run(scored.split, kind=RunKind.FIT_ALIGNMENT, state=RunState.FAILED)
    of = ends(scored.films[0].dataset, days=-1)
    request = RunRequest(site=of.site, name="R")
    with pytest.raises(RunRefused, match=r"The approval of Set 0 ended on 2026-11-28"):
        requests.request_detector(request, split=scored.split, config=made.small_config())
    with pytest.raises(RunRefused, match=r"The approval of Set 0 ended"):
        requests.request_score(request, detector=scored.run.detector, parts=["tune"])
    with pytest.raises(RunRefused, match=r"The approval of Set 0 ended"):
        lifecycle.retry(run=failed, actor=None)
    with pytest.raises(WorklistRefused, match=r"The approval of Set 0 ended"):
        worklist(scored, ann)
    ends(of, days=0)
    assert lifecycle.retry(run=failed, actor=None).state == RunState.QUEUED
    assert worklist(scored, ann).items.exists()


def test_a_retry_of_a_run_without_a_split_asks_for_its_own_datasets_alone(of: Dataset) -> None:
    run = Run.objects.create(site=of.site, name="Map", kind=RunKind.EMBEDDING, state=RunState.FAILED)
    run.datasets.add(of)
    ends(factories.dataset("Elsewhere", at=factories.site("Busan")), days=-1)  # in no split either
    assert lifecycle.retry(run=run, actor=None).state == RunState.QUEUED
    Run.objects.update(state=RunState.FAILED)
    ends(of, days=-1)
    with pytest.raises(RunRefused, match=r"The approval of Normals ended"):
        lifecycle.retry(run=run, actor=None)


def test_a_dataset_that_is_scored_whole_counts_too(scored: Scored) -> None:
    other = factories.dataset("Other")
    factories.film(other, person="o")
    request = RunRequest(site=other.site, name="R")
    ends(other, days=-1)
    with pytest.raises(RunRefused, match=r"The approval of Other ended"):
        requests.request_score(request, detector=scored.run.detector, datasets=[other])


# changed ------------------------------------------------------------------------------------------------------


def test_facts_are_changed_with_what_was_before_in_the_audit(of: Dataset, ann: User) -> None:
    facts = {"ethics_approval": " IRB  2026-0412 ", "expires_on": "2027-01-31", "source": ""}
    assert change_facts(dataset=of, facts=facts, author=ann) == ["ethics_approval", "expires_on"]
    change_facts(dataset=of, facts={"expires_on": ""}, author=ann)
    of.refresh_from_db()
    assert (of.ethics_approval, of.expires_on) == ("IRB 2026-0412", None)
    first, second = AuditEvent.objects.filter(verb="change dataset").order_by("pk")
    assert first.after == {"ethics_approval": "IRB 2026-0412", "expires_on": "2027-01-31"}
    assert (second.before, second.after, second.actor) == ({"expires_on": "2027-01-31"}, {"expires_on": ""}, ann)
    assert change_facts(dataset=of, facts={"expires_on": None}, author=ann) == []
    assert AuditEvent.objects.filter(verb="change dataset").count() == 2


@pytest.mark.parametrize("text", ["2027-02-30", "31.01.2027", "soon", "1066-01-01", "9999-01-01"])
def test_a_date_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidDatasetFact, match="write it as year, month and day, such as 2027-01-31"):
        date_of(text)


@pytest.mark.parametrize(("facts", "words"), [
    ({"purpose": "x" * 201}, "Purpose has 201 characters; use at most 200."),
    ({"licence": "a\0b"}, "Licence contains a NUL character"), ({"name": "x"}, "A dataset has no fact 'name'"),
])  # fmt: skip
def test_a_bad_fact_is_refused_and_nothing_is_changed(of: Dataset, ann: User, facts: Any, words: str) -> None:
    with pytest.raises(InvalidDatasetFact, match=words):
        change_facts(dataset=of, facts={"source": "new", **facts}, author=ann)
    of.refresh_from_db()
    assert of.source == ""


def test_only_a_manager_changes_them(of: Dataset) -> None:
    with pytest.raises(PermissionDenied, match="To edit datasets at Seoul you need one of these roles: manager"):
        change_facts(dataset=of, facts={"purpose": "x"}, author=factories.curator())


def test_the_page_changes_them(of: Dataset, ann: User) -> None:
    client, address = as_(ann), f"/datasets/{of.uuid}/about/"
    page = one_line(client.post(address, {"purpose": "Training", "expires_on": "2027-01-31"}, follow=True))
    assert "Changed: purpose, last day of the approval." in page
    wrong = client.post(address, {"purpose": "Other", "expires_on": "soon"})
    assert (wrong.status_code, "The last day is &#x27;soon&#x27;" in one_line(wrong)) == (400, True)
    assert 'value="Other"' in one_line(wrong)
    of.refresh_from_db()
    assert of.purpose == "Training"
    reader = as_(factories.user("reader", Role.READER))
    assert "<dd>Training</dd>" in one_line(reader.get(address))
    assert reader.post(address, {"purpose": "x"}).status_code == 403
    assert as_(factories.user("stranger", *Role, at=factories.site("Busan"))).get(address).status_code == 404


def test_a_new_dataset_may_have_them(ann: User) -> None:
    sent = {"name": "New", "ethics_approval": "IRB 1", "expires_on": "2027-01-31"}
    assert as_(ann).post("/datasets/new/", sent).status_code == 302
    assert Dataset.objects.get(name="New").expires_on == date(2027, 1, 31)


def test_the_api_shows_and_changes_them(of: Dataset, ann: User) -> None:
    client, address = with_token(ann), f"/api/v1/datasets/{of.uuid}/"

    def send(client: Client, **body: Any) -> Any:
        return client.patch(address, body, content_type="application/json")

    answer = send(client, purpose="Training", expires_on="2026-11-28")
    assert (answer.status_code, answer.json()["purpose"], answer.json()["films"]) == (200, "Training", 0)
    assert client.get(address).json()["approval"].startswith("The approval of Normals ended on 2026-11-28")
    assert send(client, expires_on=None).json()["expires_on"] is None
    assert client.get("/api/v1/datasets/").json()["results"][0]["purpose"] == "Training"
    assert send(client, expires_on="soon").status_code == 400
    assert "can be changed" in str(send(client, name="x").json())
    assert send(with_token(factories.curator()), purpose="x").status_code == 403


def test_the_command_shows_and_changes_them(of: Dataset) -> None:
    output = StringIO()
    call_command(
        "change_dataset",
        site="Seoul",
        dataset="Normals",
        ethics_approval="IRB 1",
        expires_on="2026-12-01",
        stdout=output,
    )
    assert "ethics approval: IRB 1 (changed)\n" in output.getvalue()
    assert "purpose: not stated\n" in output.getvalue()
    assert "ends on 2026-12-01 (in 2 days)" in output.getvalue()
    with pytest.raises(CommandError, match="The last day is 'soon'"):
        call_command("change_dataset", site="Seoul", dataset="Normals", expires_on="soon")
    with pytest.raises(CommandError, match="There is no dataset 'Nomals' at 'Seoul'; the datasets there are: Normals"):
        call_command("change_dataset", site="Seoul", dataset="Nomals")
