"""The chain holds until somebody changes, drops or inserts something, with the rights of the tables' owner."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from portal import tasks
from portal.models import AuditEvent, AuditSeal, Site
from portal.people import audit, audit_chain
from portal.people.audit_chain import Head, head_of, seal_all, verify
from tests.portal import factories

pytestmark = pytest.mark.django_db
ACTS = 5


@pytest.fixture
def seoul() -> Site:
    site, person = factories.site(), factories.curator()
    for number in range(ACTS):
        audit.record(verb="test", site=site, actor=person, target=site, after={"number": number, "share": 0.25})
    audit.record(verb="test", site=None, actor=None, reason="of no site")
    return site


@contextmanager
def as_owner() -> Iterator[None]:
    """Without the guards of the tables, which their owner can switch off."""
    tables = ("portal_auditevent", "portal_auditseal")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks to come cannot be altered
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_guard")
        yield
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_guard")


@pytest.mark.both
def test_events_are_sealed_once_in_order(seoul: Site) -> None:
    tasks.seal_audit()
    seals = AuditSeal.objects.filter(site=seoul).order_by("number")
    assert [seal.number for seal in seals] == list(range(1, ACTS + 1))
    assert [seal.event_id for seal in seals] == list(
        AuditEvent.objects.filter(site=seoul).order_by("pk").values_list("pk", flat=True)
    )
    assert AuditSeal.objects.filter(site=None).count() == 1
    assert seal_all() == 0
    audit.record(verb="later", site=seoul, actor=None)
    assert verify(seoul).unsealed == 1
    assert seal_all() == 1
    verdict = verify(seoul)
    assert (verdict.fault, verdict.head, verdict.unsealed, verdict.erased) == ("", head_of(seoul), 0, 0)
    assert verdict.head.number == ACTS + 1


def test_more_events_than_a_batch(seoul: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "BATCH", 2)
    assert seal_all() == ACTS + 1
    assert verify(seoul).fault == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"after": {"number": 9}}, "The event of seal 3, .*, was changed after it was sealed."),
        ({"reason": "another"}, "The event of seal 3, .*, was changed after it was sealed."),
        ({"verb": "another"}, "The event of seal 3, .*, or the seal itself was changed."),
        ({"actor": None}, "The event of seal 3, .*, or the seal itself was changed."),
    ],
)
def test_a_changed_event(seoul: Site, change: dict[str, object], sentence: str) -> None:
    seal_all()
    event = AuditSeal.objects.get(site=seoul, number=3).event
    with as_owner():
        AuditEvent.objects.filter(pk=event.pk).update(**change)
    verdict = verify(seoul)
    assert verdict.head.number == 2
    with pytest.raises(CommandError, match="Chains that do not hold: 1"):
        call_command("audit", "verify", stdout=(out := StringIO()))
    assert re.search(sentence, out.getvalue())


def test_a_missing_event(seoul: Site) -> None:
    seal_all()
    row = AuditSeal.objects.get(site=seoul, number=2)
    with as_owner():
        AuditSeal.objects.filter(pk=row.pk)._raw_delete(using="default")
        AuditEvent.objects.filter(pk=row.event_id)._raw_delete(using="default")
    assert verify(seoul).fault == "Seal 2 is missing."


def test_a_missing_end_and_a_new_chain_show_against_a_kept_head(seoul: Site) -> None:
    seal_all()
    kept = head_of(seoul)
    call_command("audit", "verify", "--site", "Seoul", "--head", str(kept))
    last = AuditSeal.objects.get(site=seoul, number=ACTS)
    with as_owner():
        AuditSeal.objects.filter(pk=last.pk)._raw_delete(using="default")
    assert verify(seoul).fault == ""
    assert verify(seoul, kept=kept).fault == (
        f"The chain ends at seal {ACTS - 1}, and the kept head is {ACTS}: its end is missing."
    )
    seal_all()  # another key, another hash
    assert verify(seoul, kept=kept).fault == (
        f"Seal {ACTS} has another hash than the kept head: the chain was made anew."
    )


@pytest.mark.both
@pytest.mark.parametrize("table", ["portal_auditevent", "portal_auditseal"])
def test_the_application_cannot_change_a_row(seoul: Site, table: str) -> None:
    seal_all()
    for statement in (f"UPDATE {table} SET id = id + 1000", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_command(seoul: Site, tmp_path: Path) -> None:
    seal_all()
    call_command("audit", "verify", stdout=(out := StringIO()))
    assert f"Seoul: {ACTS} sealed, 0 of them erased, 0 not sealed yet. The chain holds." in out.getvalue()
    assert f"head {head_of(seoul)}" in out.getvalue()
    file = tmp_path / "audit.jsonl"
    call_command("audit", "export", "--site", "Seoul", "--to", str(file), stderr=(err := StringIO()))
    assert f"{ACTS} sealed events; head {head_of(seoul)}" in err.getvalue()
    assert len(file.read_text().splitlines()) == ACTS
    with pytest.raises(CommandError, match="exists already"):
        call_command("audit", "export", "--site", "Seoul", "--to", str(file))
    with pytest.raises(
        CommandError, match=r"none/audit.jsonl cannot be written \(No such file or directory\). Nothing"
    ):
        call_command("audit", "export", "--site", "Seoul", "--to", str(tmp_path / "none" / "audit.jsonl"))


def test_an_export_that_fails_leaves_no_half_file(seoul: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Site | None) -> Iterator[dict[str, str]]:
        yield {"event": "x" * 100_000}
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(audit_chain, "lines", full)
    with pytest.raises(CommandError, match=r"cannot be written \(No space left on device\). Nothing was kept"):
        call_command("audit", "export", "--site", "Seoul", "--to", str(tmp_path / "audit.jsonl"))
    assert not (tmp_path / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--site", "Busan"], "There is no site 'Busan'; existing sites: Seoul"),
        (["--head", "5:abc"], "--head is the head of one chain"),
        (["--site", "Seoul", "--head", "5:abc"], "--head 5:abc: write NUMBER:SHA256"),
    ],
)
def test_refused_arguments(seoul: Site, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("audit", "verify", *arguments)


def test_an_export_is_enough_to_verify_the_chain_elsewhere(seoul: Site) -> None:
    """By a few lines of its own, as docs/admin.md gives them."""
    seal_all()
    previous = "0" * 64
    for line in audit_chain.lines(seoul):
        about = {name: line[name] for name in ("target", "before", "after", "reason")}
        text = json.dumps(about, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hmac.new(bytes.fromhex(line["key"]), text.encode(), hashlib.sha256).hexdigest() == line["commitment"]
        fixed = {"previous": previous, "actor": line["actor_id"]}
        fixed |= {name: line[name] for name in ("number", "uuid", "created_at", "site", "verb", "target_type")}
        fixed |= {"commitment": line["commitment"]}
        text = json.dumps(fixed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert previous == line["sha256"]
    assert Head(ACTS, previous) == head_of(seoul)
