from __future__ import annotations

import pytest

from portal.imaging import header_view, views
from portal.imaging.views import quoted, view_of_word
from portal.models import Image


def test_words_fit_in_the_column_of_films() -> None:
    longest = Image._meta.get_field("view_position").max_length
    assert max(len(view) for view in views._WORDS.values()) == longest
    assert set(header_view._CODES.values()) <= set(views._WORDS.values())


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("swimmers", "SWIMMERS"),
        ("Doe, Jane", "AAA, AAAA"),
        ("Müller-7", "AAAAAA 9"),
        ("x" * 99, "A" * 20),
        ("a\x04\nb", "A? A"),
    ],
)
def test_only_terms_are_quoted(word: str, shown: str) -> None:
    assert view_of_word(word) is None
    assert quoted(word) == shown


@pytest.mark.parametrize("word", ["", "UNK", "n/a", "NaN", " - "])
def test_words_for_no_view(word: str) -> None:
    assert view_of_word(word) == ""
