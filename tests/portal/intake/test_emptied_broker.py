"""What waits is sent again within seconds after a real Redis was emptied by FLUSHALL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.conf import settings

from ml_engine import tasks as of_runs  # noqa: F401  (a worker loads the tasks of all apps)
from ml_engine.models import RunState
from ml_engine.runs import lifecycle
from portal.intake import emptied_broker, zip_uploads
from portal.intake.emptied_broker import MARK, look_after_broker
from portal.models import Upload
from tests.ml_engine import made
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def sender(broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    app = Celery("tests", broker=broker, set_as_current=False)
    app.conf.task_routes, app.conf.task_default_queue = settings.CELERY_TASK_ROUTES, "cpu"
    for module in (lifecycle, zip_uploads):
        monkeypatch.setattr(module, "current_app", app)
    yield app
    app.close()


def waiting(sender: Any) -> dict[str, int]:
    with sender.connection_for_read() as connection:
        client = connection.default_channel.client
        return {queue: client.llen(queue) for queue in ("gpu", "cpu") if client.llen(queue)}


def flush(sender: Any) -> None:
    with sender.connection_for_write() as connection:
        connection.default_channel.client.flushall()


def test_runs_and_imports_are_sent_again_after_a_flush(sender: Any, data_dir: Any) -> None:
    split = made.split(made.site())
    run = made.run(split)
    made.run(split, state=RunState.DONE)
    upload = Upload.objects.create(dataset=factories.dataset(at=split.site), state=Upload.State.RECEIVED)
    lifecycle.publish(run)
    zip_uploads.publish(upload)
    look_after_broker(sender)
    flush(sender)
    assert waiting(sender) == {}

    assert look_after_broker(sender)

    assert waiting(sender) == {"gpu": 1, "cpu": 1}
    assert not look_after_broker(sender)  # once
    assert waiting(sender) == {"gpu": 1, "cpu": 1}


def test_the_mark_is_set_last(sender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flush(sender)
    calls: list[int] = []

    def killed() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError

    monkeypatch.setattr(emptied_broker, "_senders", [killed])
    assert not look_after_broker(sender)
    assert look_after_broker(sender)
    assert len(calls) == 2
    with sender.connection_for_read() as connection:
        assert connection.default_channel.client.exists(MARK)


def test_a_broker_that_refuses_to_write_is_looked_after_later(sender: Any) -> None:
    """As with a full disk, where Redis answers questions and takes nothing."""
    flush(sender)
    with sender.connection_for_write() as connection:
        client = connection.default_channel.client
        client.config_set("min-replicas-to-write", 1)
        try:
            assert not look_after_broker(sender)
        finally:
            client.config_set("min-replicas-to-write", 0)
    assert look_after_broker(sender)


def test_every_look_comes_before_two_minutes_are_over() -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["look-after-broker"]
    assert entry == {"task": "portal.tasks.look_after_broker", "schedule": emptied_broker.SECONDS}
    assert settings.CELERY_TASK_ROUTES[str(entry["task"])] == {"queue": "upkeep"}


def test_without_a_broker_nothing_is_raised() -> None:
    assert not look_after_broker()  # the tests' settings name a broker that is not running
