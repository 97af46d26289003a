"""Which GPU the engines of a worker process get, without a GPU: by the list that nvidia-smi would print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_engine.runs import capacity
from ml_engine.runs.capacity import Gpu, GpuOfProcess, choose, engine_environment, parse_gpus

LISTED = "0, GPU-aaa, 81000\n1, GPU-bbb, 20000\n2, GPU-ccc, 81000\n3, GPU-ddd, 500\n"
GPUS = parse_gpus(LISTED, None)


@pytest.fixture
def taken() -> Any:
    """GPUs of this process, as those of so many processes."""
    made: list[GpuOfProcess] = []

    def take() -> str:
        process = GpuOfProcess()
        made.append(process)
        gpu = process.take(GPUS)
        assert gpu is not None
        return gpu.uuid

    take.processes = made  # type: ignore[attr-defined]
    yield take
    for process in made:
        process.give_back()


def test_the_list_of_nvidia_smi_is_read() -> None:
    assert GPUS[1] == Gpu("1", "GPU-bbb", 20000)
    assert len(GPUS) == 4
    assert parse_gpus("No devices were found\n", None) == []


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("1", ["GPU-bbb"]), ("GPU-ddd,0", ["GPU-aaa", "GPU-ddd"]), ("", []), ("GPU-c", ["GPU-ccc"])],
)
def test_an_administrator_may_leave_only_some(visible: str, expected: list[str]) -> None:
    assert [gpu.uuid for gpu in parse_gpus(LISTED, visible)] == expected


def test_the_one_with_most_free_memory_is_chosen_of_those_that_are_free() -> None:
    assert choose(GPUS, []) == GPUS[0]
    assert choose(GPUS, ["GPU-aaa"]) == GPUS[2]
    assert choose(GPUS, ["GPU-aaa", "GPU-ccc"]) == GPUS[1]
    assert choose(GPUS, [gpu.uuid for gpu in GPUS]) == GPUS[0]  # all are taken: it is shared
    assert choose([], []) is None


def test_each_worker_process_gets_its_own(taken: Any, data_dir: Path) -> None:
    assert [taken() for _ in GPUS] == ["GPU-aaa", "GPU-ccc", "GPU-bbb", "GPU-ddd"]
    assert taken() in {gpu.uuid for gpu in GPUS}  # a fifth shares one
    taken.processes[2].give_back()
    assert taken() == "GPU-bbb"


def test_a_process_keeps_its_own(taken: Any, data_dir: Path) -> None:
    first = taken()
    (process,) = taken.processes
    assert process.take([Gpu("9", "GPU-zzz", 999_999)]).uuid == first


def test_a_worker_that_is_killed_leaves_its_gpu_to_another(taken: Any, data_dir: Path) -> None:
    lock = data_dir / "run" / "gpus" / "GPU-aaa.lock"
    lock.parent.mkdir(parents=True)
    holds = f"import fcntl, sys; f = open({str(lock)!r}, 'a'); fcntl.flock(f, 2); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert taken() == "GPU-ccc"
        other.kill()
    assert taken() == "GPU-aaa"


def test_an_engine_sees_its_gpu_alone_and_keeps_to_its_threads(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = GpuOfProcess()
    monkeypatch.setattr(capacity, "gpu_of_process", mine)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in engine_environment(threads=3)  # nothing was taken, as in a web process
    mine.take(GPUS[1:2])
    environment = engine_environment(threads=3)
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-bbb"
    assert {environment[name] for name in capacity.THREADS} == {"3"}
    assert environment["HILUM_DATA_DIR"] == str(data_dir)
    assert "CUDA_VISIBLE_DEVICES" not in engine_environment(threads=3, device="cpu")
    mine.give_back()


def test_a_host_without_a_gpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert capacity.gpus_here() == []
