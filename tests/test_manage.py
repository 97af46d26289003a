"""manage.py: Ctrl-C ends any command with a sentence, at a question too."""

from __future__ import annotations

import subprocess
import sys

from tests.paths import ROOT


def test_ctrl_c_ends_a_command_with_a_sentence() -> None:
    interrupted = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "--command", interrupted],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (130, "Stopped.")
