"""The method as a library: arrays in, arrays out. It imports no web framework, no queue and no database.

    from ml_engine.core import Detector, PipelineConfig, k_center

The three names are loaded on first use, so that web processes can check settings without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_engine.core.bank.coreset import k_center
    from ml_engine.core.config import PipelineConfig
    from ml_engine.core.detector.in_memory import Detector

__all__ = ["Detector", "PipelineConfig", "k_center"]
_HOMES = {"Detector": "detector.in_memory", "PipelineConfig": "config", "k_center": "bank.coreset"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
