"""Values of headers in words, for the eyes of a curator."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from portal.imaging.film import Lut, PixelFacts, Window
from portal.intake.header_facts import PIXEL_KEYS, Fact, days_moved, in_words

PLAIN = PixelFacts(rows=2, columns=2, bits_stored=12, offset=0, photometric="MONOCHROME2")


@pytest.mark.parametrize(("fact", "changes", "words"), [
    (Fact.SPACING, {}, "none"),
    (Fact.SPACING, {"pixel_aspect": 1.25}, "pixels 1.25 times as high as wide"),
    (Fact.SPACING, {"spacing_mm": (0.139, 0.14), "spacing_plane": "detector"}, "0.139 × 0.14 mm (detector plane)"),
    (Fact.WINDOW, {}, "none"),
    (Fact.WINDOW, {"windows": (Window(2047.5, 4096), Window(1, 2))}, "centre 2047.5, width 4096; centre 1, width 2"),
    (Fact.WINDOW, {"windows": (Window(1, 2),), "voi_function": "SIGMOID"}, "centre 1, width 2 (SIGMOID)"),
    (Fact.WINDOW, {"voi_luts": (Lut(0, 8, (1, 2, 3)),)}, "VOI LUT of 3 entries of 8 bits"),
    (Fact.GRAY, {}, "MONOCHROME2, 12 bits"),
    (Fact.GRAY, {"photometric": "MONOCHROME1", "presentation_inverse": True, "slope": 2.0, "padding": (0, 3)},
     "MONOCHROME1, inverse, 12 bits, slope 2, intercept 0, padding 0 to 3"),
    (Fact.GRAY, {"offset": 2048, "modality_lut": Lut(0, 8, (1, 2))},
     "MONOCHROME2, 12 bits from -2048, modality LUT of 2 entries"),
])  # fmt: skip
def test_pixel_facts_in_words(fact: Fact, changes: dict[str, Any], words: str) -> None:
    facts = replace(PLAIN, **changes).to_json()
    assert in_words(fact, {key: facts[key] for key in PIXEL_KEYS[fact]}) == words


def test_patients_are_shown_by_the_beginning_of_their_pseudonym() -> None:
    assert in_words(Fact.PATIENT, {"pseudonym": "0123456789abcdef"}) == "01234567"
    assert in_words(Fact.STUDY, {"pseudonym": ""}) == "none"
    assert in_words(Fact.VIEW, "") == "none"
    assert in_words(Fact.VIEW, "AP") == "AP"


@pytest.mark.parametrize(("old", "words"), [
    (None, "known"), (date(2020, 1, 8), "7 days later"), (date(2020, 1, 16), "1 day earlier"),
])  # fmt: skip
def test_days_are_said_by_how_far_they_move(old: date | None, words: str) -> None:
    assert days_moved(old, date(2020, 1, 15)) == words
