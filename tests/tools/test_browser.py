"""Find or download a browser, with stand-ins for programs and downloads: nothing is installed or requested."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.paths import ROOT
from tools.browser import NO_BROWSER, run_for

STARTS = "#!/bin/sh\nexit 0\n"
LACKS_LIBRARIES = "#!/bin/sh\nexit 127\n"


@dataclass(frozen=True)
class Machine:
    """A machine with only the programs of a folder, which records each call of an installer."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def browsers(self) -> Path:
        return self.folder / "browsers"

    def add(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def add_installer(self, name: str, *, installs: dict[str, Path] | None = None, status: int = 0) -> None:
        """Add a program that records its call and exits with `status`. It creates a browser at the path that `installs`
        has for its first argument."""
        places = {word: str(path) for word, path in (installs or {}).items()}
        self.add(
            name,
            f"#!{sys.executable}\n"
            "import sys\nfrom pathlib import Path\n"
            f"with open({str(self.folder / 'calls')!r}, 'a') as calls:\n"
            f"    print({name!r}, *sys.argv[1:], file=calls)\n"
            f"place = {places}.get(sys.argv[1])\n"
            "if place:\n"
            "    Path(place).parent.mkdir(parents=True, exist_ok=True)\n"
            f"    Path(place).write_text({STARTS!r})\n"
            "    Path(place).chmod(0o755)\n"
            f"sys.exit({status})\n",
        )

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run code in a separate process, since a browser test may be using Playwright in this one."""
        return subprocess.run(
            [sys.executable, "-c", f"import os; from tools import browser; {code}"],
            cwd=ROOT,
            env={
                "PATH": str(self.programs),
                "HOME": str(self.folder),
                "PLAYWRIGHT_BROWSERS_PATH": str(self.browsers),
                **environment,
            },
            capture_output=True,
            text=True,
        )

    def fetch(self, *, root: bool) -> subprocess.CompletedProcess[str]:
        """Run tools/browser.py with this machine's playwright."""
        playwright = str(self.programs / "playwright")
        return self.run(
            f"browser.PLAYWRIGHT = ({playwright!r},); os.geteuid = lambda: {0 if root else 1000}; browser.main()"
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    return Machine(tmp_path)


@pytest.fixture
def playwrights_own(machine: Machine) -> Path:
    """The path at which Playwright looks for its Chromium on this machine."""
    return Path(machine.run("print(browser.playwrights_own())").stdout.strip())


PLAYWRIGHT = "playwright install --no-shell chromium"
LIBRARIES = "playwright install-deps chromium"
APT = ["apt-get update -q", "apt-get install -q -y --no-install-recommends chromium"]


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_with_a_browser_nothing_is_fetched(machine: Machine, name: str) -> None:
    machine.add(name, STARTS)
    machine.add_installer("playwright")
    machine.add_installer("apt-get")
    done = machine.fetch(root=True)
    assert (done.returncode, done.stdout, machine.calls) == (0, "", [])


def test_playwrights_own_is_found_where_it_was_downloaded_before(machine: Machine, playwrights_own: Path) -> None:
    machine.add_installer("playwright")
    playwrights_own.parent.mkdir(parents=True)
    playwrights_own.write_text(STARTS, encoding="utf-8")
    playwrights_own.chmod(0o755)
    done = machine.fetch(root=True)
    assert (done.returncode, machine.calls) == (0, [])


def test_a_program_that_does_not_start_is_not_used(machine: Machine) -> None:
    machine.add("chromium-browser", LACKS_LIBRARIES)
    assert machine.run("print(browser.find_chromium())").stdout == "None\n"
    machine.add("google-chrome", STARTS)
    assert machine.run("print(browser.find_chromium())").stdout == f"{machine.programs / 'google-chrome'}\n"


def test_a_working_download_needs_no_package(machine: Machine, playwrights_own: Path) -> None:
    machine.add_installer("playwright", installs={"install": playwrights_own})
    machine.add_installer("apt-get")
    done = machine.fetch(root=True)
    assert (done.returncode, machine.calls) == (0, [PLAYWRIGHT])
    assert "downloads Playwright's Chromium" in done.stdout


def test_root_installs_the_libraries_of_a_download_that_does_not_start(machine: Machine, playwrights_own: Path) -> None:
    machine.add_installer("playwright", installs={"install-deps": playwrights_own})
    machine.add_installer("apt-get")
    done = machine.fetch(root=True)
    assert (done.returncode, machine.calls) == (0, [PLAYWRIGHT, LIBRARIES])
    assert "installs the system libraries" in done.stdout


def test_root_installs_the_package_where_the_download_fails(machine: Machine) -> None:
    machine.add_installer("playwright", status=1)
    machine.add_installer("apt-get", installs={"install": machine.programs / "chromium"})
    done = machine.fetch(root=True)
    assert (done.returncode, machine.calls) == (0, [PLAYWRIGHT, *APT])
    assert "apt-get install chromium" in done.stdout


def test_if_neither_works_it_stops_with_the_message_of_the_tests(machine: Machine) -> None:
    machine.add_installer("playwright", status=1)
    machine.add_installer("apt-get", status=100)
    done = machine.fetch(root=True)
    assert (done.returncode, machine.calls) == (1, [PLAYWRIGHT, *APT])
    assert done.stderr.strip() == NO_BROWSER


def test_only_root_installs_packages(machine: Machine) -> None:
    machine.add_installer("playwright")
    machine.add_installer("apt-get")
    done = machine.fetch(root=False)
    assert (done.returncode, machine.calls) == (1, [PLAYWRIGHT])
    assert "install-deps chromium` as root" in done.stdout
    assert done.stderr.strip() == NO_BROWSER


def test_without_apt_get_it_stops_after_the_download(machine: Machine) -> None:
    machine.add_installer("playwright", status=1)
    done = machine.fetch(root=True)
    assert (done.returncode, machine.calls) == (1, [PLAYWRIGHT])
    assert done.stderr.strip() == NO_BROWSER


def test_a_download_that_hangs_is_ended_with_its_children(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    # a child of the command writes a line and then keeps the pipe open for as long as it lives
    assert not run_for(2, "/bin/sh", "-c", f"(echo lives; sleep 1000) > {tmp_path / 'pipe'} & wait")
    assert "stopped the command after 2 seconds" in capsys.readouterr().out
    os.set_blocking(reader, True)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "lives\n"  # read() returns once nobody can write any more


# --- Playwright itself, from a server of this test ------------------------------------------------


@pytest.fixture
def download_host(playwrights_own: Path, machine: Machine) -> Generator[str]:
    """Serves archives in which Chromium is a shell script, for every request of Playwright."""
    inside = playwrights_own.relative_to(machine.browsers)
    chromium = archive(Path(*inside.parts[1:]).as_posix())
    other = archive("anything")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = other if "ffmpeg" in self.path else chromium
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def archive(name: str) -> bytes:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o100755 << 16
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(info, STARTS)
    return content.getvalue()


def test_playwright_downloads_to_where_the_tests_look(
    machine: Machine, playwrights_own: Path, download_host: str
) -> None:
    done = machine.run("browser.main(); print(browser.find_chromium())", PLAYWRIGHT_DOWNLOAD_HOST=download_host)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == str(playwrights_own)
