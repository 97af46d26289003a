"""Checks of the doctor on what has to last: guards, audit, erasures, backups, restores, and files that rows name."""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import wraps

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.utils import timezone

from portal.backups import erasure_list
from portal.backups.named_files import named_files
from portal.backups.restoring import is_unfinished
from portal.models import AuditEvent, Erasure
from portal.people.audit_chain import chains, verify
from portal.project.condition import CHECKS, Check, Condition
from portal.project.production import weakness

OLDEST_BACKUP = timedelta(hours=50)  # two nights and a little
# Tables whose rows the database itself must refuse to change
GUARDED = (
    "portal_auditevent",
    "portal_auditseal",
    "portal_labelevent",
    "portal_image",
    "portal_erasure",
    "analysis_reading",
)


def _without_database(name: str) -> Callable[[Callable[[], Condition]], Check]:
    """Give this condition where the database does not answer: its own check says so."""

    def around(check: Callable[[], Condition]) -> Check:
        @wraps(check)
        def checked() -> Condition:
            try:
                return check()
            except (DatabaseError, ImproperlyConfigured):
                return Condition(name, "It cannot be looked at without the database.", "See to the database first.")

        return checked

    return around


@_without_database("guards")
def guards() -> Condition:
    there = _guarded_tables()
    if missing := [table for table in GUARDED if table not in there]:
        return Condition(
            "guards",
            f"The database no longer refuses changes of {', '.join(missing)}: a guard was dropped, changed or switched "
            "off.",
            "Find out who did it, and why. On PostgreSQL: ALTER TABLE … ENABLE TRIGGER ALL as the owner; a guard that "
            "was dropped or changed comes back with a restored backup. Let the application use its own role "
            "(`manage.py application_role`).",
        )
    return Condition("guards")


def _guarded_tables() -> set[str]:
    question = (
        "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%guard%'"
        if connection.vendor == "sqlite"
        # one that fires for the application too ('O' or 'A'), and whose function still refuses
        else "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE t.tgname LIKE '%guard%' AND t.tgenabled IN ('O', 'A') AND p.prosrc LIKE '%RAISE EXCEPTION%'"
    )
    with connection.cursor() as cursor:
        cursor.execute(question)
        return {str(table) for (table,) in cursor.fetchall()}


@_without_database("audit chain")
def audit_chains() -> Condition:
    for site in chains():
        verdict = verify(site)
        if verdict.fault:
            return Condition(
                "audit chain",
                f"The audit of {verdict.name}: {verdict.fault}",
                "Keep the database as it is, compare with the heads in the log of the worker for upkeep "
                "(`manage.py audit verify --head`), and with a backup from before.",
            )
    return Condition("audit chain")


@_without_database("erasures")
def erasures() -> Condition:
    """Whether each erasure has ended, and is noted where a restore finds it."""
    name = "erasures"
    before = timezone.now() - timedelta(minutes=10)
    if begun := Erasure.objects.exclude(state=Erasure.State.DONE).filter(created_at__lt=before).count():
        return Condition(
            name,
            f"Erasures that were interrupted: {begun}. Files of these patients are gone, and rows are not.",
            "Erase the patient again, on the page of one of their films or by `manage.py erase_patient`; it goes on.",
        )
    path = erasure_list.list_path()
    if not erasure_list.can_be_kept():
        return Condition(
            name,
            f"The list of erasures, {path}, cannot be read and written, so that nobody can be erased.",
            "Name a file in HILUM_ERASURE_LIST, in a folder that is mounted and that this user may write. Docker makes "
            "a folder of a mounted file that is missing: mount the folder around it.",
        )
    noted = {one.erasure for one in erasure_list.read(path)}
    if unknown := [uuid for uuid in Erasure.objects.values_list("uuid", flat=True) if str(uuid) not in noted]:
        return Condition(
            name,
            f"Erasures that are not in {path}: {len(unknown)}. A restored backup would bring these patients back.",
            "Run `manage.py backup`, which writes them there.",
        )
    return Condition(name)


@_without_database("files")
def files() -> Condition:
    """Whether each file that a row names is there, apart from the pixels of films, which have a check of their own."""
    named = [(path, what) for path, what in named_files().items() if what != "the pixels of a film"]
    lost = [(path, what) for path, what in named if not path.exists()]
    if lost:
        path, what = lost[0]
        return Condition(
            "files",
            f"Files that are missing: {len(lost)}, such as {path}, {what}.",
            "Restore the backup on another host and copy them from there; names do not change.",
        )
    return Condition("files")


@_without_database("backup")
def backup() -> Condition:
    """In production only: a local installation may be copied as a folder."""
    name, remedy = (
        "backup",
        "Run `manage.py backup` each night; docs/admin.md has the line for cron.",
    )
    if not settings.PRODUCTION:
        return Condition(name)
    last = AuditEvent.objects.filter(site=None, verb="back up").order_by("-created_at").first()
    if last is None:
        return Condition(name, "No backup has been made.", remedy)
    if last.created_at < timezone.now() - OLDEST_BACKUP:
        return Condition(name, f"The last backup is of {last.created_at:%Y-%m-%d %H:%M} UTC.", remedy)
    if faults := (last.after or {}).get("faults"):
        return Condition(name, f"Files were missing when the last backup was made: {faults}.", remedy)
    return Condition(name)


def restore() -> Condition:
    if is_unfinished():
        return Condition(
            "restore",
            f"A restore into {settings.DATA_DIR} was interrupted.",
            "Start `manage.py restore` with the same backup again: it goes on. Nothing else starts before.",
        )
    return Condition("restore")


def weak_secrets() -> Condition:
    for name, secret in (
        ("HILUM_SECRET_KEY", settings.SECRET_KEY),
        ("HILUM_PSEUDONYM_SECRET", settings.PSEUDONYM_SECRET),
    ):
        if sentence := weakness(secret, name):
            remedy = (
                "Set another one; people log in again."
                if name == "HILUM_SECRET_KEY"
                else "Do not change it while there are films. Guard who can read pseudonyms, and choose another one "
                "for a new installation."
            )
            return Condition("weak secrets", sentence, remedy)
    return Condition("weak secrets")


def inodes() -> Condition:
    """A disk with free bytes may still be unable to hold another file."""
    facts = os.statvfs(settings.DATA_DIR)
    if facts.f_files and facts.f_favail < 10_000:
        return Condition(
            "inodes",
            f"The disk of {settings.DATA_DIR} has room for {facts.f_favail} more files.",
            "Delete old runs, or move the data to a file system with more inodes (df -i).",
        )
    return Condition("inodes")


CHECKS.extend([restore, weak_secrets, inodes, guards, audit_chains, erasures, files, backup])
