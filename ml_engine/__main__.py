"""The engine's command line: ``python -m ml_engine``."""

import sys

from ml_engine.command_line import main

if __name__ == "__main__":
    sys.exit(main())
