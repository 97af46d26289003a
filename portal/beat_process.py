"""A worker that also sends the periodic tasks (`celery worker -B`) does so in a process below it, which nothing starts
again: killed, or ended by a full disk, it is missed by nobody, since the worker goes on and answers. The worker then
ends too, and whoever keeps it running, `manage.py start` or the container's restart policy, starts both again."""

import logging
import os
import signal
import threading
import time
from typing import Any

from celery.worker import state

logger = logging.getLogger(__name__)
SECONDS = 2.0  # between two looks


def watch(beat: Any) -> None:
    """`beat` is the process, None in a worker that sends no periodic tasks."""
    if beat is not None:
        threading.Thread(target=_end_after, args=(beat,), name="watch beat", daemon=True).start()


def _end_after(beat: Any) -> None:
    while beat.is_alive():
        time.sleep(SECONDS)
    if state.should_stop is not None or state.should_terminate is not None:
        return  # the worker is being stopped, and has ended it
    logger.error("the process that sends the periodic tasks has ended; this worker ends, to be started again with it")
    os.kill(os.getpid(), signal.SIGTERM)
