"""The pseudonym secret is sealed, checked and shown again, and nothing else opens the file."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.backups import escrow
from portal.backups.problems import CannotBackUp
from portal.models import AuditEvent

pytestmark = [pytest.mark.django_db]
SECRET = "s3cret of the installation, with forty characters or more"
PASSPHRASE = "seven random words of a dice roll"


@pytest.fixture
def sealed(tmp_path: Path, data_dir: Path, settings: Any) -> Path:
    settings.PSEUDONYM_SECRET = SECRET
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    escrow.seal(tmp_path / "sealed.json", PASSPHRASE)
    return tmp_path / "sealed.json"


def command(act: str, path: Path) -> str:
    output = StringIO()
    call_command("pseudonym_secret", act, path, passphrase_file=path.parent / "passphrase", stdout=output)
    return output.getvalue()


def test_the_command_seals_checks_and_shows(sealed: Path) -> None:
    other = sealed.with_name("second.json")
    assert "Sealed the secret" in command("seal", other)
    assert other.stat().st_mode & 0o777 == 0o600
    assert "of this installation" in command("check", other)
    assert command("show", other).strip() == SECRET
    assert SECRET not in other.read_text() and json.loads(other.read_text())["fingerprint"]
    verbs = list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["seal pseudonym secret", "seal pseudonym secret", "show pseudonym secret"]
    assert not AuditEvent.objects.filter(after__icontains=SECRET[:10]).exists()


def test_a_secret_that_was_changed_since_is_named(sealed: Path, settings: Any) -> None:
    settings.PSEUDONYM_SECRET = "another secret, which is forty characters or longer"
    with pytest.raises(CommandError, match="this installation works with"):
        command("check", sealed)
    assert escrow.unseal(sealed, PASSPHRASE) == SECRET


def test_another_passphrase_and_a_changed_file_are_refused(sealed: Path) -> None:
    with pytest.raises(CannotBackUp, match="another passphrase"):
        escrow.unseal(sealed, PASSPHRASE + "s")
    facts = json.loads(sealed.read_text())
    sealed.write_text(json.dumps(facts | {"fingerprint": "0" * 16}))
    with pytest.raises(CannotBackUp, match="or was changed since"):
        escrow.unseal(sealed, PASSPHRASE)
    sealed.write_text(json.dumps(facts | {"format": 2}))
    with pytest.raises(CannotBackUp, match="has format 2, and this release reads 1"):
        escrow.unseal(sealed, PASSPHRASE)
    sealed.write_text("{}")
    with pytest.raises(CannotBackUp, match="is no sealed secret, or is damaged"):
        escrow.unseal(sealed, PASSPHRASE)


def test_it_is_not_written_over_nor_into_the_data_folder(sealed: Path, data_dir: Path) -> None:
    with pytest.raises(CannotBackUp, match="is there already"):
        escrow.seal(sealed, PASSPHRASE)
    with pytest.raises(CannotBackUp, match="is in the data folder"):
        escrow.seal(data_dir / "sealed.json", PASSPHRASE)
