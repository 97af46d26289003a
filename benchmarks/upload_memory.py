"""Memory of the web server and of the worker of imports while large zips are sent in parts, at once, and imported.

    python -m benchmarks.upload_memory [--gib 2] [--uploads 1]

Starts web server, broker and workers as `manage.py start` does, in a folder of their own, on PostgreSQL. Sends a zip of
16-bit films of 8 MiB by the tus protocol in parts of 8 MiB and waits for its import. The kernel keeps the peak of each
process (VmHWM); it is set back before the upload. The bytes sent are compared with those that one program writes to
the same disk and flushes. Prints the Markdown of docs/performance.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image as PillowImage
from tabulate import tabulate

from benchmarks.database import throw_away_portal

PART = 8 * 2**20
SIDE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2.0, help="size of a zip")
    parser.add_argument(
        "--uploads", type=int, default=1, help="zips that are sent at once, each to a dataset of its own"
    )
    given = parser.parse_args()
    size = given.uploads * given.gib * 2**10
    with throw_away_portal() as folder:
        from portal.project.embedded import Portal

        path = folder / "films.zip"
        films = write_zip(path, int(given.gib * 2**30))
        token, datasets = make_author(given.uploads)
        disk = size / seconds_to_write(folder / "written", path, given.uploads)
        with Portal(port=8900) as portal:
            processes = {child.name: child.process.pid for child in portal._children if child.process}
            warm_up(portal.address, token, datasets[0])
            before = {name: reset_peaks(pid) for name, pid in processes.items()}
            began = time.monotonic()
            with ThreadPoolExecutor(given.uploads) as senders:
                uploads = list(senders.map(lambda dataset: send(portal.address, token, dataset, path), datasets))
            sent = time.monotonic()
            ends = [wait(portal.address, token, upload, processes["imports"]) for upload in uploads]
            imported = time.monotonic()
            peaks = {name: peak(processes[name]) for name in ("web", "imports")}
    rows = [
        [name, *(part / 2**20 for part in (before[name], high, high - before[name]))] for name, high in peaks.items()
    ]
    many = f"{given.uploads} zips at once, each of " if given.uploads > 1 else ""
    print(
        f"{many}{films} films, {given.gib:g} GiB: sent in {sent - began:.0f} s ({size / (sent - began):.0f} MiB/s, ",
        end="",
    )
    print(
        f"{size / (sent - began) / disk:.0%} of {disk:.0f} MiB/s written alone), imported {imported - sent:.0f} s later"
    )
    print(*sorted({message for message, _ in ends}), sep="\n")
    decoders = max(most for _, most in ends)
    rows.append(["decoders", 0, decoders / 2**20, decoders / 2**20])
    print(tabulate(rows, ["process", "before, MiB", "peak, MiB", "more, MiB"], tablefmt="github", floatfmt=".0f"))


def write_zip(path: Path, size: int) -> int:
    """Films of noise over a slope, stored without compression, so that each is SIDE x SIDE x 2 bytes."""
    count = size // (SIDE * SIDE * 2)
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 50_000, SIDE, dtype=np.uint16)[:, None]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(count):
            picture = slope + rng.integers(0, 16, (SIDE, SIDE), dtype=np.uint16)
            file = BytesIO()
            PillowImage.fromarray(picture).save(file, "PNG", compress_level=0)
            archive.writestr(f"{number:04}.png", file.getvalue())
    return count


def seconds_to_write(target: Path, source: Path, times: int) -> float:
    """What the disk takes for the same bytes, in the same parts, flushed at the end."""
    began = time.monotonic()
    with target.open("wb") as file:
        for _ in range(times):
            for part in parts_of(source):
                file.write(part)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.monotonic() - began
    target.unlink()
    return seconds


def make_author(datasets: int) -> tuple[str, list[str]]:
    from portal.models import Dataset, Membership, Role, Site, User
    from portal.people.tokens import make_token

    site = Site.objects.create(name="Bench Hospital")
    author = User.objects.create_user("carla")
    Membership.objects.create(user=author, site=site, role=Role.CURATOR)
    made = [Dataset.objects.create(site=site, name=f"Generated films {number + 1}") for number in range(datasets)]
    _, secret = make_token(owner=author, name="bench", scope="write", days=7)
    return secret, [str(dataset.uuid) for dataset in made]


# --- the client ---------------------------------------------------------------------------------


def request(
    address: str, token: str, method: str, path: str, body: bytes = b"", **more: str
) -> http.client.HTTPResponse:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    headers = {"Authorization": f"Token {token}", "Tus-Resumable": "1.0.0"}
    connection.request(method, path, body, headers | {name.replace("_", "-"): value for name, value in more.items()})
    response = connection.getresponse()
    if response.status >= 400:
        sys.exit(f"{method} {path}: {response.status} {response.read()!r}")
    return response


def announce(address: str, token: str, dataset: str, size: int) -> str:
    path = f"/api/v1/datasets/{dataset}/uploads/"
    return request(address, token, "POST", path, Upload_Length=str(size)).headers["Location"]


def patch(address: str, token: str, place: str, part: bytes, offset: int) -> int:
    kind = "application/offset+octet-stream"
    answer = request(address, token, "PATCH", place, part, Upload_Offset=str(offset), Content_Type=kind)
    return int(answer.headers["Upload-Offset"])


def warm_up(address: str, token: str, dataset: str) -> None:
    """Send a part of an upload and discard it, so that everything is loaded."""
    place = announce(address, token, dataset, 2 * PART)
    patch(address, token, place, bytes(PART), 0)
    request(address, token, "DELETE", place)


def send(address: str, token: str, dataset: str, path: Path) -> str:
    """The address of the upload."""
    offset = 0
    place = announce(address, token, dataset, path.stat().st_size)
    for part in parts_of(path):
        offset = patch(address, token, place, part, offset)
    return place


def parts_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            yield part


def wait(address: str, token: str, place: str, worker: int) -> tuple[str, int]:
    """The message, and the most memory in bytes of the processes that decode films, together."""
    most = 0
    while True:
        decoders = [member for member in members_of(worker) if member != worker]
        most = max(most, sum(memory(member, "VmRSS") for member in decoders))
        state = json.loads(request(address, token, "GET", place).read())["upload"]
        if state["state"] in ("done", "failed"):
            return state["message"], most
        time.sleep(0.2)


# --- the processes ------------------------------------------------------------------------------


def members_of(pid: int) -> list[int]:
    """The process and its children, which gunicorn's workers are; decoders come and go."""
    children = [file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children")]  # of each thread
    return [pid, *(int(child) for group in children for child in group)]


def reset_peaks(pid: int) -> int:
    """Set the peaks back, and return the memory in use in bytes of the largest of these processes."""
    for member in members_of(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")
    return peak(pid)


def peak(pid: int) -> int:
    """The peak in bytes of the largest of the process and its children."""
    return max(memory(member, "VmHWM") for member in members_of(pid))


def memory(pid: int, field: str) -> int:
    """In bytes; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
