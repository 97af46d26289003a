"""The people of the page tests: members of a site, and a stranger from another site."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, Role
from tests.portal import factories


@pytest.fixture
def of(db: None) -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(of: Dataset) -> Client:
    return as_(factories.curator())


@pytest.fixture
def reader(of: Dataset) -> Client:
    return as_(factories.user("reader", Role.READER))


@pytest.fixture
def stranger(of: Dataset) -> Client:
    """Every role, but at another site."""
    return as_(factories.user("stranger", *Role, at=factories.site("Busan")))


def as_(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client
