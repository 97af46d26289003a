"""Memory and time of importing a table of PadChest of 160,000 rows, of whose films a few hundred are there, beside one
of 16,000; and what an import that is killed half way takes to go on.

    python -m benchmarks.published_rows
"""

from __future__ import annotations

import csv
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FILMS = 300
ROWS = (16_000, 160_000)
COLUMNS = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("Projection", "Pediatric", "PhotometricInterpretation_DICOM", "Report", "MethodLabel", "Labels"),
)


def write(folder: Path, rows: int) -> None:
    """Every `rows / FILMS`-th row has a film; one of eleven is a lateral, one of thirteen of a child."""
    folder.mkdir()
    report = "sin hallazg patolog signific . " * 20
    with (folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(rows):
            birth = 2005 if number % 13 == 0 else 1960
            view = "L" if number % 11 == 0 else "PA"
            labels = "['normal']" if number % 2 else "['nodule', 'pleural effusion']"
            method = "Physician" if number % 4 else "RNN_model"
            writer.writerow(
                [number, f"{number:08}.png", number % 50, 20150101, number, number // 2, birth, "F", view, "No"]
                + ["MONOCHROME2", report, method, labels]
            )
    for film in range(FILMS):
        number = film * (rows // FILMS) + 1
        stored = np.random.default_rng(number).integers(0, 4095, (32, 32)).astype(np.uint16)
        path = folder / str(number % 50) / f"{number:08}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(stored).save(path)


def run(data: Path, folder: Path, *, kill_after: int | None = None) -> tuple[float, float, str]:
    """Seconds of the process, its largest resident memory in MB, and its last lines; `kill_after` so many films it is
    killed."""
    command = [sys.executable, "manage.py", "import_images", str(folder), "--source", "padchest"]
    command += ["--dataset", "P", "--site", "S", "--make-site", "--processes", "1"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        command, env={**os.environ, "HILUM_DATA_DIR": str(data)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if kill_after is not None:
        while process.poll() is None and _films(data) < kill_after:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    return seconds, usage.ru_maxrss / 1000, out.decode()


def _films(data: Path) -> int:
    try:
        with sqlite3.connect(f"file:{data / 'hilum.sqlite3'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM portal_image").fetchone()[0])
    except sqlite3.Error:
        return 0


def main() -> None:
    """Each size in a process of its own, smallest first, since the memory of ended processes is their largest."""
    with tempfile.TemporaryDirectory() as folder:
        for rows in ROWS:
            data, films = Path(folder, f"data-{rows}"), Path(folder, f"films-{rows}")
            data.mkdir()
            write(films, rows)
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, env={**os.environ, "HILUM_DATA_DIR": str(data)}, check=True)
            table_mb = next(films.glob("*.csv")).stat().st_size / 1e6
            if rows == max(ROWS):
                run(data, films, kill_after=FILMS // 3)
                print(f"killed after {_films(data)} films", flush=True)
            seconds, megabytes, out = run(data, films)
            print(f"{rows} rows, a table of {table_mb:.0f} MB: {seconds:.0f} CPU s, {megabytes:.0f} MB", flush=True)
            print(out, flush=True)


if __name__ == "__main__":
    main()
