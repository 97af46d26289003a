"""manage.py: Ctrl-C ends any command with a sentence, at a question too."""

from __future__ import annotations

import subprocess
import sys

from tests.paths import ROOT


def test_ctrl_c_ends_a_command_with_a_sentence() -> None:
    # which a test run in the background would ignore
    interrupted = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); s.raise_signal(s.SIGINT)"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "--command", interrupted],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (130, "Stopped.")
