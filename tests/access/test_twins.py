"""Everything that a page does, the API does: each page that accepts a POST has a twin, or a reason why it has none."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponseNotAllowed
from django.test import RequestFactory
from django.urls import resolve, reverse

from tests.access.test_walk import names_with_arguments
from tests.access.url_table import URLS

# page -> the endpoint that does the same, by the same functions
TWINS = {
    "portal:make-site": "api-sites",
    "portal:add-person": "api-people",
    "portal:give-roles": "api-roles",
    "portal:new-link": "api-password-link",
    "portal:choose-mail": "api-mail",
    "portal:keys": "api-keys",
    "portal:make-token": "api-tokens",
    "portal:revoke-token": "api-revoke-token",
    "portal:findings": "api-findings",
    "portal:criteria": "api-new-criteria",
    "portal:make-dataset": "api-datasets",
    "portal:upload": "api-new-partial-upload",
    "portal:import-folder": "api-folder-imports",
    "portal:discard-upload": "api-partial-upload",
    "portal:mapping": "api-import-mapping",
    "portal:discard-waiting-upload": "api-discard-import",
    "portal:about-dataset": "api-dataset",
    "portal:retire": "api-retire",
    "portal:pacs": "api-search-pacs",
    "portal:import-from-pacs": "api-import-from-pacs",
    "portal:quarantine-again": "api-quarantine-again",
    "portal:quarantine-delete": "api-quarantine-delete",
    "portal:decide-corrections": "api-decide-corrections",
    "portal:relabel": "api-relabel-preview",
    "portal:apply-relabel": "api-relabel-apply",
    "portal:undo-relabel": "api-undo-labels",
    "portal:label": "api-labels",
    "portal:merge-label": "api-merge-labels",
    "portal:undo-label": "api-undo-labels",
    "portal:freeze-cohort": "api-freeze-cohort",
    "portal:queue-dataset": "api-queue-dataset",
    "portal:queue-cohort": "api-queue-cohort",
    "portal:judge-duplicate": "api-judge-film-pair",
    "portal:queue-chosen": "api-queue-chosen",
    "portal:freeze-chosen": "api-freeze-chosen",
    "portal:save-view": "api-film-views",
    "portal:change-view": "api-change-view",
    "portal:delete-view": "api-delete-view",
    "portal:default-view": "api-default-view",
    "portal:tag-films": "api-tag-films",
    "portal:undo-tagging": "api-undo-tagging",
    "portal:rename-tag": "api-rename-tag",
    "portal:merge-tag": "api-merge-tag",
    "portal:delete-tag": "api-delete-tag",
    "portal:new-split": "api-splits",
    "portal:begin-queue": "api-begin-queue",
    "portal:hand-back-queue": "api-hand-back-queue",
    "portal:close-queue": "api-close-queue",
    "portal:name-adjudicator": "api-name-adjudicator",
    "portal:begin-adjudication": "api-begin-adjudication",
    "portal:hand-back-adjudication": "api-hand-back-adjudication",
    "portal:own-verdict": "api-own-verdict",
    "portal:settle-film": "api-settle-film",
    "ml_engine:run-new": "api-fit-detector",  # and one for each other kind of run
    "ml_engine:run-forecast": "api-forecast-fit_detector",  # likewise
    "ml_engine:sweep-forecast": "api-forecast-sweep",
    "ml_engine:search-text": "api-search-text",
    "ml_engine:film-text": "api-film-text",
    "ml_engine:alignment-decide": "api-alignment-decide",
    "ml_engine:boards": "api-boards",
    "ml_engine:board-place": "api-board-place",
    "ml_engine:board-canonical": "api-board-canonical",
    "ml_engine:run-cancel": "api-run-cancel",
    "ml_engine:run-retry": "api-run-retry",
    "ml_engine:queue-suspects": "api-queue-suspects",
    "analysis:make-evaluation": "api-evaluate",
    "analysis:figures": "api-weight",
    "analysis:evaluate-set": "api-evaluate-set",
    "analysis:set-evaluation-again": "api-set-evaluation-again",
    "analysis:validate-externally": "api-validate-externally",
    "analysis:show-test": "api-show-test",
    "analysis:show-bank-study": "api-show-bank-study",
    "analysis:show-blind-spots": "api-show-blind-spots",
    "analysis:erase-patient": "api-erase-patient",
    "analysis:plan": "api-plan",
    "analysis:set-test-rules": "api-rules-for-test",
    "analysis:approve-plan": "api-approve-plan",
    "analysis:new-worklist": "api-new-worklist",
    "analysis:begin-worklist": "api-begin-worklist",
    "analysis:hand-back-worklist": "api-hand-back-worklist",
    "analysis:assign-readers": "api-assignments",
    "analysis:study-reference": "api-study-reference",
    "analysis:begin-adjudications": "api-begin-adjudications",
    "analysis:hand-back-adjudications": "api-hand-back-adjudications",
    "analysis:verdict-on-proposed": "api-verdict-on-proposed",
    "analysis:settle-proposed": "api-settle-proposed",
    "analysis:answer-escalation": "api-escalation-answer",
    "analysis:propose-adjudication": "api-propose-adjudications",
    "analysis:propose-normals": "api-propose-normals",
    "analysis:decide-normals": "api-decide-normals",
    "analysis:propose-head": "api-propose-head",
    "analysis:decide-head": "api-decide-head",
}
# page -> why the API does without
OF_A_BROWSER = {
    "login": "opens a session of a browser; a script has a token",
    "saml_acs": "a browser brings an answer of the provider; a script has a token",
    "logout": "ends that session",
    "lost-password": "a link comes by mail to a person who cannot log in",
    "account_login": "opens a session, under the name that allauth uses",
    "account_reauthenticate": "a password is typed where it is not stored",
    "change-password": "a password is typed where it is not stored",
    "invitation": "a password is typed where it is not stored",
    "portal:choose-site": "the site that pages show; the API names its site in each address",
    "portal:choose-theme": "light or dark pages",
    "portal:choose-tiles": "how large the films of a grid are",
    "portal:export-films": "a form that names the chosen films; api-film-list writes nothing",
    "portal:queue-place": "where the page of a queue opens next time",
}
OF_A_BROWSER |= dict.fromkeys(
    (
        *("mfa_authenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn", "mfa_activate_totp"),
        *("mfa_deactivate_totp", "mfa_generate_recovery_codes", "mfa_list_webauthn", "mfa_add_webauthn"),
        "mfa_remove_webauthn",
    ),
    "second factors are of log-ins, and a script has a token",
)
# The page names its dataset, whose site asks for a role; the token of the API names the person who may.
# The page leads back to a grid, which omits the films of blinded readings; the API says what it left out.
DIFFERENT = {"portal:apply-relabel", "portal:tag-films"}


def allowed_methods(name: str, arguments: list[str]) -> list[str]:
    """The methods of a view, of those that change something."""
    address = reverse(name, args=arguments)
    match = resolve(address)
    view: Any = match.func
    for owner in ("cls", "view_class"):
        if hasattr(view, owner):
            return [method for method in ("post", "put", "patch", "delete") if hasattr(getattr(view, owner), method)]
    refusal = view(RequestFactory().generic("TRACE", address), *match.args, **match.kwargs)
    assert isinstance(refusal, HttpResponseNotAllowed), f"{name} does not declare its methods"
    allowed = {method.strip().lower() for method in refusal.headers["Allow"].split(",")}
    return [method for method in ("post", "put", "patch", "delete") if method in allowed]


@pytest.fixture(scope="module")
def writing() -> dict[str, list[str]]:
    """Every URL that changes something, with its methods."""
    rows = {name: allowed_methods(name, arguments) for name, arguments in names_with_arguments() if name in URLS}
    return {name: methods for name, methods in rows.items() if methods}


def test_each_page_that_writes_has_a_twin_or_a_reason(writing: dict[str, list[str]]) -> None:
    pages = {name for name in writing if not name.startswith("api-")}
    assert len(pages) > 70
    assert pages - TWINS.keys() - OF_A_BROWSER.keys() == set(), "add an endpoint that calls the same functions"
    assert (TWINS.keys() | OF_A_BROWSER.keys()) - pages == set()
    assert TWINS.keys() & OF_A_BROWSER.keys() == set()


def test_each_twin_writes(writing: dict[str, list[str]]) -> None:
    assert {twin for twin in TWINS.values() if twin not in writing} == set()


def test_page_and_twin_have_the_same_verdicts() -> None:
    """Where both have a row for the act itself; some rows are of the GET beside it."""
    different = {}
    for page, twin in TWINS.items():
        one, other = URLS[page], URLS[twin]
        if "get" in (one.method, other.method):
            continue
        if (one.action, one.blind, one.look) != (other.action, other.blind, other.look):
            different[page] = (one.action, one.blind.name, one.look), (other.action, other.blind.name, other.look)
    assert different.keys() == DIFFERENT, different
