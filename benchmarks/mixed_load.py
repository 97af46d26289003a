"""People who label, upload and request runs without a pause, and the ledger of what was sent and acknowledged.

For benchmarks.soak and benchmarks.load. They send what the pages send: a label has its own `act` and is sent again
until it is answered, as the page's outbox does; an upload goes on where the server says that it was cut.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

PASSWORD = "a long enough one"
VALUES = ("normal", "abnormal", "unsure")
MOST_UNDER_WAY = 3  # uploads, and runs, that one person waits for
PAUSE = 0.3  # seconds until something unanswered is sent again
SECONDS_TO_ANSWER = 60.0
TUS = {"Tus-Resumable": "1.0.0"}
FILM_SIDE = 64
FILMS_A_ZIP = 2


@dataclass(frozen=True)
class Answer:
    """`status` 0: there was none."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> dict[str, Any]:
        """Empty where it is something else, such as a page."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Browser:
    """Somebody who is logged in."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self.ask("GET", "/accounts/login/")
        self.post("/accounts/login/", [("login", name), ("password", PASSWORD)])
        if "person" not in self.ask("GET", "/labels/session/").json:
            raise RuntimeError(f"{name} could not log in at {address}")

    def post(self, path: str, fields: Sequence[tuple[str, str]]) -> Answer:
        return self.ask("POST", path, urllib.parse.urlencode(fields).encode())

    def post_json(self, path: str, values: Any) -> Answer:
        return self.ask("POST", path, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def ask(self, method: str, path: str, body: bytes | None = None, more: Mapping[str, str] | None = None) -> Answer:
        token = next((cookie.value for cookie in self._cookies if cookie.name == "csrftoken"), "") or ""
        headers = {"X-CSRFToken": token, "Accept": "application/json, text/html", "Referer": self.address}
        address = path if path.startswith("http") else self.address + path
        request = urllib.request.Request(address, body, headers | dict(more or {}), method=method)
        try:
            try:
                answer = self._opener.open(request, timeout=SECONDS_TO_ANSWER)
            except urllib.error.HTTPError as refused:
                answer = refused
            with answer:
                return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):  # no answer, or one that was cut
            return Answer()


# --- the ledger ---------------------------------------------------------------------------------


@dataclass
class SentLabel:
    act: uuid.UUID
    film: str
    value: str
    by: str
    acknowledged: bool = False
    tries: int = 0


@dataclass
class SentUpload:
    """`films`: (H, W) uint16 pixels by name; `acknowledged`: the UUID of its import."""

    number: int
    films: Mapping[str, NDArray[np.uint16]]
    acknowledged: str = ""
    refused: str = ""  # why the import failed, where it says to send it again
    state: str = ""


@dataclass
class SentRun:
    name: str
    parts: tuple[str, ...]
    acknowledged: str = ""
    retried: int = 0
    state: str = ""


class Ledger:
    """What was sent, by all who send. `problems` are sentences: each is a fault."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.labels: list[SentLabel] = []
        self.uploads: list[SentUpload] = []
        self.runs: list[SentRun] = []
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.milliseconds: list[float] = []  # of labels that were acknowledged
        self.problems: list[str] = []

    def note(self, what: str, answer: Answer, *, expected: Sequence[int]) -> None:
        """Count an answer. No answer, and a refusal with a reason while something is away or full, are expected."""
        with self.lock:
            self.statuses[what, answer.status] += 1
        away = answer.status in (0, 503, 507, *expected)
        if not away or (answer.status >= 500 and not answer.body.strip()):
            self.problem(f"{what} was answered {answer.status}: {answer.body[:300].decode(errors='replace')}")

    def problem(self, sentence: str) -> None:
        with self.lock:
            if sentence not in self.problems:
                self.problems.append(sentence)

    def acknowledged(self) -> int:
        with self.lock:
            return sum(one.acknowledged for one in self.labels)


# --- who sends ----------------------------------------------------------------------------------


class Sender(threading.Thread):
    """Takes one step after the other until `stopping` is set."""

    def __init__(self, ledger: Ledger, browser: Browser, stopping: threading.Event, seed: str) -> None:
        super().__init__(daemon=True)
        self.ledger, self.browser, self.stopping = ledger, browser, stopping
        self.rng = random.Random(seed)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception:
            self.ledger.problem(f"{type(self).__name__} ended:\n{traceback.format_exc()}")

    def step(self) -> None:
        raise NotImplementedError


class Reader(Sender):
    """One label each `every` seconds, `most` in all if it is not 0."""

    def __init__(self, *given: Any, name: str, films: Sequence[str], every: float, most: int = 0) -> None:
        super().__init__(*given)
        self.person, self.films, self.every, self.most = name, films, every, most
        self.sent = 0

    def step(self) -> None:
        began = time.monotonic()
        act = uuid.UUID(int=self.rng.getrandbits(128), version=4)
        label = SentLabel(act, self.rng.choice(self.films), self.rng.choice(VALUES), self.person)
        with self.ledger.lock:
            self.ledger.labels.append(label)
        self.send(label)
        self.sent += 1
        if self.most and self.sent == self.most:
            raise SystemExit
        self.stopping.wait(max(0.0, self.every - (time.monotonic() - began)))

    def send(self, label: SentLabel) -> None:
        fields = [("image", label.film), ("value", label.value), ("act", str(label.act))]
        while True:
            label.tries += 1
            began = time.perf_counter()
            answer = self.browser.post("/labels/", fields)
            self.ledger.note("a label", answer, expected=[200, 409])
            if answer.status == 409:  # another reader labelled the film at the same moment: nothing is saved
                return
            if answer.status == 200:
                if answer.json.get("act") != str(label.act):
                    self.ledger.problem(f"a label was answered 200 without its act: {answer.body[:200]!r}")
                    return
                with self.ledger.lock:
                    label.acknowledged = True
                    self.ledger.milliseconds.append((time.perf_counter() - began) * 1000)
                return
            if self.stopping.wait(PAUSE):  # it may be stored or not: both are right
                return


class Uploader(Sender):
    """Small zips with a table, in parts."""

    def __init__(self, *given: Any, dataset: str, every: float = 1.0) -> None:
        super().__init__(*given)
        self.dataset, self.every = dataset, every
        self.number = 0

    def step(self) -> None:
        under_way = [one for one in self.ledger.uploads if one.acknowledged and one.state not in ("done", "failed")]
        for upload in under_way:
            self.look_at(upload)
        if len(under_way) < MOST_UNDER_WAY:
            self.number += 1
            upload = SentUpload(self.number, films_of(self.number, self.rng))
            with self.ledger.lock:
                self.ledger.uploads.append(upload)
            self.send(upload)
        self.stopping.wait(self.every)

    def look_at(self, upload: SentUpload) -> None:
        answer = self.browser.ask("GET", f"/api/v1/imports/{upload.acknowledged}/")
        self.ledger.note("a look at an import", answer, expected=[200])
        upload.state = answer.json.get("state", upload.state)
        if upload.state != "failed":
            return
        if "disk of the server is full" in answer.json.get("message", ""):
            upload.refused = answer.json["message"]
        else:
            self.ledger.problem(f"upload {upload.number} failed: {answer.json}")

    def send(self, upload: SentUpload) -> None:
        packed = zipped(upload.films)
        place = ""
        while not place and not self.stopping.is_set():
            headers = {**TUS, "Upload-Length": str(len(packed)), "Upload-Metadata": "filename " + _base64("films.zip")}
            answer = self.browser.ask("POST", f"/api/v1/datasets/{self.dataset}/uploads/", b"", headers)
            self.ledger.note("a new upload", answer, expected=[201])
            place = answer.headers.get("Location", "") if answer.status == 201 else ""
            self.stopping.wait(0 if place else PAUSE)
        kept = 0  # what the server said it has
        while not upload.acknowledged and not self.stopping.is_set():
            kept = self.send_part(upload, place, packed, kept)

    def send_part(self, upload: SentUpload, place: str, packed: bytes, kept: int) -> int:
        part = packed[kept : kept + len(packed) // 3 + 1]
        headers = {**TUS, "Upload-Offset": str(kept), "Content-Type": "application/offset+octet-stream"}
        answer = self.browser.ask("PATCH", place, part, headers)
        self.ledger.note("a part of an upload", answer, expected=[204, 409, 423])
        if answer.status != 204:
            self.stopping.wait(PAUSE)
            answer = self.browser.ask("HEAD", place, None, TUS)
            self.ledger.note("a look at an upload", answer, expected=[200])
        if answer.status not in (200, 204):
            return kept
        has = int(answer.headers["Upload-Offset"])
        if has < kept:
            self.ledger.problem(f"upload {upload.number} lost bytes: {kept} were acknowledged, {has} are there")
        upload.acknowledged = answer.headers.get("Hilum-Import", "") or ""
        return has


class Analyst(Sender):
    """Scoring runs of the same detector, a small one that the warm engine takes and one that is divided into ranges,
    by turns."""

    def __init__(self, *given: Any, detector: str, parts: Sequence[tuple[str, ...]], every: float = 0.5) -> None:
        super().__init__(*given)
        self.detector, self.parts, self.every = detector, parts, every
        self.number = 0

    def step(self) -> None:
        under_way = [run for run in self.ledger.runs if run.acknowledged and run.state != "done"]
        for run in under_way:
            self.look_at(run)
        if len(under_way) < MOST_UNDER_WAY:
            self.number += 1
            run = SentRun(f"Scores {self.number}", self.parts[self.number % len(self.parts)])
            with self.ledger.lock:
                self.ledger.runs.append(run)
            asked = {"name": run.name, "detector": self.detector, "parts": run.parts}
            answer = self.browser.post_json("/api/v1/runs/score/", asked)
            self.ledger.note("a new run", answer, expected=[201])
            run.acknowledged = str(answer.json["uuid"]) if answer.status == 201 else ""
        self.stopping.wait(self.every)

    def look_at(self, run: SentRun) -> None:
        answer = self.browser.ask("GET", f"/api/v1/runs/{run.acknowledged}/")
        self.ledger.note("a look at a run", answer, expected=[200])
        run.state = answer.json.get("state", run.state)
        if run.state != "failed":
            return
        message = answer.json.get("message", "")
        if not may_be_retried(message):
            self.ledger.problem(f"{run.name} failed: {message}")
        again = self.browser.post_json(f"/api/v1/runs/{run.acknowledged}/retry/", {})
        self.ledger.note("a retry", again, expected=[200, 400])  # 400: an unanswered one was carried out
        run.retried += again.status == 200


def may_be_retried(message: str) -> bool:
    """Whether a run ended as the product says that it does: by the third loss in a row, or by a full disk."""
    return "process was lost" in message or "disk is full" in message


def films_of(number: int, rng: random.Random) -> dict[str, NDArray[np.uint16]]:
    """Films that no other upload has."""
    films = {}
    for k in range(FILMS_A_ZIP):
        noise = np.random.default_rng(rng.getrandbits(64)).integers(0, 1000, (FILM_SIDE, FILM_SIDE))
        films[f"upload-{number}-{k}.png"] = (noise + np.linspace(0, 3000, FILM_SIDE)[:, None]).astype(np.uint16)
    return films


def zipped(films: Mapping[str, NDArray[np.uint16]]) -> bytes:
    """A zip of PNGs and of a table that calls each of them normal."""
    packed, table = io.BytesIO(), ["filename,label,patient_id"]
    with zipfile.ZipFile(packed, "w") as archive:
        for name, stored in films.items():
            drawn = io.BytesIO()
            PillowImage.fromarray(stored).save(drawn, "PNG")
            archive.writestr(name, drawn.getvalue())
            table.append(f"{name},normal,patient of {name}")
        archive.writestr("labels.csv", "\n".join(table))
    return packed.getvalue()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
