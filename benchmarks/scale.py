"""What so many films take: the tables of docs/scale.md, from unit costs that were measured.

    python -m benchmarks.scale [--films 160000 1600000] [--gpus 8] [--teraflops 20]

Measures, in CPU seconds of one thread, so that other work on the machine disturbs little: reading a film of 2,000 x
2,000 pixels and 12 bits as a run does (inflate, hash, gray values; window and resize to 224 pixels come on top), and
placing it in a run folder.
Every other number is of docs/performance.md, which names its own script, or follows from the shapes of the files.
`--teraflops` is what one GPU is taken to sustain; `python -m benchmarks.gpu` measures it where there is one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from benchmarks.importing import pixels
from ml_engine.engine.decode_films import decode_film
from ml_engine.runs import paths
from portal.imaging.film import PixelFacts, pack, pixel_sha256

SIDE = 2000
REPEATS = 5
SET_UP = 500  # films

# docs/performance.md
PACKED_SHARE = 0.73  # "pack the pixels (by ISA-L, to 73 %)"
PREVIEW_BYTES = 9_000  # "preview", kB
IMPORT_FILMS_A_SECOND = 26.3  # DICOM of this size, on two cores
DEFAULT_SCORE_SECONDS = 17.22 / 220  # "score 220 films of cxr-a", whole command
FEATURES_SECONDS = 0.185  # Wide-ResNet-50-2, one thread, float32
SEARCH_SECONDS = 0.266  # 784 patches in 20,000 x 1536
FLOP_A_FILM = FEATURES_SECONDS * 0.86 * 115e9 + 2 * 784 * 20_000 * 1536  # "86 %" of "115 GFLOP/s", and the products
EVALUATION_SECONDS = 15.6 / 100_000  # "make the evaluation"
BAND_SECONDS = 19.8 / 90_000  # "first page of test after that"
# the files of a scored film at 224 pixels: maps, sweep, parts, family, affines, trivial, alignment, p-value, and stages
KEPT_BYTES = 8 * 28**2 + 4 * 101 * 9 + 48 + 24 + 40 + 8 + 32 + 2 * 48
WORKING_BYTES = 2 * 224**2  # the prepared film, while its range is scored
FACTS_BYTES = 4096  # a small file takes a block


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    began = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - began) / repeats


def reading(folder: Path) -> tuple[float, float]:
    """Seconds of reading a film as a run does, and its packed size in bytes."""
    stored = pixels(SIDE, 1)
    facts = PixelFacts(rows=SIDE, columns=SIDE, bits_stored=12, offset=0, photometric="MONOCHROME2")
    film = folder / "film.u16.gz"
    film.write_bytes(pack(stored))
    film.with_name("film.json").write_text(json.dumps(facts.to_json()), encoding="utf-8")
    sha256 = pixel_sha256(stored)
    return cpu_seconds(lambda: decode_film(film, sha256=sha256), REPEATS), film.stat().st_size


def setting_up(folder: Path) -> float:
    """Seconds of placing a film in a run folder, without what the database takes."""
    source, text = folder / "film.u16.gz", json.dumps({"rows": SIDE, "columns": SIDE})
    numbers = iter(range(10 * SET_UP))

    def place() -> None:
        number = next(numbers)
        paths.link(source, folder / "files" / f"{number}.u16.gz")
        paths.write_text(folder / "files" / f"{number}.json", text, is_flushed=False)

    return cpu_seconds(place, SET_UP)


def size(count: float) -> str:
    for unit, bytes_of_unit in (("TB", 1e12), ("GB", 1e9)):
        if count >= bytes_of_unit:
            return f"{count / bytes_of_unit:.1f} {unit}"
    return f"{count / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, nargs="+", default=[160_000, 1_600_000])
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--teraflops", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        read, packed = reading(Path(temporary))
        placed = setting_up(Path(temporary))
    gpu = FLOP_A_FILM / (options.teraflops * 1e12)
    print(f"A film is read in {1000 * read:.0f} ms of CPU, and set up in {1000 * placed:.2f} ms; packed here it has ")
    print(f"{packed / 1e6:.1f} MB. A GPU of {options.teraflops:g} TFLOP/s needs {1000 * gpu:.1f} ms a film.\n")
    counts = options.films
    stored = 2 * SIDE**2 * PACKED_SHARE
    rows = [
        ["pixels, packed", *(size(n * stored) for n in counts)],
        ["previews", *(size(n * PREVIEW_BYTES) for n in counts)],
        ["a scored run: results", *(size(n * KEPT_BYTES) for n in counts)],
        ["the same: facts of films", *(size(n * FACTS_BYTES) for n in counts)],
        ["while it runs, undivided", *(size(n * WORKING_BYTES) for n in counts)],
        [
            f"while it runs, {options.gpus} ranges of 10,000",
            *(size(options.gpus * 10_000 * WORKING_BYTES) for _ in counts),
        ],
        ["import, two cores", *(duration(n / IMPORT_FILMS_A_SECOND) for n in counts)],
        ["run folder set up", *(duration(n * placed) for n in counts)],
        ["score, default, core-hours", *(f"{n * DEFAULT_SCORE_SECONDS / 3600:.1f}" for n in counts)],
        [
            "score, Wide-ResNet-50-2, bank 20,000, core-hours",
            *(f"{n * (read + FEATURES_SECONDS + SEARCH_SECONDS) / 3600:.0f}" for n in counts),
        ],
        ["the same on GPUs: GPU-hours", *(f"{n * gpu / 3600:.2f}" for n in counts)],
        ["the same: core-hours of reading", *(f"{n * read / 3600:.1f}" for n in counts)],
        [f"cores that keep {options.gpus} GPUs busy", *(f"{options.gpus * read / gpu:.0f}" for _ in counts)],
        ["evaluation", *(duration(n * EVALUATION_SECONDS) for n in counts)],
        ["its first page", *(duration(n * BAND_SECONDS) for n in counts)],
    ]
    print(tabulate(rows, ["", *(f"{n:,} films" for n in counts)], "github", disable_numparse=True))


if __name__ == "__main__":
    main()
