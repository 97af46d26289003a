from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from portal.imaging.film import shown_values
from portal.imaging.prepared_film import prepare
from tests.portal.imaging.factories import make_film


def test_writes_and_holds_what_is_stored_of_a_film(tmp_path: Path) -> None:
    film = make_film()
    prepared = prepare(film, tmp_path / "packed")
    raw = gzip.decompress((tmp_path / "packed").read_bytes())
    assert prepared.facts == film.facts
    assert raw == film.stored.astype("<u2").tobytes()
    assert prepared.pixel_sha256 == hashlib.sha256(b"12x10:" + raw).hexdigest()
    small = np.asarray(Image.open(io.BytesIO(prepared.preview)))
    assert small.shape == (320, 267)
    assert abs(float(small.mean()) / 255 - float(shown_values(film).mean())) < 0.01
