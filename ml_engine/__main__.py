"""The engine's command line: ``python -m ml_engine``."""

import os
import sys

# Threads that wait for one another sleep instead of spinning, before any library with OpenMP is loaded: where another
# process has the core of one of them, the others would spin until it is back.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# oneDNN caches a program for each shape of a product, by default up to 1,024. The shapes of a selection hardly
# repeat, so that this would be hundreds of megabytes; a network has less than a hundred.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

from ml_engine.command.main import main

if __name__ == "__main__":
    try:
        status = main()
    except SystemExit as end:  # by argparse: 0 after --help, 2 after a usage error
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all files are closed; a regular shutdown of torch takes another second
