"""Lines of text are found in generated films, and side markers are not. How often: benchmarks/burned_in.py."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from portal.imaging.burned_in import find_text
from portal.imaging.film import Film, PixelFacts, pack, pixel_sha256, shown_values
from portal.imaging.phantom.phantom import make_phantom
from portal.intake import film_files
from portal.models import Image
from tests.portal import factories


@pytest.fixture(scope="module")
def phantom() -> NDArray[np.uint8]:
    made = make_phantom(seed=3, size=512)
    return np.asarray(255 * shown_values(Film(made.pixels, made.facts)), dtype=np.uint8)


def written(film: NDArray[np.uint8], text: str, *, at: tuple[int, int], size: int, fill: int) -> NDArray[np.uint8]:
    picture = PillowImage.fromarray(film)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
    ImageDraw.Draw(picture).text(at, text, fill=fill, font=font)
    return np.asarray(picture)


def test_a_film_without_text_has_none(phantom: NDArray[np.uint8]) -> None:
    assert find_text(phantom) == []
    assert find_text(np.zeros((40, 30), np.uint8)) == []


@pytest.mark.parametrize("size", [10, 12, 16, 24, 40])
def test_a_line_of_text_is_found_where_it_is(phantom: NDArray[np.uint8], size: int) -> None:
    lines = find_text(written(phantom, "MUSTERMANN 4711", at=(60, 200), size=size, fill=255))
    assert len(lines) >= 1
    assert sum(line.characters for line in lines) >= 8
    for line in lines:
        assert 55 <= line.x <= 512
        assert 198 <= line.y <= 200 + size
        assert line.height <= 1.5 * size


def test_black_text_is_found_on_bright_ground() -> None:
    film = np.full((200, 400), 230, np.uint8)
    film[:, :50] = 20
    assert find_text(written(film, "MUSTERMANN", at=(80, 60), size=24, fill=20))


def test_a_line_that_is_found_in_two_ways_is_one(phantom: NDArray[np.uint8]) -> None:
    lines = find_text(written(phantom, "MUSTERMANN", at=(60, 200), size=24, fill=255))
    assert len(lines) == 1


@pytest.mark.parametrize("size", [10, 16, 40])
@pytest.mark.parametrize("words", ["MUSTERMANN Eva *1931-02-03", "Dr. Mo 12:05 MUSTERMANN"])
def test_the_box_of_a_line_covers_all_that_is_written_in_it(words: str, size: int) -> None:
    """What is blacked out as proposed leaves no first name and no date of birth."""
    nothing = np.zeros((200, 900), np.uint8)
    ink = written(nothing, words, at=(60, 100), size=size, fill=255) > 0
    ground = np.tile(np.linspace(30, 90, 900).astype(np.uint8), (200, 1))
    lines = find_text(written(ground, words, at=(60, 100), size=size, fill=255))
    for line in lines:
        ink[line.y : line.y + line.height, line.x : line.x + line.width] = False
    assert not ink.any()
    assert sum(line.width * line.height for line in lines) <= 2 * size * 0.8 * len(words) * size


@pytest.mark.parametrize("marker", ["L", "R", "RAB", "L PA"])
def test_side_markers_are_no_text(phantom: NDArray[np.uint8], marker: str) -> None:
    assert find_text(written(phantom, marker, at=(20, 20), size=40, fill=255)) == []


def test_a_large_film_is_looked_at_in_coarser_pixels() -> None:
    film = np.tile(np.linspace(60, 120, 3000).astype(np.uint8), (2600, 1))
    film[:40] = 0
    film[-40:] = 255
    lines = find_text(written(film, "MUSTERMANN", at=(1000, 900), size=80, fill=255))
    assert [line for line in lines if 950 <= line.x <= 1050 and 880 <= line.y <= 1000]


@pytest.mark.django_db
def test_the_command_lists_films_to_look_at(data_dir: Path, phantom: NDArray[np.uint8]) -> None:
    of = factories.dataset()
    factories.film(of)
    by_header = factories.film(of, header={"burned_in": "YES"})
    stored = written(phantom, "MUSTERMANN 4711", at=(60, 200), size=24, fill=255).astype(np.uint16)
    sha256 = pixel_sha256(stored)
    film_files.write_once(film_files.pixel_path(sha256), pack(stored))
    facts = PixelFacts(rows=512, columns=512, bits_stored=8, offset=0, photometric="MONOCHROME2")
    by_pixels = Image.objects.create(
        dataset=of,
        patient=factories.patient("one"),
        source_sha256=sha256,
        pixel_sha256=sha256,
        rows=512,
        columns=512,
        facts=facts.to_json(),
    )
    output = StringIO()
    call_command("find_burned_in_text", site="Seoul", dataset=of.name, stdout=output)
    header, pixels, end = output.getvalue().splitlines()
    assert header == f"/images/{by_header.uuid}/: its header says so"
    assert pixels.startswith(f"/images/{by_pixels.uuid}/: ")
    assert end == "2 of 3 films to look at"
    with pytest.raises(CommandError, match="Seoul has no dataset 'X'; its datasets: Normals"):
        call_command("find_burned_in_text", site="Seoul", dataset="X")
    with pytest.raises(CommandError, match="There is no site 'X'; existing sites: Seoul"):
        call_command("find_burned_in_text", site="X")
