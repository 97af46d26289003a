"""Decode untrusted files in a child process with limits, so that a crash or hang costs one file, not the portal.

`python -m portal.imaging.decoding` is the child. It receives one JSON line per file on stdin and answers
with one JSON line on stdout, followed by the pixels as little-endian uint16. Output of C libraries goes to
the log. The child inherits only the environment variables that Python needs, hence no secret.

Example:

    with Decoder() as decoder:
        film, header = decoder.decode(path)
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, PixelFacts
from portal.imaging.read_film import read_film

START_SECONDS = 120.0
_CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 64 << 20
_LOG_BYTES = 64 << 20
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class _ChildEnded(Exception):
    """The child ended or broke the protocol while the parent waited for its answer."""


class Decoder:
    """One child process that decodes files one after another; safe to share between threads.

    `seconds` is the longest wall time for a file, `memory_mib` the limit on the child's address space, `log` a file
    for the output of the child and its libraries (discarded if None). The child starts with the first file
    and is restarted after it died.
    """

    def __init__(self, *, seconds: float = 30.0, memory_mib: int = 4096, log: Path | None = None) -> None:
        self._seconds = seconds
        self._memory_mib = memory_mib
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is no child."""
        return self._child.pid if self._child is not None else None

    def decode(self, path: Path) -> tuple[Film, dict[str, str]]:
        """Return the same film and header as `read_film` for this file. Raises UnusableFile."""
        with self._lock:
            self._send_to_child(path)
            try:
                answer, pixels = self._receive(time.monotonic() + self._seconds)
                return _film(answer, pixels)
            except UnusableFile:
                raise
            except TimeoutError:
                self._stop()
                raise UnusableFile(
                    "unreadable",
                    f"Decoding this file took more than {self._seconds:g} seconds. "
                    "Import it again when the server is less busy, or export it again.",
                ) from None
            except (_ChildEnded, ValueError, KeyError, TypeError, OSError):
                self._stop()
                raise UnusableFile(
                    "unreadable",
                    "The decoder crashed on this file. Import it again; if that does not help, export it again.",
                ) from None

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def _send_to_child(self, path: Path) -> None:
        """Send the path; if the child has ended since the last file, start a new one first."""
        if self._child is None or self._child.poll() is not None:
            self._restart()
        try:
            self._send(path)
        except OSError:
            self._restart()
            self._send(path)

    def _send(self, path: Path) -> None:
        _pipe(self._child, "stdin").write(json.dumps({"path": os.fspath(path.absolute())}).encode() + b"\n")
        _pipe(self._child, "stdin").flush()

    def _restart(self) -> None:
        self._stop()
        root = Path(__file__).resolve().parents[2]
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        environment |= {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        log: IO[bytes] | int = subprocess.DEVNULL if self._log is None else self._log.open("ab")
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._seconds), str(self._memory_mib)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is handled by the parent; the child ends when its stdin closes
            )
        finally:
            if not isinstance(log, int):
                log.close()
        try:
            self._receive(time.monotonic() + START_SECONDS)
        except (TimeoutError, _ChildEnded, ValueError) as error:
            self._stop()
            raise RuntimeError(
                "The decoder's process does not start. Look for the cause in the decoder's log."
            ) from error

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # the child died before it received everything
                    pass
        child.wait()

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        """Read one JSON line and as many bytes as it announces."""
        received = bytearray()
        while b"\n" not in received:
            if len(received) > _MAX_LINE_BYTES:
                raise _ChildEnded
            received += self._read(_CHUNK_BYTES, deadline)
        line, _, after_line = bytes(received).partition(b"\n")
        answer = json.loads(line)
        pixels = bytearray(after_line)
        while len(pixels) < int(answer["bytes"]):
            pixels += self._read(_CHUNK_BYTES, deadline)
        return answer, bytes(pixels)

    def _read(self, size: int, deadline: float) -> bytes:
        pipe = _pipe(self._child, "stdout")
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
        received = os.read(pipe.fileno(), size)
        if not received:
            raise _ChildEnded
        return received


def _pipe(child: subprocess.Popen[bytes] | None, name: str) -> IO[bytes]:
    pipe: IO[bytes] | None = getattr(child, name, None)
    if pipe is None:
        raise _ChildEnded
    return pipe


def _film(answer: dict[str, Any], pixels: bytes) -> tuple[Film, dict[str, str]]:
    if "reason" in answer:
        raise UnusableFile(str(answer["reason"]), str(answer["sentence"]))
    facts = PixelFacts.from_json(answer["facts"])
    stored = np.frombuffer(pixels, dtype="<u2").reshape(facts.rows, facts.columns).astype(np.uint16)
    return Film(stored, facts), {str(key): str(value) for key, value in answer["header"].items()}


# --- the child -------------------------------------------------------------------------------------------


def _limit(memory_mib: int) -> None:
    limits = (
        (resource.RLIMIT_AS, memory_mib << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _LOG_BYTES),
    )
    for kind, limit in limits:
        hard = resource.getrlimit(kind)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))


def _decode(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        film, header = read_film(path)
        pixels = film.stored.astype("<u2").tobytes()
    except UnusableFile as error:
        return {"reason": error.reason, "sentence": error.sentence, "bytes": 0}, b""
    except MemoryError:
        sentence = "Decoding this file needs more memory than a film is allowed. Export it again."
        return {"reason": "too_large", "sentence": sentence, "bytes": 0}, b""
    return {"facts": film.facts.to_json(), "header": header, "bytes": len(pixels)}, pixels


def main() -> None:
    """Decode files until stdin ends. Arguments: longest time for a file in seconds, address space in MiB."""
    seconds, memory_mib = float(sys.argv[1]), int(sys.argv[2])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's output must not mix with the answers
    from portal.imaging import dicom  # noqa: F401 - imported now, so that it does not count as the first file's time

    _limit(memory_mib)
    out.write(b'{"bytes": 0}\n')
    out.flush()
    for line in sys.stdin.buffer:
        # Ends the process even inside a C library, in case the parent has died and cannot kill it.
        signal.setitimer(signal.ITIMER_REAL, seconds + 10)
        answer, pixels = _decode(Path(json.loads(line)["path"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        out.write(json.dumps(answer).encode() + b"\n")
        out.write(pixels)
        out.flush()


if __name__ == "__main__":
    main()
