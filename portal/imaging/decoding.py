"""Decode untrusted files in a child process with limits, so that a crash or hang costs one file, not the portal.

`python -m portal.imaging.decoding` is the child. It receives one JSON line per file on stdin and answers
with one JSON line on stdout, followed by the pixels as little-endian uint16. For an import it writes the packed
pixels into a file instead, and only the preview follows. Output of C libraries goes to the log. The child inherits
only the environment variables that Python needs, hence no secret.

Example:

    with Decoder() as decoder:
        film, header = decoder.decode(path)
"""

from __future__ import annotations

import errno
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

import numpy as np

from portal.imaging.errors import UnusableFile
from portal.imaging.film import PATIENT_ID, Film, PixelFacts
from portal.imaging.prepared_film import PreparedFilm, prepare, shown_inverted, with_bits
from portal.imaging.read_film import read_film
from portal.imaging.unusable_patient import patient_of_unusable
from portal.imaging.unusable_preview import preview_unusable

START_SECONDS = 120.0
_CHUNK_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20  # where the system allows it: a film goes through in few pieces
_MAX_LINE_BYTES = 64 << 20
_LOG_BYTES = 64 << 20
_PACKED_BYTES = 512 << 20  # the largest films that pack to nothing smaller have 200 MB
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")

_T = TypeVar("_T")


class _ChildEnded(Exception):
    """The child ended or broke the protocol while the parent waited for its answer."""


class _NotWritten(Exception):
    """The child could not write the packed pixels; holds the number of the system's error."""


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
        self._interrupted: subprocess.Popen[bytes] | None = None
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
        return self._ask({"path": os.fspath(path.absolute())}, _film)

    def prepare(
        self, path: Path, packed: Path, *, bits: int | None = None, is_inverted: bool = False
    ) -> tuple[PreparedFilm, dict[str, str]]:
        """Return what an import stores of the film, and its header, like `decode`; its packed pixels are written into
        the file `packed`. `bits` are those of the 16 of a picture that its makers say are used: they are believed where
        its values fit; `is_inverted`: they say that 0 is white. Raises UnusableFile, and OSError if that file cannot be
        written, as on a full disk."""
        request: dict[str, Any] = {"path": os.fspath(path.absolute()), "packed": os.fspath(packed.absolute())}
        request |= {"bits": bits} if bits else {}
        request |= {"is_inverted": True} if is_inverted else {}
        return self._ask(request, _prepared_film)

    def preview_unusable(self, path: Path) -> bytes:
        """Return a small picture, a JPEG, of a file that is no film. Raises UnusableFile if there is none."""
        picture, _ = self._ask({"path": os.fspath(path.absolute()), "preview": True}, lambda answer, data: bytes(data))
        return picture

    def patient_of_unusable(self, path: Path) -> str:
        """Return the raw identifier of the patient in the header of a file that is no film, to be hashed and discarded;
        blank where there is none. Raises UnusableFile where the file breaks the child."""
        request: dict[str, Any] = {"path": os.fspath(path.absolute()), "patient": True}
        return self._ask(request, lambda answer, data: "")[1].get(PATIENT_ID, "")

    def _ask(
        self, request: dict[str, Any], reading: Callable[[dict[str, Any], bytearray], _T]
    ) -> tuple[_T, dict[str, str]]:
        """What is read from the child's answer, a line and bytes, and the header. Raises UnusableFile."""
        with self._lock:
            self._send_to_child(request)
            try:
                answer, data = self._receive(time.monotonic() + self._seconds)
                if "reason" in answer:
                    raise UnusableFile(str(answer["reason"]), str(answer["sentence"]))
                if "errno" in answer:
                    raise _NotWritten(int(answer["errno"]))
                return reading(answer, data), _header(answer)  # a broken answer costs this file, and the child
            except UnusableFile:
                raise
            except _NotWritten as error:
                number = error.args[0]
                raise OSError(number, os.strerror(number)) from None
            except TimeoutError:
                self._stop()
                raise UnusableFile(
                    "unreadable",
                    f"Decoding this file took more than {self._seconds:g} seconds. "
                    "Import it again when the server is less busy, or export it again.",
                ) from None
            except (_ChildEnded, ValueError, KeyError, TypeError, IndexError, OSError):
                self._stop()
                raise UnusableFile(
                    "unreadable",
                    "The decoder crashed on this file. Import it again; if that does not help, export it again.",
                ) from None

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def interrupt(self) -> None:
        """Kill the child, even while another thread waits for its answer, which is then that the file is unusable."""
        self._interrupted = child = self._child
        if child is not None:
            child.kill()

    def _send_to_child(self, request: dict[str, Any]) -> None:
        """Send the request; if the child has ended since the last file, or was killed and has not ended yet, start a
        new one first."""
        if self._child is None or self._child is self._interrupted or self._child.poll() is not None:
            self._restart()
        try:
            self._send(request)
        except OSError:
            self._restart()
            self._send(request)

    def _send(self, request: dict[str, Any]) -> None:
        _pipe(self._child, "stdin").write(json.dumps(request).encode() + b"\n")
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
                pipesize=_PIPE_BYTES,
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

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytearray]:
        """Read one JSON line and as many bytes as it announces."""
        received = bytearray()
        while b"\n" not in received:
            if len(received) > _MAX_LINE_BYTES:
                raise _ChildEnded
            received += self._read(_CHUNK_BYTES, deadline)
        line, _, after_line = bytes(received).partition(b"\n")
        answer = json.loads(line)
        pixels = bytearray(int(answer["bytes"]))
        if len(after_line) > len(pixels):
            raise _ChildEnded
        pixels[: len(after_line)] = after_line
        at = len(after_line)
        with memoryview(pixels) as rest:
            while at < len(pixels):
                at += self._read_into(rest[at:], deadline)
        return answer, pixels

    def _read(self, size: int, deadline: float) -> bytes:
        self._wait(deadline)
        received = os.read(_pipe(self._child, "stdout").fileno(), size)
        if not received:
            raise _ChildEnded
        return received

    def _read_into(self, target: memoryview, deadline: float) -> int:
        self._wait(deadline)
        count = os.readv(_pipe(self._child, "stdout").fileno(), [target])
        if not count:
            raise _ChildEnded
        return count

    def _wait(self, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(_pipe(self._child, "stdout"), selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError


def _pipe(child: subprocess.Popen[bytes] | None, name: str) -> IO[bytes]:
    pipe: IO[bytes] | None = getattr(child, name, None)
    if pipe is None:
        raise _ChildEnded
    return pipe


def _film(answer: dict[str, Any], pixels: bytearray) -> Film:
    facts = PixelFacts.from_json(answer["facts"])
    stored = np.frombuffer(pixels, dtype="<u2").reshape(facts.rows, facts.columns)
    return Film(stored.astype(np.uint16, copy=False), facts)


def _prepared_film(answer: dict[str, Any], preview: bytearray) -> PreparedFilm:
    return PreparedFilm(PixelFacts.from_json(answer["facts"]), str(answer["sha256"]), bytes(preview))


def _header(answer: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in answer["header"].items()}


# --- the child -------------------------------------------------------------------------------------------


def _limit(memory_mib: int) -> None:
    _set_limit(resource.RLIMIT_AS, memory_mib << 20, memory_mib << 20)
    _set_limit(resource.RLIMIT_CORE, 0, 0)
    _set_limit(resource.RLIMIT_FSIZE, _LOG_BYTES, _PACKED_BYTES)


def _set_limit(kind: int, soft: int, hard: int) -> None:
    there = resource.getrlimit(kind)[1]
    hard = hard if there == resource.RLIM_INFINITY else min(hard, there)
    resource.setrlimit(kind, (min(soft, hard), hard))


@contextmanager
def _larger_files() -> Iterator[None]:
    """A block that may write larger files than a library may log."""
    _set_limit(resource.RLIMIT_FSIZE, _PACKED_BYTES, _PACKED_BYTES)
    try:
        yield
    finally:
        _set_limit(resource.RLIMIT_FSIZE, _LOG_BYTES, _PACKED_BYTES)


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], memoryview | bytes]:
    """The line of the answer, and the bytes that follow it."""
    try:
        if "preview" in request:
            picture = preview_unusable(Path(request["path"]))
            return {"header": {}, "bytes": len(picture)}, picture
        if "patient" in request:
            patient = patient_of_unusable(Path(request["path"]))
            return {"header": {PATIENT_ID: patient}, "bytes": 0}, b""
        film, header = read_film(Path(request["path"]))
        answer: dict[str, Any] = {"facts": film.facts.to_json(), "header": header}
        data: memoryview | bytes
        if "packed" in request:
            film = with_bits(film, int(request.get("bits", 16)))
            film = shown_inverted(film) if request.get("is_inverted") else film
            with _larger_files():
                prepared = prepare(film, Path(request["packed"]))
            answer["facts"] = prepared.facts.to_json()
            answer["sha256"], data = prepared.pixel_sha256, prepared.preview
        else:
            data = np.ascontiguousarray(film.stored, dtype="<u2").data.cast("B")
    except UnusableFile as error:
        return {"reason": error.reason, "sentence": error.sentence, "bytes": 0}, b""
    except MemoryError:
        sentence = "Decoding this file needs more memory than a film is allowed. Export it again."
        return {"reason": "too_large", "sentence": sentence, "bytes": 0}, b""
    except OSError as error:  # only of the packed pixels: `read_film` raises none
        return {"errno": error.errno or errno.EIO, "bytes": 0}, b""
    return {**answer, "bytes": len(data)}, data


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
        answer, data = _answer(json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        out.write(json.dumps(answer).encode() + b"\n")
        out.write(data)
        out.flush()


if __name__ == "__main__":
    main()
