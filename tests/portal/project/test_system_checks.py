"""A warning, and no refusal, of a pseudonym secret that can be guessed."""

from __future__ import annotations

from django.test import override_settings

from portal.project.system_checks import pseudonym_secret

GOOD = "kZ3vQ9xTq1mWc7Yb5Hd8RfJs2LgNp4Ua6EoXiVyD"


@override_settings(PSEUDONYM_SECRET="b" * 48)
def test_a_weak_pseudonym_secret_is_a_warning_that_says_what_a_change_costs() -> None:
    (warning,) = pseudonym_secret(None)
    assert warning.id == "hilum.W001"
    assert warning.msg.startswith("HILUM_PSEUDONYM_SECRET has 1 different characters")
    assert "exchange it by `manage.py pseudonym_secret rotate`, which keeps their pseudonyms" in str(warning.hint)
    assert not warning.is_serious()


@override_settings(PSEUDONYM_SECRET=GOOD, SECRET_KEY=GOOD)
def test_one_secret_for_both_is_a_warning() -> None:
    (warning,) = pseudonym_secret(None)
    assert "HILUM_PSEUDONYM_SECRET and HILUM_SECRET_KEY are the same" in warning.msg
    assert GOOD not in warning.msg


@override_settings(PSEUDONYM_SECRET=GOOD)
def test_a_random_one_is_none() -> None:
    assert pseudonym_secret(None) == []
