"""Python imports this at start if the folder is on PYTHONPATH. Engines then pause as described in pause.py."""

import sys

if sys.orig_argv[1:3] == ["-m", "ml_engine"] and sys.orig_argv[3:4] in (["run"], ["serve"], ["merge"]):
    import pause

    pause.install()
