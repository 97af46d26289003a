"""The written criteria of a site for calling a film normal, in versions that never change."""

import difflib
from dataclasses import dataclass

from django.db import transaction

from portal.models import NormalCriteria, Site, User
from portal.people import audit
from portal.people.access import require

LONGEST = 10_000  # characters


class InvalidCriteria(Exception):
    """The message is shown to the user."""


def write_criteria(*, site: Site, text: str, author: User) -> NormalCriteria:
    """Store the text as the site's next version, from version 1. Labels given from now on name it. Raises
    InvalidCriteria."""
    require(author, "edit criteria", site)
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    if not text.strip():
        raise InvalidCriteria("The criteria are empty; write what makes a film normal here.")
    if len(text) > LONGEST or "\0" in text:
        raise InvalidCriteria(
            f"The criteria have {len(text):,} characters; use at most {LONGEST:,}, and no NUL character."
        )
    with transaction.atomic():
        # Two managers who save at once get two successive versions.
        Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        latest = current_criteria(site)
        if latest and latest.text == text:
            raise InvalidCriteria(f"The text is that of version {latest.version}; change it to make a new version.")
        version = latest.version + 1 if latest else 1
        criteria = NormalCriteria.objects.create(site=site, version=version, text=text, author=author)
        after = {"version": version, "characters": len(text)}
        audit.record(verb="write criteria", site=site, actor=author, target=criteria, after=after)
    return criteria


def current_criteria(site: Site) -> NormalCriteria | None:
    """The version in force; None as long as the site has written none."""
    return NormalCriteria.objects.filter(site=site).order_by("-version").first()


@dataclass(frozen=True)
class TextLine:
    """A line of one or both of two texts; `change` is "added", "removed", or blank in a line that both have."""

    text: str
    change: str = ""


def differences(earlier: str, later: str) -> list[TextLine]:
    """The lines of both texts in order, without empty ones; a changed line is removed and added."""
    lines: list[TextLine] = []
    before, after = ([line for line in text.splitlines() if line.strip()] for text in (earlier, later))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            lines += [TextLine(text) for text in before[start:end]]
            continue
        lines += [TextLine(text, "removed") for text in before[start:end]]
        lines += [TextLine(text, "added") for text in after[new_start:new_end]]
    return lines
