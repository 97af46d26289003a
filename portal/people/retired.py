"""What is retired: left out of lists, and refused where something new would start with it."""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet

from portal.models import Retired

M = TypeVar("M", bound=Model)


def without_retired(rows: QuerySet[M], *, through: str = "") -> QuerySet[M]:
    """The datasets, runs or worklists that are not retired; or the rows of another model whose foreign key `through` is
    to none."""
    model: Any = rows.model._meta.get_field(through).related_model if through else rows.model
    retired = Retired.objects.filter(kind=Retired.Kind(model._meta.model_name)).values("target")
    return rows.exclude(**{f"{through}__uuid__in" if through else "uuid__in": retired})


def retired_row(target: Model) -> Retired | None:
    return Retired.objects.select_related("site", "author").filter(target=target.uuid).first()  # type: ignore[attr-defined]


def why_retired(targets: Iterable[Model]) -> str:
    """Why nothing new may start with these datasets, runs or worklists; blank where it may (a single query)."""
    uuids = [target.uuid for target in targets]  # type: ignore[attr-defined]
    row = Retired.objects.filter(target__in=uuids).order_by("name").first() if uuids else None
    if row is None:
        return ""
    return (
        f"The {row.kind} “{row.name}” was retired on {row.created_at:%Y-%m-%d} ({row.reason}): nothing new starts with "
        "it. A manager can bring it back."
    )


def refuse_retired(*targets: Model) -> None:
    """Raises PermissionDenied, with the reason why they were retired."""
    if why := why_retired(targets):
        raise PermissionDenied(why)
