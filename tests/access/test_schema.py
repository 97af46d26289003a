"""The schema of the API is true: a client generated from it, which asks everything rightly and wrongly, gets answers
that are declared and of the declared shape, and never a server error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from rest_framework import serializers

from portal.models import User
from tests.access import world as worlds
from tests.access.test_walk import SLOW
from tests.access.url_table import URLS
from tests.access.world import World

pytestmark = pytest.mark.django_db
NOWHERE = str(UUID(int=1))
WRONG = ("~", "-1", "9" * 30, "\0", "é" * 300, "NaN")  # values of parameters
BODIES: tuple[Any, ...] = ({}, [], "text", None, 1, {"unknown": 1})


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


@pytest.fixture
def world(data_dir: Any) -> World:
    return worlds.build()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for route, of_route in schema["paths"].items():
        for method, operation in of_route.items():
            if method in ("get", "post", "put", "patch", "delete") and not route.endswith("/schema/"):
                yield route, method, operation


def operation_at(schema: dict[str, Any], address: str, method: str) -> dict[str, Any]:
    """The operation of the route with the fewest variables that fits the address."""
    fitting = [
        (route.count("{"), operation)
        for route, of_method, operation in operations(schema)
        if of_method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", re.escape(route).replace(r"\{", "{")
                                                       .replace(r"\}", "}")), address)
    ]  # fmt: skip
    return min(fitting, key=lambda pair: pair[0])[1]


def of_json_schema(schema: Any) -> Any:
    """OpenAPI 3.0 as JSON schema, which says of null that it is a type."""
    if isinstance(schema, list):
        return [of_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: of_json_schema(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [kept, {"type": "null"}]} if schema.get("nullable") is True else kept


def fault_of(schema: dict[str, Any], operation: dict[str, Any], response: Any) -> str:
    """What is wrong with a response of the operation; "" where nothing is."""
    declared = operation["responses"].get(str(response.status_code))
    if declared is None:
        return f"{response.status_code} is not declared"
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    if not declared.get("content"):
        return ""
    if kind not in declared["content"]:
        return f"{response.status_code} is {kind}, declared are {list(declared['content'])}"
    if kind != "application/json":
        return ""
    whole = {"components": of_json_schema(schema["components"]), **of_json_schema(declared["content"][kind]["schema"])}
    errors = sorted(jsonschema.Draft202012Validator(whole).iter_errors(json.loads(response.getvalue())), key=str)
    return f"{errors[0].json_path}: {errors[0].message}"[:300] if errors else ""


def choices_of(operation: dict[str, Any]) -> list[dict[str, str]]:
    """A query for each value of each parameter that has a list of them."""
    return [
        {one["name"]: value}
        for one in operation.get("parameters", ())
        if one["in"] == "query"
        for value in one["schema"].get("enum", ())
    ]


def kinds_of_file(operation: dict[str, Any]) -> list[dict[str, str]]:
    """Queries for the files of an operation that has several kinds of them."""
    return choices_of(operation) if len(operation["responses"].get("200", {}).get("content", ())) > 1 else []


def signed_in(name: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username=name))
    return client


def test_what_is_there_has_the_declared_shape(schema: dict[str, Any], world: World) -> None:
    client, wrong = signed_in("boss"), {}
    for name, url in URLS.items():
        if not name.startswith("api-") or url.method != "get" or name in SLOW:
            continue
        address = reverse(name, args=[getattr(world.things[thing], "uuid", world.things[thing]) for thing in url.of])
        operation = operation_at(schema, address, "get")
        for query in ({}, *kinds_of_file(operation)):
            response = client.get(address, {**url.query(world), **query})
            if fault := fault_of(schema, operation, response):
                wrong[f"{name} {query}"] = fault
            if response.streaming:
                list(response.streaming_content)  # which closes the file that it sends
    assert wrong == {}, json.dumps(wrong, indent=1)


def test_what_is_asked_wrongly_is_answered_as_declared(schema: dict[str, Any], data_dir: Any) -> None:
    worlds.factories.user("boss", "manager")
    client, wrong = signed_in("boss"), {}
    asked = 0
    for route, method, operation in operations(schema):
        names = operation.get("parameters", ())
        filled = route.format(**{one["name"]: NOWHERE for one in names if one["in"] == "path"})
        queries = [{}, {"unknown": "1"}] if method == "get" else [{}]
        if method == "get":
            queries += choices_of(operation)
            queries += [{one["name"]: value} for one in names if one["in"] == "query" for value in WRONG]
        bodies = BODIES if method != "get" else (None,)
        for query, body in chain(((query, None) for query in queries), (({}, body) for body in bodies)):
            saved, asked = transaction.savepoint(), asked + 1
            if method == "get":
                response = client.get(filled, query)
            else:
                response = getattr(client, method)(filled, json.dumps(body), content_type="application/json")
            transaction.savepoint_rollback(saved)
            if fault := fault_of(schema, operation, response):
                wrong[f"{method} {route} {query or body}"] = fault
    assert asked > 700
    assert wrong == {}, json.dumps(wrong, indent=1)


def test_what_the_middleware_refuses_is_declared(schema: dict[str, Any], data_dir: Any) -> None:
    worlds.factories.user("boss", "manager")
    response = signed_in("boss").generic("POST", "/api/v1/labels/", headers={"transfer-encoding": "chunked"})
    assert response.status_code == 411
    assert fault_of(schema, operation_at(schema, "/api/v1/labels/", "post"), response) == ""
    for route, method, operation in operations(schema):
        expected = {"503", "507"} | ({"411", "413"} if method in ("post", "put", "patch") else set())
        assert expected <= set(operation["responses"]), f"{method} {route}"


def subclasses(of: type[Any]) -> Iterator[type[Any]]:
    for one in of.__subclasses__():
        yield from (one, *subclasses(one))


def test_the_lists_of_values_are_those_of_the_models(schema: dict[str, Any]) -> None:
    """drf-spectacular takes a list for another where their names are made alike."""
    components, wrong, asked = schema["components"]["schemas"], {}, 0
    for serializer in subclasses(serializers.ModelSerializer):
        name = serializer.__name__.removesuffix("Serializer")
        for field, of in serializer().fields.items() if name in components else ():
            if not isinstance(of, serializers.ChoiceField):
                continue
            stated = components[name]["properties"][field]
            refs = [stated, *stated.get("allOf", ()), *stated.get("oneOf", ())]
            listed = chain(*(components[one["$ref"].rpartition("/")[2]]["enum"] for one in refs if "$ref" in one))
            asked += 1
            if missing := set(of.choices) - set(listed) - set(stated.get("enum", ())):
                wrong[f"{name}.{field}"] = sorted(missing)
    assert asked > 3
    assert wrong == {}


def test_an_address_of_the_api_that_does_not_exist_answers_json(data_dir: Any) -> None:
    worlds.factories.user("boss", "manager")
    for accepts in ("text/html", "application/json"):
        answer = signed_in("boss").get("/api/v1/nothing/", headers={"accept": accepts})
        assert answer.status_code == 404
        assert "nothing at this address" in answer.json()["detail"]
