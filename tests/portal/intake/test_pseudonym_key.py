"""An import under another pseudonym secret is refused: it would make two persons of one."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import override_settings

from portal import tasks
from portal.intake.pseudonym_key import OtherKey, fingerprint, has_other_key, require_same_key
from portal.intake.zip_uploads import receive_zip
from portal.models import Image, Upload
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
OTHER = override_settings(PSEUDONYM_SECRET="Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt")


def test_the_first_import_keeps_the_fingerprint_of_the_key() -> None:
    site = factories.site("Seoul")
    assert (site.key_fingerprint, has_other_key(site)) == ("", False)
    require_same_key(site)
    assert site.key_fingerprint == fingerprint(site) != fingerprint(factories.site("Busan"))
    require_same_key(site)
    with OTHER, pytest.raises(OtherKey, match="HILUM_PSEUDONYM_SECRET is not the secret that the films of Seoul"):
        require_same_key(site)


def test_the_fingerprint_tells_nothing_of_the_secret() -> None:
    site = factories.site("Seoul")
    assert len(fingerprint(site)) == 16
    assert fingerprint(site) not in settings.PSEUDONYM_SECRET


def test_the_command_refuses_and_goes_on_under_the_former_secret(tmp_path: Path) -> None:
    factories.site("Seoul")

    def run(name: str) -> None:
        factories.png(tmp_path / name / f"{name}.png", seed=len(name))
        options = {"dataset": "D", "site": "Seoul", "stdout": StringIO(), "stderr": StringIO()}
        call_command("import_images", tmp_path / name, **options)

    run("a")
    with OTHER, pytest.raises(CommandError, match="Nothing was imported"):
        run("bb")
    assert (Image.objects.count(), Upload.objects.first().state) == (1, "failed")  # type: ignore[union-attr]
    run("bb")
    assert Image.objects.count() == 2


def test_an_upload_fails_with_the_sentence(tmp_path: Path, published: list[str]) -> None:
    of = factories.dataset()
    require_same_key(of.site)
    films = factories.zipped(tmp_path / "films.zip", {"a.png": factories.png(tmp_path / "a.png", seed=1)})
    file = SimpleUploadedFile("films.zip", films.read_bytes())
    upload = receive_zip(dataset=of, file=file, author=factories.curator())
    with OTHER:
        tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, Image.objects.count()) == ("failed", 0)
    assert upload.message.startswith("HILUM_PSEUDONYM_SECRET is not the secret that the films of")
