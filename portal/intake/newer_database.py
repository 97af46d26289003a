"""A database that a newer release has migrated: a worker of the older release must not work on it."""

import logging
from functools import cache

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

logger = logging.getLogger(__name__)


def newer_migrations() -> list[str]:
    """The migrations of Hilum that the database has and this release does not know, such as portal.0050_name; one
    query. Raises DatabaseError."""
    known = _known()
    apps = {app for app, _ in known}
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in set(applied) - known if app in apps)


def is_left_to_a_newer_worker(work: str) -> bool:
    """Whether this process must leave the work, a run or an import, to a worker of the newer release: it stays in the
    queue, and is sent again as everything that waits is."""
    newer = newer_migrations()
    if newer:
        logger.error(
            "%s is left to a worker of the newer release, which applied %s; update or stop this one", work, newer[0]
        )
    return bool(newer)


@cache
def _known() -> frozenset[tuple[str, str]]:
    """The migrations of this release, read once: files may be replaced under a process that works."""
    return frozenset(MigrationLoader(None).disk_migrations)
