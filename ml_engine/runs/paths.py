"""Where runs and models lie in the data folder."""

import ctypes
import hashlib
import os
import shutil
from pathlib import Path
from uuid import UUID, uuid4

from django.conf import settings

from ml_engine.core.backbone.weights import IMAGENET, StoredFile, WeightsMissing, list_files, require
from ml_engine.core.config import PRESETS, PipelineConfig
from portal.intake import stored_files


def run_folder(run_uuid: UUID) -> Path:
    return Path(settings.DATA_DIR) / "runs" / str(run_uuid)


def model_path(sha256: str) -> Path:
    return Path(settings.DATA_DIR) / "models" / sha256[:2] / f"{sha256}.safetensors"


def board_folder(board_uuid: UUID) -> Path:
    return Path(settings.DATA_DIR) / "boards" / str(board_uuid)


def canonical_path(name: str) -> Path:
    """The file of a hand-made canonical image, named by its SHA-256."""
    return Path(settings.DATA_DIR) / "models" / "canonicals" / f"{name}.npy"


def weights_folder() -> Path:
    return Path(settings.DATA_DIR) / "weights"


def stored_weights() -> list[StoredFile]:
    """The imported weight files of backbones, without the alignment's VGG19."""
    return [file for file in list_files(weights_folder()) if file.architecture != "vgg19"]


def has_vgg_weights() -> bool:
    """Whether the alignment's perceptual loss can be computed."""
    return _has_weights(IMAGENET, "vgg19")


def missing_of_presets() -> list[str]:
    """The weights of the presets that are not on this machine: "imagenet of wide_resnet50_2 (preset paper)"."""
    configs = {name: PipelineConfig.from_preset(name) for name in PRESETS}
    return [
        f"{config.weights} of {config.backbone} (preset {name})"
        for name, config in configs.items()
        if not _has_weights(config.weights, config.backbone)
    ]


def _has_weights(name: str, architecture: str) -> bool:
    try:
        require(name, architecture, folder=weights_folder())
    except WeightsMissing:
        return False
    return True


def keep_model(path: Path) -> str:
    """Store a run's model file under its SHA-256, which is returned. Storing it twice changes nothing. For the
    transaction that stores its row."""
    sha256 = file_sha256(path)
    with stored_files.storing():
        link(path, model_path(sha256))
        stored_files.renew(model_path(sha256))
    return sha256


def picture_path(run_uuid: UUID, name: str) -> Path:
    return Path(settings.DATA_DIR) / "models" / "pictures" / str(run_uuid) / name


def keep_picture(run_uuid: UUID, path: Path) -> None:
    """Store a picture of films that a run made, under its run, whose permissions apply to it."""
    link(path, picture_path(run_uuid, path.name))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy across file systems; an existing target stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        try:
            os.link(source, temporary)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)  # replace() of two links to one file leaves both


def write_text(path: Path, text: str, *, is_flushed: bool = True) -> None:
    """Write atomically: if the process is killed, the file stays as it was. Of many files that are not flushed one by
    one, `flush` flushes all at once."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            if is_flushed:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Write everything of the folder's file system to the disk: a flush of each of 100,000 small files takes minutes,
    one of all of them seconds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _flush_file_system(descriptor)
    finally:
        os.close(descriptor)


def _flush_file_system(descriptor: int) -> None:
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs  # of Linux
    except (OSError, AttributeError):
        os.sync()  # of all file systems
        return
    if syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def log_tail(run_uuid: UUID, *, lines: int = 20, limit: int = 16_384) -> str:
    """The last lines of the run's log.txt; "" while there is none."""
    return tail(run_folder(run_uuid) / "log.txt", lines=lines, limit=limit)


def tail(path: Path, *, lines: int, limit: int = 16_384) -> str:
    """The last lines of a text file, from its last `limit` bytes; "" where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read(limit).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
