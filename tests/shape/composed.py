"""The services of docker-compose.yml as processes of this machine, which needs no container engine.

Environment, commands, health checks, secrets, profiles and the order of starting are those of the file, and of the
Dockerfile where the file says nothing. In their texts, what containers have of their own is replaced: `db:5432` by a
port of this machine, `/data` by a folder, and so every volume, secret and /tmp. Programs of this machine stand for the
images of others.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from portal.project.broker import find_program as find_redis
from tests.paths import ROOT
from tests.servers import (
    KEEPER,
    MIGRATED,
    NO_POSTGRESQL,
    NO_REDIS,
    copy_cluster,
    find_postgresql,
    short_folder,
    unprivileged_account,
)
from tools.nginx import NO_NGINX, find_nginx

SECONDS = 240  # in which a service has to become healthy
PORTS = {"db": [5432], "broker": [6379]}  # those that the file does not publish
END_SIGNALS = {"db": "INT", "proxy": "QUIT"}  # as their images say


class NotHealthy(Exception):
    """Which service did not start, and its last words."""


# --- the files --------------------------------------------------------------------------------------


def interpolated(value: Any, env: Mapping[str, str]) -> Any:
    """The value with ${NAME}, ${NAME:-default} and ${NAME:?message} filled in from `env`, and $ for $$. Raises KeyError
    for the last where the name is missing or empty."""
    if isinstance(value, dict):
        return {key: interpolated(one, env) for key, one in value.items()}
    if isinstance(value, list):
        return [interpolated(one, env) for one in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if found["kind"] == "?" and not env.get(found["name"]):
            raise KeyError(f"{found['name']}: {found['text']}")
        return env.get(found["name"]) or (found["text"] if found["kind"] == "-" else "")

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}", fill, value)


def read_env(text: str) -> dict[str, str]:
    """The lines NAME=value of a file like .env."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def image_of(target: str) -> tuple[dict[str, str], list[str]]:
    """ENV and CMD of a stage of the Dockerfile, with what it has from the stages below."""
    recipe = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found = re.search(rf"^FROM (\S+) AS {target}\n(.*?)(?=^FROM |\Z)", recipe, re.MULTILINE | re.DOTALL)
    if found is None:
        return {}, []
    variables, command = image_of(found[1]) if "$" not in found[1] else ({}, [])
    for line in re.findall(r"^ENV (.*)$", found[2], re.MULTILINE):
        variables |= dict(word.split("=", 1) for word in shlex.split(line))
    for line in re.findall(r"^CMD (\[.*\])$", found[2], re.MULTILINE):
        command = yaml.safe_load(line)
    return variables, command


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the services -----------------------------------------------------------------------------------


class Composed:
    """The services that the profiles of `env` select. `env` stands for the file .env; `folder` gets the volumes."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        file = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
        profiles = set(env["COMPOSE_PROFILES"].split(","))
        self.folder = folder
        self.folder_of_database = short_folder("hilum-shape-")  # which another account enters
        self.services: dict[str, dict[str, Any]] = {
            name: interpolated(service, env)
            for name, service in file["services"].items()
            if not service.get("profiles") or profiles & set(service["profiles"])
        }
        self.secrets = {name: Path(interpolated(one["file"], env)) for name, one in file["secrets"].items()}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {(name, port): free_port() for name, ports in PORTS.items() for port in ports}
        for name, service in self.services.items():
            for published in service.get("ports", []):
                outside, inside = published.split(":")[-2:]
                self.ports[name, int(inside)] = int(outside)

    def start(self) -> None:
        """Start each service once what it depends on is healthy, or has ended well: `docker compose up -d`."""
        for name in self._in_order():
            service = self.services[name]
            conditions = service.get("depends_on", {})
            self.wait_until_healthy(*(o for o, how in conditions.items() if how["condition"] == "service_healthy"))
            if service["restart"] == "no":
                self.run(name, *service["command"])
            else:
                self._start_one(name)

    def stop(self) -> None:
        """Stop the services, the last one first: `docker compose stop`."""
        for name in reversed(list(self.running)):
            process = self.running.pop(name)
            assert process.stdin is not None
            process.stdin.close()  # then the keeper sends the signal
            process.wait(timeout=60)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder_of_database)

    def run(self, name: str, *command: str, text: str = "") -> str:
        """The output of a command in a service: `docker compose run --rm`. Raises NotHealthy where it fails."""
        done = subprocess.run(
            self._here(command, name),
            cwd=ROOT,
            env=self._environment(name),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise NotHealthy(f"{name}: {' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def wait_until_healthy(self, *names: str) -> None:
        """Ask each service by its own health check until it is healthy. Raises NotHealthy."""
        give_up_at = time.monotonic() + SECONDS
        asked = {name: self._ask(name) for name in names}
        while asked:
            for name, check in list(asked.items()):
                if check.poll() == 0:
                    del asked[name]
                elif self.running[name].poll() is not None or time.monotonic() > give_up_at:
                    check.kill()
                    raise NotHealthy(f"{name}:\n{self.log(name).read_text(errors='replace')[-3000:]}")
                elif check.poll() is not None:
                    asked[name] = self._ask(name)
            time.sleep(0.02)

    def log(self, name: str) -> Path:
        return _made(self.folder / "logs") / f"{name}.log"

    # one service

    def _in_order(self) -> list[str]:
        order: list[str] = []

        def add(name: str) -> None:
            for other in self.services[name].get("depends_on", {}):
                add(other)
            if name not in order:
                order.append(name)

        for name in self.services:
            add(name)
        return order

    def _start_one(self, name: str) -> None:
        command = self._command(name)
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                # a keeper, so that it ends with the tests, also where they are killed
                ["/bin/sh", "-c", KEEPER, "sh", str(self._scratch(name)), END_SIGNALS.get(name, "TERM"), *command],
                cwd=_made(self.folder / "broker") if name == "broker" else "/" if name == "db" else ROOT,
                env=self._environment(name),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **(unprivileged_account() if name == "db" else {}),
            )

    def _command(self, name: str) -> list[str]:
        if name == "db":
            return self._command_of_database()
        service = self.services[name]
        command = self._here(service.get("command") or image_of(service["build"]["target"])[1], name)
        if name == "broker":
            program = find_redis()
            assert program, NO_REDIS
            return [program, *command[1:], "--bind", "127.0.0.1", "--port", str(self.ports["broker", 6379])]
        if name == "proxy":
            program = find_nginx()
            assert program, NO_NGINX
            if os.geteuid() == 0:  # its processes stay the user to whom the films belong, as in the container
                command[-1] += " user root;"
            return [program, *command[1:]]
        return command

    def _command_of_database(self) -> list[str]:
        """Do what PostgreSQL's image does at its first start: make the owner with the password, and the database, which
        is a copy of one that was migrated before, since that takes twenty seconds."""
        programs = find_postgresql()
        assert programs, NO_POSTGRESQL
        wanted, data = self.services["db"]["environment"], self.folder_of_database / "data"
        if not data.exists():
            programs, data = copy_cluster(programs, self.folder_of_database)
            sql = [
                f"ALTER DATABASE {MIGRATED} RENAME TO {wanted['POSTGRES_DB']}",
                f"ALTER ROLE {wanted['POSTGRES_USER']} PASSWORD '{wanted['POSTGRES_PASSWORD']}'",
            ]
            alone = [str(programs / "postgres"), "--single", "-D", str(data), "postgres"]
            subprocess.run(
                alone, input="\n".join([*sql, ""]), text=True, cwd="/", check=True, capture_output=True,
                **unprivileged_account(),
            )  # fmt: skip
            (data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
            self.programs = programs
        options = ["listen_addresses=127.0.0.1", f"port={self.ports['db', 5432]}", "unix_socket_directories="]
        return [str(self.programs / "postgres"), "-D", str(data), *(f"-c{option}" for option in options)]

    def _ask(self, name: str) -> subprocess.Popen[bytes]:
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind in ("CMD", "CMD-SHELL")
        shell = ["/bin/sh", "-c"] if kind == "CMD-SHELL" else []
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            [*shell, *self._here(command, name)],
            cwd=ROOT,
            env=self._environment(name),
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
        )

    def _environment(self, name: str) -> dict[str, str]:
        """Of the image and the file, and nothing of the tests'; then what says where things are on this machine."""
        service = self.services[name]
        of_image = image_of(service["build"]["target"])[0] if "build" in service else {}
        variables = {**of_image, **service.get("environment", {})}
        places = [self._stand_ins(), Path(sys.executable).parent, find_postgresql(), os.environ["PATH"]]
        return {
            **{key: self._in_terms_of_here(str(value), name) for key, value in variables.items()},
            "PATH": os.pathsep.join(str(place) for place in places if place),
            "PYTHONPATH": str(ROOT),  # stands for /app
            "HOSTNAME": socket.gethostname(),
            "TMPDIR": str(self._scratch(name)),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.ports["db", 5432]),
        }

    def _stand_ins(self) -> Path:
        """A folder with the programs of images that this machine has under another name."""
        folder, client = self.folder / "programs", Path(find_redis() or "").with_name("redis-cli")
        if not folder.exists():
            program = _made(folder) / "valkey-cli"
            found = client if client.exists() else shutil.which("valkey-cli") or shutil.which("redis-cli")
            program.write_text(f'#!/bin/sh\nexec {found} -p {self.ports["broker", 6379]} "$@"\n')
            program.chmod(0o755)
        return folder

    # texts of a container in terms of this machine

    def _here(self, words: list[str] | tuple[str, ...], name: str) -> list[str]:
        return [self._in_terms_of_here(word, name) for word in words]

    def _in_terms_of_here(self, text: str, name: str) -> str:
        for (other, port), here in self.ports.items():
            text = re.sub(rf"(?<![\w.-]){other}:{port}\b", f"127.0.0.1:{here}", text)
            if other == name:
                text = re.sub(rf"\b(?:0\.0\.0\.0:|127\.0\.0\.1:|(?<=listen )){port}\b", f"127.0.0.1:{here}", text)
        for inside, outside in self._mounts(name):
            text = re.sub(rf"(?<![\w./-]){inside}(?![\w-])", str(outside), text)
        return text

    def _mounts(self, name: str) -> Iterator[tuple[str, Path]]:
        """Each path of the container that is elsewhere on this machine."""
        service = self.services[name]
        yield "/tmp", self._scratch(name)
        for secret in service.get("secrets", []):
            yield f"/run/secrets/{secret}", self.secrets[secret]
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if target.endswith(".conf"):
                yield target, self._configuration(ROOT / source, name)
            else:
                yield target, _made(self.folder / Path(source).name)

    def _configuration(self, file: Path, name: str) -> Path:
        """A copy in terms of this machine."""
        copy = self.folder / file.name
        if not copy.exists():
            copy.touch()  # it does not name itself
            copy.write_text(self._in_terms_of_here(file.read_text(encoding="utf-8"), name), encoding="utf-8")
        return copy

    def _scratch(self, name: str) -> Path:
        folder = (self.folder_of_database if name == "db" else self.folder) / f"tmp-{name}"
        if not folder.exists():
            folder.mkdir()
            if name == "db" and (account := unprivileged_account()):
                os.chown(folder, account["user"], account["group"])
        return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
