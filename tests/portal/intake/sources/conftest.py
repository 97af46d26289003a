from __future__ import annotations

import pytest

from portal.models import Dataset
from tests.portal import factories


@pytest.fixture
def of() -> Dataset:
    return factories.dataset("Published")
