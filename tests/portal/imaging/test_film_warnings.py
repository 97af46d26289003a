from __future__ import annotations

from portal.imaging.film_warnings import WARNINGS, keys_of, warned


def test_every_warning_is_a_sentence_and_can_be_counted() -> None:
    for key, warning in WARNINGS.items():
        assert warning.sentence[0].isupper() and warning.sentence.endswith("."), key
        assert warning.one.startswith("film ") and warning.several.startswith("films "), key
        assert warning.one != warning.several


def test_keys_come_back_in_the_order_of_the_table() -> None:
    header = warned({"slope", "burned_in"})
    assert keys_of({"modality": "DX", **header}) == ["burned_in", "slope"]
    assert header["warning:slope"] == WARNINGS["slope"].sentence
