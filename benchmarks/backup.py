"""How long a backup, a second one, a check and a restore take, by the number of films.

    .venv/bin/python benchmarks/backup.py --films 2000

Films of 1.2 MB each, random, in a SQLite installation of their own in a temporary folder; what it prints goes to
docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILL = """
import gzip, hashlib, os, sys, django
django.setup()
from portal.intake.film_files import pixel_path
from portal.models import Dataset, Image, Patient, Site
site = Site.objects.create(name="Bench")
dataset = Dataset.objects.create(site=site, name="Films")
for number in range(int(sys.argv[1])):
    content = os.urandom(1_200_000)
    digest = hashlib.sha256(content).hexdigest()
    path = pixel_path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    patient = Patient.objects.create(site=site, pseudonym=digest[:32])
    same = {"source_sha256": digest, "pixel_sha256": digest}
    Image.objects.create(dataset=dataset, patient=patient, **same, rows=1, columns=1, facts={})
"""


def timed(label: str, command: list[str], environment: dict[str, str], size: float) -> None:
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    print(f"| {label} | {seconds:.1f} s | {size / seconds:.0f} MB/s |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=500)
    films = parser.parse_args().films
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        secret = "Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt"
        common = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "HILUM_PSEUDONYM_SECRET": secret}
        common.pop("DATABASE_URL", None)
        one, two = ({**common, "HILUM_DATA_DIR": str(top / name)} for name in ("one", "two"))
        (top / "passphrase").write_text("seven random words of a dice roll")
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=one, check=True)
        subprocess.run([sys.executable, "-c", FILL, str(films)], cwd=ROOT, env=one, check=True)
        given = [str(top / "backups"), "--passphrase-file", str(top / "passphrase")]
        print(f"| {films} films, {films * 1.2:.0f} MB | time | rate |\n|---|---|---|")
        timed("first backup", ["manage.py", "backup", *given], one, films * 1.2)
        timed("second backup", ["manage.py", "backup", *given], one, films * 1.2)
        timed("check", ["manage.py", "backup", *given, "--check"], one, films * 1.2)
        timed("restore", ["manage.py", "restore", *given], two, films * 1.2)


if __name__ == "__main__":
    main()
