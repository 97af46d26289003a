"""Managers retire datasets, runs and worklists, and bring them back, with a reason; what depends on them is named
before. Nothing is removed by it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Model
from django.http import Http404

from portal.models import Cohort, Dataset, Retired, ScreeningQueue, Site, Upload, User
from portal.people import audit
from portal.people.access import get_visible, require
from portal.people.retired import retired_row

LONGEST_REASON = 500
_SHORTEST_REASON = 3
_NAMED = 5  # of what depends, by name
Sentences = Callable[[Any], list[str]]


class CannotRetire(Exception):
    """A sentence for the manager; nothing was changed."""


@dataclass(frozen=True)
class Retirable:
    """A kind of rows that can be retired. `page` names the URL of its page, `obstacles` are sentences on why one cannot
    be retired now."""

    kind: Retired.Kind
    model: type[Model]
    page: str
    site_of: Callable[[Any], Site]
    obstacles: Sentences


@dataclass(frozen=True)
class RetirePlan:
    """What retiring a row means. `retired` is its row, None where it is not retired."""

    kind: Retired.Kind
    target: Any
    site: Site
    page: str
    depends: Sequence[str]
    obstacles: Sequence[str]
    retired: Retired | None


_known: dict[str, Retirable] = {}
_depending: dict[str, list[Sentences]] = {}


def retire_also(retirable: Retirable) -> None:
    """Let an app that comes after this one have its rows retired; it calls this once, when it is ready."""
    _known[retirable.kind] = retirable


def depends_also(kind: Retired.Kind, sentences: Sentences) -> None:
    """Let an app name what it keeps that depends on a row of the kind."""
    _depending.setdefault(kind, []).append(sentences)


def counted(what: str, names: Iterable[str]) -> list[str]:
    """ "2 splits: A, B" as the only item; none without names."""
    named = list(names)
    if not named:
        return []
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return [f"{len(named)} {what}{'s' if len(named) > 1 else ''}: {', '.join(named[:_NAMED])}{more}"]


def target_of(kind: str, uuid: UUID, person: User) -> Any:
    """The row that a manager may retire. Raises Http404 and PermissionDenied."""
    retirable = _known.get(kind)
    if retirable is None:
        raise Http404(f"There is nothing of the kind {kind[:20]!r} to retire; the kinds are {', '.join(_known)}.")
    target = get_visible(retirable.model._default_manager.all(), person, uuid)
    require(person, "retire data", retirable.site_of(target))
    return target


def page_of(kind: str) -> str:
    """The name of the URL of the page of a row of the kind."""
    return _known[kind].page


def plan_of(target: Any) -> RetirePlan:
    retirable = _known[target._meta.model_name]
    return RetirePlan(
        kind=retirable.kind,
        target=target,
        site=retirable.site_of(target),
        page=retirable.page,
        depends=[one for sentences in _depending.get(retirable.kind, []) for one in sentences(target)],
        obstacles=retirable.obstacles(target),
        retired=retired_row(target),
    )


@transaction.atomic
def retire(*, target: Any, reason: str, author: User) -> Retired:
    """Raises CannotRetire and PermissionDenied."""
    plan = plan_of(target)
    require(author, "retire data", plan.site)
    reason = _checked(reason)
    if plan.retired is not None:
        raise CannotRetire(f"“{plan.retired.name}” is retired already, since {plan.retired.created_at:%Y-%m-%d}.")
    if plan.obstacles:
        raise CannotRetire(" ".join(plan.obstacles))
    row, is_new = Retired.objects.get_or_create(
        target=target.uuid,
        defaults={"site": plan.site, "kind": plan.kind, "name": str(target)[:100], "reason": reason, "author": author},
    )
    if is_new:
        after = {"name": row.name, "depends": list(plan.depends)}
        audit.record(
            verb=f"retire {plan.kind}", site=plan.site, actor=author, target=target, after=after, reason=reason
        )
    return row


@transaction.atomic
def bring_back(*, target: Any, reason: str, author: User) -> None:
    """Raises CannotRetire and PermissionDenied."""
    plan = plan_of(target)
    require(author, "retire data", plan.site)
    reason = _checked(reason)
    deleted, _ = Retired.objects.filter(target=target.uuid).delete()
    if not deleted:
        raise CannotRetire(f"“{str(target)[:100]}” is not retired; there is nothing to bring back.")
    audit.record(
        verb=f"bring back {plan.kind}",
        site=plan.site,
        actor=author,
        target=target,
        after={"name": str(target)[:100]},
        reason=reason,
    )


def _checked(reason: str) -> str:
    reason = " ".join(reason.split())
    if not _SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise CannotRetire(
            f"The reason has {len(reason)} characters; say why in {_SHORTEST_REASON} to {LONGEST_REASON}, without "
            "names of patients: the audit keeps it."
        )
    return reason


def _imports(dataset: Dataset) -> list[str]:
    states = [Upload.State.RECEIVED, Upload.State.MAPPING, Upload.State.IMPORTING]
    waiting = dataset.uploads.filter(state__in=states).count()
    words = f"{waiting} import{'s' if waiting > 1 else ''} of its films run or wait: let them end first."
    return [words] if waiting else []


def _of_dataset(dataset: Dataset) -> list[str]:
    films = dataset.images.count()
    cohorts = Cohort.objects.filter(members__image__dataset=dataset).distinct()
    queues = ScreeningQueue.objects.filter(members__image__dataset=dataset).distinct()
    return [
        *([f"{films} film{'s' if films > 1 else ''}"] if films else []),
        *counted("split", dataset.splits.values_list("name", flat=True)),
        *counted("cohort", map(str, cohorts)),
        *counted("queue", queues.values_list("name", flat=True)),
    ]


retire_also(Retirable(Retired.Kind.DATASET, Dataset, "portal:dataset", lambda dataset: dataset.site, _imports))
depends_also(Retired.Kind.DATASET, _of_dataset)
