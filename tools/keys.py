"""Write what follows from the table of keys (portal/labels/key_table.py): static/js/keys.js and the tables in docs.

python tools/keys.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from portal.labels.key_table import Room, as_markdown, as_module  # noqa: E402

TABLE = re.compile(r"\| key \| does \|\n(?:\|.*\n)+")
DOCUMENTS = {
    "screening.md": (Room.QUEUE, Room.GRID),
    "reading.md": (Room.READING,),
    "viewer.md": (Room.VIEWER,),
}


def written() -> dict[Path, str]:
    """Return each file that prints keys, with the content that it must have."""
    files = {ROOT / "static" / "js" / "keys.js": as_module()}
    for name, rooms in DOCUMENTS.items():
        path = ROOT / "docs" / name
        text, tables = TABLE.subn(as_markdown(*rooms).replace("\\", r"\\"), path.read_text(encoding="utf-8"))
        if tables != 1:
            raise SystemExit(f"{path.name} has {tables} tables of keys; keep one, whose columns are key and does.")
        files[path] = text
    return files


if __name__ == "__main__":
    for file, content in written().items():
        file.write_text(content, encoding="utf-8")
