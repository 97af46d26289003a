"""The audit as a hash chain: what was sealed cannot be changed, left out or put in between without being seen.

Events are written in the transaction of their act, without a chain, so that acts do not wait for one another. A task
seals them afterwards, one site after the other. A seal holds

    commitment = HMAC-SHA-256(key, what the event is about and says)
    sha256     = SHA-256(sha256 of the seal before, number, the event's fixed facts, commitment)

Erasing a patient takes names out of events and deletes the keys of their seals: the chain still holds, and the events
count as erased. Whoever can write to the tables as their owner could make the whole chain anew, so its head, the last
number and hash, is to be kept elsewhere: each head goes to the log, and `manage.py audit verify --head` compares.
"""

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q

from portal.models import AuditEvent, AuditSeal, Site

logger = logging.getLogger(__name__)
BATCH = 500
START = "0" * 64  # stands for the hash before the first


@dataclass(frozen=True)
class Head:
    """The end of a chain: the number of seals and the hash of the last one."""

    number: int = 0
    sha256: str = START

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"


@dataclass(frozen=True)
class ChainVerdict:
    """What a chain is worth. `fault` is a sentence, empty where it holds."""

    site: Site | None
    head: Head
    unsealed: int
    erased: int
    fault: str = ""

    @property
    def name(self) -> str:
        return self.site.name if self.site else "the installation"


def chains() -> list[Site | None]:
    """The sites, and None for events of no site."""
    return [None, *Site.objects.order_by("name")]


def seal_all() -> int:
    """Seal every event that is not sealed yet, and return their number."""
    return sum(seal(site) for site in chains())


def seal(site: Site | None) -> int:
    """Seal the events of a site, the oldest first, and return their number. Two processes take turns."""
    count = 0
    while sealed := _seal_some(site):
        count += sealed
    if count:
        logger.info("audit head of %s: %s", site.uuid if site else "the installation", head_of(site))
    return count


@transaction.atomic
def _seal_some(site: Site | None) -> int:
    # one lock for all chains: the row of the site, or of the first site for events of none
    list(Site.objects.select_for_update().filter(pk=site.pk) if site else Site.objects.select_for_update()[:1])
    events = AuditEvent.objects.filter(site=site, seal__isnull=True).order_by("pk")[:BATCH]
    head, seals = head_of(site), []
    for event in events:
        key = secrets.token_hex(16)
        commitment = commit(event, key)
        head = Head(head.number + 1, link(head, event, commitment))
        seals.append(
            AuditSeal(event=event, site=site, number=head.number, key=key, commitment=commitment, sha256=head.sha256)
        )
    AuditSeal.objects.bulk_create(seals)
    return len(seals)


def head_of(site: Site | None) -> Head:
    last = AuditSeal.objects.filter(site=site).order_by("-number").values_list("number", "sha256").first()
    return Head(*last) if last else Head()


def commit(event: AuditEvent, key: str) -> str:
    """The commitment to what an erasure may take out of an event."""
    about = {
        "target": str(event.target_uuid or ""),
        "before": event.before,
        "after": event.after,
        "reason": event.reason,
    }
    return hmac.new(bytes.fromhex(key), _as_bytes(about), hashlib.sha256).hexdigest()


def link(before: Head, event: AuditEvent, commitment: str) -> str:
    """The hash of the seal after `before`."""
    fixed = {
        "previous": before.sha256,
        "number": before.number + 1,
        "uuid": str(event.uuid),
        "created_at": event.created_at.isoformat(),
        "site": event.site_id,
        "actor": event.actor_id,
        "verb": event.verb,
        "target_type": event.target_type,
        "commitment": commitment,
    }
    return hashlib.sha256(_as_bytes(fixed)).hexdigest()


def _as_bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def forget_keys(events: Iterable[int]) -> int:
    """Delete the keys of the seals of these events, from which an open erasure takes something out."""
    return AuditSeal.objects.filter(event__in=list(events)).update(key="")


def verify(site: Site | None, *, kept: Head | None = None) -> ChainVerdict:
    """Read the whole chain of a site. `kept` is a head from elsewhere, which the chain must contain."""
    head, erased, fault = Head(), 0, ""
    for row in _seals(site):
        fault = _fault_of(row, head)
        if fault:
            break
        erased += not row.key
        head = Head(row.number, row.sha256)
        if kept and kept.number == head.number and kept.sha256 != head.sha256:
            fault = f"Seal {head.number} has another hash than the kept head: the chain was made anew."
            break
    if kept and not fault and kept.number > head.number:
        fault = f"The chain ends at seal {head.number}, and the kept head is {kept.number}: its end is missing."
    unsealed = AuditEvent.objects.filter(Q(site=site), seal__isnull=True).count()
    return ChainVerdict(site, head, unsealed, erased, fault)


def _fault_of(row: AuditSeal, before: Head) -> str:
    if row.number != before.number + 1:
        return f"Seal {before.number + 1} is missing."
    if row.key and not hmac.compare_digest(commit(row.event, row.key), row.commitment):
        return f"The event of seal {row.number}, {row.event.uuid}, was changed after it was sealed."
    if row.sha256 != link(before, row.event, row.commitment) or row.event.site_id != row.site_id:
        return f"The event of seal {row.number}, {row.event.uuid}, or the seal itself was changed."
    return ""


def _seals(site: Site | None) -> Iterator[AuditSeal]:
    rows = AuditSeal.objects.filter(site=site).select_related("event").order_by("number")
    yield from rows.iterator(chunk_size=2000)


def lines(site: Site | None) -> Iterator[dict[str, Any]]:
    """The chain as JSON objects, one event each: enough to verify it elsewhere."""
    for row in AuditSeal.objects.filter(site=site).select_related("event__actor").order_by("number").iterator(2000):
        event = row.event
        yield {
            "number": row.number,
            "uuid": str(event.uuid),
            "created_at": event.created_at.isoformat(),
            "actor": event.actor.username if event.actor else None,
            "actor_id": event.actor_id,
            "site": event.site_id,
            "verb": event.verb,
            "target_type": event.target_type,
            "target": str(event.target_uuid or ""),
            "before": event.before,
            "after": event.after,
            "reason": event.reason,
            "key": row.key,
            "commitment": row.commitment,
            "sha256": row.sha256,
        }
