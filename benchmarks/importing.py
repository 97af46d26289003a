"""Films a second of `manage.py import_images`, against reading and writing the same files with Pillow or pydicom alone.

    python -m benchmarks.importing [--pngs 400] [--dicoms 100] [--processes N] [--repeats 3]

Both run on the same cores in the same run and take turns, the fastest of each counts. Alone means: decode the pixels
and write them into a new file of the same kind, in as many processes as there are cores, left to the system to be
written later, or flushed to the disk as an import does, after which a power failure loses nothing. The import decodes,
checks, hashes, de-identifies, packs, draws a preview, writes rows and flushes. The time of an import of a single film,
which is that of starting, is taken off and given by itself. CPU times tell on a busy machine what seconds do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from tabulate import tabulate

from benchmarks.database import throw_away_portal
from tests.paths import ROOT
from tests.portal.imaging import factories as make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pngs", type=int, default=400)
    parser.add_argument("--dicoms", type=int, default=100)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows = []
    with throw_away_portal() as data, tempfile.TemporaryDirectory() as scratch:
        from portal.models import Site

        Site.objects.create(name="site")
        kinds = {
            "PNG, 512 x 512, 8 bits": (given.pngs, draw_png),
            "DICOM, 2,000 x 2,000, 12 bits, uncompressed": (given.dicoms, draw_dicom),
        }
        for name, (count, draw) in kinds.items():
            films = Path(scratch) / f"films-{count}-{draw.__name__}"
            films.mkdir()
            for number in range(count):
                draw(films, number)
            rows.append([name, count, *measured(films, data, given.processes, given.repeats)])
            print(name, "is measured.", file=sys.stderr)
            shutil.rmtree(films)
    head = ["films", "number", "import (films/s)", "alone", "ratio", "alone, flushed", "ratio"]
    head += ["CPU of an import (ms/film)", "CPU alone", "start (s)", "largest process (MiB)"]
    print(f"{given.processes} processes, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}\n")
    print(tabulate(rows, head, tablefmt="github", disable_numparse=True))


def measured(films: Path, data: Path, processes: int, repeats: int) -> list[str]:
    paths = sorted(films.iterdir())
    imports, alone, flushed, cpu, cpu_alone = [], [], [], [], []
    memory = 0
    with tempfile.TemporaryDirectory() as single:
        shutil.copy(paths[0], single)
        start, start_cpu, _ = import_folder(Path(single), f"{films.name} start", processes)
    for number in range(repeats):
        seconds, used, largest = import_folder(films, f"{films.name} {number}", processes)
        imports.append(seconds)
        cpu.append(used)
        memory = max(memory, largest)
        shutil.rmtree(data / "pixels")  # so that the next import writes them again
        with tempfile.TemporaryDirectory() as out:
            began = time.process_time()
            for path in paths:
                rewrite(path, Path(out), is_flushed=False)
            cpu_alone.append(time.process_time() - began)
        for times, is_flushed in ((alone, False), (flushed, True)):
            os.sync()  # what is left from before
            times.append(seconds_alone(paths, processes, is_flushed=is_flushed))
    ours = (len(paths) - 1) / (min(imports) - start)
    theirs, theirs_flushed = (len(paths) / min(times) for times in (alone, flushed))
    speeds = [f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}"]
    speeds += [f"{theirs_flushed:.1f}", f"{ours / theirs_flushed:.2f}"]
    per_film = [f"{1000 * (min(cpu) - start_cpu) / (len(paths) - 1):.0f}", f"{1000 * min(cpu_alone) / len(paths):.0f}"]
    return [*speeds, *per_film, f"{start:.1f}", str(memory)]


def seconds_alone(paths: list[Path], processes: int, *, is_flushed: bool) -> float:
    with tempfile.TemporaryDirectory() as out, ProcessPoolExecutor(processes) as pool:
        act = partial(rewrite, out=Path(out), is_flushed=is_flushed)
        list(pool.map(act, paths[:processes]))  # its start does not count
        began = time.perf_counter()
        list(pool.map(act, paths))
        return time.perf_counter() - began


def import_folder(films: Path, dataset: str, processes: int) -> tuple[float, float, int]:
    """Seconds and CPU seconds of the command with its children, and MiB of the largest of them."""
    began = time.perf_counter()
    command = [sys.executable, "manage.py", "import_images", films, "--dataset", dataset, "--site", "site"]
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [*map(str, command), "--processes", str(processes)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    count = len(list(films.iterdir()))
    if f"{count} film{'s' * (count > 1)} imported" not in text:
        sys.exit(text)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss >> 10


def rewrite(path: Path, out: Path, *, is_flushed: bool) -> None:
    """Decode the pixels and write them into a file of the same kind."""
    with (out / path.name).open("wb") as file:
        if path.suffix == ".png":
            Image.fromarray(np.asarray(Image.open(path))).save(file, "PNG")
        else:
            ds = pydicom.dcmread(path)
            ds.PixelData = ds.pixel_array.tobytes()
            ds.save_as(file)
        if is_flushed:
            file.flush()
            os.fsync(file.fileno())


def pixels(size: int, number: int) -> np.ndarray:
    """A smooth field with the noise of a film, other for each number."""
    y, x = np.mgrid[:size, :size] / size
    noise = np.random.default_rng(number).normal(0, 20, (size, size))
    return (2000 + 1200 * np.sin(6 * x + number) * np.cos(5 * y) + noise).clip(0, 4095).astype(np.uint16)


def draw_png(folder: Path, number: int) -> None:
    Image.fromarray((pixels(512, number) >> 4).astype(np.uint8)).save(folder / f"{number}.png")


def draw_dicom(folder: Path, number: int) -> None:
    elements = make.film_elements(pixels(2000, number).astype(np.int64))
    elements |= {0x00080018: ("UI", f"1.2.3.{number}"), 0x00100020: ("LO", f"P{number}")}
    (folder / f"{number}.dcm").write_bytes(make.dicom_bytes(elements))


if __name__ == "__main__":
    main()
