from __future__ import annotations

import errno
import os
import resource
import signal
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portal.imaging.decoding import _LOG_BYTES, Decoder
from portal.imaging.errors import UnusableFile
from portal.imaging.film import pixel_sha256
from portal.imaging.prepared_film import prepare
from portal.imaging.read_film import read_film
from tests.portal.imaging import factories as make
from tests.portal.imaging.factories import film_elements


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.dcm"
    path.write_bytes(make.dicom_bytes(film_elements(signed=True)))
    return path


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as shared:
        yield shared


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_returns_the_same_as_read_film(decoder: Decoder, film: Path) -> None:
    (there, header), (here, same_header) = decoder.decode(film), read_film(film)
    np.testing.assert_array_equal(there.stored, here.stored)
    assert (there.facts, header) == (here.facts, same_header)


def test_prepares_what_an_import_stores(decoder: Decoder, film: Path, tmp_path: Path) -> None:
    by_child, by_us = tmp_path / "by child", tmp_path / "by us"
    (there, header), (here, same_header) = decoder.prepare(film, by_child), read_film(film)
    assert (there, header) == (prepare(here, by_us), same_header)
    assert by_child.read_bytes() == by_us.read_bytes()
    with pytest.raises(UnusableFile, match="not a DICOM"):
        decoder.prepare(Path(__file__), by_child)


def test_a_file_that_cannot_be_written_is_no_fault_of_the_film(decoder: Decoder, film: Path) -> None:
    decoder.decode(film)
    child = decoder.pid
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        decoder.prepare(film, Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC
    assert decoder.pid == child


@pytest.mark.slow
def test_packed_pixels_may_be_larger_than_a_log(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (7000, 5000), dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / "noise.png", compress_level=0)
    with Decoder() as decoder:
        film, _ = decoder.prepare(tmp_path / "noise.png", tmp_path / "packed")
        assert (tmp_path / "packed").stat().st_size > _LOG_BYTES
        assert resource.prlimit(decoder.pid or 0, resource.RLIMIT_FSIZE)[0] == _LOG_BYTES
    assert film.pixel_sha256 == pixel_sha256(pixels)


def test_an_interrupted_child_answers_at_once(film: Path) -> None:
    with HangingDecoder(seconds=200) as decoder, ThreadPoolExecutor() as threads:
        answer = threads.submit(decoder.decode, film)
        assert decoder.sent.wait(100)
        decoder.interrupt()
        with pytest.raises(UnusableFile, match="crashed"):
            answer.result(100)


def test_the_file_after_an_interruption_gets_a_child_of_its_own(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Decoder() as decoder:
        decoder.decode(film)
        interrupted = decoder.pid
        with monkeypatch.context() as patch:
            patch.setattr("subprocess.Popen.kill", lambda child: None)  # killed, but not dead yet
            decoder.interrupt()
        decoder.decode(film)
        assert decoder.pid != interrupted


def test_one_child_serves_many_files(decoder: Decoder, film: Path, tmp_path: Path) -> None:
    decoder.decode(film)
    first = decoder.pid
    odd = tmp_path / "name\nwith line, ünïcode"
    odd.write_bytes(film.read_bytes())
    decoder.decode(odd)
    with pytest.raises(UnusableFile, match="no picture") as caught:
        decoder.decode(_written(tmp_path, make.meta(make.EXPLICIT)))
    assert caught.value.reason == "no_pixels"
    decoder.decode(film)
    assert decoder.pid == first


def test_a_large_film_fits_through_the_pipe(decoder: Decoder, tmp_path: Path) -> None:
    pixels = np.arange(1500 * 1300).reshape(1500, 1300) % 4096
    answer, _ = decoder.decode(_written(tmp_path, make.dicom_bytes(film_elements(pixels))))
    np.testing.assert_array_equal(answer.stored, pixels)


def test_a_child_killed_between_files_is_restarted(film: Path) -> None:
    with Decoder() as decoder:
        decoder.decode(film)
        first = decoder.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        decoder.decode(film)
        assert decoder.pid != first


class DyingDecoder(Decoder):
    """Its child is killed while it decodes a file."""

    def _send(self, request: dict[str, Any]) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)
        super()._send(request)
        os.kill(self.pid, signal.SIGKILL)


def test_a_child_that_dies_on_a_file_costs_that_file(film: Path) -> None:
    with DyingDecoder() as decoder, pytest.raises(UnusableFile, match="decoder crashed") as caught:
        decoder.decode(film)
    assert caught.value.reason == "unreadable"


class HangingDecoder(Decoder):
    """Its child hangs on the first file."""

    is_hanging = True

    def __init__(self, **limits: Any) -> None:
        super().__init__(**limits)
        self.sent = threading.Event()

    def _send(self, request: dict[str, Any]) -> None:
        if self.is_hanging:
            assert self.pid is not None
            os.kill(self.pid, signal.SIGSTOP)
        super()._send(request)
        self.sent.set()


def test_a_child_that_hangs_is_killed_in_time(film: Path) -> None:
    with HangingDecoder(seconds=0.3) as decoder:
        started = time.monotonic()
        with pytest.raises(UnusableFile, match=r"more than 0\.3 seconds") as caught:
            decoder.decode(film)
        assert caught.value.reason == "unreadable"
        assert time.monotonic() - started < 100  # the child's start counts, and the machine may be busy
        assert decoder.pid is None
    with Decoder() as decoder:
        decoder.decode(film)


@pytest.mark.slow
def test_memory_is_limited(tmp_path: Path, film: Path) -> None:
    """A file that inflates to 600 MB, within a limit that is lower than that on inflated bytes: the child survives."""
    packer = zlib.compressobj(wbits=-15)
    head = make.bare_bytes({make.MODALITY: ("CS", "CR")}, syntax=make.EXPLICIT)
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 600_000_000)
    body = packer.compress(head + pixels)
    body += b"".join(packer.compress(bytes(10_000_000)) for _ in range(60)) + packer.flush()
    bomb = _written(tmp_path, make.meta(make.DEFLATED) + body)
    with Decoder(memory_mib=500) as decoder:
        with pytest.raises(UnusableFile) as caught:
            decoder.decode(bomb)
        assert caught.value.reason == "too_large"
        decoder.decode(film)


def test_the_child_ends_with_its_parent(film: Path) -> None:
    decoder = Decoder()
    decoder.decode(film)
    pid = decoder.pid
    assert pid is not None
    decoder.close()
    assert decoder.pid is None
    assert ended(pid)


def test_the_child_inherits_no_secret(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_SECRET_KEY", "secret-of-the-test")
    with Decoder() as decoder:
        decoder.decode(film)
        environment = Path(f"/proc/{decoder.pid}/environ")
        if not environment.exists():
            pytest.skip("this system has no /proc/PID/environ")
        assert b"secret-of-the-test" not in environment.read_bytes()


def test_output_of_c_libraries_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = bytes([129, 5]) * 16  # 16 runs of 128 bytes, of which 15 fit: the decoder panics on stderr
    frame = struct.pack("<16L", 2, 64, 64 + len(run), *[0] * 13) + run + run
    damaged = make.encapsulated_bytes(film_elements(make.ramp(48, 40)), frame, make.RLE)
    log = tmp_path / "decoder.log"
    with Decoder(log=log) as decoder, pytest.raises(UnusableFile, match="compressed picture in this file is damaged"):
        decoder.decode(_written(tmp_path, damaged))
    assert "panicked" in log.read_text()
    assert capfd.readouterr() == ("", "")


def test_output_of_libraries_does_not_mix_with_the_answers(decoder: Decoder, film: Path) -> None:
    decoder.decode(film)
    places = [Path(f"/proc/{decoder.pid}/fd/{number}") for number in (1, 2)]
    if not places[0].exists():
        pytest.skip("this system has no /proc/PID/fd")
    assert places[0].readlink() == places[1].readlink()


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lossless", "2000"])
def test_a_film_of_5000_by_5000_pixels_is_decoded_within_the_limits(tmp_path: Path, kind: str) -> None:
    """Noise of 12 bits, which no compression makes smaller."""
    noise = np.random.default_rng(0).integers(0, 256, (5000, 5000))
    pixels = np.linspace(0, 3800, 5000).astype(np.int64)[None, :] + noise
    elements = make.film_elements(pixels)
    data = {
        "lossless": lambda: make.encapsulated_bytes(
            elements,
            make.frame_by_gdcm(tmp_path, pixels),
            make.JPEG_LOSSLESS,
        ),
        "2000": lambda: make.encapsulated_bytes(elements, make.encoded_frame(pixels, make.JPEG_2000), make.JPEG_2000),
    }[kind]()
    (tmp_path / "film").write_bytes(data)
    with Decoder() as decoder:
        film, _ = decoder.decode(tmp_path / "film")
    np.testing.assert_array_equal(film.stored, pixels)
