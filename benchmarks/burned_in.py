"""How often text that is burned into generated films is found, and films without text are reported.

    python -m benchmarks.burned_in [--films N] [--real FOLDER]

Each phantom is looked at as it is, with a side marker (one to three letters), and with a line of text of 8 to 24
characters in each size. FOLDER may hold real films as PNG, of which it prints how many are reported: nothing says
which of those hold text. The table is in docs/dicom.md.
"""

from __future__ import annotations

import argparse
import string
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from portal.imaging.burned_in import find_text
from portal.imaging.film import Film, shown_values
from portal.imaging.phantom.phantom import make_phantom

SIZES = (8, 10, 12, 16, 24, 40)  # pixels
Grey = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    films = [phantom(seed, options.side) for seed in range(options.films)]
    print(f"| {len(films)} phantoms of {options.side} pixels | reported |\n|---|---|")
    print(f"| without text | {share(bool(find_text(film)) for film in films)} |")
    print(f"| with a side marker | {share(bool(find_text(marked(film, rng))) for film in films)} |")
    for size in SIZES:
        reported = [bool(find_text(written(film, rng, size))) for film in films]
        print(f"| with a line of text of {size} pixels | {share(reported)} |")
    if options.real:
        paths = sorted(options.real.rglob("*.png"))[: options.films]
        reported = [bool(find_text(np.asarray(Image.open(path).convert("L")))) for path in paths]
        print(f"| real films | {share(reported)} |")


def share(reported: object) -> str:
    values = list(reported)  # type: ignore[call-overload]
    return f"{sum(values)} of {len(values)}"


def phantom(seed: int, side: int) -> Grey:
    made = make_phantom(seed=seed, size=side)
    return np.asarray(255 * shown_values(Film(made.pixels, made.facts)), dtype=np.uint8)


def marked(film: Grey, rng: np.random.Generator) -> Grey:
    letters = "".join(rng.choice(list("LR"), 1)) + "".join(rng.choice(list(string.ascii_uppercase), rng.integers(0, 3)))
    return drawn(film, rng, letters, int(rng.integers(20, 60)))


def written(film: Grey, rng: np.random.Generator, size: int) -> Grey:
    length = int(rng.integers(8, 25))
    return drawn(film, rng, "".join(rng.choice(list(string.ascii_uppercase + string.digits), length)), size)


def drawn(film: Grey, rng: np.random.Generator, text: str, size: int) -> Grey:
    picture = Image.fromarray(film)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
    left, top, right, bottom = font.getbbox(text)
    x = int(rng.integers(4, max(5, film.shape[1] - int(right - left) - 4)))
    y = int(rng.integers(4, max(5, film.shape[0] - int(bottom - top) - 8)))
    at = film[y : y + int(bottom), x : x + int(right)]
    ImageDraw.Draw(picture).text((x, y), text, fill=0 if at.mean() > 160 else 255, font=font)
    return np.asarray(picture)


if __name__ == "__main__":
    main()
