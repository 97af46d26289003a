"""Where the web processes of one server keep what they count, so that any of them can answer for all.

To be called before `prometheus_client` is imported, which looks for the folder then.
"""

import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

_KEPT_SECONDS = 30 * 86_400.0


def share(data_dir: Path) -> Path:
    """Give the processes of this server, which are children of one, a folder, and remove those of former ones."""
    top, host = data_dir / "run" / "counts", socket.gethostname()
    folder = top / f"{host}-{os.getppid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for other in top.iterdir():
        if other != folder and _has_ended(other, host):
            shutil.rmtree(other, ignore_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return folder


def _has_ended(folder: Path, host: str) -> bool:
    """Of another host, for example a container that was replaced, only the age is known."""
    name, _, number = folder.name.rpartition("-")
    if name != host or not number.isdecimal():
        with suppress(OSError):
            return time.time() - folder.stat().st_mtime > _KEPT_SECONDS
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
