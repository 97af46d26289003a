"""Notice that the broker has lost everything, by FLUSHALL, by a new disk, or by a restart without its file: messages of
what waits are then sent again at once.

A mark lies in the broker beside the queues. Where it is missing, so are the messages. Without this, each kind of work
would be found by its own age, imports after five minutes and runs after ten.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
MARK = "hilum:not-emptied"
SECONDS = 15.0  # between two looks
_senders: list[Callable[[], None]] = []


def send_again_also(sender: Callable[[], None]) -> None:
    """Call `sender`, which sends messages for all that waits of one kind, after the broker was emptied."""
    _senders.append(sender)


def look_after_broker(app: Any = current_app) -> bool:
    """Send everything that waits again where the mark is missing, and then set it. Returns whether it was missing.
    Two processes at once send twice, which is harmless. Raises nothing while the broker is away, or refuses to write
    since its disk is full."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=1.0)
            if connection.transport.driver_type != "redis":
                return False
            client = connection.default_channel.client
            if client.exists(MARK):
                return False
            logger.warning("the broker is new or was emptied: what waits is sent again")
            for sender in _senders:
                sender()
            client.set(MARK, "1")  # last: a process that is killed before leaves the work to the next
    except (OperationalError, RedisError, OSError) as problem:
        logger.warning("the broker does not answer: %s", type(problem).__name__)
        return False
    return True
