"""The engine's command line: ``python -m ml_engine``."""

import gc
import os
import sys

gc.disable()  # importing torch creates a million lasting objects; collecting among them would cost half a second

from ml_engine.command.main import main  # noqa: E402

gc.enable()
gc.freeze()

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all files are closed; a regular shutdown of torch takes another second
