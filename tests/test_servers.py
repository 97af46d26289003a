"""The servers of the tests are real and clean up after themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import servers
from tests.paths import ROOT


@pytest.mark.both
@pytest.mark.django_db
def test_the_suite_runs_on_the_selected_database() -> None:
    from django.db import connection

    vendor = os.environ.get("HILUM_TEST_DATABASE", "postgresql")
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if vendor == "sqlite" else "SHOW server_version_num")
        assert cursor.fetchone()
    assert connection.vendor == vendor


@pytest.mark.both
def test_a_child_process_sees_the_rows_of_the_test(process_environment: dict[str, str]) -> None:
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_user("seen-from-outside", password="irrelevant-here")
    question = "from portal.models import User; print(User.objects.values_list('username', flat=True))"
    child = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", question],
        cwd=ROOT,
        env=process_environment,
        capture_output=True,
        text=True,
    )
    assert "seen-from-outside" in child.stdout, child.stderr


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_tables_are_emptied_past_their_guards_which_stay(data_dir: Path) -> None:
    from django.contrib.auth.models import Permission
    from django.core.management import call_command
    from django.db import DatabaseError

    from portal.models import LabelEvent, User
    from tests.portal import factories

    factories.film(factories.dataset(), "normal")
    permissions = set(Permission.objects.values_list("codename", flat=True))
    call_command("flush", interactive=False, verbosity=0)
    assert not User.objects.exists()
    assert not LabelEvent.objects.exists()
    assert set(Permission.objects.values_list("codename", flat=True)) == permissions
    factories.film(factories.dataset(), "normal")
    with pytest.raises(DatabaseError, match="append-only"):
        LabelEvent.objects.all().delete()


def test_the_broker_is_a_redis_with_an_append_only_file(broker: str) -> None:
    import redis

    client = redis.Redis(unix_socket_path=urlsplit(broker).path, decode_responses=True)
    with client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_server_and_its_folder_are_removed_when_the_tests_are_killed(tmp_path: Path) -> None:
    program = servers.find_redis()
    assert program, servers.NO_REDIS
    starter = (
        "import os, sys, signal; from tests import servers; "
        f"server, url = servers.start_redis({program!r}); print(url, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", starter], cwd=ROOT, capture_output=True, text=True, timeout=60)
    folder = Path(urlsplit(killed.stdout.strip()).path).parent
    watch = ["/bin/sh", "-c", 'while [ -e "$1" ]; do sleep 0.05; done', "sh", str(folder)]
    subprocess.run(watch, check=True, timeout=30)
    assert folder.name.startswith("hilum-redis-")


def test_a_server_that_cannot_start_reports_the_cause() -> None:
    folder = servers.short_folder("hilum-none-")
    with pytest.raises(pytest.UsageError, match="no such option here"):
        servers.start(
            ["/bin/sh", "-c", "echo no such option here; exit 1"], folder=folder, end_signal="TERM", account={}
        )
