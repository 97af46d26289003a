"""A cell is never a formula, and is read as what was written."""

from __future__ import annotations

from itertools import product

from portal.labels.formula_cells import neutralised, restored


def test_what_is_read_is_what_was_written() -> None:
    """All texts of up to four signs, of those that matter and one that does not."""
    for length in range(5):
        for signs in product("'=+-@\t\ra", repeat=length):
            text = "".join(signs)
            assert neutralised(text)[:1] not in set("=+-@\t\r")
            assert restored(neutralised(text)) == text


def test_other_texts_stay_as_they_are() -> None:
    for text in ("it's", "'quoted'", "a-b", ""):
        assert neutralised(text) == restored(text) == text
