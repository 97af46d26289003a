"""The size of the films in grids."""

from __future__ import annotations

import re

import pytest

from portal.grid.tiles import WIDTHS, InvalidWidth, choose_width, step_of
from portal.models import User
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


def test_a_width_is_remembered_for_the_person() -> None:
    ann = factories.user("ann")
    assert (ann.tile_width, step_of(ann)) == (160, 2)
    assert choose_width(person=ann, width="320") == 320
    assert (User.objects.get().tile_width, step_of(User.objects.get())) == (320, 4)
    ann.tile_width = 200
    assert step_of(ann) == 3


@pytest.mark.parametrize("width", ["", "161", "-1", "x" * 99, "٩٦"])
def test_other_widths_are_refused(width: str) -> None:
    with pytest.raises(InvalidWidth, match="choose one of 96, 128, 160, 224, 320 pixels"):
        choose_width(person=factories.user("ann"), width=width)


def test_each_width_has_its_style() -> None:
    styles = (ROOT / "static" / "css" / "hilum.css").read_text(encoding="utf-8")
    assert {int(width) for width in re.findall(r"--tile: (\d+)px", styles)} == set(WIDTHS)
