"""Films in a bucket of a real S3 service: there before their row, fetched where the copy is missing, and checked."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from portal import tasks
from portal.imaging.black_out import PixelBox
from portal.imaging.film import unpack
from portal.intake import film_bucket, film_files, quotas
from portal.intake.film_bucket import AWAY, BucketAway
from portal.intake.film_files import pixel_path, pixels_here, preview_path
from portal.intake.text_decisions import black_out_copies
from portal.intake.waiting import waiting_for
from portal.intake.zip_uploads import receive_zip
from portal.models import Image, Role, Upload
from tests.portal import factories
from tests.portal.s3_service import CLOSED

pytestmark = [pytest.mark.django_db]
Use = Callable[[str], None]


def film(of: Any = None) -> Image:
    return factories.film(of or factories.dataset())


def in_bucket() -> set[str]:
    return set(film_bucket.objects())


def sent(path: Path, published: list[str]) -> Upload:
    content = factories.zipped(path / "films.zip", {"a.png": factories.png(path / "a.png", seed=1)}).read_bytes()
    upload = receive_zip(
        dataset=factories.dataset(),
        file=SimpleUploadedFile("films.zip", content),
        author=factories.curator(),
    )
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def test_what_is_imported_is_in_the_bucket_byte_for_byte(bucket: Use, tmp_path: Path, published: list[str]) -> None:
    assert sent(tmp_path, published).state == Upload.State.DONE
    [image] = Image.objects.all()
    name = film_bucket.object_name(image.pixel_sha256)
    with storages["films"].open(name) as stored:
        assert stored.read() == pixel_path(image.pixel_sha256).read_bytes()
    facts = storages["films"].bucket.Object(f"ward/{name}")
    assert (facts.content_encoding, facts.content_type) == (None, "application/octet-stream")


def content_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def test_a_film_without_a_copy_is_shown_as_with_one(bucket: Use, client: Client) -> None:
    image = film()
    client.force_login(factories.user("rosa", Role.READER, at=image.dataset.site))
    pages = [reverse(name, args=[image.uuid]) for name in ("portal:image-pixels", "portal:image-preview")]
    with_copy = [content_of(client.get(page)) for page in pages]
    pixel_path(image.pixel_sha256).unlink()
    preview_path(image).unlink()
    assert [content_of(client.get(page)) for page in pages] == with_copy
    assert pixel_path(image.pixel_sha256).exists()


@pytest.mark.parametrize("damage", [b"not gzip", None])
def test_bytes_of_another_film_are_never_shown(bucket: Use, client: Client, damage: bytes | None) -> None:
    image, other = film(), film(factories.dataset("Others"))
    false = pixel_path(other.pixel_sha256).read_bytes() if damage is None else damage
    pixel_path(image.pixel_sha256).unlink()
    storages["films"].save(film_bucket.object_name(image.pixel_sha256), io.BytesIO(false))
    with pytest.raises(film_bucket.WrongPixels, match="other bytes than those of the film"):
        pixels_here(image.pixel_sha256)
    assert not pixel_path(image.pixel_sha256).exists()
    client.raise_request_exception = False
    client.force_login(factories.user("rosa", Role.READER, at=image.dataset.site))
    answer = client.get(reverse("portal:image-pixels", args=[image.uuid]))
    assert answer.status_code == 503
    assert b"The bucket in which the films lie does not answer" in answer.content


def test_an_import_waits_for_a_bucket_that_is_away_and_then_goes_on(
    bucket: Use, _s3_service: str, tmp_path: Path, published: list[str]
) -> None:
    bucket(CLOSED)
    upload = sent(tmp_path, published)
    assert (upload.state, Image.objects.count()) == (Upload.State.RECEIVED, 0)
    assert waiting_for(upload, upload.uploaded_by) == AWAY
    bucket(_s3_service)
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, upload.message) == (Upload.State.DONE, "1 film imported.")
    assert in_bucket() == {Image.objects.get().pixel_sha256}


def test_who_may_not_is_told_so(bucket: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    storages["films"].bucket.delete()
    with pytest.raises(BucketAway, match="The bucket of films refuses: NoSuchBucket"):
        film_bucket.objects()


def test_equal_films_share_an_object_that_goes_with_the_last(bucket: Use) -> None:
    image = film()
    twin = factories.copy(image, factories.dataset("Twins"))
    film_files.remove_unused_pixels(image.pixel_sha256)
    assert in_bucket() == {image.pixel_sha256}
    for one in (image, twin):
        Image.objects.filter(pk=one.pk).delete()
    film_files.remove_unused_pixels(image.pixel_sha256)
    assert in_bucket() == set()
    assert not pixel_path(image.pixel_sha256).exists()


def test_an_erased_patient_is_not_in_the_bucket(bucket: Use) -> None:
    gone, kept = film(), film(factories.dataset("Others"))
    pixel_path(gone.pixel_sha256).unlink()  # no copy is here
    call_command(
        "erase_patient",
        str(gone.patient.uuid),
        site=gone.dataset.site.name,
        reason="consent withdrawn",
        confirm=gone.patient.pseudonym[:8],
    )
    assert in_bucket() == {kept.pixel_sha256}


def test_text_that_was_blacked_out_is_not_in_the_bucket(bucket: Use, django_capture_on_commit_callbacks: Any) -> None:
    image = film()
    before = image.pixel_sha256
    author = factories.curator(at=image.dataset.site)
    with django_capture_on_commit_callbacks(execute=True):
        black_out_copies(image=image, boxes=[PixelBox(2, 2, 8, 8)], pixels_seen=before, author=author)
    image.refresh_from_db()
    assert image.pixel_sha256 != before
    assert in_bucket() == {image.pixel_sha256}
    pixel_path(image.pixel_sha256).unlink()
    stored = unpack(pixels_here(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    assert not stored[3:7, 3:7].any()


def test_the_quota_counts_what_lies_in_the_bucket(bucket: Use) -> None:
    image = film()
    site = image.dataset.site
    with_copy = quotas.usage_of(site, fresh=True).by_kind["films"]
    pixel_path(image.pixel_sha256).unlink()
    assert quotas.usage_of(site, fresh=True).by_kind["films"] == with_copy > 0


def test_pages_with_the_usage_are_shown_while_the_bucket_is_away(bucket: Use, client: Client, settings: Any) -> None:
    settings.SITE_QUOTA_GIB = 1
    image = film()
    bucket(CLOSED)
    quotas.usage_of(image.dataset.site, fresh=True)
    client.force_login(factories.curator(at=image.dataset.site))
    assert client.get(reverse("portal:dataset", args=[image.dataset.uuid])).status_code == 200
    assert content_of(client.get(reverse("portal:image-pixels", args=[image.uuid])))
