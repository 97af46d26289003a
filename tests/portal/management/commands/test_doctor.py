"""`manage.py doctor` lists every check and fails where one found a fault."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from portal.management.commands import doctor
from portal.project.condition import CHECKS, Condition, database, disk

pytestmark = [pytest.mark.django_db]


def test_faults_are_named_with_their_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Condition("broker", "The broker does not answer (OSError).", "Start Valkey or Redis.")
    monkeypatch.setattr(doctor, "CHECKS", [database, lambda: fault, disk])
    output = StringIO()
    with pytest.raises(CommandError, match="1 of 3 checks found a fault"):
        call_command("doctor", stdout=output)
    assert output.getvalue().splitlines() == [
        "database: ok",
        "broker: The broker does not answer (OSError).",
        "  Start Valkey or Redis.",
        "disk: ok",
    ]


def test_without_a_fault_it_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(CHECKS) > 10
    monkeypatch.setattr(doctor, "CHECKS", [database, disk])
    call_command("doctor", stdout=StringIO())
