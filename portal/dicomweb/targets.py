"""The PACS from which films may be fetched, as an administrator lists them: a browser names one, never an address."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

_KEYS = frozenset({"name", "url", "sites", "user", "password_variable", "token_variable", "ca_file"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class PacsTarget:
    """`sites` are names of sites whose people may fetch from it; empty: every site."""

    name: str
    url: str
    sites: tuple[str, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: str = ""

    def is_of(self, site_name: str) -> bool:
        return not self.sites or site_name in self.sites


def read_targets(path: str) -> tuple[PacsTarget, ...]:
    """The targets of the JSON file; none without one. Raises ImproperlyConfigured."""
    if not path:
        return ()
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"HILUM_PACS_FILE is {path}, which is no JSON file that can be read.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImproperlyConfigured(f'HILUM_PACS_FILE is {path}; expected a list such as [{{"name": …, "url": …}}].')
    targets = tuple(_target(entry) for entry in entries)
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise ImproperlyConfigured(f"Two entries of HILUM_PACS_FILE have one name; the names are {', '.join(names)}.")
    return targets


def _target(entry: dict[str, Any]) -> PacsTarget:
    name, url = str(entry.get("name", "")), str(entry.get("url", "")).rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9 _-]{1,40}", name):
        raise ImproperlyConfigured(f"A PACS of HILUM_PACS_FILE is named {name!r}; use 1 to 40 letters, digits and -.")
    if unknown := sorted(set(entry) - _KEYS):
        raise ImproperlyConfigured(f"The PACS {name} has {unknown[0]!r}; the keys are {', '.join(sorted(_KEYS))}.")
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"The address of the PACS {name} is {url!r}; expected the root of its DICOMweb service, such as "
            "https://pacs.example/dicom-web, without user, password or query (http only on this machine)."
        )
    ca_file, sites = str(entry.get("ca_file", "")), entry.get("sites", [])
    if ca_file and not Path(ca_file).is_file():
        raise ImproperlyConfigured(f"The ca_file of the PACS {name} is {ca_file}, which is not there.")
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise ImproperlyConfigured(f"The sites of the PACS {name} are {sites!r}; expected a list of names of sites.")
    return PacsTarget(
        name=name,
        url=url,
        sites=tuple(sites),
        user=str(entry.get("user", "")),
        password=_secret(name, entry, "password_variable"),
        token=_secret(name, entry, "token_variable"),
        ca_file=ca_file,
    )


def _secret(name: str, entry: dict[str, Any], key: str) -> str:
    """The secret from the environment, so that the file may be read by others."""
    variable = str(entry.get(key, ""))
    if variable and not os.environ.get(variable):
        raise ImproperlyConfigured(f"The {key} of the PACS {name} is {variable}, which is not set in the environment.")
    return os.environ.get(variable, "") if variable else ""
