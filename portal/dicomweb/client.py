"""A client of DICOMweb (PS3.18): it searches studies and instances (QIDO-RS), and fetches an instance (WADO-RS).

Only the address of the target is contacted: redirects and the addresses in answers are not followed. Certificates are
verified. An answer is read up to a limit, whatever length it announces.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from portal.dicomweb.targets import PacsTarget
from portal.imaging.read_film import MAX_FILE_BYTES
from portal.intake.zip_uploads import is_full

SECONDS = 60.0  # for each read of an answer
MOST_JSON_BYTES = 64 * 2**20
MOST_HEAD_BYTES = 2**20  # before the file of an answer begins
INSTANCES_A_PAGE = 1000
_BLOCK = 2**18
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# PS3.6: keyword -> tag
_STUDY_DATE, _MODALITY, _MODALITIES = "00080020", "00080060", "00080061"
_PATIENT_ID, _PATIENT_SEX = "00100020", "00100040"
_STUDY_UID, _SERIES_UID, _INSTANCE_UID, _INSTANCES = "0020000D", "0020000E", "00080018", "00201208"


class PacsError(Exception):
    """A sentence for the person who searches or imports; it holds no patient data."""


class PacsUnreachable(PacsError):
    """The PACS did not answer at all."""


@dataclass(frozen=True)
class StudyQuery:
    """What to search by; empty fields do not narrow the search."""

    first_day: date | None = None
    last_day: date | None = None
    modality: str = ""
    patient_id: str = ""


@dataclass(frozen=True)
class StudyFound:
    """A study as the PACS lists it, shown to the person who searches and stored nowhere."""

    uid: str
    day: str  # 2026-11-29, as far as the PACS states it
    patient_id: str
    sex: str
    modalities: tuple[str, ...]
    instances: int | None


@dataclass(frozen=True)
class InstanceFound:
    study: str
    series: str
    uid: str
    modality: str


def is_uid(text: str) -> bool:
    """Whether the text can be part of an address as a UID (PS3.5 9.1)."""
    return _UID.fullmatch(text) is not None


class PacsClient:
    """One connection; not for several threads."""

    def __init__(self, target: PacsTarget) -> None:
        self._target = target
        parts = urlsplit(target.url)
        host, port, self._root = parts.hostname or "", parts.port, parts.path
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=target.ca_file or None)
            self._connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=SECONDS)

    def __enter__(self) -> PacsClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def studies(self, query: StudyQuery, *, limit: int) -> list[StudyFound]:
        """At most `limit` studies, the latest first where the PACS states days. Raises PacsError."""
        parameters = {"limit": str(limit), "includefield": f"{_MODALITIES},{_INSTANCES}"}
        if query.first_day or query.last_day:
            parameters["StudyDate"] = "-".join(
                f"{day:%Y%m%d}" if day else "" for day in (query.first_day, query.last_day)
            )
        if query.modality:
            parameters["ModalitiesInStudy"] = query.modality
        if query.patient_id:
            parameters["PatientID"] = query.patient_id
        studies = [_study(item) for item in self._search("/studies", parameters)]
        by_uid = {study.uid: study for study in studies if is_uid(study.uid)}
        return sorted(by_uid.values(), key=lambda study: (study.day, study.uid), reverse=True)[:limit]

    def instances(self, study: str) -> list[InstanceFound]:
        """All instances of the study, in a stable order. Raises PacsError."""
        instances: dict[str, InstanceFound] = {}
        while True:
            page = {"limit": str(INSTANCES_A_PAGE), "offset": str(len(instances)), "includefield": _MODALITY}
            items = self._search(f"/studies/{_checked(study)}/instances", page)
            before = len(instances)
            for item in items:
                one = InstanceFound(
                    study, _first(item, _SERIES_UID), _first(item, _INSTANCE_UID), _first(item, _MODALITY)
                )
                if is_uid(one.uid) and is_uid(one.series):
                    instances[one.uid] = one
            # a PACS that ignores `offset` answers with the same instances again
            if len(items) < INSTANCES_A_PAGE or len(instances) == before:
                return sorted(instances.values(), key=lambda one: one.uid)

    def fetch(self, instance: InstanceFound, target: Path, *, beat: Callable[[], None] = lambda: None) -> int:
        """Write the instance as a DICOM file, whole or not at all, and return its size. `beat` is called again and
        again while bytes arrive. Raises PacsError and OSError."""
        series, uid = _checked(instance.series), _checked(instance.uid)
        path = f"/studies/{_checked(instance.study)}/series/{series}/instances/{uid}"
        unfinished = target.with_suffix(".part")
        with self._answer(path, accept=_MULTIPART) as answer:
            blocks = _blocks(answer, beat)
            kind = answer.headers.get_content_type()
            boundary = answer.headers.get_param("boundary")
            try:
                with unfinished.open("wb") as file:
                    if kind == "multipart/related" and isinstance(boundary, str):
                        size = _copy_first_part(blocks, file, boundary.encode("latin-1"))
                    elif kind == "application/dicom":
                        size = _copy(blocks, file)
                    else:
                        raise PacsError(
                            f"The PACS {self._target.name} answered with {kind[:60]}, not with a DICOM file."
                        )
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(unfinished, target)
            finally:
                unfinished.unlink(missing_ok=True)
        return size

    def _search(self, path: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        with self._answer(f"{path}?{urlencode(parameters)}", accept="application/dicom+json") as answer:
            if answer.status == http.client.NO_CONTENT:
                return []
            text = answer.read(MOST_JSON_BYTES + 1)
        if len(text) > MOST_JSON_BYTES:
            raise PacsError(f"The list of the PACS {self._target.name} is too long; narrow the search.")
        try:
            items = json.loads(text) if text else []
        except ValueError as error:
            raise PacsError(f"The answer of the PACS {self._target.name} is not the JSON of DICOMweb.") from error
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PacsError(f"The answer of the PACS {self._target.name} is not the JSON of DICOMweb.")
        return items

    @contextmanager
    def _answer(self, path: str, *, accept: str) -> Iterator[http.client.HTTPResponse]:
        name = self._target.name
        try:
            self._connection.request("GET", self._root + path, headers={"Accept": accept, **self._credentials()})
            answer = self._connection.getresponse()
            if answer.status in (200, 204, 206):
                yield answer
        except ssl.SSLCertVerificationError as error:
            raise PacsUnreachable(
                f"The certificate of the PACS {name} is not valid ({error.verify_message}); ask your administrator, "
                "who can name the hospital's authority as ca_file."
            ) from error
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            raise self._silent(error) from error
        except OSError as error:
            if is_full(error) or error.filename is not None:  # of our own disk
                raise
            raise self._silent(error) from error
        finally:
            self._connection.close()  # the next request opens a new one
        if answer.status in (401, 403):
            raise PacsError(
                f"The PACS {name} refused user, password or token ({answer.status}); ask your administrator."
            )
        if answer.status not in (200, 204, 206):
            raise PacsError(f"The PACS {name} answered with the status {answer.status}; ask its administrator.")

    def _silent(self, error: Exception) -> PacsUnreachable:
        return PacsUnreachable(
            f"The PACS {self._target.name} did not answer ({type(error).__name__}); try again later."
        )

    def _credentials(self) -> dict[str, str]:
        if self._target.token:
            return {"Authorization": f"Bearer {self._target.token}"}
        if self._target.user:
            both = f"{self._target.user}:{self._target.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
        return {}


def _checked(uid: str) -> str:
    if not is_uid(uid):
        raise PacsError(f"{uid[:70]!r} is no UID: expected digits and points.")
    return uid


def _study(item: dict[str, Any]) -> StudyFound:
    day, count = _first(item, _STUDY_DATE), _first(item, _INSTANCES)
    return StudyFound(
        uid=_first(item, _STUDY_UID),
        day=f"{day[:4]}-{day[4:6]}-{day[6:8]}" if re.fullmatch(r"\d{8}", day) else "",
        patient_id=_first(item, _PATIENT_ID)[:64],
        sex=_first(item, _PATIENT_SEX)[:1],
        modalities=tuple(sorted(_values(item, _MODALITIES))),
        instances=int(count) if count.isdecimal() else None,
    )


def _values(item: dict[str, Any], tag: str) -> list[str]:
    """The values of an element of the DICOM JSON model (PS3.18 F)."""
    element = item.get(tag)
    values = element.get("Value", []) if isinstance(element, dict) else []
    return [str(value) for value in values if isinstance(value, str | int)] if isinstance(values, list) else []


def _first(item: dict[str, Any], tag: str) -> str:
    return next(iter(_values(item, tag)), "").strip()


class _TooLong(PacsError):
    def __init__(self) -> None:
        super().__init__(f"A file of the PACS has more than {MAX_FILE_BYTES >> 20} MiB, and was left out.")


def _cut_off() -> PacsUnreachable:
    return PacsUnreachable("The answer of the PACS was cut off; try again later.")


def _blocks(source: http.client.HTTPResponse, beat: Callable[[], None]) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        beat()
        yield block
    if source.length:  # bytes that were announced and did not come; http.client raises nothing
        raise _cut_off()


def _copy(blocks: Iterator[bytes], target: BinaryIO) -> int:
    size = 0
    for block in blocks:
        size += len(block)
        if size > MAX_FILE_BYTES:
            raise _TooLong
        target.write(block)
    return size


def _copy_first_part(blocks: Iterator[bytes], target: BinaryIO, boundary: bytes) -> int:
    """Copy the body of the first part of a multipart answer (RFC 2046 5.1.1), however long it is."""
    end = b"\r\n--" + boundary
    buffer = b"\r\n"  # so that the first delimiter is found like the others
    while (at := buffer.find(end)) < 0 or b"\r\n\r\n" not in buffer[at:]:
        block = next(blocks, b"")
        if not block or len(buffer) > MOST_HEAD_BYTES:
            raise PacsUnreachable("The PACS sent an answer without a file in it; try again later.")
        buffer += block
    buffer = buffer[buffer.index(b"\r\n\r\n", at) + 4 :]
    size = 0
    while (at := buffer.find(end)) < 0:
        keep = len(end) - 1  # the delimiter may be cut by the block
        if len(buffer) > keep:
            size += target.write(buffer[: len(buffer) - keep])
            buffer = buffer[len(buffer) - keep :]
        if size > MAX_FILE_BYTES:
            raise _TooLong
        block = next(blocks, b"")
        if not block:
            raise _cut_off()
        buffer += block
    return size + target.write(buffer[:at])
