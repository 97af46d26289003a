"""Thousands of malformed files made by code: each is shown with the right pixels or refused with a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from portal.imaging.decoding import Decoder
from portal.imaging.errors import UnusableFile
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, QuarantinedFile, Upload
from tests.portal import factories
from tests.portal.imaging import factories as make
from tests.portal.imaging.malformed import Good, Malformed, corpus, good_films

SECONDS, MEBIBYTES = 20.0, 2048
FILMS = good_films()
CORPUS = corpus(FILMS)


@pytest.fixture(scope="module")
def limited() -> Iterator[Decoder]:
    """Slower or larger than this, and the sentence says so."""
    with Decoder(seconds=SECONDS, memory_mib=MEBIBYTES) as decoder:
        yield decoder


def is_right(decoder: Decoder, path: Path, film: Good | Malformed) -> bool:
    """Whether the pixels are those of the film; False if the file is refused with a reason."""
    sentence = ""
    try:
        decoded, _ = decoder.decode(path)
    except UnusableFile as refused:
        sentence = refused.sentence
    if sentence:
        assert len(sentence) > 20
        assert not re.search("crashed|more than 20 seconds|more memory", sentence)
        return False
    values = decoded.stored.astype(np.int64) - decoded.facts.offset
    np.testing.assert_array_equal(values, film.pixels)
    return True


def test_every_encoding_and_several_hundred_files_are_there() -> None:
    assert len({film.syntax for film in FILMS}) == 10
    assert len({(case.film, case.name) for case in CORPUS}) == len(CORPUS) > 6_000


@pytest.mark.parametrize("film", FILMS, ids=lambda film: film.name)
def test_is_shown_with_the_right_pixels_or_refused_with_a_reason(film: Good, limited: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(film.file())
    assert is_right(limited, path, film)
    outcomes: Counter[bool] = Counter()
    for case in CORPUS:
        if case.film == film.name:
            path.write_bytes(case.data)
            try:
                outcomes[is_right(limited, path, case)] += 1
            except AssertionError as error:
                raise AssertionError(f"{case.film}: {case.name}") from error
    assert min(outcomes[True], outcomes[False]) > 40, outcomes


@pytest.mark.django_db
@pytest.mark.slow
def test_an_import_takes_or_quarantines_each_of_them(tmp_path: Path) -> None:
    chosen = CORPUS[:: len(CORPUS) // 420]
    for number, case in enumerate(chosen):
        (tmp_path / f"{number:04d}.dcm").write_bytes(case.data)
    of, report = factories.dataset(), ImportReport()
    entries = entries_of_folder(tmp_path, None, None, report)
    upload = Upload.objects.create(dataset=of)
    import_entries(upload=upload, entries=entries, report=report, actor=None)
    upload.refresh_from_db()
    ended = sum(report.counts[name] for name in ("imported", "there already", "the same film again", "quarantined"))
    assert (upload.state, ended + report.counts["quarantined already"]) == ("done", len(chosen))
    assert Dataset.objects.get().images.count() <= len(FILMS)
    assert QuarantinedFile.objects.count() > 200
    assert not QuarantinedFile.objects.filter(sentence="").exists()


# what these files have brought to light -------------------------------------------------------------------


def frames(folder: Path) -> dict[str, tuple[bytes, ...]]:
    """Codestreams of 12 bits, in a film that says 9, by the kind of JPEG."""
    pixels = make.ramp(48, 40)
    said = {**make.film_elements(pixels), make.BITS_STORED: ("US", 9), make.HIGH_BIT: ("US", 8)}
    signed = {**said, make.REPRESENTATION: ("US", 1)}
    kinds = {"lossless": (make.JPEG_LOSSLESS, False), "extended": (make.JPEG_EXTENDED, True)}
    made: dict[str, tuple[bytes, ...]] = {}
    for name, (syntax, is_lossy) in kinds.items():
        frame = make.frame_by_gdcm(folder, pixels, is_lossy=is_lossy)
        made[name] = tuple(make.encapsulated_bytes(elements, frame, syntax) for elements in (said, signed))
    return made


@pytest.mark.parametrize("kind", ["lossless", "extended"])
def test_bits_of_jpeg_beyond_those_of_the_header_are_kept(tmp_path: Path, kind: str) -> None:
    unsigned, signed = frames(tmp_path)[kind]
    film, header = make.read_bytes(unsigned, tmp_path)
    assert film.facts.bits_stored == 12
    assert np.abs(film.stored - make.ramp(48, 40)).max() <= (40 if kind == "extended" else 0)
    assert "warning:bits" in header
    with pytest.raises(UnusableFile, match="values beyond the 9 bits of its header"):
        make.read_bytes(signed, tmp_path)


@pytest.mark.parametrize("kind", [make.JPEG_LOSSLESS, make.JPEG_EXTENDED])
def test_bytes_between_segments_do_not_reach_gdcm_which_would_end_the_process(
    limited: Decoder, tmp_path: Path, kind: str
) -> None:
    pixels = make.ramp(48, 40)
    frame = make.frame_by_gdcm(tmp_path, pixels, is_lossy=kind == make.JPEG_EXTENDED)
    at = frame.index(b"\xff\xda")
    path = tmp_path / "film"
    path.write_bytes(make.encapsulated_bytes(make.film_elements(pixels), frame[:at] + b"\x18" + frame[at:], kind))
    with pytest.raises(UnusableFile, match="compressed picture in this file is damaged"):
        limited.decode(path)


def test_lossless_jpeg_of_signed_pixels(tmp_path: Path) -> None:
    """Encoded as 16-bit words, in which the sign is repeated, and as 12-bit ones."""
    pixels = make.ramp(48, 40, signed=True)
    elements = make.film_elements(pixels, signed=True)
    for words in (pixels % 2**16, pixels % 2**12):
        frame = make.frame_by_gdcm(tmp_path, words, bits=16 if words.max() > 4095 else 12)
        film, _ = make.read_bytes(make.encapsulated_bytes(elements, frame, make.JPEG_LOSSLESS), tmp_path)
        np.testing.assert_array_equal(film.stored.astype(int) - film.facts.offset, pixels)


@pytest.mark.parametrize(("place", "value"), [("bits", 0), ("sampling", 2)])
def test_bits_and_sampling_of_jpeg_2000_that_its_data_contradict(tmp_path: Path, place: str, value: int) -> None:
    pixels = make.ramp(48, 40)
    frame = bytearray(make.compressed_frame(pixels, make.JPEG_2000))
    frame[frame.index(b"\xff\x51") + (40 if place == "bits" else 41)] = value
    with pytest.raises(UnusableFile, match="contradict its data and the header"):
        make.read_bytes(make.encapsulated_bytes(make.film_elements(pixels), bytes(frame), make.JPEG_2000), tmp_path)


def test_jpeg_2000_with_fewer_bits_than_the_header_allows(tmp_path: Path) -> None:
    pixels = make.ramp(48, 40)
    frame = make.compressed_frame(pixels, make.JPEG_2000)
    elements = {**make.film_elements(pixels), make.BITS_STORED: ("US", 16), make.HIGH_BIT: ("US", 15)}
    film, _ = make.read_bytes(make.encapsulated_bytes(elements, frame, make.JPEG_2000), tmp_path)
    np.testing.assert_array_equal(film.stored, pixels)
