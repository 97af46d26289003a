"""The engine's command line: ``python -m ml_engine``."""

import gc
import os
import sys

gc.disable()  # torch makes a million objects that stay: looking for garbage among them costs every start half a second

from ml_engine.command.main import main  # noqa: E402

gc.enable()
gc.freeze()

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all files are closed; to take torch down by the book lasts another second
