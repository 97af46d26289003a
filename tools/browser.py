"""Chromium for the browser tests and benchmarks: the system's, or Playwright's own.

python tools/browser.py     download one if there is none; `make test` runs this before the whole suite
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PLAYWRIGHT = (sys.executable, "-m", "playwright")
DOWNLOAD_SECONDS = 300
NO_BROWSER = (
    "The browser tests need Chromium, and there is none: install it (Debian: apt-get install chromium), "
    "or run `.venv/bin/playwright install chromium`."
)


def say(sentence: str) -> None:
    print(f"hilum: {sentence}", flush=True)


# --- find ---------------------------------------------------------------------------------------


def find_chromium() -> str | None:
    """Return the path of the system's Chromium or Chrome, or of Playwright's Chromium; None without either."""
    for name in NAMES:
        path = shutil.which(name)
        if path and starts(path):
            return path
    own = playwrights_own()
    return own if starts(own) else None


def playwrights_own() -> str:
    """Return the path to which Playwright downloads its Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def starts(program: str) -> bool:
    """Whether the program runs: libraries may be missing, and Ubuntu's chromium-browser may only point to a snap."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


# --- fetch --------------------------------------------------------------------------------------


def fetch_chromium() -> str | None:
    """Install Playwright's Chromium or, if it fails, the system's package. Return its path, None if neither works."""
    say(f"found no browser; downloads Playwright's Chromium, for at most {DOWNLOAD_SECONDS // 60} minutes.")
    downloaded = run_for(DOWNLOAD_SECONDS, *PLAYWRIGHT, "install", "--no-shell", "chromium")
    if path := find_chromium():
        return path
    may_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if downloaded and may_install:
        say("has Playwright's Chromium, which does not start; installs the system libraries that it needs.")
        run(*PLAYWRIGHT, "install-deps", "chromium")
        if path := find_chromium():
            return path
    elif downloaded:
        say(
            "has Playwright's Chromium, which does not start; system libraries may be missing: "
            "`.venv/bin/playwright install-deps chromium` as root installs them."
        )
    if may_install:
        say("could not use Playwright's Chromium; installs the system's: apt-get install chromium.")
        run("apt-get", "update", "-q")
        run("apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium")
        return find_chromium()
    return None


def run(*command: str) -> None:
    """Run a command whatever its exit status: the caller looks for the browser again."""
    subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def run_for(seconds: float, *command: str) -> bool:
    """Run a command and its children with a time limit. Return whether it succeeded."""
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            say(f"stopped the command after {seconds:g} seconds.")
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def main() -> None:
    if not (find_chromium() or fetch_chromium()):
        sys.exit(NO_BROWSER)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
