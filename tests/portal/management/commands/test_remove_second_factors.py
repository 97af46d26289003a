"""The command with which an administrator removes lost second factors."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from portal.models import AuditEvent
from tests.portal import factories
from tests.portal.people.test_second_factors import with_app

pytestmark = [pytest.mark.django_db]


def test_it_removes_them_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with_app(factories.curator("kim"))
    call_command("remove_second_factors", "kim")
    call_command("remove_second_factors", "kim")
    first, second = capsys.readouterr().out.splitlines()
    assert "by password alone" in first and "had no second factor" in second
    assert AuditEvent.objects.filter(verb="remove second factors", actor=None).count() == 1


def test_a_person_who_does_not_exist_is_named() -> None:
    with pytest.raises(CommandError, match="no person 'nobody'"):
        call_command("remove_second_factors", "nobody")
