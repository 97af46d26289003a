"""The people of a site and their roles."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from portal.models import Role, User
from portal.people import members
from portal.people.access import may, require
from portal.people.signed_in import SignedInRequest


@require_GET
def people(request: SignedInRequest) -> HttpResponse:
    """All members with their roles. Managers see forms; a link just made is shown once."""
    return _page(request)


@require_POST
def make_site(request: SignedInRequest) -> HttpResponse:
    try:
        site = members.make_site(name=request.POST.get("name", ""), author=request.user)
    except members.InvalidPerson as refused:
        messages.error(request, str(refused))
        return redirect("portal:datasets")
    request.session["site"] = str(site.uuid)
    messages.success(request, f"{site.name} is made, and you are its manager. Add its people here, then import films.")
    return redirect("portal:people")


@require_POST
def add_person(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "manage people", request.hilum_site)
    fields = {name: request.POST.get(name, "") for name in ("username", "full_name", "email")}
    try:
        person, made = members.add_person(site=site, roles=request.POST.getlist("roles"), author=request.user, **fields)
    except members.InvalidPerson as refused:
        return _page(request, fault=str(refused), sent={**fields, "roles": request.POST.getlist("roles")})
    if made:
        _keep_link(request, person, members.link_for(person=person, author=request.user, site=site))
    else:
        messages.success(request, f"{person.username} had an account already, and is a member of {site.name} now.")
    return redirect("portal:people")


@require_POST
def give_roles(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    site = require(request.user, "manage people", request.hilum_site)
    person = get_object_or_404(User.objects.distinct(), uuid=uuid, memberships__site=site)
    try:
        members.set_roles(site=site, person=person, roles=request.POST.getlist("roles"), author=request.user)
    except members.InvalidPerson as refused:
        return _page(request, fault=str(refused))
    messages.success(request, f"The roles of {person.username} are saved.")
    return redirect("portal:people" if may(request.user, "see the site", site) else "portal:home")


@require_POST
def new_link(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    site = require(request.user, "manage people", request.hilum_site)
    person = get_object_or_404(User.objects.distinct(), uuid=uuid, memberships__site=site)
    _keep_link(request, person, members.link_for(person=person, author=request.user, site=site))
    return redirect("portal:people")


def _keep_link(request: SignedInRequest, person: User, path: str) -> None:
    request.session["invitation"] = {"username": person.username, "address": request.build_absolute_uri(path)}


def _page(request: SignedInRequest, *, fault: str = "", sent: dict[str, object] | None = None) -> HttpResponse:
    site = require(request.user, "see the site", request.hilum_site)
    manages = may(request.user, "manage people", site)
    rows = [
        {
            "person": person,
            "roles": [Role(role).label for role in of_person],
            "held": of_person,
            "renewable": manages and members.may_renew(author=request.user, person=person, site=site),
        }
        for person, of_person in members.roles_at(site).items()
    ]
    context = {
        "rows": rows,
        "choices": Role.choices,
        "fault": fault,
        "sent": sent or {},
        "invitation": request.session.pop("invitation", None) if manages else None,
    }
    return render(request, "portal/people.html", context, status=400 if fault else 200)
