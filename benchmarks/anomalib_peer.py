"""anomalib 2.7, the peer of `benchmarks.engine`, as its users get it; `make bench` has it in an environment of its own.

    python -m benchmarks.anomalib_peer fit DIR [--tuned]
    python -m benchmarks.anomalib_peer coreset FILE [--tuned]

The first fits PatchCore on DIR/train and scores DIR/test by anomalib's own Engine, the second selects the coreset of
FILE, an array of NumPy (N, D), each on one thread with the settings of what stands beside it. They print CPU seconds as
JSON; importing and building the network do not count.
``--tuned`` lets the C library keep freed memory, which two calls of mallopt do: page faults are half of its time as
shipped. The network has random weights, as nothing is downloaded here; speed does not depend on them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_engine.engine.run_folder import peak_memory_mib

BACKBONE, LAYERS, SIZE, RATE, BATCH = "wide_resnet50_2", ("layer2", "layer3"), 224, 0.01, 32
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
DEFAULT_TRIM, DEFAULT_MMAPS = 128 * 1024, 65536


def keep_memory(keep: bool) -> None:
    """Let glibc's allocator keep what is freed, or return large blocks, as it does by default."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0 if keep else DEFAULT_MMAPS)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else DEFAULT_TRIM)


def select(features: Tensor, rate: float) -> Tensor:
    """The vectors (K, D) of anomalib's coreset of ``features`` (N, D), its projection included."""
    from anomalib.models.components import KCenterGreedy

    return KCenterGreedy(embedding=features, sampling_ratio=rate).sample_coreset()


class Search:
    """anomalib's search of nearest neighbours in a bank (N, D)."""

    def __init__(self, bank: Tensor) -> None:
        self._model = patchcore_model()
        self._model.memory_bank = bank

    def __call__(self, queries: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
        """Distances and rows of the nearest vectors, (Q, neighbours) each, or (Q,) for one."""
        distances, rows = self._model.nearest_neighbors(queries, neighbours)
        return distances, rows


class Extraction:
    """anomalib's patch features of films (B, 1, SIZE, SIZE) in [0, 1], with these weights: (B, 784, 1536)."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self._model = patchcore_model()
        network = self._model.feature_extractor.feature_extractor
        refused = network.load_state_dict(state, strict=False)
        if refused.missing_keys:
            raise ValueError(f"anomalib's network has other layers: {refused.missing_keys[:3]}")
        self._mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        self._std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, films: Tensor) -> Tensor:
        model = self._model
        maps = model.feature_extractor((films.repeat(1, 3, 1, 1) - self._mean) / self._std)
        embedding = model.generate_embedding({name: model.feature_pooler(kept) for name, kept in maps.items()})
        return model.reshape_embedding(embedding).reshape(len(films), -1, embedding.shape[1])


def patchcore_model():  # type: ignore[no-untyped-def]  # anomalib is not installed where types are checked
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    return PatchcoreModel(backbone=BACKBONE, layers=LAYERS, pre_trained=False).eval()


def fit_and_score(folder: Path) -> dict[str, float]:
    """CPU seconds of fitting on folder/train and scoring folder/test, and the peak memory of the process in MiB."""
    from anomalib.data import Folder
    from anomalib.data.utils import TestSplitMode, ValSplitMode
    from anomalib.engine import Engine
    from anomalib.models import Patchcore

    with tempfile.TemporaryDirectory() as results:
        films = Folder(
            name="films",
            root=folder,
            normal_dir="train",
            normal_test_dir="test",
            train_batch_size=BATCH,
            eval_batch_size=BATCH,
            num_workers=0,
            test_split_mode=TestSplitMode.FROM_DIR,
            val_split_mode=ValSplitMode.SAME_AS_TEST,
        )
        model = Patchcore(
            backbone=BACKBONE,
            layers=LAYERS,
            pre_trained=False,
            coreset_sampling_ratio=RATE,
            num_neighbors=9,
            pre_processor=Patchcore.configure_pre_processor(image_size=(SIZE, SIZE)),
            evaluator=False,
            visualizer=False,
        )
        engine = Engine(
            default_root_dir=results, accelerator="cpu", devices=1, logger=False, limit_val_batches=0
        )  # without a pass of validation, which the engine does not make either
        before = time.process_time()
        engine.fit(model=model, datamodule=films)
        fitted = time.process_time()
        scored = engine.predict(model=model, data_path=folder / "test", return_predictions=True)
        ended = time.process_time()
        count = sum(len(batch.pred_score) for batch in scored or [])
        if count != len(list((folder / "test").iterdir())):
            raise ValueError(f"anomalib scored {count} films")
    return {"fit": fitted - before, "score": ended - fitted, "memory_mib": peak_memory_mib()}


def coreset_of(path: Path) -> dict[str, float]:
    """CPU seconds of the selection, its projection included."""
    features = torch.from_numpy(np.load(path, allow_pickle=False))
    select(features[:64], 0.1)  # imports
    before = time.process_time()
    select(features, RATE)
    return {"coreset": time.process_time() - before, "memory_mib": peak_memory_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("what", choices=("fit", "coreset"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--tuned", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    if given.tuned:
        keep_memory(True)
    print(json.dumps(fit_and_score(given.path) if given.what == "fit" else coreset_of(given.path)))


if __name__ == "__main__":
    main()
