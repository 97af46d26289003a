"""How long a backup, a second one, a check and a restore to an empty host take, and whether the restored host is equal.

    .venv/bin/python -m benchmarks.backup [--films 100000] [--kilobytes 40] [--to s3://BUCKET/PREFIX]

The site of `benchmarks.web` on PostgreSQL: films with previews, three label events each, and a run that scored them
all. Their pixels are random files of that size, at the paths where an import writes them. Each command is a process of
its own. Prints the table of docs/reliability.md, and ends with 1 where a row or a file differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.database import throw_away_portal
from benchmarks.web import populate

ROOT = Path(__file__).resolve().parents[1]
SECRET = "Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt"
PASSPHRASE = "seven random words of a dice roll"
ACTS = ("portal_auditevent", "portal_auditseal")  # those of backup and restore are added


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100_000)
    parser.add_argument("--kilobytes", type=int, default=40, help="of the pixels of a film")
    parser.add_argument("--to", default="", help="an empty bucket; a temporary folder if left out")
    given = parser.parse_args()
    os.environ["HILUM_PSEUDONYM_SECRET"] = SECRET
    with throw_away_portal() as data, tempfile.TemporaryDirectory(prefix="hilum-bench-") as temporary:
        from tests.portal.backups import second_host

        populate(given.films, data)
        write_pixels(given.kilobytes)
        total = sum(path.stat().st_size for path in files_below(data)) / 1e6
        top = Path(temporary)
        (top / "passphrase").write_text(PASSPHRASE)
        words = (given.to or str(top / "backups"), "--passphrase-file", str(top / "passphrase"))
        host = second_host.make_host(top, dict(os.environ))
        print(f"{given.films:,} films, {len(files_below(data)):,} files, {total:,.0f} MB\n")
        print("| what | seconds | files a second | MB a second |\n|---|---|---|---|")
        for label, command, environment in (
            ("back up, the first time", ("backup", *words), dict(os.environ)),
            ("back up again, nothing new", ("backup", *words), dict(os.environ)),
            ("check the backup", ("backup", *words, "--check"), dict(os.environ)),
            ("restore on an empty host", ("restore", *words), dict(host.environment)),
        ):
            seconds = timed(command, environment)
            print(f"| {label} | {seconds:.0f} | {len(files_below(data)) / seconds:.0f} | {total / seconds:.0f} |")
            sys.stdout.flush()
        differences = compare(data, host)
        second_host.drop()
    print("\nEvery row and every file is equal." if not differences else f"\nDifferent: {', '.join(differences)}.")
    return 1 if differences else 0


def write_pixels(kilobytes: int) -> None:
    """And whatever else the rows name."""
    from portal.backups.named_files import named_files

    for path in named_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(kilobytes * 1000))


def timed(words: tuple[str, ...], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def files_below(top: Path) -> list[Path]:
    return [path for path in sorted(top.rglob("*")) if path.is_file()]


def compare(data: Path, host) -> list[str]:  # type: ignore[no-untyped-def]
    """The names of the tables and files that differ."""
    from django.conf import settings
    from django.test import override_settings

    from portal.backups.making import files_of
    from tests.portal.backups.second_host import digest_by_table

    def hashes(top: Path) -> dict[str, str]:
        with override_settings(DATA_DIR=top):
            paths = list(files_of(Path(settings.DATA_DIR)))
        return {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    here, there = digest_by_table(), host.ask("digest_by_table")
    tables = [name for name in here if name not in ACTS and here[name] != there.get(name)]
    mine, theirs = hashes(data), hashes(host.data)
    return tables + sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))[:20]


if __name__ == "__main__":
    sys.exit(main())
