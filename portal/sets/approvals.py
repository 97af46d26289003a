"""What a dataset may be used for, and until when: after that day its films go into nothing new. Results, readings and
exports of what was begun before stay."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import transaction

from portal.models import Dataset, User
from portal.people import audit
from portal.people.access import people_who_may, require
from portal.people.retired import why_retired

DAYS_OF_NOTICE = 30
FACTS = ("source", "licence", "ethics_approval", "purpose", "expires_on")


class InvalidDatasetFact(Exception):
    """A sentence for the person who changes a dataset's facts."""


@dataclass(frozen=True)
class Approval:
    """How the approval of a dataset is today. `sentence` is blank while nobody has to act."""

    has_ended: bool
    sentence: str


def today() -> date:
    return datetime.now(UTC).date()


def approval_of(dataset: Dataset) -> Approval:
    if dataset.expires_on is None:
        return Approval(has_ended=False, sentence="")
    days = (dataset.expires_on - today()).days
    if days < 0:
        return Approval(has_ended=True, sentence=_ended(dataset))
    if days > DAYS_OF_NOTICE:
        return Approval(has_ended=False, sentence="")
    when = "today is the last day" if days == 0 else f"in {days} day{'s' if days > 1 else ''}"
    return Approval(
        has_ended=False,
        sentence=f"The approval of {dataset.name} ends on {dataset.expires_on:%Y-%m-%d} ({when}); after that no run, "
        f"worklist or split starts with its films. {_who(dataset)}",
    )


def why_ended(datasets: Iterable[Dataset]) -> str:
    """Why nothing new may start with films of these datasets; blank where it may."""
    datasets = list(datasets)
    if why := why_retired(datasets):
        return why
    ended = [dataset for dataset in datasets if dataset.expires_on is not None and dataset.expires_on < today()]
    return _ended(min(ended, key=lambda dataset: (str(dataset.expires_on), dataset.name))) if ended else ""


def _ended(dataset: Dataset) -> str:
    return (
        f"The approval of {dataset.name} ended on {dataset.expires_on:%Y-%m-%d}: no new run, worklist or split may use "
        f"its films. {_who(dataset)}"
    )


def _who(dataset: Dataset) -> str:
    names = [person.get_full_name() or person.username for person in people_who_may("edit datasets", dataset.site)[:3]]
    managers = f": {', '.join(names)}" if names else ""
    return f"A manager of {dataset.site.name} can change the date on the dataset's page{managers}."


@transaction.atomic
def change_facts(*, dataset: Dataset, facts: Mapping[str, str | date | None], author: User | None) -> list[str]:
    """Set these facts of the dataset and return the names of those that changed; the audit keeps both values. `author`:
    None on the command line. Raises InvalidDatasetFact."""
    if author is not None:
        require(author, "edit datasets", dataset.site)
    dataset = Dataset.objects.select_for_update(of=("self",)).select_related("site").get(pk=dataset.pk)
    before: dict[str, str] = {}
    for name, value in facts.items():
        if name not in FACTS:
            raise InvalidDatasetFact(f"A dataset has no fact {name[:40]!r}; the facts are {', '.join(FACTS)}.")
        new = _checked(name, value)
        if getattr(dataset, name) != new:
            before[name] = str(getattr(dataset, name) or "")
            setattr(dataset, name, new)
    if before:
        dataset.save(update_fields=list(before))
        after = {name: str(getattr(dataset, name) or "") for name in before}
        audit.record(verb="change dataset", site=dataset.site, actor=author, target=dataset, before=before, after=after)
    return list(before)


def _checked(name: str, value: str | date | None) -> str | date | None:
    if name == "expires_on":
        return value if isinstance(value, date) or value is None else date_of(value)
    text = " ".join(str(value or "").split())
    longest = int(getattr(Dataset._meta.get_field(name), "max_length", 0) or 0)
    if len(text) > longest:
        raise InvalidDatasetFact(
            f"{name.replace('_', ' ').capitalize()} has {len(text)} characters; use at most {longest}."
        )
    if "\0" in text:
        raise InvalidDatasetFact(f"{name.replace('_', ' ').capitalize()} contains a NUL character; remove it.")
    return text


def date_of(text: str, *, what: str = "last day") -> date | None:
    """The day in a text such as 2027-01-31; None for an empty one. `what` names it in the message. Raises
    InvalidDatasetFact."""
    if not text.strip():
        return None
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        day = None
    if day is None or not date(1990, 1, 1) <= day <= today() + timedelta(days=36_525):
        raise InvalidDatasetFact(f"The {what} is {text[:40]!r}; write it as year, month and day, such as 2027-01-31.")
    return day
