"""The only place that writes AuditEvents. Call it inside the transaction of the recorded action."""

from typing import Any
from uuid import UUID

from django.db.models import Model

from portal.models import AuditEvent, Site, User


def record(
    *,
    verb: str,
    site: Site | None,
    actor: User | None,
    target: Model | None = None,
    before: Any = None,
    after: Any = None,
    reason: str = "",
) -> AuditEvent:
    """`before` and `after` are JSON values without patient data."""
    return AuditEvent.objects.create(
        verb=verb,
        site=site,
        actor=actor,
        target_type=(target._meta.model_name or "") if target is not None else "",
        target_uuid=getattr(target, "uuid", None),
        before=before,
        after=after,
        reason=reason,
    )


def record_about(
    *, verb: str, site_id: int | None, actor: User | None, target: tuple[str, UUID | None], after: Any
) -> AuditEvent:
    """As `record`, where the target's model and UUID and the key of its site are known, and not the rows."""
    return AuditEvent.objects.create(
        verb=verb, site_id=site_id, actor=actor, target_type=target[0], target_uuid=target[1], after=after
    )
