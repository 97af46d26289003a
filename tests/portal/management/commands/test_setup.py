"""`manage.py setup` on an empty installation."""

from __future__ import annotations

import io
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from portal.models import Membership, Site, User

pytestmark = [pytest.mark.django_db]


def setup(password: str, *, site: str = "Seoul", user: str = "maria", monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
    out = StringIO()
    call_command("setup", site=site, user=user, password_from_stdin=True, stdout=out)
    return out.getvalue()


def test_the_first_person_administers_and_manages(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = setup("four rusty kettles", monkeypatch=monkeypatch)
    maria = User.objects.get()
    assert (maria.is_superuser, maria.is_staff, maria.check_password("four rusty kettles")) == (True, True, True)
    assert str(Membership.objects.get()) == "maria is manager at Seoul"
    assert str(data_dir) in output
    with pytest.raises(CommandError, match="has an administrator already"):
        setup("four rusty kettles", user="other", monkeypatch=monkeypatch)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password": "short"}, "too short.*Nothing was made"),
        ({"password": "mariamaria12"}, "Nothing was made"),
        ({"user": "ma ria"}, "The user name is refused"),
        ({"site": "x" * 101}, "1 to 100 characters"),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_made(
    change: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match=sentence):
        setup(**{"password": "four rusty kettles", **change}, monkeypatch=monkeypatch)
    assert (User.objects.count(), Site.objects.count()) == (0, 0)


def test_without_a_terminal_the_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandError, match="There is no terminal to ask at; give --site and --user"):
        call_command("setup")
    with pytest.raises(CommandError, match="give --password-from-stdin"):
        call_command("setup", site="Seoul", user="maria")
    assert not User.objects.exists()
