"""How a person logs in again in the dialog of a page whose session has ended."""

from dataclasses import dataclass

from django.conf import settings

from portal.models import User
from portal.people.single_sign_on import is_connected, provider_name


@dataclass(frozen=True)
class WaysIn:
    by_password: bool
    sign_on: str  # the name of the provider; blank for a person who does not log in there


def ways_in(person: User) -> WaysIn:
    is_allowed = settings.PASSWORDS == "everybody" or person.is_superuser
    by_password = is_allowed and person.has_usable_password()
    name = provider_name()
    return WaysIn(by_password, name if name and (not by_password or is_connected(person)) else "")
