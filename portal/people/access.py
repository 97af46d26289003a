"""Permissions: a table of actions and roles, used by pages, API, files and tasks.

A person gets 404 for the objects of sites where they are not a member, and 403 with an explanation for an action that
their roles do not allow.
"""

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404

from portal.models import Image, LabelValue, Membership, Part, Role, Site, User

M = TypeVar("M", bound=Model)

_EVERYBODY = frozenset(Role)
ALLOWED: dict[str, frozenset[Role]] = {
    "see the site": _EVERYBODY,
    "import films": frozenset({Role.CURATOR, Role.MANAGER}),
    "keep further columns": frozenset({Role.MANAGER}),
    "open quarantined files": frozenset({Role.CURATOR, Role.MANAGER}),
    "edit datasets": frozenset({Role.MANAGER}),
    "review text on films": frozenset({Role.CURATOR, Role.MANAGER}),
    "judge duplicates": frozenset({Role.CURATOR, Role.MANAGER}),
    "label films": frozenset({Role.CURATOR, Role.ADJUDICATOR, Role.MANAGER}),
    "tag films": frozenset({Role.CURATOR, Role.ADJUDICATOR, Role.ANALYST, Role.MANAGER}),
    "manage tags": frozenset({Role.MANAGER}),
    "share views": frozenset({Role.CURATOR, Role.MANAGER}),
    "adjudicate labels": frozenset({Role.ADJUDICATOR, Role.MANAGER}),
    "make queues": frozenset({Role.CURATOR, Role.ADJUDICATOR, Role.ANALYST, Role.MANAGER}),
    "edit findings": frozenset({Role.MANAGER}),
    "edit criteria": frozenset({Role.MANAGER}),
    "erase patients": frozenset({Role.MANAGER}),
    "retire data": frozenset({Role.MANAGER}),
    "manage people": frozenset({Role.MANAGER}),
    "freeze cohorts": frozenset({Role.CURATOR, Role.MANAGER}),
    "make splits": frozenset({Role.CURATOR, Role.ANALYST, Role.MANAGER}),
    "align by hand": frozenset({Role.CURATOR, Role.ANALYST, Role.MANAGER}),
    "request runs": frozenset({Role.ANALYST, Role.MANAGER}),
    "see scores": frozenset({Role.READER, Role.ADJUDICATOR, Role.ANALYST, Role.MANAGER}),
    "evaluate runs": frozenset({Role.ANALYST, Role.MANAGER}),
    "plan analyses": frozenset({Role.ANALYST, Role.MANAGER}),
    "approve plans": frozenset({Role.ANALYST, Role.MANAGER, Role.ADJUDICATOR}),
    "set rules for test": frozenset({Role.MANAGER}),
    "make worklists": frozenset({Role.ANALYST, Role.MANAGER}),
    "read worklists": frozenset({Role.READER}),
    "answer escalations": frozenset({Role.BROKER}),
    "propose normals": frozenset({Role.ANALYST, Role.MANAGER}),
    "accept normals": frozenset({Role.CURATOR, Role.MANAGER}),
    "propose adjudications": frozenset({Role.ANALYST, Role.MANAGER}),
    "see adjudications": frozenset({Role.ADJUDICATOR, Role.ANALYST, Role.MANAGER}),
    "see double readings": frozenset({Role.ADJUDICATOR, Role.ANALYST, Role.MANAGER}),
    "close double readings": frozenset({Role.MANAGER}),
}
# Lookup from a row to its site. Rows of models that are missing here cannot be fetched through this module.
_SITE_PATHS = {
    "Site": "pk",
    "Dataset": "site",
    "Patient": "site",
    "Erasure": "site",
    "Retired": "site",
    "Cohort": "site",
    "ScreeningQueue": "site",
    "NormalCriteria": "site",
    "Split": "site",
    "Image": "dataset__site",
    "FilmPair": "site",
    "FilmView": "dataset__site",
    "FilmTag": "site",
    "Upload": "dataset__site",
    "QuarantinedFile": "dataset__site",
    "PartialUpload": "dataset__site",
    "Run": "site",
    "AlignmentModel": "site",
    "DetectorModel": "site",
    "CanonicalBoard": "site",
    "HandMadeCanonical": "site",
    "Evaluation": "run__site",
    "SetEvaluation": "dataset__site",
    "AnalysisPlan": "split__site",
    "ExternalValidation": "run__site",
    "Worklist": "run__site",
    "WorklistItem": "worklist__run__site",
    "Reading": "image__dataset__site",
    "Escalation": "image__dataset__site",
    "HeadProposal": "worklist__run__site",
    "NormalProposal": "worklist__run__site",
}


def site_path(model: type[Model]) -> str:
    """The lookup from a row of the model to its site."""
    return _SITE_PATHS[model.__name__]


def sites_of(user: User) -> QuerySet[Site]:
    if user.is_superuser:
        return Site.objects.all()
    return Site.objects.filter(memberships__user_id=user.pk).distinct()


def visible(queryset: QuerySet[M], user: User) -> QuerySet[M]:
    """The rows of the sites where the person is a member."""
    return queryset.filter(**{f"{site_path(queryset.model)}__in": sites_of(user)})


def sites_where(user: User, action: str) -> QuerySet[Site]:
    """The sites where the person may do this."""
    if user.is_superuser:
        return Site.objects.all()
    return Site.objects.filter(memberships__user=user, memberships__role__in=ALLOWED[action]).distinct()


def people_who_may(action: str, site: Site) -> QuerySet[User]:
    """The active people whose roles at the site allow the action, by name. A superuser counts where they have such a
    role."""
    roles = Membership.objects.filter(site=site, role__in=ALLOWED[action])
    return User.objects.filter(is_active=True, pk__in=roles.values("user")).order_by("username")


def get_visible(queryset: QuerySet[M], user: User, uuid: UUID | str) -> M:
    try:
        return visible(queryset, user).get(uuid=uuid)
    except (ObjectDoesNotExist, ValidationError):  # ValidationError: not a UUID
        raise Http404(f"No such {queryset.model._meta.verbose_name}.") from None


def may(user: User, action: str, site: Site) -> bool:
    return action in actions_of(user, site, actions=[action])


def actions_of(user: User, site: Site, *, actions: Iterable[str] = ALLOWED) -> set[str]:
    """The actions, of those passed, that the person may do at the site (a single query)."""
    if user.is_superuser:
        return set(actions)
    roles = set(user.memberships.filter(site=site).values_list("role", flat=True))
    return {action for action in actions if ALLOWED[action] & roles}


def require(user: User, action: str, site: Site | None) -> Site:
    """Return the site if the person may do the action there. Raises PermissionDenied with an explanation."""
    if site is None:
        raise PermissionDenied(f"To {action} you need a site. {why_no_site(user)}")
    if not may(user, action, site):
        roles = ", ".join(sorted(role.label.lower() for role in ALLOWED[action]))
        raise PermissionDenied(
            f"To {action} at {site.name} you need one of these roles: {roles}. {_who_can_give_it(site)}"
        )
    return site


def why_no_site(user: User) -> str:
    """What a person without a site is missing, and who can give it."""
    if user.is_superuser:
        return "There is no site yet: you administer this installation and can make one under Data."
    if not Site.objects.exists():
        return (
            "You are not a member of any site yet, and there is none: an administrator makes the first, and adds you "
            f"by your user name, {user.username}."
        )
    return (
        "You are not a member of any site yet. A manager of a site can add you under People; give them your user "
        f"name, {user.username}."
    )


def _who_can_give_it(site: Site) -> str:
    managers = [person.get_full_name() or person.username for person in people_who_may("manage people", site)[:3]]
    if managers:
        return f"A manager of the site can give it to you: {', '.join(managers)}."
    return "The site has no manager; an administrator can give it to you."


# Labels after which whoever labels a film may see its score.
SCORES_AFTER = (LabelValue.NORMAL, LabelValue.ABNORMAL, LabelValue.EXCLUDE)


def has_to_label(user: User, site: Site, part: str) -> bool:
    """Whether this person labels films of the part, which therefore have to be labelled without scores in view."""
    return part in (Part.TUNE, Part.CALIBRATE, Part.TEST) and may(user, "label films", site)


def may_see_scores(user: User, image: Image, part: str) -> bool:
    """Hide scores of films in tune, calibrate and test from people who still have to label them: a label chosen after
    seeing the model's score cannot serve as reference."""
    site = image.dataset.site
    if not may(user, "see scores", site):
        return False
    if not has_to_label(user, site, part):
        return True
    label = getattr(image, "current_label", None)
    return label is not None and label.value in SCORES_AFTER
