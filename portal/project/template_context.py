from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from portal.models import User
from portal.people.access import actions_of, sites_of, why_no_site
from portal.people.log_in_again import ways_in


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context of every page: the site, all sites of the person, and the actions that they may do at the site
    (`may.import_films` for the action "import films"), and how they log in again. Without a
    site, what they are missing."""
    site, person = getattr(request, "hilum_site", None), getattr(request, "user", None)
    if not isinstance(person, User):
        return {"site": None, "may": {}}
    if site is None:
        return {"site": None, "may": {}, "why_no_site": SimpleLazyObject(lambda: why_no_site(person))}
    return {
        "site": site,
        "sites": sites_of(person).order_by("name"),
        "may": {action.replace(" ", "_"): True for action in actions_of(person, site)},
        "ways_in": SimpleLazyObject(lambda: ways_in(person)),
    }
