"""The alignment stage (paper, section 3.1): films brought into one frame."""

from ml_engine.core.alignment.config import AlignmentConfig
from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.model import AlignmentModel, load_alignment, save_alignment

__all__ = ["AlignmentConfig", "AlignmentModel", "fit_alignment", "load_alignment", "save_alignment"]
