"""The only place that writes AuditEvents. Call it inside the transaction of the recorded action."""

from typing import Any

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
