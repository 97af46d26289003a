"""Python imports this at start if the folder is on PYTHONPATH. The process, and its children, then have no network:
each attempt is refused, and written to the file that HILUM_TEST_OFFLINE names, as are imports of large libraries."""

import os
import sys


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "import" and arguments[0] in {"timm", "torchvision", "torch._dynamo", "triton"}:
        _write(f"import {arguments[0]}")
    is_call = event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
    if is_call or (event == "socket.connect" and not isinstance(arguments[1], str | bytes)):  # a name is a local socket
        _write(f"network {event}")
        raise OSError(f"this test has no network: {event}")


def _write(line: str) -> None:
    with open(os.environ["HILUM_TEST_OFFLINE"], "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


sys.addaudithook(_watch)
