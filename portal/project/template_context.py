from typing import Any

from django.http import HttpRequest

from portal.people.access import actions_of, sites_of


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context of every page: the site, all sites of the person, and the actions that they may do at the site
    (`may.import_films` for the action "import films")."""
    site = getattr(request, "hilum_site", None)
    if site is None or not request.user.is_authenticated:
        return {"site": None, "may": {}}
    return {
        "site": site,
        "sites": sites_of(request.user).order_by("name"),
        "may": {action.replace(" ", "_"): True for action in actions_of(request.user, site)},
    }
