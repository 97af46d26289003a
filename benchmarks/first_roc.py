"""From a zip of films to the first ROC curve, unattended: seconds of each stage.

    python -m benchmarks.first_roc [--films 5000] [--size 224] [--side 1024] [--backbone NAME] [--no-alignment]
                                   [--set FIELD=VALUE ...] [--zip FILE]

Starts web server, broker and workers as `manage.py start` does, in a folder of their own, on PostgreSQL. Draws phantom
films as DICOM with labels and boxes, four fifths normal, and packs them into a zip, whose time is given but does not
count. Then, as a person's browser or script would: sends the zip by the tus protocol, waits for its import, freezes the
split of the table, queues alignment, detector and scores, evaluates them, and fetches the ROC curve.
Prints the Markdown of docs/performance.md. Phantoms are easy: the AUROC only shows that the chain arrived.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks import upload_memory as client
from benchmarks.database import throw_away_portal

NORMAL_SHARE = 0.8
PARTS = ("tune", "calibrate", "test")
ENDED = ("done", "failed", "cancelled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=5000)
    parser.add_argument("--size", type=int, default=224, help="side of a film for the engine, in pixels")
    parser.add_argument("--side", type=int, default=1024, help="side of a drawn film, in pixels")
    parser.add_argument("--backbone", help="by default that of the preset")
    parser.add_argument("--no-alignment", action="store_true", help="fit no alignment first")
    parser.add_argument("--zip", type=Path, metavar="FILE", help="the zip: drawn there if it is not, otherwise used")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the portal's processes too
    stages = Stages()
    with throw_away_portal(), tempfile.TemporaryDirectory() as scratch:
        from portal.project.embedded import Portal

        path = given.zip or Path(scratch) / "films.zip"
        with stages.timed("draw and pack the films (does not count)"):
            if not path.exists():
                write_zip(path, films=given.films, side=given.side)
        with zipfile.ZipFile(path) as archive:
            count = sum(name.endswith(".dcm") for name in archive.namelist())
        token, dataset, user = make_author()
        config = config_of(given)
        with Portal(port=8900) as portal:
            stages.processes = [child.process.pid for child in portal._children if child.process]
            carry_out(stages, portal, token, dataset, user, path=path, config=config, aligned=not given.no_alignment)
        cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{count} films of {given.side} x {given.side} pixels, zip of {path.stat().st_size / 2**20:.0f} MiB;")
    print(f"{config.backbone}, {config.weights} weights, {config.size} px; {cores} cores, load {load:.1f}\n")
    rows = [[stage.name, stage.seconds, stage.cpu, 1000 * stage.cpu / count] for stage in stages.all]
    rows.append(["together", *(sum(row[column] for row in rows[1:]) for column in (1, 2, 3))])
    head = ["stage", "seconds", "CPU seconds", "CPU ms for a film"]
    print(tabulate(rows, head, tablefmt="github", floatfmt=".0f"))
    print(f"\n{stages.result}")


@dataclass(frozen=True)
class Stage:
    name: str
    seconds: float
    cpu: float  # seconds, of the portal's processes and of those that they started


class Stages:
    """The stages in their order, and a sentence on the outcome."""

    def __init__(self) -> None:
        self.all: list[Stage] = []
        self.processes: list[int] = []
        self.result = ""

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began, cpu = time.monotonic(), self._cpu_seconds()
        yield
        stage = Stage(name, time.monotonic() - began, self._cpu_seconds() - cpu)
        self.all.append(stage)
        print(f"{name}: {stage.seconds:.0f} s, CPU {stage.cpu:.0f} s", file=sys.stderr, flush=True)

    def _cpu_seconds(self) -> float:
        members = {member for pid in self.processes for member in _descendants(pid)}
        return time.process_time() + sum(map(_cpu_of, members))


def _descendants(pid: int) -> set[int]:
    children = set(client.members_of(pid)) - {pid}
    return {pid}.union(*map(_descendants, children))


def _cpu_of(pid: int) -> float:
    """Of a process and its children that have ended, in user and system mode."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def write_zip(path: Path, *, films: int, side: int) -> None:
    """Phantom films with labels.csv and boxes.csv, stored as they are."""
    from portal.imaging.phantom import FINDINGS, write_demo_set

    normals = round(NORMAL_SHARE * films)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        write_demo_set(
            Path(folder), normals=normals, abnormals_per_finding=(films - normals) // len(FINDINGS), size=side
        )
        members = [*sorted(Path(folder).glob("*.dcm")), *Path(folder).glob("*.csv")]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for member in members:
                archive.write(member, member.name)


def make_author() -> tuple[str, Any, Any]:
    """A token, the dataset and the person, who has every role."""
    from portal.models import Dataset, Membership, Role, User

    token, uuid = client.make_author()
    dataset, user = Dataset.objects.get(uuid=uuid), User.objects.get()
    for role in Role:
        Membership.objects.get_or_create(user=user, site=dataset.site, role=role)
    return token, dataset, user


def config_of(given: argparse.Namespace) -> Any:
    """The default preset with the chosen settings; published weights are taken from their package or downloaded."""
    from ml_engine.core.backbone import weight_import
    from ml_engine.core.errors import EngineError
    from ml_engine.runs.paths import weights_folder
    from ml_engine.runs.requests import config_from

    changes = {"size": str(given.size), **dict(setting.split("=", 1) for setting in given.set)}
    if given.backbone:
        changes["backbone"] = given.backbone
    config = config_from("default", changes)
    try:
        weight_import.ensure(config.weights, config.backbone, folder=weights_folder())
    except EngineError as error:
        print(f"{error} Random weights take their place, which cost the same time.", file=sys.stderr)
        return config.replace(weights="random")
    return config


def carry_out(
    stages: Stages, portal: Any, token: str, dataset: Any, user: Any, *, path: Path, config: Any, aligned: bool
) -> None:
    from portal.sets.splits import SplitRequest, split_from_csv

    with stages.timed("send the zip"):
        _, place = client.send(portal.address, token, str(dataset.uuid), path)
    with stages.timed("import"):
        print(wait_for_import(portal, token, place), file=sys.stderr)
    with stages.timed("freeze the split"):
        split = split_from_csv(SplitRequest(site=dataset.site, name="Split", datasets=[dataset], seed=0, author=user))
    run = request_runs(stages, portal, split, user, config=config, aligned=aligned)
    with stages.timed("evaluate and fetch the ROC curve"):
        evaluation = answer(portal.address, token, "POST", f"/api/v1/runs/{run.uuid}/evaluate/")
        curve = f"/api/v1/evaluations/{evaluation['uuid']}/figures/roc.csv?part=test"
        points = client.request(portal.address, token, "GET", curve).read().count(b"\n") - 1
    auroc = evaluation["metrics"]["parts"]["test"]["auroc"]["fused"]["auroc"]
    stages.result = f"AUROC of the fused score on test: {auroc}; {points} points of the curve."


def answer(address: str, token: str, method: str, path: str) -> Any:
    return json.loads(client.request(address, token, method, path).read())


def wait_for_import(portal: Any, token: str, place: str) -> str:
    while True:
        state = answer(portal.address, token, "GET", place)["upload"]
        if state["state"] == "failed":
            sys.exit(f"The import failed: {state['message']}")
        if state["state"] == "done":
            return str(state["message"])
        portal.keep_alive()
        time.sleep(1)


def request_runs(stages: Stages, portal: Any, split: Any, user: Any, *, config: Any, aligned: bool) -> Any:
    """Alignment, detector and scores, queued together; the run of the scores, once all are done."""
    from django.db import transaction

    from ml_engine.runs.requests import RunRequest, request_chain

    with transaction.atomic():
        chain = request_chain(
            RunRequest(site=split.site, name="Films", requested_by=user),
            split=split,
            config=config,
            aligned=aligned,
            parts=PARTS,
        )
    runs = {"fit the alignment": chain.alignment, "fit the detector": chain.detector, "score": chain.score}
    for name, run in runs.items():
        if run is not None:
            with stages.timed(name):
                wait_for_run(portal, run)
    return chain.score


def wait_for_run(portal: Any, run: Any) -> None:
    while run.state not in ENDED:
        portal.keep_alive()
        time.sleep(1)
        run.refresh_from_db()
    if run.state != "done":
        sys.exit(f"{run.name} {run.state}: {run.message}")


if __name__ == "__main__":
    main()
