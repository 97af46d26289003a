"""The workers that `manage.py start` starts; tests/browser/test_whole_path.py starts them."""

from __future__ import annotations

from typing import Any

from portal.project.embedded import _worker_command, names_of_run_workers


def test_there_are_as_many_workers_of_runs_as_the_setting_says(settings: Any) -> None:
    assert names_of_run_workers() == ["runs"]
    settings.RUN_WORKERS = 3
    assert names_of_run_workers() == ["runs", "runs-2", "runs-3"]


def test_each_has_a_name_of_its_own_and_takes_one_run_at_a_time(settings: Any) -> None:
    settings.RUN_WORKERS = 2
    commands = [_worker_command("gpu", hostname=name) for name in names_of_run_workers()]
    assert [command[command.index("--hostname") + 1] for command in commands] == ["runs@%h", "runs-2@%h"]
    for command in commands:
        assert command[command.index("--queues") + 1] == "gpu"
        assert command[command.index("--concurrency") + 1] == "1"
