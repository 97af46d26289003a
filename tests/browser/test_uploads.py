"""Uploads in a real browser over a connection that the test cuts: films arrive whole, and once."""

from __future__ import annotations

import io
import random
import re
import socket
import threading
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from portal import tasks
from portal.imaging.film import pixel_sha256
from portal.intake import resumable, zip_uploads
from portal.models import Dataset, PartialUpload, Upload
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

MIB = 2**20
CUT = "The connection is cut; trying again."


class Line:
    """A connection to the server that is cut after a number of bytes have gone through it, until it is mended."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._server = address
        self._left: float = float("inf")
        self._was_cut = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: float) -> None:
        self._was_cut.clear()
        self._left = count

    def wait_for_cut(self) -> None:
        assert self._was_cut.wait(30), "not enough was sent"

    def mend(self) -> None:
        self._left = float("inf")

    def close(self) -> None:
        self._left = 0
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            if self._left <= 0:
                browser.close()
                continue
            server = socket.create_connection(self._server)
            with self._lock:
                self._sockets |= {browser, server}
            for source, target, is_counted in ((browser, server, True), (server, browser, False)):
                threading.Thread(target=self._pass, args=(source, target, is_counted), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_counted: bool) -> None:
        try:
            while block := source.recv(65_536):
                if is_counted:
                    self._left -= len(block)
                    if self._left <= 0:
                        self._cut()
                        return
                target.sendall(block)
        except OSError:  # the other side is gone
            pass
        for end in (source, target):
            end.close()

    def _cut(self) -> None:
        with self._lock:
            for end in self._sockets:
                _shut(end)
            self._sockets.clear()
        self._was_cut.set()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


@pytest.fixture
def line(live_server: Any) -> Generator[Line]:
    line = Line((live_server.thread.host, live_server.thread.port))
    yield line
    line.close()


@pytest.fixture
def of(data_dir: Path, sign_in: Any, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(zip_uploads, "publish", lambda upload: None)  # the test is the worker
    sign_in(factories.curator())
    return factories.dataset()


def films(count: int, *, size: int) -> list[np.ndarray]:
    return [factories.pixels(seed, rows=size, columns=size, bits=16) for seed in range(count)]


def film_zip(path: Path, pictures: list[np.ndarray]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, picture in enumerate(pictures):
            archive.writestr(f"{number}.png", factories.png(path.with_suffix(".png"), picture).read_bytes())
    return path


def open_dataset(page: Page, line: Line, of: Dataset) -> None:
    page.goto(f"http://localhost:{line.port}/datasets/{of.uuid}/")
    expect(page.locator("#sendings")).to_have_attribute("data-ready", "")


def choose(page: Page, *paths: Path) -> None:
    page.get_by_label("A zip of").set_input_files([str(path) for path in paths])
    page.get_by_role("button", name="Import").click()


def arrived() -> int:
    return resumable.offset_of(PartialUpload.objects.get())


def import_it() -> Upload:
    upload = Upload.objects.get()
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def test_an_upload_cut_three_times(
    page: Page, context: BrowserContext, line: Line, of: Dataset, tmp_path: Path
) -> None:
    """Cut and mended; cut, and the tab closed; cut, reloaded, and another file chosen first."""
    pictures = films(4, size=1800)
    path = film_zip(tmp_path / "Kim Minji.zip", pictures)
    total = path.stat().st_size
    assert total > 16 * MIB
    open_dataset(page, line, of)

    line.cut_after(total * 0.2)
    choose(page, path)
    expect(page.locator("#sendings")).to_contain_text(CUT)
    first = arrived()
    assert total * 0.1 < first < total * 0.2  # a part that was cut is kept as far as it came

    line.cut_after(total * 0.3)
    line.wait_for_cut()
    expect(page.locator("#sendings")).to_contain_text(CUT)
    second = arrived()
    assert second > first

    page.close()
    line.mend()
    page = context.new_page()
    open_dataset(page, line, of)
    row = page.locator(".hilum-sending")
    second = arrived()
    expect(row).to_contain_text(f"A zip, {total / MIB:.1f} MiB")
    expect(row).to_contain_text(f"{100 * second // total} % sent")
    line.cut_after((total - second) * 0.5)
    row.get_by_label("choose the same zip again").set_input_files(str(path))
    expect(row).to_contain_text(CUT)
    third = arrived()
    assert second < third < total

    line.mend()
    page.reload()
    expect(page.locator("#sendings")).to_have_attribute("data-ready", "")
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1  # of the same name and size
    other.write_bytes(content)
    again = row.get_by_label("choose the same zip again")
    again.set_input_files(str(other))
    expect(row).to_contain_text("is not what was begun (A zip,")
    assert arrived() >= third
    again.set_input_files(str(path))
    expect(page.get_by_text("Waiting for")).to_be_visible(timeout=30_000)

    assert import_it().message == "4 films imported."
    page.get_by_role("link", name="Show the films").click()
    expect(page.locator(".hilum-tile")).to_have_count(4)
    assert {film.pixel_sha256 for film in of.images.all()} == {pixel_sha256(picture) for picture in pictures}
    assert Upload.objects.count() == 1


def test_a_folder_is_sent_as_one_zip(page: Page, line: Line, of: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "Set ä"
    (folder / "inner").mkdir(parents=True)
    names = [f"inner/{number}.png" for number in range(40)] + ["흉부.png"]
    for seed, name in enumerate(names):
        factories.png(folder / name, seed=seed)
    (folder / "labels.csv").write_text("filename,label\n" + "".join(f"{name},normal\n" for name in names))
    open_dataset(page, line, of)
    line.cut_after(5_000)
    page.get_by_label("or a folder").set_input_files(str(folder))
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#sendings")).to_contain_text(CUT)
    line.mend()
    expect(page.get_by_text("Waiting for")).to_be_visible(timeout=30_000)
    assert import_it().message.startswith("41 films imported")
    assert of.images.filter(current_label__value="normal").count() == 41


def test_films_and_a_table_are_sent_as_they_are(page: Page, line: Line, of: Dataset, tmp_path: Path) -> None:
    paths = [factories.png(tmp_path / f"{seed}.png", seed=seed) for seed in range(3)]
    table = tmp_path / "labels.csv"
    table.write_text("filename,label\n0.png,normal\n1.png,abnormal\n2.png,normal\n")
    open_dataset(page, line, of)
    choose(page, *paths, table)
    expect(page.get_by_text("Waiting for")).to_be_visible()
    assert import_it().message.startswith("3 films imported")
    expect(page.get_by_role("link", name="Show the films")).to_be_visible()


def test_a_folder_and_a_table_are_dropped_on_the_page(page: Page, line: Line, of: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    (folder / "inner").mkdir(parents=True)
    names = [f"inner/{number}.png" for number in range(104)]  # a browser lists a folder a hundred entries at a time
    for seed, name in enumerate(names):
        factories.png(folder / name, seed=seed)
    table = tmp_path / "labels.csv"
    table.write_text("filename,label\n" + "".join(f"films/{name},normal\n" for name in names))
    open_dataset(page, line, of)
    drop = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder), str(table)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        drop.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": data})
    expect(page.locator("#add-films")).to_have_class(re.compile("is-target"))
    drop.send("Input.dispatchDragEvent", {"type": "drop", "x": 400, "y": 300, "data": data})
    expect(page.get_by_text("Waiting for")).to_be_visible(timeout=30_000)
    expect(page.locator("#add-films")).not_to_have_class(re.compile("is-target"))
    assert import_it().message.startswith("104 films imported")
    assert of.images.filter(current_label__value="normal").count() == 104


def test_any_part_of_a_packed_zip_can_be_read(page: Page, line: Line, of: Dataset) -> None:
    """Against the whole, and the whole against Python's reader."""
    open_dataset(page, line, of)
    chance = random.Random(0)
    sizes = [0, 1, 5_000, 70_000, 3]
    cuts = sorted(chance.choices(range(sum(sizes) + 1_200), k=60))
    whole, parts = page.evaluate(
        """async ([sizes, cuts]) => {
            const { PackedZip } = await import("/static/js/upload/packed_zip.js");
            const files = sizes.map((size, seed) => {
                const bytes = new Uint8Array(size).map((_, at) => (at * (seed + 7)) % 251);
                return { path: `folder/ß ${seed}.png`, file: new File([bytes], "x") };
            });
            const text = async (blob) => Array.from(new Uint8Array(await blob.arrayBuffer()));
            const zip = new PackedZip(files);
            const parts = [];
            let at = 0;
            for (const cut of [...cuts, zip.size]) {
                parts.push(...(await text(await new PackedZip(files).read(at, cut - at))));
                at = cut;
            }
            return [await text(await zip.read(0, zip.size)), parts];
        }""",
        [sizes, cuts],
    )
    assert whole == parts
    with zipfile.ZipFile(io.BytesIO(bytes(whole))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"folder/ß {seed}.png" for seed in range(5)]
        assert [info.file_size for info in archive.infolist()] == sizes
        assert archive.read("folder/ß 2.png") == bytes(at * 9 % 251 for at in range(5_000))


def test_what_is_refused_says_why_and_an_upload_is_discarded(
    page: Page, line: Line, of: Dataset, tmp_path: Path
) -> None:
    open_dataset(page, line, of)
    (tmp_path / "films.zip").write_bytes(b"not a zip")
    choose(page, tmp_path / "films.zip")
    expect(page.locator("#sendings")).to_contain_text("The file is not a zip archive; put the films")
    page.reload()
    expect(page.locator(".hilum-upload")).to_contain_text("The file is not a zip archive; put the films")

    resumable.begin(
        dataset=of,
        author=Upload.objects.get().uploaded_by,
        announced=resumable.Announced(bytes_total=2 * MIB, files=3, is_folder=True, fingerprint="1-2-3"),
    )
    page.reload()
    row = page.locator(".hilum-sending")
    expect(row).to_contain_text("A folder of 3 files, 2.0 MiB")
    expect(row.get_by_label("choose the same folder again")).to_be_visible()
    assert serious_findings(page) == []
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Discard").click()
    expect(page.locator(".hilum-sending")).to_have_count(0)
    assert not PartialUpload.objects.filter(upload=None).exists()
