"""The list of findings that people of a site choose from."""

from collections.abc import Sequence

from django.db import transaction

from portal.labels.events import BAD_QUALITY
from portal.models import Site, User
from portal.people import audit
from portal.people.access import require

MOST = 200
LONGEST = 100  # characters


class InvalidFindings(Exception):
    """The message is shown to the user."""


def set_findings(*, site: Site, findings: Sequence[str], author: User) -> list[str]:
    """Replace the site's list, in this order (the first nine have a number key), and return it. Existing labels keep
    their findings. Raises InvalidFindings."""
    require(author, "edit findings", site)
    names = [" ".join(finding.split()) for finding in findings if finding.strip()]
    if len(names) > MOST:
        raise InvalidFindings(f"The list has {len(names)} findings; use at most {MOST}.")
    for name in names:
        if len(name) > LONGEST or "|" in name or "\0" in name:
            raise InvalidFindings(
                f"The finding {name[:40]!r} is longer than {LONGEST} characters or contains '|' or NUL; change it."
            )
    checked: set[str] = set()
    for name in names:
        if name.casefold() in checked or name.casefold() == BAD_QUALITY:
            raise InvalidFindings(f"The finding {name!r} is in the list twice or is built in; remove it.")
        checked.add(name.casefold())
    with transaction.atomic():
        site = Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        before, site.findings = site.findings, names
        site.save(update_fields=["findings"])
        audit.record(verb="edit findings", site=site, actor=author, target=site, before=before, after=names)
    return names
