"""Faults, one after the other, while people label, upload and request runs: nothing acknowledged may be lost.

    python -m benchmarks.soak [--rounds 200] [--seed 1] [--first 1] [--faults NAME,NAME] [--patience 420]
                                                            (make soak ROUNDS=200 SEED=1)

Starts the processes of `manage.py start` on a PostgreSQL of its own. Each round draws a fault from its own seed,
`SEED:ROUND`, does it under load, lets it last for a second or two, starts again what does not run, waits until labels
are saved again, and checks everything that was acknowledged since the round before. At the end it waits until all
imports and runs have ended, and checks all. Prints Markdown. Ends with 1 where anything is lost, there twice or wrong,
where an answer was a bare error, or where the portal did not come back by itself; the round and its seed are named. The
order of processes is not determined by the seed, so that a round may have to be tried more than once.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import redis
from tabulate import tabulate

from benchmarks.mixed_load import PASSWORD, Analyst, Browser, Ledger, Reader, Sender, Uploader
from benchmarks.stack import Stack, whole_stack

if TYPE_CHECKING:
    from benchmarks.invariants import Reference

SECONDS_TO_ANSWER = 300.0  # until labels are saved again, on a busy machine; the report has the true time
SECONDS_TO_FIT = 900.0
JUMP_SECONDS = 600
OUTAGE_SECONDS = 300
FILMS_TO_LABEL = 40
READERS = ("rosa", "ravi", "rieke")
PARTS = (("tune", "test"), ("fit", "tune", "test"))  # few films, and more than HILUM_SHARD_FILMS
FILMS_TO_FIT = 14


class Failure(Exception):
    """Something that must not happen did."""


# --- the faults ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What was done, and how it is undone beyond starting again what was killed."""

    words: str
    undo: Callable[[], None] = lambda: None


def kill_web(stack: Stack, rng: random.Random) -> Done:
    if rng.random() < 0.5 and (serving := stack.descendants("web", "gunicorn")):
        serving[0].kill()
        return Done("kill -9 of the process that serves requests")
    return _kill(stack, "web", "the web server")


def kill_runs(stack: Stack, rng: random.Random) -> Done:
    return _kill(stack, "runs", "the worker of runs")


def kill_imports(stack: Stack, rng: random.Random) -> Done:
    return _kill(stack, "imports", "the worker of imports")


def kill_beat(stack: Stack, rng: random.Random) -> Done:
    if rng.random() < 0.5 and (sending := stack.descendants("upkeep", "--beat")):
        sending[0].kill()
        return Done("kill -9 of beat below its worker")
    return _kill(stack, "upkeep", "beat's worker")


def kill_broker(stack: Stack, rng: random.Random) -> Done:
    return _kill(stack, "broker", "the broker")


def _kill(stack: Stack, name: str, words: str) -> Done:
    psutil.Process(stack.pid(name)).kill()
    return Done(f"kill -9 of {words}")


def kill_engine(stack: Stack, rng: random.Random) -> Done:
    give_up = time.monotonic() + 5
    while not (engines := stack.descendants("runs", "ml_engine")) and time.monotonic() < give_up:
        time.sleep(0.02)
    if not engines:
        return Done("no engine to kill")
    rng.choice(sorted(engines, key=lambda one: one.pid)).kill()
    return Done("kill -9 of the engine")


def kill_database(stack: Stack, rng: random.Random) -> Done:
    if rng.random() < 0.5:
        stack.database.kill_connection()
        return Done("kill -9 of a connection's process of PostgreSQL, which then ends all others")
    stack.database.kill()
    return Done("kill -9 of PostgreSQL")


def away_database(stack: Stack, rng: random.Random) -> Done:
    stack.database.kill()
    time.sleep(OUTAGE_SECONDS)
    return Done(f"PostgreSQL is away for {OUTAGE_SECONDS} s")


def flush_broker(stack: Stack, rng: random.Random) -> Done:
    with _broker(stack) as server:
        server.flushall()
    return Done("FLUSHALL of the broker")


def _broker(stack: Stack) -> redis.Redis:
    """Once it has loaded what it kept."""
    from portal.project.environment import broker_socket

    server = redis.Redis(unix_socket_path=str(broker_socket(stack.data)), socket_timeout=10)
    give_up = time.monotonic() + SECONDS_TO_ANSWER
    while True:
        try:
            server.ping()
        except redis.RedisError:
            if time.monotonic() > give_up:
                raise Failure("the broker does not answer") from None
            time.sleep(0.1)
        else:
            return server


def fill_disk(stack: Stack, rng: random.Random) -> Done:
    assert stack.disk is not None
    stack.disk.fill()
    return Done("no byte left on the disk of the data folder", stack.disk.empty)


def jump_clock(stack: Stack, rng: random.Random) -> Done:
    clock, seconds = stack.clock, rng.choice([JUMP_SECONDS, -JUMP_SECONDS])
    assert clock is not None
    clock.jump(seconds)
    return Done(f"the clock of the database jumps by {seconds:+d} s, and back", lambda: clock.jump(0))


def second_beat(stack: Stack, rng: random.Random) -> Done:
    schedule = str(stack.data / "run" / "second-beat")
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "portal",
        "beat",
        "--loglevel",
        "INFO",
        "--schedule",
        schedule,
        "--pidfile",
        "",
    ]
    path = stack.data / "logs" / "second-beat.log"
    with path.open("wb") as log:
        beat = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    give_up = time.monotonic() + SECONDS_TO_ANSWER
    while b"Sending due task" not in path.read_bytes():
        if beat.poll() is not None or time.monotonic() > give_up:
            beat.kill()
            raise Failure("the second beat sent nothing")
        time.sleep(0.1)

    def end() -> None:
        beat.kill()
        beat.wait()

    return Done("a second beat sends too", end)


FAULTS: dict[str, Callable[[Stack, random.Random], Done]] = {
    "web": kill_web,
    "worker": kill_runs,
    "imports": kill_imports,
    "engine": kill_engine,
    "broker": kill_broker,
    "database": kill_database,
    "beat": kill_beat,
    "flush": flush_broker,
    "disk": fill_disk,
    "clock": jump_clock,
    "beats": second_beat,
}
LONG_FAULTS = {"outage": away_database}  # minutes each, so only where they are asked for


def possible_faults(stack: Stack, asked: Sequence[str]) -> list[str]:
    """Those asked for that this machine allows, all without any; says which are left out."""
    missing = {"disk": stack.disk is None, "clock": stack.clock is None}
    for name, reason in (("disk", "no disk can be mounted here"), ("clock", "libfaketime is not installed")):
        if missing[name] and (not asked or name in asked):
            print(f"Left out: {name}, since {reason}.")
    return [name for name in asked or FAULTS if not missing.get(name, False)]


# --- the people ---------------------------------------------------------------------------------


class Load:
    """All who send, with one ledger."""

    def __init__(self, stack: Stack, seed: int) -> None:
        from portal.models import Dataset, Image

        self.ledger, self.stopping = Ledger(), threading.Event()
        labelled = [str(film) for film in Image.objects.filter(dataset__name="To label").values_list("uuid", flat=True)]
        self.senders: list[Sender] = [
            Reader(*self._given(stack, name, seed), name=name, films=labelled, every=0.2) for name in READERS
        ]
        target = str(Dataset.objects.get(name="Uploads").uuid)
        self.senders.append(Uploader(*self._given(stack, "ursula", seed), dataset=target))
        self.senders.append(Analyst(*self._given(stack, "anton", seed), detector=detector(), parts=PARTS))

    def _given(self, stack: Stack, name: str, seed: int) -> tuple[Ledger, Browser, threading.Event, str]:
        return self.ledger, Browser(stack.address, name), self.stopping, f"{seed}:{name}"

    def start(self) -> None:
        for sender in self.senders:
            sender.start()

    def stop(self) -> None:
        self.stopping.set()
        for sender in self.senders:
            sender.join(60)


def detector() -> str:
    from ml_engine.models import DetectorModel

    return str(DetectorModel.objects.get().uuid)


def populate() -> None:
    """A site, its people, films to label, an empty dataset for uploads, and a split to fit on."""
    from portal.models import Dataset, Role
    from tests.ml_engine import made
    from tests.portal import factories

    site = factories.site("Seoul")
    assert factories.PASSWORD == PASSWORD
    for name in (*READERS, "ursula"):
        factories.user(name, Role.CURATOR, at=site)
    factories.user("anton", Role.ANALYST, at=site)
    factories.films(factories.dataset("To label", at=site), unlabelled=FILMS_TO_LABEL)
    Dataset.objects.create(site=site, name="Uploads")
    made.small_split(site, fit=FILMS_TO_FIT)


def undisturbed(stack: Stack) -> Reference:
    """Fit the detector and score with it once for each of PARTS, and return the bytes of the results."""
    from benchmarks.invariants import result_bytes
    from ml_engine.models import RunState
    from ml_engine.runs import requests
    from ml_engine.runs.requests import RunRequest
    from portal.models import Split
    from tests.ml_engine import made

    split = Split.objects.get()
    request = RunRequest(site=split.site, name="Undisturbed")
    fit = requests.request_detector(request, split=split, config=made.small_config(align="none"))
    runs = [requests.request_score(request, after=fit, parts=parts) for parts in PARTS]
    give_up = time.monotonic() + SECONDS_TO_FIT
    for run in runs:
        while run.state != RunState.DONE:
            if run.state in (RunState.FAILED, RunState.CANCELLED) or time.monotonic() > give_up:
                raise Failure(f"the undisturbed run is {run.state}: {run.message} {run.detail}")
            stack.portal.keep_alive()
            time.sleep(0.2)
            run.refresh_from_db()
    return {tuple(run.parts): result_bytes(run) for run in runs}


# --- the rounds ---------------------------------------------------------------------------------


@dataclass
class Round:
    number: int
    fault: str
    words: str
    seconds: float
    problems: list[str]


class Soak:
    """`asked`: the faults to take by turns; at random without any."""

    def __init__(self, stack: Stack, load: Load, reference: Reference, *, seed: int, asked: Sequence[str]) -> None:
        self.stack, self.load, self.reference, self.seed, self.asked = stack, load, reference, seed, asked
        self.rounds: list[Round] = []
        self._checked = 0  # labels

    def round(self, number: int, faults: Sequence[str]) -> Round:
        rng, began = random.Random(f"{self.seed}:{number}"), time.monotonic()
        fault = faults[(number - 1) % len(faults)] if self.asked else rng.choice(faults)
        problems: list[str] = []
        words = fault
        time.sleep(rng.uniform(0.2, 1.5))
        try:
            done = (FAULTS | LONG_FAULTS)[fault](self.stack, rng)
            words = done.words
            time.sleep(rng.uniform(0.3, 2.5))
            done.undo()
            self.come_back()
        except Failure as failure:
            problems.append(str(failure))
        problems += self.check_recent()
        one = Round(number, fault, words, time.monotonic() - began, problems)
        self.rounds.append(one)
        print(f"round {number}: {words}, {one.seconds:.1f} s", file=sys.stderr, flush=True)
        for problem in problems:
            print(f"round {number}: {problem}\n  again: {self.command_of(number)}", flush=True)
        return one

    def command_of(self, number: int) -> str:
        faults = f" --faults {','.join(self.asked)}" if self.asked else ""
        return f"python -m benchmarks.soak --seed {self.seed} --first {number} --rounds 1{faults}"

    def come_back(self) -> None:
        """Start again what does not run, until it all runs and a label is saved that was sent since."""
        self.stack.start_again()
        before, give_up = self.load.ledger.acknowledged(), time.monotonic() + SECONDS_TO_ANSWER
        while self.load.ledger.acknowledged() < before + len(READERS) or not self.stack.all_run():
            if time.monotonic() > give_up:
                raise Failure(f"no label was saved for {SECONDS_TO_ANSWER:.0f} s")
            self.stack.portal.keep_alive()
            time.sleep(0.05)
        while not self.stack.descendants("upkeep", "--beat"):  # below its worker, once that has started
            if time.monotonic() > give_up:
                raise Failure(f"nothing sent the periodic tasks for {SECONDS_TO_ANSWER:.0f} s")
            self.stack.portal.keep_alive()
            time.sleep(0.05)

    def check_recent(self) -> list[str]:
        """What was sent since the last check, and what the senders noticed."""
        from benchmarks import invariants

        ledger = self.load.ledger
        with ledger.lock:
            labels, problems = ledger.labels[self._checked : -len(READERS)], ledger.problems[:]
            uploads, runs = ledger.uploads[-10:], ledger.runs[-10:]
            ledger.problems.clear()
        self._checked += len(labels)
        problems += self._queried(lambda: invariants.wrong_labels(labels))
        problems += self._queried(lambda: invariants.wrong_uploads(uploads))
        return problems + self._queried(lambda: invariants.wrong_runs(runs, self.reference))

    def check_all(self) -> list[str]:
        from benchmarks import invariants

        ledger = self.load.ledger
        problems = ledger.problems[:]
        problems += self._queried(lambda: invariants.wrong_labels(ledger.labels))
        problems += self._queried(lambda: invariants.wrong_uploads(ledger.uploads))
        problems += self._queried(lambda: invariants.wrong_runs(ledger.runs, self.reference))
        problems += self._queried(invariants.wrong_current_labels)
        problems += self._queried(invariants.misdated_labels)
        return problems + self._queried(invariants.broken_chains)

    def _queried(self, check: Callable[[], Iterator[str]]) -> list[str]:
        """The sentences of a check, whose connection may be that of a database that was killed."""
        from django.db import InterfaceError, OperationalError, connection

        for _ in range(5):
            try:
                return list(check())
            except (InterfaceError, OperationalError):
                connection.close()
                time.sleep(1)
        return list(check())

    def settle(self, patience: float) -> list[str]:
        """Wait until all imports and runs have ended; runs that failed as they may are retried, as a person does.
        Returns those that have not ended."""
        from benchmarks import invariants

        give_up = time.monotonic() + patience
        analyst = self.load.senders[-1]
        assert isinstance(analyst, Analyst)
        waiting: list[str] = []
        while time.monotonic() < give_up:
            self.stack.start_again()
            for run in self.load.ledger.runs:
                if run.acknowledged and run.state != "done":
                    analyst.look_at(run)
            waiting = self._queried(lambda: iter(invariants.unfinished()))
            if not waiting and all(run.state == "done" for run in self.load.ledger.runs if run.acknowledged):
                return []
            time.sleep(0.5)
        return waiting or ["a run that failed was not retried"]

    def periodic_tasks_run(self, seconds: float) -> list[str]:
        """The mark that beat's tasks put into the broker comes back after it was removed."""
        from portal.intake.emptied_broker import MARK

        with _broker(self.stack) as server:
            server.delete(MARK)
            give_up = time.monotonic() + seconds
            while not server.exists(MARK):
                if time.monotonic() > give_up:
                    return [f"the periodic tasks have not run for {seconds:.0f} s"]
                self.stack.portal.keep_alive()
                time.sleep(0.2)
        return []


def report(soak: Soak, problems: Sequence[str], seconds: float) -> None:
    from ml_engine.models import Run
    from portal.models import LabelEvent, Upload

    ledger = soak.load.ledger
    counts = Counter(one.fault for one in soak.rounds)
    slowest = {name: max(one.seconds for one in soak.rounds if one.fault == name) for name in counts}
    rows = [[name, counts[name], f"{slowest[name]:.0f}"] for name in FAULTS | LONG_FAULTS if name in counts]
    print(tabulate(rows, ["fault", "rounds", "slowest round (s)"], tablefmt="github"))
    acts = [label.act for label in ledger.labels]
    stored = LabelEvent.objects.filter(batch__in=acts).values("batch").distinct().count()
    runs = Run.objects.filter(name__startswith="Scores ")
    rows = [
        ["labels", len(ledger.labels), ledger.acknowledged(), stored],
        [
            "uploads",
            len(ledger.uploads),
            sum(bool(one.acknowledged) for one in ledger.uploads),
            Upload.objects.count(),
        ],
        ["runs", len(ledger.runs), sum(bool(one.acknowledged) for one in ledger.runs), runs.count()],
    ]
    print()
    print(tabulate(rows, ["", "sent", "acknowledged", "there"], tablefmt="github"))
    refusals = sum(number for (_, status), number in ledger.statuses.items() if status in (503, 507))
    unanswered = sum(number for (_, status), number in ledger.statuses.items() if status == 0)
    states = Counter(runs.values_list("state", flat=True))
    print(
        f"\n{len(soak.rounds)} rounds in {seconds:.0f} s, seed {soak.seed}. Requests refused with a sentence: "
        f"{refusals}; not answered: {unanswered}. Runs: {dict(states)}, attempts of one at most "
        f"{max(runs.values_list('attempt', flat=True), default=0)}, retried by hand "
        f"{sum(run.retried for run in ledger.runs)}. Uploads that a full disk refused after they had arrived: "
        f"{sum(bool(one.refused) for one in ledger.uploads)}. Lost, there twice or wrong: {len(problems)}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the number of the first round")
    parser.add_argument(
        "--faults", default="", help=f"of {','.join(FAULTS | LONG_FAULTS)}, by turns; without, all but outage at random"
    )
    parser.add_argument("--patience", type=float, default=420, help="seconds in which everything has to have ended")
    given = parser.parse_args()
    asked = [name for name in given.faults.split(",") if name]
    if unknown := sorted(set(asked) - set(FAULTS | LONG_FAULTS)):
        parser.error(f"--faults names {unknown[0]}; there are {', '.join(FAULTS | LONG_FAULTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped
    with whole_stack(faulty_disk=not asked or "disk" in asked, faulty_clock=not asked or "clock" in asked) as stack:
        stack.failed = soak(stack, given, asked) > 0
    sys.exit(stack.failed)


def soak(stack: Stack, given: Any, asked: Sequence[str]) -> int:
    """How many problems there were."""
    began = time.monotonic()
    populate()
    reference = undisturbed(stack)
    load = Load(stack, given.seed)
    one = Soak(stack, load, reference, seed=given.seed, asked=asked)
    faults = possible_faults(stack, asked)
    print(f"ready after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    began = time.monotonic()
    load.start()
    for number in range(given.first, given.first + given.rounds):
        one.round(number, faults)
    problems = [problem for each in one.rounds for problem in each.problems]
    load.stop()
    closing: list[str] = []
    if given.patience:
        closing += one.periodic_tasks_run(SECONDS_TO_ANSWER)
        closing += [f"not ended: {each}" for each in one.settle(given.patience)]
    closing += one.check_all()
    for problem in closing:
        print(f"at the end: {problem}", flush=True)
    problems += closing
    report(one, problems, time.monotonic() - began)
    return len(problems)


if __name__ == "__main__":
    main()
