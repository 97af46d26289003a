"""Query parameters that would be ignored are refused, at every page of results and every endpoint of the API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator

from portal.models import User
from portal.people.accepted_query import accepted_by, accepts_query, why_refused
from tests.portal import factories

pytestmark = pytest.mark.django_db


@accepts_query("part", repeated="evaluation")
def page(request: Any) -> None: ...


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("part=test&evaluation=a&evaluation=b", ""),
        ("", ""),
        ("part=test&weight=0.9", "There is no query parameter 'weight' here: it accepts evaluation, part. Leave"),
        ("part=test&part=tune", "The query parameter 'part' is given 2 times: give it once."),
        ("PART=test", "There is no query parameter 'PART' here"),
    ],
)  # fmt: skip
def test_each_name_is_known_and_given_once(query: str, sentence: str) -> None:
    assert why_refused(page, QueryDict(query)).startswith(sentence or "")
    assert bool(why_refused(page, QueryDict(query))) == bool(sentence)


def addresses(resolver: URLResolver, before: str = "/", space: str = "") -> Iterator[tuple[str, Any]]:
    """An address of every URL of results and of the API, with its view."""
    for pattern in resolver.url_patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, route, f"{pattern.namespace}:" if pattern.namespace else space)
        elif isinstance(pattern, URLPattern) and f"{space}{pattern.name}".startswith(("analysis:", "api-")):
            filled = re.sub(r"<uuid:\w+>", str(UUID(int=1)), route)
            yield re.sub(r"<(int:)?\w+>|<(str|slug):\w+>", "1", filled), pattern.callback


@pytest.mark.slow
def test_every_page_of_results_and_every_endpoint_refuses_what_it_would_ignore(client: Client) -> None:
    client.force_login(factories.user("manager", "manager"))
    wrong = {}
    checked = list(addresses(get_resolver()))
    assert len(checked) > 120
    for address, _ in checked:
        answer = client.get(address, {"nonsense": "1"})
        if answer.status_code != 400 or "nonsense" not in answer.content.decode():
            wrong[address] = answer.status_code
        if address.startswith("/api/"):
            assert "nonsense" in answer.json()["detail"]
    assert wrong == {}


def test_the_schema_declares_exactly_what_is_accepted() -> None:
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    wrong = {}
    for route, operations in schema["paths"].items():
        if "get" not in operations or route.endswith("/schema/"):
            continue
        declared = {one["name"] for one in operations["get"].get("parameters", ()) if one["in"] == "query"}
        kinds = {one["name"]: one["schema"] for one in operations["get"].get("parameters", ()) if one["in"] == "path"}
        fill = {name: str(UUID(int=1)) if kind.get("format") == "uuid" else "1" for name, kind in kinds.items()}
        accepted = accepted_by(resolve(route.format(**fill)).func)
        if declared != accepted:
            wrong[route] = (declared, accepted)
    assert wrong == {}


def test_a_filter_that_no_film_can_have_is_refused_by_the_api(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    dataset = factories.dataset("Set")
    factories.film(dataset, "normal")
    address = f"/api/v1/datasets/{dataset.uuid}/images/"
    assert client.get(address, {"label": "normal"}).json()["count"] == 1
    for query in ({"label": "norma"}, {"part": "test"}, {"split": str(UUID(int=1))}, {"warning": "everything"}):
        answer = client.get(address, query)
        (name,) = query
        assert answer.status_code == 400
        assert f"The filter {name} is " in answer.json()["detail"]
    preview = client.get(f"/api/v1/datasets/{dataset.uuid}/relabel/")
    assert preview.status_code in (404, 405)
