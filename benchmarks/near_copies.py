"""How often films of different patients are taken for one film, and re-exports of a film are recognised.

    python benchmarks/near_copies.py FOLDER

FOLDER holds `labels.csv` (columns filename and patient_id) and `images/`, or more such pairs (`labels-NAME.csv`,
`images-NAME/`). The patients are divided into halves: the correlation was chosen on the first, the second reports.
The table is in docs/duplicates.md.
"""

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portal.imaging import near_copies
from portal.imaging.near_copies import BITS, MOST_BITS, SAME

Grey = NDArray[np.uint8]
PREVIEW = 320


def main(folder: Path) -> None:
    films = read_films(folder)
    patients = sorted({patient for _, patient in films})
    np.random.default_rng(0).shuffle(patients)
    for name, half in (("chosen on", patients[::2]), ("reported on", patients[1::2])):
        own = [film for film in films if film[1] in set(half)]
        print(f"\n{name}: {len(own)} films of {len(half)} patients")
        report(own)


def read_films(folder: Path) -> list[tuple[Path, str]]:
    films = []
    for table in sorted(folder.glob("labels*.csv")):
        images = folder / table.stem.replace("labels", "images")
        with table.open(newline="") as file:
            films += [(images / row["filename"], row["patient_id"]) for row in csv.DictReader(file)]
    return films


def report(films: list[tuple[Path, str]]) -> None:
    originals = [Image.open(path).convert("L") for path, _ in films]
    previews = [preview(film) for film in originals]
    prints = np.array([np.frombuffer(near_copies.fingerprint(film), np.uint8) for film in previews])
    compare_films(films, previews, prints)
    print("| re-export | candidates | recognised | correlation, least | 5 % | median |\n|---|---|---|---|---|---|")
    for words, change in RE_EXPORTS.items():
        again = [preview(change(film)) for film in originals]
        bits = [distance(one, near_copies.fingerprint(film)) for one, film in zip(prints, again, strict=True)]
        values = np.array([near_copies.correlation(*pair) for pair in zip(previews, again, strict=True)])
        candidate = np.array(bits) <= MOST_BITS
        hit = candidate & (values >= SAME)
        low, five, middle = np.percentile(values, [0, 5, 50])
        print(
            f"| {words} | {candidate.mean():.1%} | {hit.mean():.1%} | {low:.2f} | {five:.2f} | {middle:.2f} |",
            flush=True,
        )


def compare_films(films: list[tuple[Path, str]], previews: list[Grey], prints: NDArray[np.uint8]) -> None:
    """All pairs of films, of different patients and of one."""
    pairs = {True: 0, False: 0}
    candidates: dict[bool, list[float]] = {True: [], False: []}
    seconds = 0.0
    for later in range(len(films)):
        for earlier in range(later):
            pairs[films[earlier][1] == films[later][1]] += 1
        began = time.perf_counter()
        for earlier in near_copies.candidates(prints, later):
            value = near_copies.correlation(previews[earlier], previews[later])
            candidates[films[earlier][1] == films[later][1]].append(value)
        seconds += time.perf_counter() - began
    for same, words in ((False, "different patients"), (True, "two films of one patient")):
        values = candidates[same]
        taken = sum(value >= SAME for value in values)
        most = f"; largest correlation {max(values):.2f}" if values else ""
        print(f"{words}: {pairs[same]} pairs, {len(values)} candidates, {taken} taken for one film{most}")
    nearest(films, previews, prints)
    print(f"{1000 * seconds / max(1, sum(map(len, candidates.values()))):.0f} ms a candidate")


def nearest(films: list[tuple[Path, str]], previews: list[Grey], prints: NDArray[np.uint8], most: int = 400) -> None:
    """The pairs of different patients that look most alike, candidates or not."""
    pairs = sorted(
        (distance(prints[earlier], prints[later].tobytes()), earlier, later)
        for later in range(len(films))
        for earlier in range(later)
        if films[earlier][1] != films[later][1]
    )[:most]
    values = [near_copies.correlation(previews[earlier], previews[later]) for _, earlier, later in pairs]
    print(
        f"the {most} most alike of different patients, {pairs[0][0]} to {pairs[-1][0]} bits: correlation at most "
        f"{max(values):.2f}, 99 % below {np.percentile(values, 99):.2f}"
    )


def distance(one: NDArray[np.uint8], other: bytes) -> int:
    bits = int(np.bitwise_count(one ^ np.frombuffer(other, np.uint8)).sum())
    return min(bits, BITS - bits)


def preview(film: Image.Image) -> Grey:
    """As an import makes it of an 8-bit film."""
    scale = PREVIEW / max(film.size)
    file = io.BytesIO()
    size = (round(film.width * scale), round(film.height * scale))
    film.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=88)
    return np.asarray(Image.open(file))


# Re-exports -------------------------------------------------------------------------------------------------


def half_size(film: Image.Image) -> Image.Image:
    return film.resize((film.width // 2, film.height // 2), Image.Resampling.BILINEAR)


def jpeg(film: Image.Image, quality: int = 60) -> Image.Image:
    file = io.BytesIO()
    film.save(file, "JPEG", quality=quality)
    return Image.open(file)


def by_curve(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Image.Image], Image.Image]:
    def change(film: Image.Image) -> Image.Image:
        values = np.clip(curve(np.asarray(film) / 255), 0, 1)
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))

    return change


def windowed(film: Image.Image) -> Image.Image:
    low, high = np.percentile(np.asarray(film), [10, 90]) / 255
    return by_curve(lambda value: (value - low) / (high - low))(film)


def cropped(film: Image.Image, share: float = 0.02) -> Image.Image:
    dx, dy = round(film.width * share), round(film.height * share)
    return film.crop((dx, dy, film.width - dx, film.height - dy))


def off_centre(film: Image.Image) -> Image.Image:
    return film.crop((round(film.width * 0.04), 0, film.width, film.height - round(film.height * 0.04)))


def turned(degrees: float) -> Callable[[Image.Image], Image.Image]:
    return lambda film: film.rotate(degrees, Image.Resampling.BICUBIC)


def bordered(film: Image.Image) -> Image.Image:
    frame = Image.new("L", (round(film.width * 1.1), round(film.height * 1.1)))
    frame.paste(film, (round(film.width * 0.05), round(film.height * 0.05)))
    return frame


def together(film: Image.Image) -> Image.Image:
    return jpeg(half_size(turned(1)(cropped(windowed(film)))), 70)


RE_EXPORTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": half_size,
    "JPEG, quality 60": jpeg,
    "gamma 0.8": by_curve(lambda value: value**0.8),
    "window over the 10th to 90th percentile": windowed,
    "cropped by 2 % on all sides": cropped,
    "cropped by 4 % on two sides": off_centre,
    "inverted": by_curve(lambda value: 1 - value),
    "turned by 2°": turned(2),
    "turned by −3°": turned(-3),
    "black border of 5 %": bordered,
    "window, crop 2 %, turn 1°, half the size, JPEG 70": together,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
