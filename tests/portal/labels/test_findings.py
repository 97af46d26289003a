"""The list of findings, which managers edit and others choose from."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from portal.labels.events import InvalidLabel
from portal.labels.findings import InvalidFindings, set_findings
from portal.models import AuditEvent, LabelEvent, Role, Site
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


def test_a_manager_sets_the_list_in_order() -> None:
    boss = factories.user("boss", Role.MANAGER)
    entered = ["pneumonia", " ", "  pleural   effusion "]
    assert set_findings(site=factories.site(), findings=entered, author=boss) == ["pneumonia", "pleural effusion"]
    assert Site.objects.get().findings == ["pneumonia", "pleural effusion"]
    assert AuditEvent.objects.get(verb="edit findings").after == ["pneumonia", "pleural effusion"]


def test_a_curator_does_not() -> None:
    with pytest.raises(PermissionDenied, match="edit findings"):
        set_findings(site=factories.site(), findings=["nodule"], author=factories.curator())


@pytest.mark.parametrize(
    "findings", [["a|b"], ["x" * 101], ["nul\0"], ["nodule", "Nodule"], ["bad quality"], [f"f{n}" for n in range(201)]]
)
def test_a_list_that_cannot_be_used_is_refused(findings: list[str]) -> None:
    with pytest.raises(InvalidFindings):
        set_findings(site=factories.site(), findings=findings, author=factories.user("boss", Role.MANAGER))
    assert Site.objects.get().findings == []


def test_a_label_may_only_have_findings_of_the_list() -> None:
    film, ann = factories.film(factories.dataset()), factories.curator("ann")
    site = film.dataset.site
    site.findings = ["pneumonia"]
    site.save()
    for finding in ("pneumonia", "bad quality"):
        factories.label_films(images=[film], value="abnormal", findings=[finding], author=ann, site=site)
    with pytest.raises(InvalidLabel, match="'pnuemonia' is not among the findings of Seoul; use one of pneumonia"):
        factories.label_films(images=[film], value="abnormal", findings=["pnuemonia"], author=ann, site=site)
    assert LabelEvent.objects.count() == 2
