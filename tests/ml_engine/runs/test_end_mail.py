"""Mail at the end of a run: to whoever asked for it, once for a chain, without anything about films."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse

from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import lifecycle
from ml_engine.tasks import mail_end
from portal.models import Role, User
from tests.ml_engine import made

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(settings: Any) -> User:
    settings.EMAIL_HOST, settings.PUBLIC_ADDRESS = "mail.example.org", "https://hilum.example.org"
    settings.DEFAULT_FROM_EMAIL = "hilum@example.org"
    person = made.person("ana", at=made.site(), role=Role.ANALYST)
    person.email, person.mail_at_run_end = "ana@example.org", True
    person.save()
    return person


def ended(of: User, state: RunState = RunState.DONE, **fields: Any) -> Run:
    return made.run(made.split(of.memberships.get().site), name="Mine", state=state, requested_by=of, **fields)


def test_whoever_asked_for_it_is_told(ana: User, mailoutbox: list[EmailMessage]) -> None:
    run = ended(ana, RunState.FAILED, message="The disk is full: free some space.")
    mail_end(str(run.uuid))
    (mail,) = mailoutbox
    assert (mail.to, mail.subject, mail.from_email) == (["ana@example.org"], "Mine failed", "hilum@example.org")
    assert "The run “Mine” at Seoul failed." in mail.body
    assert "The disk is full: free some space." in mail.body
    assert f"https://hilum.example.org/runs/{run.uuid}/" in mail.body


@pytest.mark.parametrize("change", ["mail_at_run_end", "email", "is_active"])
def test_nobody_else_is(ana: User, mailoutbox: list[EmailMessage], change: str) -> None:
    run = ended(ana)
    setattr(ana, change, "" if change == "email" else False)
    ana.save()
    mail_end(str(run.uuid))
    assert mailoutbox == []


def test_a_chain_is_told_once(ana: User, mailoutbox: list[EmailMessage]) -> None:
    first = ended(ana)
    second = made.run(first.split, state=RunState.DONE, kind=RunKind.FIT_DETECTOR, after=first, requested_by=ana)
    for run in (first, second):
        mail_end(str(run.uuid))
    assert [mail.subject for mail in mailoutbox] == ["A run is done"]


def test_a_run_that_fails_with_the_one_before_adds_no_mail(ana: User, mailoutbox: list[EmailMessage]) -> None:
    first = ended(ana, RunState.FAILED)
    second = made.run(first.split, state=RunState.FAILED, after=first, requested_by=ana)
    mail_end(str(second.uuid))
    assert mailoutbox == []


def test_the_end_of_a_run_is_handed_to_a_worker(
    ana: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args, **_: sent.append((name, args[0])))
    run = ended(ana, RunState.QUEUED)
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.cancel(run=run, actor=None)
    assert sent == [(lifecycle.MAIL_END, str(run.uuid))]


def test_a_person_chooses_it_on_the_page_of_the_account(ana: User, client: Client, settings: Any) -> None:
    client.force_login(ana)
    page, choose = reverse("change-password"), reverse("portal:choose-mail")
    assert "ana@example.org" in client.get(page).text
    answer = client.post(choose, {"email": "nowhere", "at_run_end": "yes"}, follow=True)
    assert "“nowhere” is no mail address: enter one such as name@example.org." in answer.text
    client.post(choose, {"email": ""})
    ana.refresh_from_db()
    assert (ana.email, ana.mail_at_run_end) == ("", False)
    client.post(choose, {"email": "a@example.org", "at_run_end": "yes"})
    ana.refresh_from_db()
    assert (ana.email, ana.mail_at_run_end) == ("a@example.org", True)
    settings.EMAIL_HOST = ""
    assert "Your mail address" not in client.get(page).text
