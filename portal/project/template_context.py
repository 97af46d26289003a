from typing import Any

from django.http import HttpRequest

from portal.people.access import actions_of, sites_of


def frame(request: HttpRequest) -> dict[str, Any]:
    """What every page's frame needs: the site, the other sites, and what the person may do there
    (`may.import_films` for the action "import films")."""
    site = getattr(request, "hilum_site", None)
    if site is None or not request.user.is_authenticated:
        return {"site": None, "may": {}}
    return {
        "site": site,
        "sites": sites_of(request.user).order_by("name"),
        "may": {action.replace(" ", "_"): True for action in actions_of(request.user, site)},
    }
