"""Fixtures for the tests of `analysis`."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

# Modules that take a constant from another are loaded before a test changes it there, and not meanwhile.
import analysis.urls  # noqa: F401
from portal.models import Role, User
from tests.analysis.scored import Scored, scored_run
from tests.portal import factories


@pytest.fixture
def analyst(db: None) -> User:
    return factories.user("analyst", Role.ANALYST)


@pytest.fixture
def scored(data_dir: Path, analyst: User) -> Scored:
    return scored_run(factories.site(), author=analyst)


@pytest.fixture
def as_analyst(client: Client, analyst: User) -> Client:
    client.force_login(analyst)
    return client
