"""Memory and time of reading a published table of 160,000 rows and finding its films, of which a few hundred are there.

    python -m benchmarks.published_rows [--rows 160000]

Everything that an import does before it opens a film, without the database: the table is read twice (once to count and
check), and its rows matched with the files a thousand at a time.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import django
import numpy as np
from PIL import Image

FILMS = 300
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=160_000)
    rows = parser.parse_args().rows
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from portal.intake.import_report import ImportReport
    from portal.intake.sources import importing
    from portal.intake.sources.file_index import FileIndex, files_of_folder, is_published_table
    from portal.intake.sources.registry import SOURCES
    from portal.models import Dataset

    source = SOURCES["padchest"]
    options = source.options_of({})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "films")
        write(folder, rows)
        before, began = _largest_mb(), time.process_time()
        files = list(files_of_folder(folder))
        index = FileIndex((file for file in files if not is_published_table(file.name)), parts=source.parts_of_name)
        tables = source.tables_of(importing._opened([file for file in files if is_published_table(file.name)]))
        counted = sum(1 for _ in source.films(tables, options))
        report, entries = ImportReport(), 0
        with patch.object(importing, "_films_there", lambda dataset, names: {}):
            for batch in importing._batches(Dataset(), source.films(tables, options), index, report):
                entries += len(batch.entries)
        seconds = time.process_time() - began
    print(
        f"{counted} rows, {entries} with a film: {seconds:.1f} CPU s, {_largest_mb() - before:.0f} MB more than before"
    )
    print(", ".join(f"{name} {count}" for name, count in report.counts.items()))


def _largest_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
