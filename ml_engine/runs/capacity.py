"""What the engines of this worker process get: one GPU of the host, and as many threads as their run asks for.

A worker process takes a GPU when its first run begins and keeps it for its life, by a lock on a file of the GPU's
own name in the data folder, which all workers of a host share, in whichever container they run. It takes the one with
the most free memory of those that no other worker has taken.
"""

import fcntl
import logging
import os
import subprocess
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

logger = logging.getLogger(__name__)

QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")
QUERY_SECONDS = 30
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    index: str
    uuid: str
    free_mib: int


def choose(gpus: Sequence[Gpu], taken: Collection[str]) -> Gpu | None:
    """The GPU with the most free memory of those that are not ``taken``, or of all where all are. None without any."""
    free = [gpu for gpu in gpus if gpu.uuid not in taken] or gpus
    return max(free, key=lambda gpu: gpu.free_mib, default=None)


def parse_gpus(listed: str, visible: str | None) -> list[Gpu]:
    """The GPUs that nvidia-smi lists, of which CUDA_VISIBLE_DEVICES may leave only some."""
    gpus = []
    for line in listed.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[2].isdecimal():
            gpus.append(Gpu(cells[0], cells[1], int(cells[2])))
    if visible is None:
        return gpus
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [gpu for gpu in gpus if any(name == gpu.index or gpu.uuid.startswith(name) for name in names)]


def gpus_here() -> list[Gpu]:
    try:
        listed = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # no GPU, or no driver
        return []
    return parse_gpus(listed, os.environ.get(VISIBLE))


class GpuOfProcess:
    """The GPU of this process, once it has taken one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_known = False
        self._gpu: Gpu | None = None
        self._file: IO[str] | None = None

    @property
    def current(self) -> Gpu | None:
        return self._gpu

    def take(self, gpus: Sequence[Gpu] | None = None) -> Gpu | None:
        """The GPU that this process keeps; None on a host without any. ``gpus`` are those of the host, by default as
        nvidia-smi lists them."""
        with self._lock:
            if not self._is_known:
                self._gpu = self._take(gpus_here() if gpus is None else gpus)
                self._is_known = True
            return self._gpu

    def give_back(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._gpu, self._is_known = None, None, False

    def _take(self, gpus: Sequence[Gpu]) -> Gpu | None:
        taken: set[str] = set()
        while (gpu := choose(gpus, taken)) is not None and gpu.uuid not in taken:
            self._file = _locked(gpu)
            if self._file is not None:
                return gpu
            taken.add(gpu.uuid)
        if gpu is not None:
            logger.warning("all %d GPUs are taken by other workers: %s is shared", len(gpus), gpu.uuid)
        return gpu


def _locked(gpu: Gpu) -> IO[str] | None:
    """The open lock file of the GPU; None while another process holds it."""
    folder = Path(settings.DATA_DIR) / "run" / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{gpu.uuid}.lock").open("a", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


gpu_of_process = GpuOfProcess()


def engine_environment(*, threads: int, device: str = "auto") -> dict[str, str]:
    """The environment of an engine: its threads in every library, and the GPU that this process has taken, unless
    ``device`` is cpu. A web process takes none: the engine of its nearest normals works for a second at a time."""
    gpu = None if device == "cpu" else gpu_of_process.current
    return {
        **os.environ,
        "HILUM_DATA_DIR": str(settings.DATA_DIR),
        **pinned_threads(threads),
        **({VISIBLE: gpu.uuid} if gpu else {}),
    }


def pinned_threads(threads: int) -> Mapping[str, str]:
    """Several engines share the cores of a host: without this each library of each engine would use all of them."""
    return dict.fromkeys(THREADS, str(threads))
