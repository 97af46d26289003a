"""What is logged, and how: a line for a person or a JSON object for a machine, to the console, a file and a syslog
server. No line holds what could name a person: of an exception its kind and place are kept and not its text, which may
quote a value, and of an address the name of its view and not what was typed.
"""

import fcntl
import json
import logging
import logging.handlers
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.core.exceptions import ImproperlyConfigured

FILES_KEPT = 10
SYSLOG_TIMEOUT = 5.0  # seconds that a server over TCP may take
SYSLOG_RETRY = 30.0  # seconds without a try, after one that failed
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
_FACTS = ("view", "method", "status", "milliseconds", "event")  # that `extra` may give to a line
requests = logging.getLogger("hilum.requests")


class LogLine(logging.Formatter):
    """For a person: "2026-11-30 03:41:00 INFO portal.tasks [3f2a...]: removed ..."."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(request_words)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        request_id = REQUEST_ID.get()
        record.request_words = f" [{request_id}]" if request_id else ""
        record.exc_text = None  # which another formatter may have kept, with the exception's text
        return super().format(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(places_of(ei[1]))


class JsonLine(logging.Formatter):
    """For a machine: an object a line."""

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if request_id := REQUEST_ID.get():
            values["request"] = request_id
        values |= {name: record.__dict__[name] for name in _FACTS if name in record.__dict__}
        if record.exc_info and record.exc_info[1] is not None:
            values["exception"] = places_of(record.exc_info[1])
        return json.dumps(values, ensure_ascii=False, default=str)


def places_of(error: BaseException) -> list[str]:
    """The kind of an exception and the places that it came through, and the same of those that caused it. Not its text:
    a database quotes rows, and a decoder the header of a film."""
    lines = [f"{type(error).__module__}.{type(error).__qualname__}"]
    for frame in traceback.extract_tb(error.__traceback__):
        lines.append(f"  {frame.filename}:{frame.lineno} in {frame.name}")
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [*places_of(before), "then", *lines] if before is not None and before is not error else lines


class Discreet(logging.Filter):
    """Takes out what libraries write of their own accord: Django the path of a request, where a person may type
    anything (the view's name stands instead), and Celery the text of an exception in the message."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = record.__dict__.get("request")
        if request is not None and record.name.startswith("django."):
            match = getattr(request, "resolver_match", None)
            record.msg = "%s: %s"
            status = record.__dict__.get("status_code", record.levelname)
            record.args = (status, f"view {match.view_name}" if match else "an address without a view")
        if record.name.startswith("celery.") and isinstance(record.args, dict) and "exc" in record.args:
            error = record.exc_info[1] if record.exc_info else None
            record.args = {**record.args, "exc": type(error).__name__, "traceback": ""}
        return True


class SharedRotatingFile(logging.handlers.WatchedFileHandler):
    """A file that several processes write to and any of them may rotate; the others notice and open the new one."""

    def __init__(self, filename: str, largest: int) -> None:
        Path(filename).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(filename, encoding="utf-8")
        self._largest = largest

    def emit(self, record: logging.LogRecord) -> None:
        if os.path.exists(self.baseFilename) and os.path.getsize(self.baseFilename) >= self._largest:
            self._rotate()
        super().emit(record)

    def _rotate(self) -> None:
        path = Path(self.baseFilename)
        with path.with_name(f"{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists() or path.stat().st_size < self._largest:
                return  # another process has done it meanwhile
            for number in range(FILES_KEPT - 1, 0, -1):
                earlier = path.with_name(f"{path.name}.{number}")
                if earlier.exists():
                    earlier.replace(path.with_name(f"{path.name}.{number + 1}"))
            path.replace(path.with_name(f"{path.name}.1"))


class RetryingSyslogHandler(logging.handlers.SysLogHandler):
    """Keeps Hilum running while the syslog server cannot be reached: connects again every `SYSLOG_RETRY` seconds, and
    then sends the number of lines that were lost. The console and the log file have them."""

    def __init__(self, **options: Any) -> None:
        self._pause_ends, self._lost, self._is_away = 0.0, 0, False
        with suppress(OSError):  # the first line tries again
            super().__init__(**options)

    def createSocket(self) -> None:
        if isinstance(self.address, str) or self.socktype != socket.SOCK_STREAM:
            super().createSocket()
        else:
            self.unixsocket = False
            self.socket = socket.create_connection(self.address, timeout=SYSLOG_TIMEOUT)

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() < self._pause_ends:
            self._lost += 1
            return
        self._is_away = False
        if self._lost:
            words = "lines lost while the syslog server could not be reached: %d"
            super().emit(
                logging.makeLogRecord(
                    {
                        "name": "hilum.syslog",
                        "levelno": logging.WARNING,
                        "levelname": "WARNING",
                        "msg": words,
                        "args": (self._lost,),
                    }
                )
            )
            self._lost = self._lost if self._is_away else 0
        if not self._is_away:
            super().emit(record)
        self._lost += self._is_away

    def handleError(self, record: logging.LogRecord) -> None:
        """Instead of Python's own, which prints a traceback with the arguments of the line."""
        kind = type(sys.exc_info()[1]).__name__
        if self._lost == 0:
            where = self.address if isinstance(self.address, str) else "{}:{}".format(*self.address)
            sys.stderr.write(
                f"HILUM_SYSLOG: {where} cannot be reached ({kind}). Lines go to the console and the log file; the "
                f"server is tried again every {SYSLOG_RETRY:.0f} seconds.\n"
            )
        self._is_away, self._pause_ends = True, time.monotonic() + SYSLOG_RETRY
        if self.socket is not None:
            self.socket.close()
            self.socket = None  # type: ignore[assignment]


def configuration(*, form: str, folder: Path, file_mib: int, syslog: str, log_requests: bool) -> dict[str, Any]:
    """For Django's LOGGING. `syslog` is the address of a server, or blank."""
    common = {"formatter": form, "filters": ["discreet"]}
    handlers: dict[str, dict[str, Any]] = {"console": {"class": "logging.StreamHandler", **common}}
    if file_mib:
        handlers["file"] = {
            "()": "portal.project.logs.SharedRotatingFile",
            "filename": str(folder / "hilum.log"),
            "largest": file_mib * 2**20,
            **common,
        }
    if syslog:
        handlers["syslog"] = {"()": "portal.project.logs.RetryingSyslogHandler", **_syslog_address(syslog), **common}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "portal.project.logs.LogLine"}, "json": {"()": "portal.project.logs.JsonLine"}},
        "filters": {"discreet": {"()": "portal.project.logs.Discreet"}},
        "handlers": handlers,
        "root": {"handlers": list(handlers), "level": "INFO"},
        "loggers": {
            "highdicom": {"level": "WARNING"},  # it logs every header that it copies
            "django.server": {"level": "WARNING"},  # it logs addresses as they were typed
            "hilum.requests": {"level": "INFO" if log_requests else "WARNING"},
        },
    }


def _syslog_address(text: str) -> dict[str, Any]:
    url = urlsplit(text)
    kinds = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    try:
        port = url.port
    except ValueError:
        port = None
    if url.scheme == "" and text.startswith("/"):
        return {"address": text}
    if url.scheme not in kinds or not url.hostname or port is None:
        raise ImproperlyConfigured(f"HILUM_SYSLOG is {text!r}; expected udp://host:514, tcp://host:601 or /dev/log.")
    return {"address": (url.hostname, port), "socktype": kinds[url.scheme]}


def identify_requests(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Middleware: each request has an identifier, which its lines and its answer carry, and is logged itself."""

    def middleware(request: Any) -> Any:
        request.hilum_id = uuid4().hex[:12]
        started = time.perf_counter()
        with identified(request.hilum_id):
            response = get_response(request)
            response.headers["X-Request-ID"] = request.hilum_id
            match = request.resolver_match
            facts = {
                "view": match.view_name if match else "",
                "method": request.method,
                "status": response.status_code,
                "milliseconds": round(1000 * (time.perf_counter() - started)),
            }
            requests.info("%(method)s %(view)s %(status)s in %(milliseconds)s ms", facts, extra=facts)
        return response

    return middleware


@contextmanager
def identified(request_id: str) -> Iterator[None]:
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)
