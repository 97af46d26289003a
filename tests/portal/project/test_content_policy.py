"""Styles in a page itself are allowed where figures are drawn; tests/browser/test_every_page.py opens all pages."""

from __future__ import annotations

import pytest
from django.http import HttpResponse, HttpResponseNotModified, JsonResponse
from django.template import engines
from django.test import RequestFactory

from portal.project.content_policy import OF_FILES, ContentPolicy

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


@pytest.mark.parametrize(
    ("answer", "is_page"),
    [
        (HttpResponse("a page"), True),
        (HttpResponse("a table", content_type="text/csv"), False),
        (HttpResponse("saved", headers={"Content-Disposition": "attachment; filename=a.html"}), False),
        (HttpResponse("<svg/>", content_type="image/svg+xml"), False),
        (JsonResponse({}), False),
        (HttpResponseNotModified(), False),  # whose headers replace those of the file that the browser keeps
    ],
)
def test_nothing_runs_in_what_is_no_page(answer: HttpResponse, is_page: bool) -> None:
    middleware = ContentPolicy(lambda request: answer)
    policy = middleware.process_response(RequestFactory().get("/"), answer).headers["Content-Security-Policy"]
    assert (policy == OF_FILES) != is_page
