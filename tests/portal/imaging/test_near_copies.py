"""Fingerprints and correlations of phantom films, of their re-exports and of other people's films."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from portal.imaging.film import Film, preview
from portal.imaging.near_copies import BITS, MOST_BITS, SAME, candidates, correlation, fingerprint, without_border
from portal.imaging.phantom.phantom import make_phantom

Grey = NDArray[np.uint8]


@functools.cache
def phantom(seed: int) -> Grey:
    drawn = make_phantom(seed=seed, size=512)
    return np.asarray(Image.open(io.BytesIO(preview(Film(drawn.pixels, drawn.facts)))))


def jpeg(grey: Grey) -> Grey:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def by_curve(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Grey], Grey]:
    return lambda grey: (np.clip(curve(grey / 255), 0, 1) * 255).astype(np.uint8)


RE_EXPORTS: dict[str, Callable[[Grey], Grey]] = {
    "half the size": lambda grey: np.asarray(Image.fromarray(grey).resize((grey.shape[1] // 2, grey.shape[0] // 2))),
    "JPEG 60": jpeg,
    "gamma 0.8": by_curve(lambda value: value**0.8),
    "another window": by_curve(lambda value: (value - 0.15) / 0.6),
    "cropped by 2 %": lambda grey: grey[6:-6, 6:-6],
    "inverted": by_curve(lambda value: 1 - value),
    "turned by 2 degrees": lambda grey: np.asarray(Image.fromarray(grey).rotate(2, Image.Resampling.BICUBIC)),
    "a black border": lambda grey: np.pad(grey, 16),
}


def differing(one: Grey, other: Grey) -> int:
    words = [np.unpackbits(np.frombuffer(fingerprint(film), np.uint8)) for film in (one, other)]
    bits = int((words[0] != words[1]).sum())
    return min(bits, BITS - bits)


@pytest.mark.parametrize("words", RE_EXPORTS)
def test_a_re_export_is_a_candidate_and_is_confirmed(words: str) -> None:
    for seed in range(3):
        film = phantom(seed)
        again = RE_EXPORTS[words](film)
        assert differing(film, again) <= MOST_BITS
        assert correlation(film, again) > SAME
        assert correlation(again, film) > SAME


@pytest.mark.slow
def test_films_of_different_people_are_not_confirmed() -> None:
    values = [correlation(phantom(one), phantom(other)) for other in range(1, 6) for one in range(other)]
    assert max(values) < SAME


def test_a_fingerprint_has_256_bits_that_do_not_depend_on_grey_values() -> None:
    film = phantom(0)
    assert len(fingerprint(film)) == 32
    darker = by_curve(lambda value: value**3)(film)
    assert differing(film, darker) < 20


def test_candidates_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 256, size=(60, 32), dtype=np.uint8)
    prints[40] = prints[3] ^ np.eye(1, 32, dtype=np.uint8)[0] * 7  # three bits
    prints[41] = ~prints[5]  # an inverted film
    bits = np.unpackbits(prints, axis=1)
    for film in range(60):
        expected = []
        for earlier in range(film):
            different = sum(int(a != b) for a, b in zip(bits[earlier], bits[film], strict=True))
            if different <= 110 or different >= 146:
                expected.append(earlier)
        assert candidates(prints, film, most_bits=110) == expected
    assert candidates(prints, 40) == [3]
    assert candidates(prints, 41) == [5]


def test_a_film_of_a_single_grey_is_like_nothing() -> None:
    flat = np.full((64, 64), 9, np.uint8)
    assert without_border(flat).shape == flat.shape
    assert correlation(flat, phantom(0)) == pytest.approx(0, abs=0.2)
    assert correlation(flat, flat) == 0
