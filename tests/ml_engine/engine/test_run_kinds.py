"""Each kind of run in the table has its form, API, stages and page."""

from importlib import import_module
from uuid import uuid4

import pytest
from django.urls import reverse

from analysis.studies.opening import REASONS
from ml_engine.api import urls
from ml_engine.engine.run_kinds import KINDS, STUDIES, RunKind
from ml_engine.engine.stages.runner import PLANS, STAGES
from ml_engine.models import KIND_CHOICES
from ml_engine.views.runs import FORMS


def test_the_table_and_the_choices_name_every_kind_in_order() -> None:
    assert list(KINDS) == list(RunKind)
    assert list(RunKind) == [kind for kind, _ in KIND_CHOICES]
    assert all(facts.words for facts in KINDS.values())


@pytest.mark.parametrize("kind", RunKind)
def test_a_kind_can_be_requested_by_form_and_api(kind: RunKind) -> None:
    assert FORMS[kind].kind is kind
    assert FORMS[kind].button and FORMS[kind].lead
    assert f"runs/{kind}/" in [str(entry.pattern) for entry in urls.urlpatterns]


@pytest.mark.parametrize("kind", RunKind)
def test_the_engine_has_stages_for_a_kind(kind: RunKind) -> None:
    if kind in STUDIES and kind not in PLANS:
        assert callable(import_module(f"ml_engine.engine.stages.{kind}").stages)
    else:
        assert kind in STAGES or kind in PLANS


@pytest.mark.parametrize("kind", [kind for kind, facts in KINDS.items() if facts.page])
def test_a_page_of_results_has_an_address_and_a_reason_for_its_look_at_test(kind: RunKind) -> None:
    assert reverse(KINDS[kind].page, args=[uuid4()])
    assert REASONS[kind]
