"""The secret is exchanged: pseudonyms stay, the new secret opens everything, and the former one nothing."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.backups.key_rotation import CannotRotate, rotate
from portal.intake import encrypted_files
from portal.intake.encrypted_files import NotDecrypted
from portal.intake.pseudonym_key import OtherKey, has_other_key, require_same_key, site_key
from portal.intake.quarantine_files import kept_path
from portal.models import AuditEvent, Image, Patient, QuarantinedFile, Site
from portal.project import running
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
FORMER = "kZ3vQ9xTq1mWc7Yb5Hd8RfJs2LgNp4Ua6EoXiVyD"
NEW = "Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt"
NEXT = "Qm4rV7yWc2Zs9Xd6Ke1Tf8Bg5Hn3Jp0LaUoIxEvR"


@pytest.fixture
def films(tmp_path: Path, data_dir: Path, settings: Any) -> Path:
    """A patient's first film, a film in quarantine of five pieces, and a second film of the patient to come."""
    settings.PSEUDONYM_SECRET = FORMER
    settings.QUARANTINE_DAYS = 30
    factories.site("Seoul")
    factories.dicom(tmp_path / "first" / "a.dcm", PatientID="KR-1", seed=1)
    (tmp_path / "first" / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + os.urandom(4_500_000))
    factories.dicom(tmp_path / "second" / "c.dcm", PatientID="KR-1", seed=2)
    import_films(tmp_path / "first")
    return tmp_path


def import_films(folder: Path) -> None:
    call_command("import_images", folder, dataset="D", site="Seoul", stdout=StringIO(), stderr=StringIO())


def command(path: Path, secret: str) -> str:
    path.write_text(secret)
    call_command("pseudonym_secret", "rotate", path, stdout=(output := StringIO()))
    return output.getvalue()


def test_pseudonyms_stay_and_the_former_secret_opens_nothing(films: Path, settings: Any) -> None:
    (quarantined,) = QuarantinedFile.objects.all()
    site = Site.objects.get()
    content, key = encrypted_files.decrypt(kept_path(quarantined)), site_key(site)
    assert len(content) > 4_000_000

    output = command(films / "new", NEW)

    assert "The keys of 1 sites are kept under the new secret" in output and "files in quarantine" in output
    assert "Now set HILUM_PSEUDONYM_SECRET to the secret in" in output
    assert NEW not in output and FORMER not in output
    site.refresh_from_db()
    assert has_other_key(site)
    with pytest.raises(NotDecrypted):
        encrypted_files.decrypt(kept_path(quarantined))
    with pytest.raises(CommandError, match="is not the secret that the films of Seoul came in with"):
        import_films(films / "second")
    with pytest.raises(OtherKey):
        site_key(site)

    settings.PSEUDONYM_SECRET = NEW
    assert site_key(site) == key and not has_other_key(site)
    assert encrypted_files.decrypt(kept_path(quarantined)) == content
    assert kept_path(quarantined).stat().st_mode & 0o777 == 0o600
    import_films(films / "second")
    assert (Patient.objects.count(), Image.objects.count()) == (1, 2)

    command(films / "next", NEXT)  # and once more
    settings.PSEUDONYM_SECRET = NEXT
    site.refresh_from_db()
    assert site_key(site) == key
    assert encrypted_files.decrypt(kept_path(quarantined)) == content
    event = AuditEvent.objects.filter(verb="rotate pseudonym secret").latest("pk")
    assert event.before["fingerprint"] != event.after["fingerprint"]
    assert not any(secret in str(event.after) + str(event.before) for secret in (FORMER, NEW, NEXT))


def test_one_that_was_killed_goes_on(films: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (quarantined,) = QuarantinedFile.objects.all()
    content = encrypted_files.decrypt(kept_path(quarantined))

    def killed(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("portal.backups.key_rotation.sealed_under", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate(NEW)
    assert not has_other_key(Site.objects.get())  # nothing but files was exchanged
    sites, files = rotate(NEW)
    assert (sites, files) == (1, 0)
    settings.PSEUDONYM_SECRET = NEW
    assert encrypted_files.decrypt(kept_path(quarantined)) == content
    assert not [path for path in kept_path(quarantined).parent.iterdir() if path.name.startswith(".")]


def test_a_new_site_works_under_the_new_secret(films: Path, settings: Any) -> None:
    rotate(NEW)
    settings.PSEUDONYM_SECRET = NEW
    busan = factories.site("Busan")
    require_same_key(busan)
    rotate(NEXT)
    settings.PSEUDONYM_SECRET = NEXT
    for site in Site.objects.all():
        require_same_key(site)


def test_what_is_refused(films: Path, settings: Any, data_dir: Path) -> None:
    for secret, sentence in (
        ("short", "has 5 characters; use at least 40"),
        ("a" * 48, "has 1 different characters, so that it can be guessed"),
        (FORMER, "has the secret that Hilum works with"),
    ):
        with pytest.raises(CommandError, match=sentence):
            command(films / "new", secret)
    with pytest.raises(CommandError, match="write the new secret into it"):
        call_command("pseudonym_secret", "rotate", films / "none")
    with pytest.raises(CommandError, match="seal needs --passphrase-file"):
        call_command("pseudonym_secret", "seal", films / "sealed")
    with running.claimed(data_dir, command="manage.py start"), pytest.raises(CommandError, match="Stop it first"):
        command(films / "new", NEW)
    (quarantined,) = QuarantinedFile.objects.all()
    kept_path(quarantined).write_bytes(b"damaged")
    with pytest.raises(CannotRotate, match="is damaged, or of another secret: remove it on its page"):
        rotate(NEW)
    assert not has_other_key(Site.objects.get())
    settings.PSEUDONYM_SECRET = NEXT
    with pytest.raises(CannotRotate, match="is not the secret that the films of Seoul came in with"):
        rotate(NEW)


def test_a_local_installation_gets_its_own_file(films: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HILUM_PSEUDONYM_SECRET", raising=False)
    own = data_dir / "secrets" / "hilum-pseudonym-secret"
    own.parent.mkdir()
    own.write_text(FORMER)
    assert f"{own} has the new secret." in command(films / "new", NEW)
    assert own.read_text() == NEW and own.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in own.parent.iterdir()] == [own.name]
