"""The recipe of hilum-0.1.0.tar.xz and hilum-0.1.0.json: a database and a data folder as release 0.1.0 left them,
and what that release shows of them.

It ran once, in a checkout of commit 68562ad, through that commit's own commands, pages and API:

    git clone HILUM old && cd old && git checkout 68562ad
    HILUM/.venv/bin/python HILUM/tests/upgrade/make_0_1_0.py

with HILUM the checkout that holds this file. It takes a few minutes and replaces both files beside itself; UUIDs and
times are new each time. The films are phantoms and hold no patient data.

The real engine carries out every run, with two changes by the module that Python imports at start (`START`): the
network of the alignment, which the method `search` never uses, gets zeros as its untrained weights, since 45 MB of
random numbers do not compress; and one engine stops in a chosen stage, so that it can be killed there.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

HERE = Path(__file__).resolve().parent
CHECKOUT = Path.cwd()
COMMIT = "68562ad76d2e0a7b51752471e3018c32a53a0180"
NAME = "hilum-0.1.0"
PASSWORD = "a long enough one"
SECRETS = {  # of this fixture alone
    "HILUM_SECRET_KEY": "a made-up key for the fixture of the upgrade test",
    "HILUM_PSEUDONYM_SECRET": "a made-up secret for the fixture of the upgrade test",
}
START = """
import os, signal, sys

if sys.orig_argv[1:4] == ["-m", "ml_engine", "run"]:
    import torch
    from ml_engine.core.alignment.network import AlignmentNetwork
    from ml_engine.folder import Report

    def draw_zeros(self, generator):
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    report = Report.__call__

    def report_and_stop(self, done, total, message=None):
        report(self, done, total, message)
        if os.environ.get("STOP_IN_STAGE") == self.stage:
            os.kill(os.getpid(), signal.SIGSTOP)

    AlignmentNetwork._draw_weights = draw_zeros
    Report.__call__ = report_and_stop
"""
FINDINGS = ["nodule", "consolidation", "effusion", "pneumothorax", "cardiomegaly"]
PEOPLE = {
    "carla": ["curator"],
    "rosa": ["reader"],
    "ralf": ["reader"],
    "ada": ["adjudicator"],
    "anna": ["analyst"],
    "bruno": ["broker"],
    "maria": ["curator", "reader", "adjudicator", "analyst", "manager", "broker"],
}
SETTINGS = {
    "size": "64",
    "backbone": "resnet18",
    "weights": "random",
    "rate": "0.05",
    "grid": "2",
    "mask": "no",
    "batch": "8",
    "threads": "1",
    "false_alarm_rate": "0.2",
    "alignment.method": "search",
    "alignment.size": "64",
    "alignment.batch": "8",
    "alignment.epochs": "1",
    "alignment.rounds": "1",
    "alignment.perceptual": "0",
    "alignment.search_steps": "2",
    "alignment.guard_valid_area": "0",
}


def main() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    if head.stdout.strip() != COMMIT:
        sys.exit(f"Run this in a checkout of {COMMIT[:7]}: {CHECKOUT} is at {head.stdout.strip()[:7]}.")
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder))
        questions = installation.fill()
        pack(installation.data, HERE / f"{NAME}.tar.xz")
        expected = ask_elsewhere(HERE / f"{NAME}.tar.xz", questions)
    write_expected(HERE / f"{NAME}.json", expected)


class Installation:
    """An installation of the old release, and the people who work at it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.data.mkdir()
        (folder / "start").mkdir()
        (folder / "start" / "sitecustomize.py").write_text(START)
        os.environ.update(environment(self.data))
        self.manage("migrate", "--verbosity", "0")
        sys.path.insert(0, str(CHECKOUT))
        import django

        django.setup()
        self.addresses: dict[str, str] = {}

    # tools

    def manage(self, *arguments: str, **more: str) -> None:
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=CHECKOUT, env={**os.environ, **more}, check=True)

    def work(self, run: str) -> None:
        """Carry out a run, as a worker does."""
        self.manage("work_run", run, PYTHONPATH=str(self.folder / "start"))

    def client(self, user: str) -> Any:
        from django.contrib.auth import get_user_model
        from django.test import Client

        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.get(username=user))
        return client

    def post(self, user: str, address: str, *, status: int = 302, **fields: Any) -> Any:
        """Send a form, as a page does."""
        return checked(self.client(user).post(address, fields), status)

    def ask(self, user: str, address: str, *, status: int = 201, **fields: Any) -> Any:
        """Send a request to the API."""
        response = self.client(user).post(f"/api/v1/{address}", json.dumps(fields), content_type="application/json")
        return checked(response, status).json()

    def get(self, user: str, address: str) -> Any:
        return checked(self.client(user).get(address), 200)

    # the work of the people

    def fill(self) -> dict[str, Any]:
        """Returns the addresses to request, each with its user, and the runs by a short name."""
        self.people()
        self.films()
        self.labels()
        self.cohorts_and_queue()
        self.split_and_runs()
        self.evaluations()
        self.studies()
        self.worklists()
        self.unfinished()
        self.log_out()
        runs = ("scores", "plain scores", "aligned", "plain", "killed", "waiting")
        return {
            "addresses": [list(pair) for pair in addresses(self)],
            "scores_of": [self.addresses[name] for name in ("scores", "plain scores")],
            "runs": {name: self.addresses[name] for name in runs},
        }

    def people(self) -> None:
        from django.db import transaction

        from portal.models import Membership, Site, User

        with transaction.atomic():
            self.site = Site.objects.create(name="Phantom Hospital", findings=FINDINGS)
            for name, roles in PEOPLE.items():
                user = User.objects.create_user(name, password=PASSWORD, theme="dark" if name == "rosa" else "light")
                for role in roles:
                    Membership.objects.create(user=user, site=self.site, role=role)

    def films(self) -> None:
        """Import a folder: phantoms with boxes, four of them without a label, and a file that is no film; then the same
        folder again with a corrected label."""
        from portal.imaging.phantom import write_demo_set
        from portal.models import Dataset, Image

        films = self.folder / "films"
        write_demo_set(films, normals=34, abnormals_per_finding=3, size=80, workers=1)
        (films / "broken.dcm").write_bytes(b"this is no film")
        with (films / "labels.csv").open(newline="") as file:
            rows = [row | {"split": "", "ward": f"ward {k % 3}"} for k, row in enumerate(csv.DictReader(file))]
        normals = [row for row in rows if row["label"] == "normal"]
        for row in normals[:4]:
            row["label"] = ""
        self.unlabelled = [row["filename"] for row in normals[:4]]
        wrong = normals[4]
        rows.append(rows[0] | {"filename": "broken.dcm", "patient_id": "PHANTOM-9999"})
        arguments = ("--boxes", str(films / "boxes.csv"), "--dataset", "Phantom chests", "--site", self.site.name)
        for label in ("unsure", "normal"):
            wrong["label"] = label
            with (films / "labels.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
            labels = str(films / "labels.csv")
            self.manage("import_images", str(films), "--labels", labels, *arguments, "--user", "carla")
        self.dataset = Dataset.objects.get()
        self.film = {image.original_name: str(image.uuid) for image in Image.objects.all()}
        self.normal = [self.film[row["filename"]] for row in normals[5:]]

    def labels(self) -> None:
        """Labels in bulk; a slip and its undo; two people who differ, settled once, left open once; unsure; exclude."""
        slip = self.post("carla", "/labels/", status=200, image=[self.film[self.unlabelled[0]]], value="abnormal")
        self.post("carla", "/labels/undo/", status=200, act=slip.json()["act"])
        three = [self.film[name] for name in self.unlabelled[:3]]
        self.post("carla", "/labels/", status=200, image=three, value="normal")
        settled, left, unsure, excluded = self.normal[:4]
        for film, choice in ((settled, "mine"), (left, "unresolved")):
            seen = self.post("carla", "/labels/", status=200, image=[film], value="abnormal", finding=["nodule"])
            options = {"image": [film], "value": "normal", "reason": "A vessel seen end on."}
            count = seen.json()["labels"][film]["seen"]
            self.post("ada", "/labels/merge/", status=200, choice=choice, seen=[count], **options)
        self.post("carla", "/labels/", status=200, image=[unsure], value="unsure")
        self.post("carla", "/labels/", status=200, image=[excluded], value="exclude", reason="Cut off at the left.")

    def cohorts_and_queue(self) -> None:
        """Two versions of a cohort, which differ by one film; a queue of the films, started."""
        from portal.models import Cohort, ScreeningQueue

        freeze = f"/datasets/{self.dataset.uuid}/freeze/?label=normal"
        self.post("carla", freeze, name="normals", note="before the second look")
        self.post("carla", "/labels/", status=200, image=[self.normal[4]], value="unsure")
        self.post("carla", freeze, name="normals")
        self.addresses |= {f"cohort {cohort.version}": str(cohort.uuid) for cohort in Cohort.objects.all()}
        self.post("carla", f"/datasets/{self.dataset.uuid}/queue/", name="all, mixed", order="random", seed="7")
        self.addresses["queue"] = str(ScreeningQueue.objects.get().uuid)
        self.post("carla", f"/queues/{self.addresses['queue']}/place/", status=200, position="5")

    def split_and_runs(self) -> None:
        """A drawn split; an alignment, a detector after it and its scores in one chain; a detector without alignment
        and its scores."""
        from portal.models import Split

        shares = {"fit": "0.4", "tune": "0.2", "calibrate": "0.2", "test": "0.2"}
        chosen = {"name": "By patient", "datasets": [str(self.dataset.uuid)], "origin": "drawn", "seed": "3"}
        self.post("anna", "/splits/new/", **chosen, **shares)
        self.split = str(Split.objects.get().uuid)
        fit = {"split": self.split, "settings": SETTINGS}
        aligned = self.ask("anna", "runs/fit_detector/", name="Aligned", alignment="first", note="the first", **fit)
        parts = {"parts": ["tune", "calibrate", "test"]}
        scores = self.ask("anna", "runs/score/", name="Aligned scores", detector=aligned["uuid"], **parts)
        plain = self.ask("anna", "runs/fit_detector/", name="Unaligned", alignment="none", tags=["plain"], **fit)
        for run in (aligned["after"], aligned["uuid"], scores["uuid"], plain["uuid"]):
            self.work(run)
        again = self.ask("anna", "runs/score/", name="Unaligned scores", detector=plain["uuid"], **parts)
        self.work(again["uuid"])
        self.aligned, self.plain = aligned["uuid"], plain["uuid"]
        names = {"alignment": aligned["after"], "aligned": aligned["uuid"], "plain": plain["uuid"]}
        self.addresses |= names | {"scores": scores["uuid"], "plain scores": again["uuid"]}

    def evaluations(self) -> None:
        """Test is sealed; a plan, approved; two evaluations; a look at another weight; a queue by score."""
        from portal.models import ScreeningQueue

        self.post("maria", f"/splits/{self.split}/plan/rules/", plan="yes", second_person="yes")
        plan = self.ask(
            "anna",
            f"splits/{self.split}/plan/",
            target=0.8,
            primary=self.aligned,
            compared=[self.plain],
            looks=3,
            hypothesis="Aligned films are told apart better.",
        )
        self.ask("maria", f"plans/{plan['uuid']}/approve/")
        for name in ("scores", "plain scores"):
            evaluation = self.ask("anna", f"runs/{self.addresses[name]}/evaluate/")
            self.addresses[f"evaluation of {name}"] = evaluation["uuid"]
        first = self.addresses["evaluation of scores"]
        self.post("anna", f"/results/{first}/figures", status=200, part="test", weight="0.25")
        self.get("anna", f"/results/{first}/")  # its statistics are stored; those of the other are computed
        self.post("maria", f"/runs/{self.aligned}/queue/")
        self.addresses["suspects"] = str(ScreeningQueue.objects.get(order="score").uuid)

    def studies(self) -> None:
        fit = {"split": self.split, "settings": SETTINGS}
        sweep = self.ask("anna", "runs/sweep/", name="Rates", axes={"rate": ["0.02", "0.05"]}, aligned=False, **fit)
        banks = {"shares": [0.5], "contaminations": [0.1], "repeats": 1}
        bank = self.ask("anna", "runs/bank_study/", name="Fewer normals", alignment="none", **banks, **fit)
        lesions = {"films": 3, "places": 1, "kinds": ["nodule", "effusion"], "contrasts": [0.2]}
        sizes = {"sizes_mm": {"nodule": [30], "effusion": [60]}}
        spots = self.ask("anna", "runs/blind_spots/", name="Lesions", detector=self.plain, **lesions, **sizes)
        for run in (sweep, bank, spots):
            self.work(run["uuid"])
        self.ask("anna", f"runs/{sweep['uuid']}/show-test/", status=200)
        self.ask("anna", f"bank-studies/{bank['uuid']}/show/", status=200)
        self.addresses |= {"sweep": sweep["uuid"], "bank study": bank["uuid"], "blind spots": spots["uuid"]}

    def worklists(self) -> None:
        """A worklist read by two people with the model shown, and a blinded one; an escalation; proposed normals."""
        whole = {"detector": self.plain, "datasets": [str(self.dataset.uuid)]}
        scored = self.ask("anna", "runs/score/", name="Whole dataset", **whole)
        self.work(scored["uuid"])
        self.addresses["whole"] = scored["uuid"]
        options = {"point": "tune sensitivity", "value": 0.8}
        assisted = self.ask("anna", f"runs/{scored['uuid']}/worklists/", name="Assisted", seed=1, **options)["uuid"]
        blinded = self.ask("anna", f"runs/{scored['uuid']}/worklists/", name="Blinded", blinded=True, most=8, **options)
        self.addresses |= {"assisted": assisted, "blinded": blinded["uuid"]}
        for reader, worklist, odd in (("rosa", assisted, 4), ("ralf", assisted, 5), ("rosa", blinded["uuid"], 3)):
            self.read(reader, worklist, odd)
        item = self.items("rosa", assisted)[0]["item"]
        reason = "Looks like a tension pneumothorax."
        escalation = self.ask("rosa", f"worklists/{assisted}/escalations/", item=item, reason=reason)
        answer = f"escalations/{escalation['uuid']}/answer/"
        self.ask("bruno", answer, status=200, action="It is a phantom: nobody to call.")
        readings = self.get("anna", f"/api/v1/worklists/{assisted}/readings/").json()
        wrong = next(entry["uuid"] for entry in readings if entry["flagged"] and entry["verdict"] == "normal")
        self.post("anna", f"/reading/{assisted}/adjudications/", reading=[wrong])
        self.post("anna", f"/reading/{assisted}/normals/")
        self.propose_normals()

    def propose_normals(self) -> None:
        from django.apps import apps

        proposal = apps.get_model("analysis.NormalProposal").objects.get()
        self.work(str(proposal.run.uuid))
        decision = {"decision": "accept", "name": "normals", "reason": "Vessels, seen by two."}
        self.post("maria", f"/reading/normals/{proposal.uuid}/decide/", **decision)
        self.addresses |= {"proposal": str(proposal.uuid), "grown": str(proposal.run.uuid)}

    def items(self, reader: str, worklist: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get(reader, f"/api/v1/worklists/{worklist}/items/").json()["items"]
        return items

    def read(self, reader: str, worklist: str, odd: int) -> None:
        """Read every film, each `odd`-th as abnormal; in an assisted worklist every second with its heatmap."""
        is_blinded = worklist == self.addresses["blinded"]
        for number, item in enumerate(self.items(reader, worklist)):
            if not is_blinded and number % 2:
                self.get(reader, f"/reading/{worklist}/items/{item['item']}/overlay")
            reading: dict[str, Any] = {"verdict": "normal", "reason": "normal variant"}
            if number % odd == 0:
                reading = {"verdict": "abnormal", "reason": "true finding", "findings": ["nodule"]}
                reading["boxes"] = [{"x": 10, "y": 12, "width": 20, "height": 16, "finding": "nodule"}]
            address = str(uuid5(UUID(worklist), f"{reader} {item['item']}"))
            times = {"active_seconds": 2.5 + number, "total_seconds": 4.0 + number}
            self.ask(reader, f"worklists/{worklist}/readings/", uuid=address, item=item["item"], **reading, **times)

    def unfinished(self) -> None:
        """For the next release: a run that waits in the queue, and one whose engine was killed after two stages, which
        is in the queue again."""
        killed = self.ask("anna", "runs/score/", name="Killed", detector=self.aligned, parts=["tune", "test"])["uuid"]
        self.kill_in_stage("maps", killed)
        waiting = self.ask("anna", "runs/score/", name="Waiting", detector=self.plain, parts=["tune", "test"])["uuid"]
        self.addresses |= {"killed": killed, "waiting": waiting}

    def kill_in_stage(self, stage: str, run: str) -> None:
        """The supervisor finds its engine killed and puts the run back."""
        more = {"PYTHONPATH": str(self.folder / "start"), "STOP_IN_STAGE": stage}
        command = [sys.executable, "manage.py", "work_run", run]
        worker = subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **more})
        for engine in stopped_engines(self.data / "runs" / run, worker):
            os.kill(engine, signal.SIGKILL)
        assert worker.wait(60) == 0

    def log_out(self) -> None:
        from django.contrib.sessions.models import Session
        from django.db import connection

        Session.objects.all().delete()
        connection.close()


def addresses(installation: Installation) -> Iterator[tuple[str, str]]:
    """(user, address): the API, exports and maps, and every page."""
    at, dataset, split = installation.addresses, installation.dataset.uuid, installation.split
    plain = [at["scores"], at["plain scores"]]
    first, second = at["evaluation of scores"], at["evaluation of plain scores"]
    film, abnormal = installation.film[installation.unlabelled[3]], films_of_test(at["scores"])[0]
    yield "anna", f"/api/v1/datasets/{dataset}/images/"
    for address in ("datasets/", "splits/", "cohorts/", "queues/", "runs/", "worklists/", "evaluations/"):
        yield "anna", f"/api/v1/{address}"
    yield "bruno", "/api/v1/escalations/"
    for version in ("1", "2"):
        yield "anna", f"/api/v1/cohorts/{at[f'cohort {version}']}/images/"
    yield "anna", f"/api/v1/cohorts/{at['cohort 2']}/difference/?earlier={at['cohort 1']}"
    for queue in ("queue", "suspects"):
        yield "maria", f"/api/v1/queues/{at[queue]}/images/"
        yield "maria", f"/queues/{at[queue]}/films/?count=12"
    yield "anna", f"/api/v1/splits/{split}/data/"
    yield "anna", f"/api/v1/splits/{split}/plan/"
    for run in ("alignment", "aligned", "plain", "scores", "sweep", "bank study", "blind spots", "killed", "waiting"):
        yield "anna", f"/api/v1/runs/{at[run]}/"
        yield "anna", f"/runs/{at[run]}/"
    yield "anna", f"/runs/{at['alignment']}/pictures/canonical.png"
    for evaluation in (first, second):
        for part in ("tune", "test"):
            for what in ("breakdown", "localisation", "precision", "operating", "galleries", "alignment"):
                yield "anna", f"/api/v1/evaluations/{evaluation}/{what}/?part={part}"
            yield "anna", f"/results/{evaluation}/?part={part}"
        yield "anna", f"/api/v1/evaluations/{evaluation}/"
        yield "anna", f"/api/v1/evaluations/{evaluation}/data/"
        yield "anna", f"/results/{evaluation}/scores.csv"
    yield "anna", f"/api/v1/evaluations/compare/?evaluation={first}&evaluation={second}"
    yield "anna", f"/results/compare/?evaluation={first}&evaluation={second}"
    for figure in ("roc", "operating"):
        yield "anna", f"/results/{second}/figures/{figure}.csv?part=test"
    yield "carla", f"/results/{first}/"
    for run in plain:
        for what in ("overlay", "maps", ""):
            yield "anna", f"/results/runs/{run}/films/{abnormal}/{what}"
    yield "anna", f"/results/runs/{at['plain scores']}/films/{abnormal}/nearest"
    yield "anna", f"/results/runs/{at['scores']}/films/{abnormal}/heatmap.dcm"
    yield "carla", f"/results/runs/{at['scores']}/films/{abnormal}/maps"
    yield "anna", f"/api/v1/runs/{at['sweep']}/sweep/"
    yield "anna", f"/results/runs/{at['sweep']}/sweep/"
    yield "anna", f"/api/v1/bank-studies/{at['bank study']}/"
    yield "anna", f"/results/bank-studies/{at['bank study']}/"
    yield "anna", f"/api/v1/blind-spots/{at['blind spots']}/"
    yield "anna", f"/results/blind-spots/{at['blind spots']}/"
    for worklist in ("assisted", "blinded"):
        for what in ("", "readings/", "summary/"):
            yield "anna", f"/api/v1/worklists/{at[worklist]}/{what}"
        yield "anna", f"/reading/{at[worklist]}/summary/"
        yield "rosa", f"/api/v1/worklists/{at[worklist]}/"
        yield "rosa", f"/reading/{at[worklist]}/"
    yield "anna", f"/reading/{at['blinded']}/readings.csv"
    yield "maria", f"/reading/normals/{at['proposal']}/"
    for address in (f"images/{film}/", f"images/{film}/facts", f"images/{abnormal}/boxes", f"images/{film}/preview"):
        yield "carla", f"/{address}"
    pages = ["", f"datasets/{dataset}/", f"datasets/{dataset}/quarantine/", "cohorts/", f"cohorts/{at['cohort 2']}/"]
    pages += ["queues/", f"queues/{at['queue']}/", "splits/", f"splits/{split}/", f"splits/{split}/data/"]
    pages += [f"splits/{split}/plan/", "keys/", "findings/", "runs/", "results/", "reading/", "reading/normals/"]
    pages += ["reading/escalations/", "reading/adjudications/", "runs/new/fit_detector/", "runs/new/score/"]
    for page in pages:
        yield "maria", f"/{page}"


def films_of_test(run: str) -> list[str]:
    from django.apps import apps

    scores = apps.get_model("ml_engine.Score").objects.filter(run__uuid=run, part="test")
    abnormal = scores.filter(image__current_label__value="abnormal")
    return [str(address) for address in abnormal.values_list("image__uuid", flat=True)]


def checked(response: Any, status: int) -> Any:
    assert response.status_code == status, f"{response.request['PATH_INFO']}: {response.content[:2000].decode()}"
    return response


def stopped_engines(folder: Path, worker: subprocess.Popen[bytes]) -> Iterator[int]:
    """The engine of the folder, once it has stopped itself."""
    while True:
        assert worker.poll() is None, "the run ended before its engine stopped"
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
            except OSError:
                continue
            if str(folder).encode() in command.split(b"\0") and state.rpartition(")")[2].split()[0] == "T":
                yield int(entry.name)
                return
        time.sleep(0.05)


# the two files


def environment(data: Path) -> dict[str, str]:
    """No broker is needed: `work_run` carries out the runs."""
    settings = {"HILUM_DATA_DIR": str(data), "DATABASE_URL": f"sqlite:///{data / 'hilum.sqlite3'}"}
    settings |= {"HILUM_BROKER_URL": "memory://", "HILUM_DEVICE": "cpu", "HILUM_ENGINE_THREADS": "1"}
    return settings | SECRETS | {"DJANGO_SETTINGS_MODULE": "portal.settings"}


def pack(data: Path, archive: Path) -> None:
    """Hard links stay links: a run's folder shares its films and models with the folders that store them. One preview
    in ten is packed, since missing ones are made again."""
    database = sqlite3.connect(data / "hilum.sqlite3")
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    previews = sorted((data / "previews").rglob("*.jpg"))
    left_out = {path.relative_to(data.parent).as_posix() for k, path in enumerate(previews) if k % 10}

    def without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.name in left_out or member.name.endswith(("-wal", "-shm")):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w:xz", preset=9) as packed:
        packed.add(data, "data", filter=without_owner)


def ask_elsewhere(archive: Path, questions: dict[str, Any]) -> dict[str, Any]:
    """What this release shows of the archive, unpacked in another place as the test will unpack it."""
    all_questions = {"user": "carla", "password": PASSWORD} | questions
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        process = subprocess.run(
            [sys.executable, str(HERE / "ask.py")],
            cwd=CHECKOUT,
            env={**os.environ, **environment(Path(folder) / "data")},
            input=json.dumps(all_questions),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return {"commit": COMMIT, "environment": SECRETS, "asked": all_questions, "shown": json.loads(process.stdout)}


def write_expected(path: Path, expected: dict[str, Any]) -> None:
    """One response per line."""
    answers = expected["shown"].pop("answers")
    head = json.dumps(expected)
    lines = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in answers)
    assert head.endswith("}}")
    path.write_text(f'{head[:-2]}, "answers": [\n{lines}\n]}}}}\n')


if __name__ == "__main__":
    main()
