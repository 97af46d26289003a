"""Write what follows from the table of keys (portal/labels/key_table.py): two modules of static/js, and tables in docs.

python tools/keys.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from portal.labels.key_table import (  # noqa: E402
    Room,
    as_markdown,
    as_module,
    board_as_markdown,
    board_as_module,
)

TABLE = re.compile(r"\| key \| does \|\n(?:\|.*\n)+")
DOCUMENTS = {
    "screening.md": as_markdown(Room.QUEUE, Room.GRID),
    "reading.md": as_markdown(Room.READING),
    "viewer.md": as_markdown(Room.VIEWER),
    "alignment.md": board_as_markdown(),
}


def written() -> dict[Path, str]:
    """Return each file that prints keys, with the content that it must have."""
    scripts = ROOT / "static" / "js"
    files = {scripts / "keys.js": as_module(), scripts / "board" / "key_list.js": board_as_module()}
    for name, table in DOCUMENTS.items():
        path = ROOT / "docs" / name
        text, tables = TABLE.subn(table.replace("\\", r"\\"), path.read_text(encoding="utf-8"))
        if tables != 1:
            raise SystemExit(f"{path.name} has {tables} tables of keys; keep one, whose columns are key and does.")
        files[path] = text
    return files


if __name__ == "__main__":
    for file, content in written().items():
        file.write_text(content, encoding="utf-8")
