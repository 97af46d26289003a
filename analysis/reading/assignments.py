"""Worklists that are assigned to named readers: shown to, and read by, these only."""

from collections.abc import Sequence

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from analysis.models import Worklist, WorklistAssignment, WorklistReader
from portal.models import Site, User
from portal.people import audit
from portal.people.access import ALLOWED, may, require


class AssignmentRefused(Exception):
    """The message is a sentence for the user."""


def require_reader(worklist: Worklist, reader: User) -> Site:
    """Return the site if the person may read the worklist. Raises PermissionDenied with an explanation."""
    site = require(reader, "read worklists", worklist.run.site)
    assigned = set(worklist.assignments.values_list("reader_id", flat=True))
    if assigned and reader.pk not in assigned:
        raise PermissionDenied(
            "This worklist is assigned to other readers. Somebody who makes worklists can assign it to you as well."
        )
    return site


def shown_to(worklists: QuerySet[Worklist], person: User, *, makes: QuerySet[Site]) -> QuerySet[Worklist]:
    """The worklists that are the person's to read, and all those of the sites where they make worklists."""
    assigned = WorklistAssignment.objects.filter(worklist=OuterRef("pk"))
    return worklists.filter(
        Q(run__site__in=makes.values("pk")) | ~Exists(assigned) | Exists(assigned.filter(reader=person))
    )


def possible_readers(site: Site) -> QuerySet[User]:
    """The people of the site who may read worklists, by name."""
    roles = ALLOWED["read worklists"]
    readers = User.objects.filter(is_active=True, memberships__site=site, memberships__role__in=roles)
    return readers.distinct().order_by("username")


def readers_named(site: Site, usernames: Sequence[str]) -> list[User]:
    """The readers of the site with these usernames. Raises AssignmentRefused."""
    readers = {reader.username: reader for reader in possible_readers(site).filter(username__in=usernames)}
    missing = sorted(set(usernames) - readers.keys())
    if missing:
        raise AssignmentRefused(f"{missing[0]} is no reader at {site.name}; give them the role reader first.")
    return list(readers.values())


def assign(*, worklist: Worklist, readers: Sequence[User], author: User) -> int:
    """Assign the worklist. Returns how many of the readers did not have it yet. Raises AssignmentRefused."""
    site = require(author, "make worklists", worklist.run.site)
    for reader in readers:
        if not may(reader, "read worklists", site):
            raise AssignmentRefused(
                f"{reader.username} may not read worklists at {site.name}; give them the role reader first."
            )
    with transaction.atomic():
        rows = [
            WorklistAssignment.objects.get_or_create(worklist=worklist, reader=reader, defaults={"assigned_by": author})
            for reader in readers
        ]
        new = [row.reader.username for row, is_new in rows if is_new]
        if new:
            audit.record(
                verb="assign worklist", site=site, actor=author, target=worklist, after={"readers": sorted(new)}
            )
    return len(new)


def unassign(*, worklist: Worklist, reader: User, author: User) -> None:
    """Raises AssignmentRefused for somebody who has begun, since their readings are part of the worklist."""
    site = require(author, "make worklists", worklist.run.site)
    with transaction.atomic():
        row = WorklistAssignment.objects.filter(worklist=worklist, reader=reader).first()
        if row is None:
            raise AssignmentRefused(f"This worklist is not assigned to {reader.username}.")
        if WorklistReader.objects.filter(worklist=worklist, reader=reader).exists():
            raise AssignmentRefused(
                f"{reader.username} has begun this worklist, so the assignment stays; they can hand it back."
            )
        row.delete()
        audit.record(
            verb="unassign worklist", site=site, actor=author, target=worklist, before={"readers": [reader.username]}
        )
