"""Python imports this at start if the folder is on PYTHONPATH. Engines then pause as described in pause.py."""

import sys

if sys.orig_argv[1:4] == ["-m", "ml_engine", "run"]:
    import pause

    pause.install()
