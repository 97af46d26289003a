"""The people of a site: a manager adds them, gives and takes roles, and passes on the link with which they choose a
password."""

from collections.abc import Collection

from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from portal.models import Membership, Role, Site, User
from portal.people import audit
from portal.people.access import require


class InvalidPerson(Exception):
    """A sentence for the person who manages the site."""


@transaction.atomic
def make_site(*, name: str, author: User) -> Site:
    """A new site with the author as its manager. Only an administrator makes sites. Raises InvalidPerson."""
    if not author.is_superuser:
        raise PermissionDenied("Only an administrator makes a site.")
    site = _make_site(name, author)
    set_roles(site=site, person=author, roles=[Role.MANAGER], author=author)
    return site


@transaction.atomic
def make_site_without_manager(name: str) -> Site:
    """A new site, made on the command line, to which an administrator adds people. Raises InvalidPerson."""
    return _make_site(name, None)


def _make_site(name: str, author: User | None) -> Site:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 100:
        raise InvalidPerson("The name of a site has 1 to 100 characters.")
    if Site.objects.filter(name=name).exists():
        raise InvalidPerson(f"There is a site {name} already.")
    site = Site.objects.create(name=name)
    audit.record(verb="make site", site=site, actor=author, target=site, after={"name": name})
    return site


@transaction.atomic
def add_person(
    *, site: Site, username: str, full_name: str, email: str, roles: Collection[str], author: User
) -> tuple[User, bool]:
    """Give the roles to the person of this user name, who is made if there is none; return whether that was so.

    Raises InvalidPerson, and PermissionDenied for an author who does not manage the site.
    """
    require(author, "manage people", site)
    username = username.strip()
    if not roles:
        raise InvalidPerson("Choose at least one role: a person without a role sees nothing of the site.")
    person = User.objects.filter(username=username).first()
    made = person is None
    if person is None:
        person = _make_person(username, full_name, email, author)
    elif Membership.objects.filter(user=person, site=site).exists():
        raise InvalidPerson(f"{username} is a member of {site.name} already; change the roles in the list.")
    set_roles(site=site, person=person, roles=roles, author=author)
    return person, made


@transaction.atomic
def set_roles(*, site: Site, person: User, roles: Collection[str], author: User) -> None:
    """The person has exactly these roles at the site from now on; without any they are no member any more.

    Raises InvalidPerson for an unknown role, and where the site would be left without a manager.
    """
    unknown = sorted(set(roles) - set(Role.values))
    if unknown:
        raise InvalidPerson(f"There is no role {', '.join(unknown)}; the roles are {', '.join(Role.values)}.")
    if not author.is_superuser:
        require(author, "manage people", site)
    site = Site.objects.select_for_update().get(pk=site.pk)  # two managers must not take the role from each other
    before = set(Membership.objects.filter(site=site, user=person).values_list("role", flat=True))
    others = Membership.objects.filter(site=site, role=Role.MANAGER, user__is_active=True).exclude(user=person)
    if Role.MANAGER in before and Role.MANAGER not in roles and not others.exists():
        raise InvalidPerson(
            f"{person.username} is the only manager of {site.name}; make somebody else a manager first."
        )
    for role in Role:
        if role in roles and role not in before:
            given = Membership.objects.create(site=site, user=person, role=role)
            audit.record(verb="give role", site=site, actor=author, target=person, after={"role": str(given)})
        if role in before and role not in roles:
            taken = Membership.objects.get(site=site, user=person, role=role)
            audit.record(verb="take role", site=site, actor=author, target=person, before={"role": str(taken)})
            taken.delete()


def roles_at(site: Site) -> dict[User, list[str]]:
    """The members of the site by user name, each with their roles in the order of `Role`."""
    held: dict[User, set[str]] = {}
    for membership in Membership.objects.filter(site=site).select_related("user").order_by("user__username"):
        held.setdefault(membership.user, set()).add(membership.role)
    return {person: [role.value for role in Role if role in roles] for person, roles in held.items()}


def may_renew(*, author: User, person: User, site: Site) -> bool:
    """Whether the author may give this person a new link: of administrators, and of members of other sites that the
    author does not manage, an administrator gives it, since whoever has the link can log in as the person."""
    if author.is_superuser:
        return True
    if person.is_superuser or person.is_staff or not person.is_active:
        return False
    managed = Membership.objects.filter(user=author, role=Role.MANAGER).values("site")
    return (
        Membership.objects.filter(user=person, site=site).exists()
        and not Membership.objects.filter(user=person).exclude(site__in=managed).exists()
    )


@transaction.atomic
def link_for(*, person: User, author: User, site: Site) -> str:
    """The address, without host, at which the person chooses a password within three days, once."""
    if not may_renew(author=author, person=person, site=site):
        raise PermissionDenied(
            f"{person.username} is an administrator, or a member of a site that you do not manage: an administrator "
            "can give them a new link."
        )
    audit.record(verb="give link to", site=site, actor=author, target=person)
    return password_path(person)


def password_path(person: User) -> str:
    """Whoever has this address chooses the person's password: give it to nobody else."""
    return reverse(
        "invitation",
        args=[urlsafe_base64_encode(force_bytes(person.pk)), default_token_generator.make_token(person)],
    )


def _make_person(username: str, full_name: str, email: str, author: User) -> User:
    first_name, _, last_name = " ".join(full_name.split()).partition(" ")
    person = User(username=username, first_name=first_name, last_name=last_name, email=email.strip())
    person.set_unusable_password()
    try:
        UnicodeUsernameValidator()(username)
        if person.email:
            validate_email(person.email)
        person.full_clean(exclude=["password"])
    except ValidationError as error:
        raise InvalidPerson(f"{username or 'The person'} cannot be added: {' '.join(error.messages)}") from error
    person.save()
    audit.record(verb="make user", site=None, actor=author, target=person, after={"username": username})
    return person
