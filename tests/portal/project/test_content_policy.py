"""Styles in a page itself are allowed where figures are drawn; tests/browser/test_every_page.py opens all pages."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory

from portal.project.content_policy import ContentPolicy

LOADS_PLOTLY = "{% load figures %}{% if drawn %}{% plotly %}{% endif %}"


@pytest.mark.parametrize("drawn", [True, False])
def test_only_a_page_that_draws_figures_may_have_styles_of_its_own(drawn: bool) -> None:
    request = RequestFactory().get("/")
    body = engines["django"].from_string(LOADS_PLOTLY).render({"drawn": drawn}, request)
    middleware = ContentPolicy(lambda request: HttpResponse(body))
    policy = middleware.process_response(request, HttpResponse(body)).headers["Content-Security-Policy"]
    assert ("<script src=" in body) == drawn
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["style-src"] == ("'self' 'unsafe-inline'" if drawn else "'self'")
    assert directives["script-src"] == "'self'"
