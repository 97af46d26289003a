"""The prefix is taken off where the proxy left it on; tests/browser/test_sub_path.py walks below one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.project.sub_path import below


def asked(prefix: str, path: str) -> str:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return [environ["PATH_INFO"].encode()]

    (answer,) = below(application, prefix)({"PATH_INFO": path}, None)
    return answer.decode()


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/hilum/datasets/", "/datasets/"),
        ("/hilum/", "/"),
        ("/hilum", "/"),
        ("/datasets/", "/datasets/"),  # the proxy took it off
        ("/hilum-old/datasets/", "/hilum-old/datasets/"),
    ],
)
def test_the_prefix_is_taken_off_where_it_is_on(path: str, inside: str) -> None:
    assert asked("/hilum", path) == inside


def test_without_a_prefix_nothing_changes() -> None:
    assert asked("", "/hilum/datasets/") == "/hilum/datasets/"


@pytest.mark.parametrize("prefix", ["/runs", "/admin", "/api", "/api/v1/datasets", "/healthz", "/static"])
def test_an_address_of_hilum_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="addresses of Hilum itself begin with"):
        asked(prefix, "/")


def test_a_prefix_may_have_parts_that_are_addresses_of_hilum() -> None:
    assert asked("/hilum/runs", "/hilum/runs/datasets/") == "/datasets/"
