"""A data folder and a migrated database that last as long as a with block, for benchmarks of the portal."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import find_postgresql, start_postgresql


@contextmanager
def throw_away_portal(*, sqlite: bool = False) -> Iterator[Path]:
    """The data folder. HILUM_TEST_DATABASE_URL names a server; else PostgreSQL's programs are looked for. With
    `sqlite` the database is a file in the folder. Django is set up inside, and not before."""
    folder, server = Path(tempfile.mkdtemp(prefix="hilum-bench-")), None
    os.environ |= {"HILUM_DATA_DIR": str(folder), "HILUM_ENV": "local", "DJANGO_SETTINGS_MODULE": "portal.settings"}
    try:
        if sqlite:
            os.environ.pop("DATABASE_URL", None)
        elif url := os.environ.get("HILUM_TEST_DATABASE_URL"):
            os.environ["DATABASE_URL"] = url
        else:
            binaries = find_postgresql()
            if binaries is None:
                sys.exit("PostgreSQL is not here: install it, or name a server in HILUM_TEST_DATABASE_URL.")
            server, os.environ["DATABASE_URL"] = start_postgresql(binaries)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        yield folder
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
