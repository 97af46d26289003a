"""How a person logs in again in the dialog of a page whose session has ended."""

from dataclasses import dataclass

from django.conf import settings

from portal.models import User
from portal.people.single_sign_on import SignOn, is_connected, sign_ons


@dataclass(frozen=True)
class WaysIn:
    by_password: bool
    sign_ons: list[SignOn]  # where the person logs in


def ways_in(person: User) -> WaysIn:
    is_allowed = settings.PASSWORDS == "everybody" or person.is_superuser
    by_password = is_allowed and person.has_usable_password()
    return WaysIn(by_password, [way for way in sign_ons() if not by_password or is_connected(person, way.provider)])
