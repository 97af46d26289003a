"""The prefix is taken off where the proxy left it on; tests/browser/test_sub_path.py walks below one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.test.utils import override_script_prefix

from portal.models import Role, User
from portal.project.sub_path import below
from tests.portal import factories


@pytest.fixture
def ana(settings: Any, log_in: Callable[[User], Client]) -> Iterator[Client]:
    """A manager's client, below /hilum, which the proxy has taken off."""
    with override_script_prefix("/hilum/"):  # as the server does for each request, and the client does not
        settings.FORCE_SCRIPT_NAME = "/hilum"
        yield log_in(factories.user("ana", Role.MANAGER))


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


@pytest.mark.django_db
def test_addresses_that_the_api_answers_with_have_the_prefix(ana: Client, data_dir: Any) -> None:
    of = factories.dataset("First")
    factories.dataset("Second")
    assert ana.get("/api/v1/datasets/?limit=1").json()["next"].startswith("http://testserver/hilum/api/v1/datasets/?")
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    begun = ana.post(f"/api/v1/datasets/{of.uuid}/uploads/", headers=tus)
    assert begun.headers["Location"].startswith("http://testserver/hilum/api/v1/uploads/")
    asked = {"username": "newcomer", "roles": ["reader"]}
    made = ana.post(f"/api/v1/sites/{of.site.uuid}/people/", asked, content_type="application/json")
    assert made.json()["link"].startswith("http://testserver/hilum/accounts/invitation/")


@pytest.mark.django_db
def test_who_is_sent_to_log_in_comes_back_below_the_prefix(ana: Client) -> None:
    ana.logout()
    assert ana.get("/splits/").headers["Location"] == "/hilum/accounts/login/?next=/hilum/splits/"
