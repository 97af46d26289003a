"""Folders of the server from which a published dataset may be imported: those in HILUM_IMPORT_FOLDER. A set of a
terabyte is copied there once, and not sent through a browser."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

MOST_LISTED = 200


class InvalidFolder(Exception):
    """The message is shown to the user."""


def listed_folders() -> list[str]:
    """The names of the folders, without hidden ones and links; none where the setting is not set."""
    root: Path | None = settings.IMPORT_FOLDER
    if root is None or not root.is_dir():
        return []
    folders = [path.name for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    return sorted(name for name in folders if not name.startswith("."))[:MOST_LISTED]


def server_folder(name: str) -> Path:
    """Raises InvalidFolder, also for a name that leads elsewhere."""
    root: Path | None = settings.IMPORT_FOLDER
    if root is None:
        raise InvalidFolder(
            "This installation imports no folders of its server; an administrator can set HILUM_IMPORT_FOLDER. Send a "
            "zip instead."
        )
    if name not in listed_folders():
        names = ", ".join(listed_folders()) or "none yet"
        raise InvalidFolder(f"The import folder of the server has no folder {name[:80]!r}; it has: {names}.")
    return root / name
