"""nginx, the proxy of docker-compose.yml, for the test of all services together: Debian's package.

python tools/nginx.py     install it if there is none; `make test` runs this before the whole suite
"""

from __future__ import annotations

import os
import shutil
import subprocess

PACKAGE = "nginx-light"
NO_NGINX = (
    "The test of all services together needs nginx, and there is none: install it "
    "(Debian: apt-get install nginx-light)."
)


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def main() -> None:
    if find_nginx() is None and may_install():
        print(f"hilum: found no nginx; installs it: apt-get install {PACKAGE}.", flush=True)
        # in runlevel 1 the package does not start its own server
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        subprocess.run(["apt-get", "update", "-q"], env=environment)
        subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", PACKAGE], env=environment)
    if find_nginx() is None:
        print(f"hilum: {NO_NGINX}", flush=True)


if __name__ == "__main__":
    main()
