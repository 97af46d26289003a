"""Boxes are blacked out as the film is shown, and nothing beside them changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from portal.imaging.black_out import InvalidBlackOut, PixelBox, black_out, checked_boxes
from portal.imaging.film import Film, PixelFacts, linear_values
from tests.portal.factories import pixels

FACTS = PixelFacts(rows=24, columns=20, bits_stored=12, offset=0, photometric="MONOCHROME2")
BOX = PixelBox(3, 5, 6, 4)


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_boxes_become_the_darkest_of_what_is_shown_outside(photometric: str) -> None:
    film = Film(pixels(1), replace(FACTS, photometric=photometric))
    done = black_out(film, [BOX])
    inside = np.zeros((24, 20), dtype=bool)
    inside[5:9, 3:9] = True
    assert np.array_equal(done.stored[~inside], film.stored[~inside])
    shown = linear_values(done)
    assert len(set(done.stored[inside].tolist())) == 1
    assert shown[inside].max() == linear_values(film)[~inside].min()
    assert done.facts == film.facts


def test_the_whole_film_is_refused() -> None:
    with pytest.raises(InvalidBlackOut, match="cover the whole film"):
        black_out(Film(pixels(1), FACTS), [PixelBox(0, 0, 20, 24)])


def test_boxes_are_cut_at_the_edges_and_whole() -> None:
    sent = [{"x": -4, "y": 20.5, "width": 7.2, "height": 90}, {"x": 1, "y": 1, "width": 1, "height": 1}]
    assert checked_boxes(sent, rows=24, columns=20) == [PixelBox(0, 20, 4, 4), PixelBox(1, 1, 1, 1)]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ([], "There is no box"),
        (None, "There is no box"),
        ("x", "There is no box"),
        ([{"x": 1}], "Box 1 has not the four numbers"),
        ([3], "Box 1 has not the four numbers"),
        ([{"x": "nan", "y": 1, "width": 1, "height": 1}], "Box 1 has not the four numbers"),
        ([{"x": 1, "y": 1, "width": 0, "height": 1}], "Box 1 has no pixel inside the film of 20 × 24"),
        ([{"x": 30, "y": 1, "width": 5, "height": 1}], "Box 1 has no pixel inside"),
        ([{"x": 1, "y": 1, "width": 1, "height": 1}] * 51, "There are 51 boxes"),
    ],
)
def test_boxes_that_cannot_be(sent: object, sentence: str) -> None:
    with pytest.raises(InvalidBlackOut, match=sentence):
        checked_boxes(sent, rows=24, columns=20)
