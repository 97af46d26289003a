"""What is away or full when a request fails, and what to tell the person: a cause and a next step."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError
from kombu.exceptions import OperationalError as BrokerDown
from redis.exceptions import ConnectionError as RedisDown

from portal.intake.film_bucket import BucketAway
from portal.intake.pseudonym_key import OtherKey
from portal.intake.unwritable import is_unwritable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_STATES = ("53100",)  # of PostgreSQL: disk full
_BUSY_STATES = ("40001", "40P01", "55P03", "57014")  # serialisation, deadlock, lock or statement took too long


@dataclass(frozen=True)
class Outage:
    """`name` is for the log."""

    name: str
    title: str
    sentence: str
    status: int


DATABASE = Outage(
    "database away",
    "The database does not answer",
    "Hilum's database does not answer, so nothing of this request was saved. Labels and readings that you give on an "
    "open page are kept by this browser and sent once it answers again: leave the page open. Try again in a minute.",
    503,
)
BUSY = Outage(
    "database busy",
    "The database is busy",
    "Hilum's database was too busy for this request, and nothing of it was saved. Try again in a minute.",
    503,
)
DISK = Outage(
    "disk full",
    "The disk is full",
    "The disk of the server is full, so this was not saved. What was saved before is kept. Your administrator frees "
    "space, for example by deleting old runs or files in quarantine; then try again.",
    507,
)
UNWRITABLE = Outage(
    "data folder not writable",
    "The server cannot write its files",
    "The server cannot write into its data folder, so this was not saved. What was saved before is kept. Tell your "
    "administrator: manage.py doctor says what is wrong. Then try again.",
    507,
)
BROKER = Outage(
    "broker away",
    "The queue does not answer",
    "The server that passes on work to the workers does not answer. What you requested may be stored already: look "
    "before you request it again. It is begun once the server answers again.",
    503,
)


BUCKET = Outage(
    "bucket away",
    "The store of films does not answer",
    "The bucket in which the films lie does not answer, so this cannot be shown or saved now. Nothing is lost. Try "
    "again in a minute; if it stays so, tell your administrator: manage.py doctor says what is wrong.",
    503,
)


OTHER_SECRET = Outage(
    "other pseudonym secret",
    "The secret of pseudonyms is another one",
    "Hilum was started with another secret than the films of this site came in with, so this was not saved: a patient "
    "would count as two. Nothing is lost. Tell your administrator: manage.py doctor says what is wrong.",
    503,
)


def outage_of(error: BaseException | None) -> Outage | None:
    """None where the error is a bug."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _FULL:
            return DISK
        if is_unwritable(one):
            return UNWRITABLE
        state = getattr(one, "sqlstate", None)
        if state in _FULL_STATES or "disk is full" in str(one):
            return DISK
        if state in _BUSY_STATES or (isinstance(one, OperationalError) and "is locked" in str(one)):
            return BUSY
    for one in _chain(error):
        if isinstance(one, OperationalError | InterfaceError):
            return DATABASE
        if isinstance(one, BrokerDown | RedisDown):
            return BROKER
        if isinstance(one, OtherKey):
            return OTHER_SECRET
        if isinstance(one, BucketAway):
            return BUCKET
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
