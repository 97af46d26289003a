"""Films that may be the same are kept as pairs after an import, once, and for films that were there before."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from celery import Celery
from django.core.management import CommandError, call_command
from PIL import Image as PillowImage

from portal import tasks
from portal.imaging.film import Film, PixelFacts, pack, pixel_sha256, shown_values, unpack
from portal.imaging.phantom.phantom import make_phantom
from portal.intake import film_files, fingerprints
from portal.intake.fingerprints import look_for_near_copies, sites_to_look_at
from portal.models import Dataset, FilmFingerprint, FilmPair, Image, Site
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


def store(of: Dataset, stored: np.ndarray, facts: PixelFacts, person: str = "", **fields: Any) -> Image:
    sha256 = pixel_sha256(stored)
    film_files.write_once(film_files.pixel_path(sha256), pack(stored))
    patient = factories.patient(person or f"film {sha256}", at=of.site, identified=bool(person))
    return Image.objects.create(
        dataset=of, patient=patient, source_sha256=sha256, pixel_sha256=sha256, rows=stored.shape[0],
        columns=stored.shape[1], facts=facts.to_json(), **fields,
    )  # fmt: skip


def phantom(of: Dataset, seed: int, **fields: Any) -> Image:
    drawn = make_phantom(seed=seed, size=256)
    return store(of, drawn.pixels, drawn.facts, **fields)


def re_export(film: Image, of: Dataset) -> Image:
    """As an 8-bit JPEG of less than full size."""
    pixels = unpack(film_files.pixel_path(film.pixel_sha256).read_bytes(), film.rows, film.columns)
    shown = shown_values(Film(pixels, PixelFacts.from_json(film.facts)))
    file = io.BytesIO()
    grey = PillowImage.fromarray((shown * 255).astype(np.uint8)).resize((200, 200))
    grey.save(file, "JPEG", quality=70)
    stored = np.asarray(PillowImage.open(file)).astype(np.uint16)
    return store(of, stored, PixelFacts(rows=200, columns=200, bits_stored=8, offset=0, photometric="MONOCHROME2"))


def pairs() -> set[tuple[int, int]]:
    return set(FilmPair.objects.values_list("first", "second"))


@pytest.mark.slow
@pytest.mark.both
def test_a_re_export_in_another_dataset_is_a_pair(of: Dataset) -> None:
    films = [phantom(of, seed) for seed in range(4)]
    again = re_export(films[2], factories.dataset("Export"))
    progress = look_for_near_copies(of.site)
    assert (progress.pairs, progress.left) == (1, 0)
    assert pairs() == {(films[2].pk, again.pk)}
    pair = FilmPair.objects.get()
    assert (pair.site, pair.verdict, pair.correlation > 0.7) == (of.site, "", True)


def test_a_later_film_is_compared_with_those_before_and_nothing_twice(of: Dataset) -> None:
    films = [phantom(of, seed) for seed in range(3)]
    assert look_for_near_copies(of.site).pairs == 0
    assert not sites_to_look_at().exists()
    again = re_export(films[0], of)
    assert list(sites_to_look_at()) == [of.site]
    assert look_for_near_copies(of.site).pairs == 1
    assert look_for_near_copies(of.site).pairs == 0
    assert pairs() == {(films[0].pk, again.pk)}


def test_films_of_another_site_are_never_compared(of: Dataset) -> None:
    film = phantom(of, 0)
    elsewhere = factories.dataset("Elsewhere", at=Site.objects.create(name="Busan"))
    re_export(film, elsewhere)
    for site in Site.objects.all():
        look_for_near_copies(site)
    assert pairs() == set()


def test_equal_pixels_are_no_pair_and_a_copy_is_not_judged_again(of: Dataset) -> None:
    film = phantom(of, 0)
    copy = factories.copy(film, factories.dataset("Copies"))
    again = re_export(film, of)
    look_for_near_copies(of.site)
    assert pairs() == {(film.pk, again.pk)}
    assert bytes(FilmFingerprint.objects.get(image=copy).bits) == b""


def test_films_that_show_nothing_or_are_lost_are_left_aside(of: Dataset) -> None:
    dark = [phantom(of, seed, shows_nothing=True) for seed in range(2)]
    lost = phantom(of, 5)
    film_files.pixel_path(lost.pixel_sha256).unlink()
    progress = look_for_near_copies(of.site)
    assert (progress.pairs, progress.left) == (0, 0)
    assert {bytes(row.bits) for row in FilmFingerprint.objects.all()} == {b""}
    assert FilmFingerprint.objects.count() == len(dark) + 1


def test_a_pass_stops_in_time_and_the_next_goes_on(of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_BATCH", 1)
    film = phantom(of, 0)
    for seed in range(1, 3):
        phantom(of, seed)
    again = re_export(film, of)
    left = []
    while not left or left[-1]:
        left.append(look_for_near_copies(of.site, seconds=0).left)
        assert len(left) < 20
    assert left[0] == 4
    assert left == sorted(left, reverse=True)
    assert pairs() == {(film.pk, again.pk)}


def test_the_task_goes_on_until_nothing_is_left(of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Site] = []
    monkeypatch.setattr(tasks, "publish_look", queued.append)
    monkeypatch.setattr(tasks, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(fingerprints, "_BATCH", 1)
    phantom(of, 0)
    phantom(of, 1)
    tasks.look_everywhere()
    while queued:
        tasks.look_for_near_copies_at(str(queued.pop().uuid))
    assert set(FilmFingerprint.objects.values_list("compared", flat=True)) == {True}


@pytest.mark.slow
def test_an_import_does_not_fail_for_a_missing_broker(
    of: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody_listens = Celery("test", broker="redis://127.0.0.1:1/0", set_as_current=False)
    nobody_listens.conf.task_publish_retry = False
    monkeypatch.setattr(fingerprints, "current_app", nobody_listens)
    fingerprints.publish_look(of.site)
    assert "are looked for later" in caplog.text


def test_the_command_says_what_is_to_be_judged(of: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    re_export(phantom(of, 0), of)
    call_command("find_duplicates", site=of.site.name)
    assert capsys.readouterr().out == "1 new pairs of films that may be the same; 1 have not been judged.\n"
    with pytest.raises(CommandError, match="There is no site 'Soul'; the sites are: Seoul"):
        call_command("find_duplicates", site="Soul")
