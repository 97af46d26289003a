"""Files prepared in parallel come out in their order, one at a time, and end with the import."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings

from portal.imaging.decoding import Decoder
from portal.imaging.errors import UnusableFile
from portal.imaging.film import pack, pixel_sha256
from portal.imaging.read_film import read_film
from portal.intake import film_files
from portal.intake.decoder_slots import DecoderSlots
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.films_ahead import FILMS_WAITING, FilmsAhead
from portal.intake.import_report import ImportReport
from portal.models import Upload
from tests.portal import factories


@pytest.fixture(scope="module")
def decoders() -> Iterator[list[Decoder]]:
    with Decoder() as one, Decoder() as other:
        yield [one, other]


def none_is_known(source: str) -> bool:
    return False


@pytest.fixture
def paths(tmp_path: Path, data_dir: Path) -> list[Path]:
    """The first film takes much longer than the others."""
    folder = tmp_path / "films"
    folder.mkdir()
    first = factories.png(folder / "0.png", np.arange(2000 * 2000, dtype=np.uint16).reshape(2000, 2000))
    return [first, *(factories.png(folder / f"{n}.png", seed=n) for n in range(1, 8))]


def test_films_come_in_the_order_of_their_files(decoders: list[Decoder], paths: list[Path]) -> None:
    with FilmsAhead(decoders, paths, none_is_known) as ahead:
        for path in paths:
            film, header = ahead.decode(path)
            same, same_header = read_film(path)
            assert (film.facts, header) == (same.facts, same_header)
            assert film_files.pixel_path(film.pixel_sha256).read_bytes() == pack(same.stored)
    assert list(film_files.unfinished_pixels()) == []
    assert all(decoder.pid for decoder in decoders)


def test_only_a_few_files_are_ahead(decoders: list[Decoder], paths: list[Path]) -> None:
    taken: list[Path] = []

    def watched() -> Iterator[Path]:
        for path in paths:
            taken.append(path)
            yield path

    with FilmsAhead(decoders, watched(), none_is_known) as ahead:
        assert len(taken) == len(decoders) + FILMS_WAITING
        ahead.source_sha256(paths[0])
        ahead.decode(paths[0])
        assert len(taken) == len(decoders) + FILMS_WAITING + 1


def test_an_unusable_file_costs_itself_only(decoders: list[Decoder], paths: list[Path]) -> None:
    paths[2].write_bytes(b"no film at all")
    with FilmsAhead(decoders, paths, none_is_known) as ahead:
        ahead.decode(paths[1])
        with pytest.raises(UnusableFile, match="no picture"):
            ahead.decode(paths[2])
        ahead.decode(paths[3])
    assert list(film_files.unfinished_pixels()) == []


def test_a_full_disk_ends_the_import_and_quarantines_nothing(
    decoders: list[Decoder], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(film_files, "new_pixels", lambda: nullcontext(Path("/dev/full")))
    with FilmsAhead(decoders, paths[:1], none_is_known) as ahead, pytest.raises(OSError, match="No space left"):
        ahead.decode(paths[0])


def test_who_waits_for_a_film_sends_heartbeats(
    decoders: list[Decoder], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slots are taken by another import, which ends at the second heartbeat."""
    monkeypatch.setattr("portal.intake.films_ahead.SECONDS_BETWEEN_BEATS", 0.01)
    with ExitStack() as other_import:
        slots = DecoderSlots(max(len(decoders), django_settings.IMPORT_PROCESSES))
        for _ in range(slots._number):
            other_import.enter_context(slots.one())
        beats: list[int] = []

        def beat() -> None:
            beats.append(1)
            if len(beats) == 2:
                other_import.close()

        with FilmsAhead(decoders, paths[1:], none_is_known, beat) as ahead:
            ahead.decode(paths[1])
        assert len(beats) >= 2


def test_a_known_file_is_hashed_and_decoded_only_if_asked_for(decoders: list[Decoder], paths: list[Path]) -> None:
    with FilmsAhead(decoders, paths, lambda source: True) as ahead:
        ahead.source_sha256(paths[1])
        assert ahead._current is not None
        assert ahead._current.film is None
        assert ahead.decode(paths[1])[0].pixel_sha256 == pixel_sha256(read_film(paths[1])[0].stored)


def test_files_out_of_turn_are_prepared_too(decoders: list[Decoder], paths: list[Path]) -> None:
    with FilmsAhead(decoders, paths[:2], none_is_known) as ahead:
        for path in (paths[5], paths[0]):
            assert ahead.decode(path)[0].pixel_sha256 == pixel_sha256(read_film(path)[0].stored)


class StoppedDecoder(Decoder):
    """Its child is stopped when it gets a file."""

    def __init__(self) -> None:
        super().__init__(seconds=250)
        self.sent = threading.Event()
        self.requests = 0

    def _send(self, request: dict[str, Any]) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)
        super()._send(request)
        self.requests += 1
        self.sent.set()


def test_an_import_that_fails_does_not_wait_for_its_decoders(paths: list[Path]) -> None:
    before = threading.active_count()
    with StoppedDecoder() as one, StoppedDecoder() as other:

        def fail() -> None:
            with FilmsAhead([one, other], paths, none_is_known):
                assert one.sent.wait(100)
                assert other.sent.wait(100)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert threading.active_count() == before
        assert [one.requests, other.requests] == [1, 1]  # none about files whose decoder was interrupted


@pytest.mark.slow
@pytest.mark.django_db
def test_several_processes_import_the_same_as_one(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.intake.films.Decoder", Decoder)
    paths[3].write_bytes(b"no film")
    paths[6].write_bytes(paths[1].read_bytes())
    outcomes = []
    for processes in (1, 3):
        of = factories.dataset(f"by {processes}", at=None)
        report = ImportReport()
        entries = entries_of_folder(paths[0].parent, None, None, report)
        upload = Upload.objects.create(dataset=of)
        import_entries(upload=upload, entries=entries, report=report, actor=None, processes=processes)
        films = list(of.images.order_by("pk").values_list("source_sha256", "pixel_sha256", "facts", "header"))
        outcomes.append((report.counts, films, list(of.quarantined.values_list("source_sha256", "sentence"))))
    assert outcomes[0] == outcomes[1]
    assert +outcomes[0][0] == {"imported": 6, "quarantined": 1, "the same film again": 1}
