"""Films that show text, with their pixels on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import font_manager
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from portal.imaging.film import PixelFacts, pack, pixel_sha256
from portal.intake import film_files
from portal.models import Dataset, Image
from tests.portal import factories

ROWS, COLUMNS = 160, 320
TEXT = "MUSTERMANN 4711"


def film_with_text(of: Dataset, text: str = TEXT, *, seed: int = 0, **fields: Any) -> Image:
    """A film of 8 bits, dark grey noise, with the text at (40, 60), 24 pixels high."""
    noise = np.random.default_rng(seed).integers(60, 90, size=(ROWS, COLUMNS)).astype(np.uint8)
    noise[:8], noise[-8:] = 0, 250
    picture = PillowImage.fromarray(noise)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 24)
    ImageDraw.Draw(picture).text((40, 60), text, fill=255, font=font)
    stored = np.asarray(picture).astype(np.uint16)
    sha256 = pixel_sha256(stored)
    film_files.write_once(film_files.pixel_path(sha256), pack(stored))
    facts = PixelFacts(rows=ROWS, columns=COLUMNS, bits_stored=8, offset=0, photometric="MONOCHROME2")
    return Image.objects.create(
        dataset=of,
        patient=factories.patient(f"text {seed}", at=of.site),
        source_sha256=sha256,
        pixel_sha256=sha256,
        rows=ROWS,
        columns=COLUMNS,
        facts=facts.to_json(),
        **fields,
    )
