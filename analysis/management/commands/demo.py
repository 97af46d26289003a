"""The demo: phantom films, a split and a chain of runs, in the embedded portal."""

import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.looks import CannotEvaluate
from analysis.reading.worklists import WorklistRefused, WorklistRequest, make_worklist
from ml_engine.core.backbone import weight_import
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.management.commands.start import Command as StartCommand
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs.paths import weights_folder
from ml_engine.runs.requests import RunRequest, config_from, request_chain
from portal.imaging.phantom import write_demo_set
from portal.imaging.phantom.demo_set import DEMO_CALIBRATE
from portal.intake.csv_labels import read_boxes, read_labels
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, Membership, Part, Role, Site, Split, Upload, User
from portal.project.embedded import Portal
from portal.sets.splits import SplitRequest, split_from_csv

SITE = "Demo Hospital"
DATASET = "Phantom chests"
TAG = "demo"
SPLIT = "Phantoms"
PASSWORD = "show-me-the-films"  # noqa: S105 — of users that exist on a demo only
PEOPLE = {
    "carla": (Role.CURATOR,),
    "rosa": (Role.READER,),
    "ada": (Role.ADJUDICATOR,),
    "anna": (Role.ANALYST,),
    "maria": tuple(Role),
}
MANAGER, READER = "maria", "rosa"
# With so few films, 1 % of the patches makes too small a memory bank.
DEMO_CONFIG = {"rate": "0.05", "controls": "20"}
SIDE = 768  # of a drawn film, in pixels
LOOK_AT = """\
Look at
  Data     {site} / {dataset}: the grid; label with A S D G, undo with Z, open a film with Enter
  Runs     the alignment, the detector and the scoring, one after the other, with a live log
  Results  the evaluation, once the scoring is done; each point leads to its film and heatmap
  Reading  as {reader}: the flagged films of tune, once they are scored
"""


class Command(StartCommand):
    help = "Start the portal with phantom films and train on them, until Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("The demo's passwords are public, so it does not run with HILUM_ENV=production.")
        super().handle(*args, **options)

    def work(self, portal: Portal, stop: threading.Event) -> None:
        site = make_people()
        self.stdout.write(f"Log in as {', '.join(PEOPLE)} (password {PASSWORD}); {MANAGER} has every role.")
        self.stdout.write(LOOK_AT.format(site=SITE, dataset=DATASET, reader=READER))
        dataset = self._films(site, portal, stop)
        if dataset is None:
            return
        run = self._runs(site, dataset)
        self._follow(run, portal, stop)

    def _films(self, site: Site, portal: Portal, stop: threading.Event) -> Dataset | None:
        """The phantom dataset, drawn and imported if it does not exist; None if stopped meanwhile."""
        dataset, _ = Dataset.objects.get_or_create(
            site=site, name=DATASET, defaults={"source": "synthetic", "licence": "Apache-2.0", "purpose": "demo"}
        )
        if dataset.uploads.filter(state=Upload.State.DONE).exists():
            return dataset
        folder = Path(settings.DATA_DIR) / "demo"
        try:
            self._write(folder, portal, stop)
            self._import(folder, dataset, portal, stop)
        except _Stopped:
            return None
        return dataset

    def _write(self, folder: Path, portal: Portal, stop: threading.Event) -> None:
        done = folder.with_suffix(".complete")  # beside the folder of films, since everything inside is imported
        if done.exists() and folder.is_dir():
            return
        shutil.rmtree(folder, ignore_errors=True)
        bar = self._bar("Drawing phantom films", portal, stop)
        write_demo_set(folder, calibrate=DEMO_CALIBRATE, size=SIDE, progress=bar)
        done.touch()

    def _import(self, folder: Path, dataset: Dataset, portal: Portal, stop: threading.Event) -> None:
        report = ImportReport()
        entries = entries_of_folder(
            folder, read_labels(folder / "labels.csv"), read_boxes(folder / "boxes.csv"), report
        )
        actor = User.objects.get(username=MANAGER)
        upload = Upload.objects.create(
            dataset=dataset, uploaded_by=actor, heartbeat_at=timezone.now(), state=Upload.State.IMPORTING
        )
        bar = self._bar("Importing films", portal, stop)
        import_entries(upload=upload, entries=entries, report=report, actor=actor, on_progress=bar)

    def _runs(self, site: Site, dataset: Dataset) -> Run:
        """The scoring run at the end of the demo's chain; requested if it does not exist."""
        runs = Run.objects.filter(site=site, kind=RunKind.SCORE).order_by("created_at")
        run = next((run for run in runs if TAG in run.tags), None)
        if run:
            return run
        manager = User.objects.get(username=MANAGER)
        split = Split.objects.filter(site=site, name=SPLIT).first() or split_from_csv(
            SplitRequest(site=site, name=SPLIT, datasets=[dataset], seed=0, author=manager)
        )
        with transaction.atomic():
            chain = request_chain(
                RunRequest(site=site, name="Phantoms", requested_by=manager, tags=[TAG]),
                split=split,
                config=self._config(),
                aligned=True,
                parts=["tune", "calibrate", "test"],
            )
        return chain.score

    def _config(self) -> PipelineConfig:
        config = config_from("default", DEMO_CONFIG)
        try:
            weight_import.ensure(config.weights, config.backbone, folder=weights_folder())
        except EngineError as error:
            self.stdout.write(str(error))
            self.stdout.write(
                "The demo continues with random weights, which are not for evaluation. It shows how Hilum works, "
                "not how well the method does."
            )
            return config.replace(weights="random")
        return config

    def _follow(self, run: Run, portal: Portal, stop: threading.Event) -> None:
        """Print the progress of the chain, and evaluate at its end."""
        last_sentence = ""
        while not stop.wait(1.0):
            portal.keep_alive()
            run.refresh_from_db()
            sentence = _state(run)
            if sentence != last_sentence:
                self.stdout.write(sentence)
                last_sentence = sentence
            if run.has_ended:
                break
        if run.state == RunState.DONE:  # reuse an evaluation: another one might be another look at test
            manager = User.objects.get(username=MANAGER)
            evaluation = run.evaluations.first() or evaluate(run=run, author=manager)
            if sentence := offer_reading(run, author=manager):
                self.stdout.write(sentence)
            self.stdout.write(f"All results are at {portal.address}results/{evaluation.uuid}/")

    def _bar(self, task: str, portal: Portal, stop: threading.Event) -> Any:
        last = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal last
            if stop.is_set():
                raise _Stopped
            portal.keep_alive()
            if done < total and time.monotonic() - last < (0.2 if sys.stdout.isatty() else 10):
                return
            last = time.monotonic()
            ending = "\r" if sys.stdout.isatty() and done < total else "\n"
            self.stdout.write(f"{task}: {done} of {total}", ending=ending)
            self.stdout.flush()

        return progress


def offer_reading(run: Run, *, author: User) -> str:
    """Make a worklist of the run's films of tune, which is no look at test, unless the run has one. Returns why none
    could be made, "" otherwise."""
    if run.worklists.exists():
        return ""
    try:
        make_worklist(WorklistRequest(run=run, name="Flagged phantoms", author=author, parts=[Part.TUNE]))
    except (WorklistRefused, CannotEvaluate) as refusal:
        return f"No worklist was made: {refusal}"
    return ""


class _Stopped(Exception):
    pass


def _state(run: Run) -> str:
    """The stage of the first run of the chain that has not ended."""
    chain: list[Run] = [run]
    while chain[-1].after is not None:
        chain.append(chain[-1].after)
    current = next((link for link in reversed(chain) if not link.has_ended), run)
    if current.state == RunState.FAILED:
        return f"{current.name} failed: {current.message}"
    return f"{current.name}: {current.get_state_display().lower()}" + (f", {current.stage}" if current.stage else "")


@transaction.atomic
def make_people() -> Site:
    """The demo's site and its users, one for each role."""
    site, _ = Site.objects.get_or_create(name=SITE)
    for name, roles in PEOPLE.items():
        user, is_new = User.objects.get_or_create(
            username=name, defaults={"first_name": name.capitalize(), "is_staff": name == MANAGER}
        )
        if is_new:
            user.set_password(PASSWORD)
            user.is_superuser = name == MANAGER
            user.save()
        for role in roles:
            Membership.objects.get_or_create(user=user, site=site, role=role)
    return site
