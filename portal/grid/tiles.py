"""How large films are in a grid, for each person."""

from portal.models import User

WIDTHS = (96, 128, 160, 224, 320)  # pixels of the page; a preview has 320. static/css/hilum.css has a class for each


class InvalidWidth(Exception):
    """The message is shown to the user."""


def step_of(person: User) -> int:
    """The place of the person's width among WIDTHS: the nearest, where an earlier release kept another."""
    nearest = min(WIDTHS, key=lambda width: abs(width - person.tile_width))
    return WIDTHS.index(nearest)


def choose_width(*, person: User, width: str) -> int:
    """Remember the width. Raises InvalidWidth."""
    if width not in map(str, WIDTHS):
        known = ", ".join(map(str, WIDTHS))
        raise InvalidWidth(f"The width of the films is {width[:20]!r}; choose one of {known} pixels.")
    person.tile_width = int(width)
    person.save(update_fields=["tile_width"])
    return person.tile_width
