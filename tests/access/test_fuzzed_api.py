"""Schemathesis reads the schema of the API and asks each operation in ways that nobody thought of: no server error, and
no status, kind or shape that the schema does not declare."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.urls import reverse
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from portal.models import User
from portal.people.tokens import make_token
from tests.access import world as worlds
from tests.access.test_walk import SLOW
from tests.access.url_table import URLS
from tests.access.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
EXAMPLES = int(os.environ.get("HILUM_FUZZ_EXAMPLES", "3"))  # of each operation
PLAIN = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("application/offset+octet-stream")
def part_of_an_upload(context: Any, value: Any) -> dict[str, Any]:
    return {"data": value if isinstance(value, bytes) else str(value).encode()}


@pytest.fixture
def world(data_dir: Any) -> World:
    return worlds.build()


@pytest.fixture
def application() -> Iterator[Any]:
    """The portal as WSGI, which leaves the test's connection open, as Django's own test client does, and closes each
    answer, as servers do."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    portal = get_wsgi_application()

    def answered(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        answer = portal(environ, start_response)
        try:
            return [b"".join(answer)]
        finally:
            answer.close()

    yield answered
    for signal in signals:
        signal.connect(close_old_connections)


def operations(application: Any, headers: dict[str, str]) -> Iterator[Any]:
    schema = schemathesis.openapi.from_wsgi(reverse("schema"), application, headers=headers)
    for found in schema.get_all_operations():
        operation = found.ok()
        if not operation.path.endswith("/schema/"):
            yield operation


def things_by_route(world: World) -> dict[str, list[str]]:
    """For each route the parts of an address of something that is there, in their order."""
    found = {}
    for name, url in URLS.items():
        if name.startswith("api-") and name not in SLOW:
            parts = [str(getattr(world.things[thing], "uuid", world.things[thing])) for thing in url.of]
            route = reverse(name, args=parts)
            for part in parts:
                route = route.replace(f"/{part}/", "/{}/", 1)
            found[route] = parts
    return found


def test_what_schemathesis_asks_is_answered_as_declared(world: World, application: Any) -> None:
    _, secret = make_token(owner=User.objects.get(username="boss"), name="fuzz", scope="write", days=7)
    headers = {"Authorization": f"Token {secret}"}
    there, asked, wrong = things_by_route(world), 0, []
    for operation in operations(application, headers):
        parts = there.get(re.sub(r"\{\w+\}", "{}", operation.path))
        if parts is None:
            continue

        @PLAIN
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            for name, part in zip(case.path_parameters, parts, strict=False):  # noqa: B023 - called before the next one
                case.path_parameters[name] = part
            saved, asked = transaction.savepoint(), asked + 1
            response = case.call(headers=headers)
            transaction.savepoint_rollback(saved)
            case.validate_response(response, checks=CHECKS)

        try:
            ask()
        except (Exception, FailureGroup) as failure:
            wrong.append(f"{operation.label}: {failure}"[:600])
    assert wrong == [], "\n\n".join(wrong)
    assert asked > 300
