"""A cell is never a formula, and is read as what was written."""

from __future__ import annotations

from itertools import product

from portal.labels.formula_cells import neutralised, restored


def test_what_is_read_is_what_was_written() -> None:
    """All texts of up to four signs, of those that matter and one that does not."""
    for length in range(5):
        for signs in product("'=+-@\t\r\n＝a", repeat=length):
            text = "".join(signs)
            assert neutralised(text)[:1] not in set("=+-@\t\r\n＝＋－＠")
            assert restored(neutralised(text)) == text


def test_full_width_signs_are_formulas_too() -> None:
    for sign in "＝＋－＠":
        assert neutralised(f"{sign}1") == f"'{sign}1"


def test_other_texts_stay_as_they_are() -> None:
    for text in ("it's", "'quoted'", "a-b", ""):
        assert neutralised(text) == restored(text) == text
