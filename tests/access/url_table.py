"""Every URL of the project with three verdicts: who may open it, what it shows a person who reads blinded, and
whether it shows results on the test part.

A URL without a row fails `test_walk`, and so does a method that is neither in its row nor in FURTHER. Choose the
verdicts before the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from tests.access.world import World

ANYONE, SIGNED_IN, STAFF = "anyone", "signed in", "staff"  # permissions beside the actions of `access.ALLOWED`
ADMINISTRATOR = "administrators, whatever their roles"
MEMBER = "see the site"
OWN = "what the person did themselves"
REVIEW_TEXT = "review text on films"


class Blind(Enum):
    """What a person is shown who has yet to read films blinded."""

    NOTHING = "says nothing about single films to anybody"
    OMITS = "leaves the films out, and says so"
    REFUSED = "refused with a sentence"
    UNNAMED = "figures and numbers of many films that name none of these"
    NEUTRAL = "the film itself, as its reader needs it: neither its file's name nor what others said of it"


class Look(Enum):
    """What it has to do with results on the test part."""

    NO = "shows none"
    SHOWS = "shows what an earlier look opened, nothing while the part is sealed"
    COUNTS = "is a look: counted and audited, refused while the part is sealed"


@dataclass(frozen=True)
class Url:
    """`of` are the things of the world that the route's arguments name. `data` makes the fields of a POST."""

    action: str
    blind: Blind
    of: tuple[str, ...] = ()
    look: Look = Look.NO
    method: str = "get"
    query: Callable[[World], dict[str, Any]] = lambda world: {}
    data: Callable[[World], dict[str, Any]] = lambda world: {}


def page(action: str, blind: Blind, *of: str, **more: Any) -> Url:
    return Url(action, blind, of, **more)


def act(action: str, blind: Blind, *of: str, **more: Any) -> Url:
    return Url(action, blind, of, method="post", **more)


def new_run(world: World) -> dict[str, Any]:
    """The fields of every kind of run."""
    return {
        "name": "New",
        "split": str(world.things["split"].uuid),
        "detector": str(world.things["detector run"].uuid),
        "scored": str(world.things["run"].uuid),
        "parts": ["test"],
        "part": "tune",
        "axes": {"rate": ["0.01", "0.1"]},
    }


def new_map(world: World) -> dict[str, Any]:
    return {"name": "New", "datasets": [str(world.things["dataset"].uuid)]}


def colours_by_score(world: World) -> dict[str, Any]:
    return {"by": "score", "of": world.things["run"].uuid}


def films_chosen(world: World) -> dict[str, Any]:
    """The fields of the page and those of the API."""
    film = str(world.things["film"].uuid)
    return {"name": "Chosen", "order": "imported", "films": film, "images": [film]}


def whole_set(world: World) -> dict[str, Any]:
    return {"name": "New set", "opens_test": True, "settings": {"weights": "random"}}


def labels_csv(world: World) -> dict[str, Any]:
    return {"file": "labels.csv"}


def reference(world: World) -> dict[str, Any]:
    return {"source": "follow-up", "statement": "three years"}


def quarantined(world: World) -> dict[str, Any]:
    return {"file": str(world.things["quarantined file to delete"].uuid), "reason": "not a film"}


def no_text(world: World) -> dict[str, Any]:
    return {"verdict": "no text", "pixels": world.things["film"].pixel_sha256}


def film_as_json(world: World) -> dict[str, Any]:
    return {"images": [str(world.things["film"].uuid)], "value": "normal"}


def merged_as_json(world: World) -> dict[str, Any]:
    return {"image": str(world.things["film"].uuid), "value": "normal", "seen": 0, "choice": "theirs"}


def previewed(world: World) -> dict[str, Any]:
    return {"value": "exclude", "preview": "yes", "films": "all"}


def previewed_by_api(world: World) -> dict[str, Any]:
    return {"dataset": str(world.things["dataset"].uuid), "value": "exclude"}


def film_as_form(world: World) -> dict[str, Any]:
    return {"image": world.things["film"].uuid, "value": "normal", "seen": 0, "choice": "theirs"}


def double_reading(world: World) -> dict[str, Any]:
    return {"name": "Twice", "readers": ["double reader 1", "double reader 2"]}


def adjudicator(world: World) -> dict[str, Any]:
    return {"adjudicator": "adjudicator"}


def tune_list(world: World) -> dict[str, Any]:
    return {"name": "New", "point": "tune sensitivity", "value": 0.85}


def verdict(world: World) -> dict[str, Any]:
    return {"value": "normal"}


def evaluations(world: World) -> dict[str, Any]:
    return {"evaluation": [world.things[name].uuid for name in ("evaluation", "other evaluation")], "part": "test"}


def weight_on_test(world: World) -> dict[str, Any]:
    return {"part": "test", "weight": world.things["evaluation"].metrics["weight"]}


def more_films(world: World) -> dict[str, Any]:
    return {"name": "More", "order": "imported"}


def of_test(world: World) -> dict[str, Any]:
    return {"part": "test"}


def at_prevalence(world: World) -> dict[str, Any]:
    return {"part": "test", "prevalence": 0.05}


NOTHING, OMITS, REFUSED, UNNAMED, NEUTRAL = Blind.NOTHING, Blind.OMITS, Blind.REFUSED, Blind.UNNAMED, Blind.NEUTRAL
NO, SHOWS, COUNTS = Look.NO, Look.SHOWS, Look.COUNTS

PORTAL = {
    "healthz": page(ANYONE, NOTHING),
    "readyz": page(ANYONE, NOTHING),
    "metrics": page(ANYONE, NOTHING),  # from this machine, as the tests are
    "login": page(ANYONE, NOTHING),
    "logout": act(ANYONE, NOTHING),
    "lost-password": page(ANYONE, NOTHING),
    "lost-password-sent": page(ANYONE, NOTHING),
    "account_login": page(ANYONE, NOTHING),
    "openid_connect_login": page(ANYONE, NOTHING),
    "openid_connect_callback": page(ANYONE, NOTHING),
    "saml_login": page(ANYONE, NOTHING),
    "saml_acs": act(ANYONE, NOTHING),
    "saml_finish_acs": page(ANYONE, NOTHING),
    "saml_metadata": page(ANYONE, NOTHING),
    "logged-in-again": page(SIGNED_IN, NOTHING),
    "account_reauthenticate": page(SIGNED_IN, NOTHING),
    "mfa_index": page(SIGNED_IN, NOTHING),
    "mfa_authenticate": page(ANYONE, NOTHING),
    "mfa_reauthenticate": page(SIGNED_IN, NOTHING),
    "mfa_activate_totp": page(SIGNED_IN, NOTHING),
    "mfa_deactivate_totp": page(OWN, NOTHING),
    "mfa_view_recovery_codes": page(OWN, NOTHING),
    "mfa_generate_recovery_codes": page(SIGNED_IN, NOTHING),
    "mfa_list_webauthn": page(SIGNED_IN, NOTHING),
    "mfa_add_webauthn": page(SIGNED_IN, NOTHING),
    "mfa_reauthenticate_webauthn": page(SIGNED_IN, NOTHING),
    "mfa_remove_webauthn": page(SIGNED_IN, NOTHING, "own key"),  # which asks for the password first
    "change-password": page(SIGNED_IN, NOTHING),
    "invitation": page(ANYONE, NOTHING, "invited", "token of invitation"),
    "schema": page(SIGNED_IN, NOTHING),
    "portal:home": page(SIGNED_IN, NOTHING),
    "portal:manual": page(SIGNED_IN, NOTHING),
    "portal:manual-page": page(SIGNED_IN, NOTHING, "page of the manual"),
    "portal:manual-image": page(SIGNED_IN, NOTHING, "picture of the manual"),
    "portal:make-site": act(ADMINISTRATOR, NOTHING),
    "portal:people": page(MEMBER, NOTHING),
    "portal:add-person": act("manage people", NOTHING),
    "portal:give-roles": act("manage people", NOTHING, "person", data=lambda world: {"roles": ["curator"]}),
    "portal:new-link": act("manage people", NOTHING, "person"),
    "portal:choose-site": act(MEMBER, NOTHING, data=lambda world: {"site": world.site.uuid}),
    "portal:choose-theme": act(SIGNED_IN, NOTHING),
    "portal:choose-mail": act(SIGNED_IN, NOTHING),
    "portal:tokens": page(SIGNED_IN, NOTHING),
    "portal:make-token": act(SIGNED_IN, NOTHING),
    "portal:revoke-token": act(OWN, NOTHING, "own token"),
    "portal:choose-tiles": act(SIGNED_IN, NOTHING),
    "portal:keys": page(SIGNED_IN, NOTHING),
    "portal:findings": page(MEMBER, NOTHING),
    "portal:criteria": page(MEMBER, NOTHING),
    "portal:datasets": page(SIGNED_IN, UNNAMED),
    "portal:make-dataset": act("import films", NOTHING),
    "portal:dataset": page(MEMBER, OMITS, "dataset"),
    "portal:label-counts": page(MEMBER, UNNAMED, "dataset"),
    "portal:film-views": page(MEMBER, NOTHING, "dataset"),
    "portal:save-view": act(MEMBER, NOTHING, "dataset", data=lambda world: {"name": "Mine"}),
    "portal:change-view": act("share views", NOTHING, "shared view", data=lambda world: {"name": "Ours"}),
    "portal:delete-view": act("share views", NOTHING, "shared view"),
    "portal:default-view": act(MEMBER, NOTHING, "shared view"),
    "portal:tag-films": act("tag films", NOTHING, "dataset", data=lambda world: {"tag": "for teaching"}),
    "portal:export-films": act(MEMBER, REFUSED, "dataset"),
    "portal:tags": page(MEMBER, OMITS),
    "portal:undo-tagging": act(OWN, REFUSED, data=lambda world: {"act": world.things["own tagging"].uuid}),
    "portal:rename-tag": act("manage tags", NOTHING, "tag", data=lambda world: {"name": "other"}),
    "portal:merge-tag": act("manage tags", NOTHING, "tag", data=lambda world: {"into": world.things["other tag"].uuid}),
    "portal:delete-tag": act("manage tags", NOTHING, "tag"),
    "portal:upload": act("import films", NOTHING, "dataset"),
    "portal:import-folder": act("import films", NOTHING, "dataset"),
    "portal:discard-upload": act(OWN, NOTHING, "own partial upload"),
    "portal:upload-state": page(MEMBER, NOTHING, "upload"),
    "portal:deidentification": page(MEMBER, NOTHING, "upload"),
    "portal:mapping": page("import films", REFUSED, "waiting upload"),
    "portal:discard-waiting-upload": act("import films", NOTHING, "upload"),
    "portal:relabel": act("label films", OMITS, "dataset", data=previewed),
    "portal:apply-relabel": act("label films", NOTHING, "dataset"),
    "portal:relabelled": page(OWN, NOTHING, "dataset", "own act"),
    "portal:undo-relabel": act("label films", REFUSED, "dataset", "own act"),
    "portal:about-dataset": page(MEMBER, NOTHING, "dataset"),
    "portal:pacs": page("import films", NOTHING, "dataset"),
    "portal:import-from-pacs": act("import films", NOTHING, "dataset"),
    "portal:quarantine": page(MEMBER, NOTHING, "dataset"),
    "portal:quarantine-again": act("import films", NOTHING, "dataset", data=quarantined),
    "portal:quarantine-delete": act("import films", NOTHING, "dataset", data=quarantined),
    "portal:quarantined-file": page("open quarantined files", REFUSED, "quarantined file"),
    "portal:quarantined-preview": page("open quarantined files", REFUSED, "quarantined file"),
    "portal:corrections": page(MEMBER, NEUTRAL, "dataset"),
    "portal:decide-corrections": act(
        "import films", NOTHING, "dataset", data=lambda world: {"act": "take-all", "newest": "999999"}
    ),
    "ml_engine:burned-in": page(REVIEW_TEXT, OMITS, "dataset"),
    "ml_engine:search-text": act("import films", NOTHING, "dataset"),
    "ml_engine:film-text": page(REVIEW_TEXT, REFUSED, "film"),
    "api-burned-in": page(REVIEW_TEXT, OMITS, "dataset"),
    "api-search-text": act("import films", NOTHING, "dataset"),
    "api-film-text": act(REVIEW_TEXT, REFUSED, "film", data=no_text),
    "portal:queue-dataset": act("make queues", NOTHING, "dataset", data=lambda world: {"name": "More"}),
    "portal:freeze-cohort": act("freeze cohorts", REFUSED, "dataset", data=lambda world: {"name": "normals"}),
    "portal:queue-chosen": act("make queues", REFUSED, data=films_chosen),
    "portal:freeze-chosen": act("freeze cohorts", REFUSED, data=films_chosen),
    "api-queue-chosen": act("make queues", REFUSED, data=films_chosen),
    "api-freeze-chosen": act("freeze cohorts", REFUSED, data=films_chosen),
    "portal:cohorts": page(SIGNED_IN, OMITS),
    "portal:cohort": page(MEMBER, OMITS, "cohort"),
    "portal:cohort-diff": page(
        MEMBER, OMITS, "cohort", query=lambda world: {"earlier": world.things["earlier cohort"].uuid}
    ),
    "portal:queue-cohort": act("make queues", NOTHING, "cohort", data=lambda world: {"name": "More"}),
    "portal:queues": page(SIGNED_IN, OMITS),
    "portal:queue": page(MEMBER, OMITS, "queue"),
    "portal:queue-films": page(MEMBER, UNNAMED, "queue", query=lambda world: {"count": 100}),
    "portal:queue-boxes": page(MEMBER, REFUSED, "queue", "film"),
    "portal:queue-place": act(MEMBER, NOTHING, "queue", data=lambda world: {"position": 2}),
    "portal:image": page(MEMBER, REFUSED, "film"),
    "portal:image-pixels": page(MEMBER, NEUTRAL, "film"),
    "portal:image-facts": page(MEMBER, NEUTRAL, "film"),
    "portal:image-preview": page(MEMBER, NEUTRAL, "film"),
    "portal:image-beside": page(MEMBER, NEUTRAL, "film"),
    "portal:image-boxes": page(MEMBER, REFUSED, "film"),
    "portal:duplicates": page(SIGNED_IN, OMITS),
    "portal:duplicate": page(MEMBER, REFUSED, "pair"),
    "portal:judge-duplicate": act("judge duplicates", REFUSED, "pair", data=lambda world: {"verdict": "same"}),
    "portal:label": act("label films", REFUSED, data=film_as_form),
    "portal:merge-label": act("label films", REFUSED, data=film_as_form),
    "portal:label-session": page(SIGNED_IN, NOTHING),
    "portal:undo-label": act("label films", REFUSED, data=lambda world: {"image": world.things["film"].uuid}),
    "portal:splits": page(SIGNED_IN, NOTHING),
    "portal:new-split": page("make splits", NOTHING),
    "portal:split": page(MEMBER, NOTHING, "split"),
    "portal:split-parts": page(MEMBER, REFUSED, "split"),
    "api-sites": page(SIGNED_IN, NOTHING),
    "api-people": page(MEMBER, NOTHING, "site"),
    "api-roles": Url("manage people", NOTHING, ("site", "username"), method="put", data=lambda world: {"roles": []}),
    "api-password-link": act("manage people", NOTHING, "site", "username"),
    "api-findings": page(MEMBER, NOTHING, "site"),
    "api-new-criteria": act("edit criteria", NOTHING, "site", data=lambda world: {"text": "Clear lungs."}),
    "api-mail": page(SIGNED_IN, NOTHING),
    "api-keys": page(SIGNED_IN, NOTHING),
    "api-tokens": page(SIGNED_IN, NOTHING),
    "api-revoke-token": act(OWN, NOTHING, "own token"),
    "api-usage": page(SIGNED_IN, NOTHING),
    "api-datasets": page(SIGNED_IN, NOTHING),
    "api-images": page(MEMBER, OMITS, "dataset", query=lambda world: {"limit": 1000}),
    "api-film-views": page(MEMBER, NOTHING, "dataset"),
    "api-change-view": act("share views", NOTHING, "shared view", data=lambda world: {"name": "Ours", "share": True}),
    "api-delete-view": act("share views", NOTHING, "shared view"),
    "api-default-view": act(MEMBER, NOTHING, "shared view"),
    "api-film-list": page(MEMBER, REFUSED, "dataset"),
    "api-tags": page(SIGNED_IN, UNNAMED),
    "api-tag-films": act(
        "tag films",
        OMITS,
        data=lambda world: {"tag": "for teaching", "dataset": str(world.things["dataset"].uuid)},
    ),
    "api-undo-tagging": act(OWN, REFUSED, data=lambda world: {"act": str(world.things["own tagging"].uuid)}),
    "api-rename-tag": act("manage tags", NOTHING, "tag", data=lambda world: {"name": "other"}),
    "api-merge-tag": act(
        "manage tags", NOTHING, "tag", data=lambda world: {"into": str(world.things["other tag"].uuid)}
    ),
    "api-delete-tag": act("manage tags", NOTHING, "tag"),
    "api-dataset": page(MEMBER, NOTHING, "dataset"),
    "api-pacs": page("import films", NOTHING, "dataset"),
    "api-search-pacs": act("import films", NOTHING, "dataset"),
    "api-import-from-pacs": act("import films", NOTHING, "dataset"),
    "api-quarantine": page(MEMBER, NOTHING, "dataset"),
    "api-quarantine-again": act("import films", NOTHING, "dataset"),
    "api-quarantine-delete": act(
        "import films",
        NOTHING,
        "dataset",
        data=lambda world: {"files": [str(world.things["quarantined file to delete"].uuid)], "reason": "not a film"},
    ),
    "api-quarantined-file": page("open quarantined files", REFUSED, "quarantined file"),
    "api-corrections": page(MEMBER, NEUTRAL, "dataset"),
    "api-decide-corrections": act("import films", NOTHING, "dataset", data=lambda world: {"act": "take"}),
    "api-folder-imports": page("import films", NOTHING, "dataset"),
    "api-new-partial-upload": act("import films", NOTHING, "dataset"),
    "api-partial-upload": page(OWN, NOTHING, "own partial upload"),
    "api-import": page(MEMBER, NOTHING, "upload"),
    "api-deidentification": page(MEMBER, NOTHING, "upload"),
    "api-deidentification-csv": page(MEMBER, NOTHING, "upload"),
    "api-import-mapping": page("import films", REFUSED, "waiting upload"),
    "api-discard-import": act("import films", NOTHING, "upload"),
    "api-split": page(MEMBER, NOTHING, "split"),
    "api-freeze-cohort": act("freeze cohorts", REFUSED, "dataset", data=lambda world: {"name": "normals"}),
    "api-queue-dataset": act("make queues", NOTHING, "dataset", data=more_films),
    "api-queue-cohort": act("make queues", NOTHING, "cohort", data=more_films),
    "api-image": page(MEMBER, REFUSED, "film"),
    "api-image-pixels": page(MEMBER, NEUTRAL, "film"),
    "api-image-preview": page(MEMBER, NEUTRAL, "film"),
    "api-splits": page(SIGNED_IN, NOTHING),
    "api-split-parts": page(MEMBER, REFUSED, "split"),
    "api-cohorts": page(SIGNED_IN, UNNAMED),
    "api-cohort": page(MEMBER, UNNAMED, "cohort"),
    "api-cohort-images": page(MEMBER, OMITS, "cohort"),
    "api-cohort-difference": page(
        MEMBER, OMITS, "cohort", query=lambda world: {"earlier": world.things["earlier cohort"].uuid}
    ),
    "api-queues": page(SIGNED_IN, UNNAMED),
    "api-queue-images": page(MEMBER, OMITS, "queue", query=lambda world: {"limit": 1000}),
    "api-criteria": page(SIGNED_IN, NOTHING),
    "api-relabel-preview": act("label films", OMITS, data=previewed_by_api),
    "api-relabel-apply": act(SIGNED_IN, NOTHING, data=lambda world: {"token": "x"}),  # which names its person
    "api-undo-labels": act("label films", REFUSED, data=lambda world: {"act": world.things["own act"]}),
    "api-labels": act("label films", REFUSED, data=film_as_json),
    "api-merge-labels": act("label films", REFUSED, data=merged_as_json),
}

RUNS = {
    "ml_engine:runs": page(SIGNED_IN, NOTHING),
    "ml_engine:sweep-forecast": act("request runs", NOTHING),
    "ml_engine:run-forecast": act("request runs", NOTHING, "kind of run"),
    "ml_engine:run-new": page("request runs", NOTHING, "kind of run"),
    "ml_engine:run": page(MEMBER, OMITS, "detector run"),
    "ml_engine:run-progress": page(MEMBER, NOTHING, "run"),
    "ml_engine:run-log": page(MEMBER, NOTHING, "run"),
    "ml_engine:run-picture": page(MEMBER, NOTHING, "alignment run", "picture"),
    "ml_engine:queue-suspects": act("make queues", NOTHING, "detector run"),
    "ml_engine:run-cancel": act("request runs", NOTHING, "run"),
    "ml_engine:run-retry": act("request runs", NOTHING, "run"),
    "api-runs": page(SIGNED_IN, NOTHING),
    "api-run": page(MEMBER, NOTHING, "detector run"),
    "api-run-log": page(MEMBER, NOTHING, "run"),
    "api-run-cancel": act("request runs", NOTHING, "run"),
    "api-queue-suspects": act("make queues", NOTHING, "detector run"),
    **{
        f"api-forecast-{kind}": act("request runs", NOTHING, data=new_run)
        for kind in ("fit_alignment", "fit_detector", "score", "sweep")
    },
    "api-run-retry": act("request runs", NOTHING, "run"),
    **{
        f"api-{name}": act("request runs", NOTHING, data=new_run)
        for name in (
            "fit-alignment", "fit-detector", "score", "new-ablation", "new-sweep", "new-bank-study", "new-blind-spots",
        )
    },
    "api-fit-head": act("request runs", REFUSED, data=new_run),
    "api-new-embedding": act("request runs", NOTHING, data=new_map),
}  # fmt: skip

ALIGN = "align by hand"
BOARDS = {
    "ml_engine:boards": page(ALIGN, NOTHING),
    "ml_engine:board": page(ALIGN, OMITS, "board"),
    "ml_engine:board-stack": page(ALIGN, NOTHING, "board"),
    "ml_engine:board-picture": page(ALIGN, UNNAMED, "board", "picture of many"),
    "ml_engine:board-film": page(ALIGN, REFUSED, "board", "place on board"),
    "ml_engine:board-place": act(ALIGN, REFUSED, "board", "place on board"),
    "ml_engine:board-canonical": act(ALIGN, NOTHING, "board"),
    "ml_engine:canonical-picture": page(MEMBER, UNNAMED, "canonical", "picture of many"),
    "ml_engine:alignment-outcome": page(ALIGN, OMITS, "alignment run"),
    "ml_engine:alignment-film": page(ALIGN, REFUSED, "alignment run", "fitted film"),
    "ml_engine:alignment-decide": act(ALIGN, REFUSED, "alignment run", "fitted film"),
    "api-boards": page(SIGNED_IN, NOTHING),
    "api-board": page(ALIGN, OMITS, "board"),
    "api-board-place": act(ALIGN, REFUSED, "board", "place on board"),
    "api-board-canonical": act(ALIGN, NOTHING, "board", data=lambda world: {"name": "New"}),
    "api-canonicals": page(SIGNED_IN, NOTHING),
    "api-alignment-decisions": page(ALIGN, OMITS, "alignment run"),
    "api-alignment-decide": act(ALIGN, REFUSED, "alignment run", "fitted film"),
}

SEE = "see scores"
RESULTS = {
    "api-search": page(MEMBER, OMITS, query=lambda world: {"q": "zebra"}),
    "analysis:search": page(MEMBER, OMITS, query=lambda world: {"q": "zebra"}),
    "analysis:embedding-map": page(MEMBER, OMITS, "dataset"),
    "analysis:map-points": page(MEMBER, UNNAMED, "embedding run"),
    "analysis:map-colours": page(SEE, UNNAMED, "embedding run", look=SHOWS, query=colours_by_score),
    "analysis:map-film": page(MEMBER, REFUSED, "embedding run", "film"),
    "analysis:similar-films": page(MEMBER, REFUSED, "film"),
    "api-embedding-map": page(MEMBER, OMITS, "dataset"),
    "api-map-colours": page(MEMBER, OMITS, "embedding run", query=lambda world: {"by": "label"}),
    "api-similar-films": page(MEMBER, REFUSED, "film"),
    "analysis:results": page(SEE, NOTHING, look=SHOWS),
    "analysis:make-evaluation": act("evaluate runs", NOTHING, "run", look=COUNTS),
    "analysis:evaluate-set": page("request runs", OMITS, "dataset"),
    "analysis:set-evaluation": page(MEMBER, NOTHING, "set evaluation"),
    "analysis:set-evaluation-again": act("request runs", NOTHING, "set evaluation"),
    "api-evaluate-set": act("request runs", REFUSED, "dataset", data=whole_set),
    "api-set-evaluation": page(MEMBER, NOTHING, "set evaluation"),
    "api-set-evaluation-again": act("request runs", NOTHING, "set evaluation"),
    "analysis:evaluation": page(SEE, OMITS, "evaluation", look=SHOWS, query=of_test),
    "analysis:figures": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=weight_on_test),
    "analysis:figure-csv": page(SEE, REFUSED, "evaluation", "figure", look=SHOWS, query=of_test),
    "analysis:report": page(SEE, UNNAMED, "evaluation", look=SHOWS),
    "analysis:table": page(SEE, REFUSED, "evaluation", look=SHOWS),
    "analysis:breakdown": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:beside": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:gallery": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:flow": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:semi-supervised": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    # a look at the test parts of other splits alone; its own was looked at before
    "analysis:validate-externally": act("evaluate runs", NOTHING, "external run", look=SHOWS),
    "analysis:external-validation": page(SEE, UNNAMED, "external validation", look=SHOWS),
    "analysis:drift": page(SEE, UNNAMED, "detector run", look=SHOWS),
    "analysis:external-csv": page(SEE, UNNAMED, "external validation", look=SHOWS),
    "analysis:drift-csv": page(SEE, UNNAMED, "detector run", look=SHOWS),
    "analysis:head-curve": page(SEE, REFUSED, "head run"),
    "analysis:head-curve-table": page(SEE, REFUSED, "head run"),
    "analysis:precision": page(SEE, OMITS, "evaluation", look=SHOWS, query=of_test),
    "analysis:recalibration": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=at_prevalence),
    "analysis:localisation": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:alignment": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:operating": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "analysis:comparison": page(SEE, OMITS, look=SHOWS, query=evaluations),
    "analysis:changed-films": page(SEE, OMITS, look=SHOWS, query=evaluations),
    "analysis:comparison-csv": page(SEE, REFUSED, "compared figure", look=SHOWS, query=evaluations),
    "analysis:run-archive": page("request runs", REFUSED, "run", look=COUNTS),
    "analysis:ablation": page(SEE, OMITS, "ablation", look=SHOWS),
    "analysis:sweep": page(SEE, UNNAMED, "sweep", look=SHOWS),
    "analysis:study-film": page(SEE, REFUSED, "ablation", "ablation film", look=SHOWS),
    "analysis:study-overlay": page(SEE, REFUSED, "ablation", "ablation film", look=SHOWS),
    "analysis:study-maps": page(SEE, REFUSED, "ablation", "ablation film", look=SHOWS),
    "analysis:show-test": act("evaluate runs", NOTHING, "ablation", look=COUNTS),
    "analysis:study-size": page(SIGNED_IN, NOTHING),
    "portal:retired": page("retire data", NOTHING),
    "portal:retire": page("retire data", NOTHING, "kind of dataset", "dataset"),
    "api-retired": page(SIGNED_IN, NOTHING),
    "api-retire": page("retire data", NOTHING, "kind of dataset", "dataset"),
    "analysis:erasures": page("erase patients", NOTHING),
    "analysis:erase-patient": page("erase patients", REFUSED, "patient"),
    "analysis:dataset-labels": page(MEMBER, REFUSED, "dataset", query=labels_csv),
    "analysis:cohort-labels": page(MEMBER, REFUSED, "cohort", query=labels_csv),
    "analysis:split-labels": page(MEMBER, REFUSED, "split", query=labels_csv),
    "analysis:split-data": page(MEMBER, UNNAMED, "split"),
    "analysis:table-one-csv": page(MEMBER, UNNAMED, "split"),
    "analysis:plan": page(MEMBER, NOTHING, "split"),
    "analysis:set-test-rules": act("set rules for test", NOTHING, "split"),
    "analysis:plan-document": page(MEMBER, NOTHING, "plan"),
    "analysis:approve-plan": act("approve plans", NOTHING, "plan"),
    "analysis:bank-study": page(SEE, UNNAMED, "bank study", look=SHOWS),
    "analysis:show-bank-study": act("evaluate runs", NOTHING, "bank study", look=COUNTS),
    "analysis:bank-study-table": page(SEE, UNNAMED, "bank study", look=SHOWS),
    "analysis:blind-spots": page(SEE, UNNAMED, "blind spots", look=SHOWS),
    "analysis:show-blind-spots": act("evaluate runs", NOTHING, "blind spots", look=COUNTS),
    "analysis:blind-spots-table": page(SEE, UNNAMED, "blind spots", look=SHOWS),
    "analysis:film": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "analysis:overlay": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "analysis:maps": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "analysis:nearest": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "analysis:heatmap-dicom": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "analysis:segmentation-dicom": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "analysis:film-scores": page(MEMBER, OMITS, "film", look=SHOWS),
    "api-weight": act(SEE, UNNAMED, "evaluation", look=SHOWS, data=weight_on_test),
    "api-run-archive": page("request runs", REFUSED, "run", look=COUNTS),
    "api-film-scores": page(MEMBER, REFUSED, "film", look=SHOWS),
    "api-heatmap": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "api-maps": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "api-nearest": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "api-evaluations": page(SIGNED_IN, NOTHING, look=SHOWS),
    "api-evaluation": page(SEE, NOTHING, "evaluation", look=SHOWS),
    "api-scores": page(SEE, REFUSED, "evaluation", look=SHOWS),
    "api-breakdown": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-galleries": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-localisation": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-alignment": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-evaluation-data": page(SEE, UNNAMED, "evaluation", look=SHOWS),
    "api-semi-supervised": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-precision": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-recalibration": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=at_prevalence),
    "api-operating": page(SEE, UNNAMED, "evaluation", look=SHOWS, query=of_test),
    "api-comparison": page(SEE, UNNAMED, look=SHOWS, query=evaluations),
    "api-comparison-csv": page(SEE, REFUSED, "compared figure", look=SHOWS, query=evaluations),
    "api-figure-csv": page(SEE, REFUSED, "evaluation", "figure", look=SHOWS, query=of_test),
    "api-report": page(SEE, UNNAMED, "evaluation", look=SHOWS),
    "api-evaluate": act("evaluate runs", NOTHING, "run", look=COUNTS),
    "api-study-size": page(SIGNED_IN, NOTHING),
    "api-erase-patient": page("erase patients", REFUSED, "patient"),
    "api-dataset-labels": page(MEMBER, REFUSED, "dataset"),
    "api-cohort-labels": page(MEMBER, REFUSED, "cohort"),
    "api-split-labels": page(MEMBER, REFUSED, "split"),
    "api-split-data": page(MEMBER, UNNAMED, "split"),
    "api-table-one-csv": page(MEMBER, UNNAMED, "split"),
    "api-plan": page(MEMBER, NOTHING, "split"),
    "api-rules-for-test": page(MEMBER, NOTHING, "site"),
    "api-approve-plan": act("approve plans", NOTHING, "plan"),
    "api-ablation": page(SEE, UNNAMED, "ablation", look=SHOWS),
    "api-sweep": page(SEE, UNNAMED, "sweep", look=SHOWS),
    "api-show-test": act("evaluate runs", NOTHING, "ablation", look=COUNTS),
    "api-validate-externally": act("evaluate runs", NOTHING, "external run", look=SHOWS),
    "api-external-validations": page(SIGNED_IN, NOTHING),
    "api-external-validation": page(SEE, UNNAMED, "external validation", look=SHOWS),
    "api-drift": page(SEE, UNNAMED, "detector run", look=SHOWS),
    "api-external-csv": page(SEE, UNNAMED, "external validation", look=SHOWS),
    "api-drift-csv": page(SEE, UNNAMED, "detector run", look=SHOWS),
    "api-bank-study": page(SEE, UNNAMED, "bank study", look=SHOWS),
    "api-show-bank-study": act("evaluate runs", NOTHING, "bank study", look=COUNTS),
    "api-blind-spots": page(SEE, UNNAMED, "blind spots", look=SHOWS),
    "api-show-blind-spots": act("evaluate runs", NOTHING, "blind spots", look=COUNTS),
    "api-heatmap-dicom": page(SEE, REFUSED, "run", "test film", look=SHOWS),
    "api-segmentation-dicom": page(SEE, REFUSED, "run", "test film", look=SHOWS),
}

READ, MAKE = "read worklists", "make worklists"
JUDGE = "adjudicate labels"
READING = {
    "analysis:worklists": page("read worklists or follow them", NOTHING),
    "analysis:new-worklist": page(MAKE, NOTHING, query=lambda world: {"run": world.things["run"].uuid}),
    "analysis:adjudications": page("see adjudications", OMITS),
    "analysis:begin-adjudications": act(JUDGE, NEUTRAL),
    "analysis:hand-back-adjudications": act(MEMBER, NOTHING),
    "analysis:adjudicate-proposed": page(JUDGE, NEUTRAL, "film"),
    "analysis:verdict-on-proposed": act(JUDGE, NEUTRAL, "film", data=verdict),
    "analysis:settle-proposed": act(JUDGE, NEUTRAL, "film", data=verdict),
    "analysis:escalations": page("answer escalations", OMITS),
    "analysis:answer-escalation": act("answer escalations", REFUSED, "escalation"),
    "analysis:read": page(READ, NEUTRAL, "worklist"),
    "analysis:begin-worklist": act(READ, NEUTRAL, "worklist"),
    "analysis:hand-back-worklist": act(READ, NEUTRAL, "worklist"),
    "analysis:item-overlay": page(READ, REFUSED, "worklist", "item"),
    "analysis:revealed-overlay": page(READ, REFUSED, "study", "study item"),
    "analysis:revealed-maps": page(READ, REFUSED, "study", "study item"),
    "analysis:reader-study": page(MAKE, UNNAMED, "study", look=SHOWS),
    "analysis:study-long": page(MAKE, REFUSED, "study", look=SHOWS),
    "analysis:study-imrmc": page(MAKE, REFUSED, "study", look=SHOWS),
    "analysis:study-reference": act(MAKE, NOTHING, "study", look=COUNTS, data=reference),
    "analysis:assign-readers": act(MAKE, NOTHING, "worklist"),
    "analysis:worklist": page(MAKE, OMITS, "worklist"),
    "analysis:readings-table": page(MAKE, REFUSED, "worklist"),
    "analysis:propose-adjudication": act("propose adjudications", NOTHING, "worklist"),
    "analysis:propose-normals": act("propose normals", REFUSED, "worklist"),
    "analysis:worklist-end": page(READ, OMITS, "worklist"),
    "analysis:propose-head": act(READ, NOTHING, "worklist"),
    "analysis:head-proposals": page("request runs", NOTHING),
    "analysis:decide-head": act("request runs", REFUSED, "head proposal", data=lambda world: {"decision": "start"}),
    "analysis:normal-proposals": page("propose or accept normals", NOTHING),
    "analysis:normal-proposal": page("propose or accept normals", OMITS, "proposal"),
    "analysis:decide-normals": act("accept normals", REFUSED, "proposal"),
    "api-new-worklist": act(MAKE, REFUSED, "run", look=COUNTS, data=tune_list),
    "api-worklists": page(SIGNED_IN, NOTHING),
    "api-worklist": page("read or make worklists", NOTHING, "worklist"),
    "api-begin-worklist": act(READ, NEUTRAL, "worklist"),
    "api-hand-back-worklist": act(READ, NEUTRAL, "worklist"),
    "api-worklist-items": page(READ, NEUTRAL, "worklist"),
    "api-readings": page(MAKE, REFUSED, "worklist"),
    "api-worklist-summary": page(MAKE, UNNAMED, "worklist"),
    "api-escalate": act(READ, NEUTRAL, "worklist"),
    "api-reveal-item": act(READ, REFUSED, "study", "study item"),
    "api-assignments": page(MAKE, NOTHING, "worklist"),
    "api-assignment": Url(MAKE, NOTHING, ("study", "username"), method="delete"),
    "api-study-reference": act(MAKE, NOTHING, "study", look=COUNTS, data=reference),
    "api-reader-study": page(MAKE, UNNAMED, "study", look=SHOWS),
    "api-study-long": page(MAKE, REFUSED, "study", look=SHOWS),
    "api-study-imrmc": page(MAKE, REFUSED, "study", look=SHOWS),
    "api-adjudications": page("see adjudications", OMITS),
    "api-begin-adjudications": act(JUDGE, NEUTRAL),
    "api-hand-back-adjudications": act(MEMBER, NOTHING),
    "api-verdict-on-proposed": act(JUDGE, NEUTRAL, "film", data=verdict),
    "api-readings-proposed": page(JUDGE, NEUTRAL, "film"),
    "api-settle-proposed": act(JUDGE, NEUTRAL, "film", data=verdict),
    "api-propose-adjudications": act("propose adjudications", NOTHING, "worklist"),
    "api-propose-normals": act("propose normals", REFUSED, "worklist"),
    "api-normal-proposals": page(SIGNED_IN, NOTHING),
    "api-normal-proposal": page("propose or accept normals", OMITS, "proposal"),
    "api-decide-normals": act("accept normals", REFUSED, "proposal"),
    "api-worklist-end": page(READ, OMITS, "worklist"),
    "api-propose-head": act(READ, NOTHING, "worklist"),
    "api-head-proposals": page(SIGNED_IN, NOTHING),
    "api-decide-head": act("request runs", REFUSED, "head proposal", data=lambda world: {"decision": "start"}),
    "api-escalations": page(SIGNED_IN, OMITS),
    "api-escalation-answer": act("answer escalations", REFUSED, "escalation", data=lambda world: {"action": "Told."}),
}

TWICE, SETTLE = "double reading", "adjudicated"
CLOSE, SEE_TWICE = "close double readings", "see double readings"
DOUBLE_READING = {
    "portal:begin-queue": act("label films", NEUTRAL, TWICE),
    "portal:hand-back-queue": act(MEMBER, NEUTRAL, TWICE),
    "portal:close-queue": act(CLOSE, NOTHING, TWICE),
    "portal:name-adjudicator": act(CLOSE, NOTHING, TWICE),
    "portal:adjudication": page(OWN, NEUTRAL, SETTLE),
    "portal:begin-adjudication": act(OWN, NEUTRAL, SETTLE),
    "portal:hand-back-adjudication": act(OWN, NEUTRAL, SETTLE),
    "portal:adjudicate-film": page(OWN, NEUTRAL, SETTLE, "film"),
    "portal:own-verdict": act(OWN, NEUTRAL, SETTLE, "film", data=verdict),
    "portal:settle-film": act(OWN, NEUTRAL, SETTLE, "film", data=verdict),
    "api-film-pairs": page(SIGNED_IN, OMITS),
    "api-judge-film-pair": act("judge duplicates", REFUSED, "pair", data=lambda world: {"verdict": "same"}),
    "api-new-double-reading": act("make queues", NOTHING, "dataset", data=double_reading),
    "api-double-reading": page(MEMBER, NOTHING, TWICE),
    "api-begin-queue": act("label films", NEUTRAL, TWICE),
    "api-hand-back-queue": act(MEMBER, NEUTRAL, TWICE),
    "api-own-readings": page(MEMBER, NEUTRAL, TWICE),
    "api-undo-reading": act(OWN, NEUTRAL, TWICE, data=lambda world: {"act": str(world.site.uuid)}),
    "api-close-queue": act(CLOSE, NOTHING, TWICE),
    "api-name-adjudicator": act(CLOSE, NOTHING, TWICE, data=adjudicator),
    "api-adjudication": page(OWN, NEUTRAL, SETTLE),
    "api-begin-adjudication": act(OWN, NEUTRAL, SETTLE),
    "api-hand-back-adjudication": act(OWN, NEUTRAL, SETTLE),
    "api-readings-to-settle": page(OWN, NEUTRAL, SETTLE, "film"),
    "api-own-verdict": act(OWN, NEUTRAL, SETTLE, "film", data=verdict),
    "api-settle-film": act(OWN, NEUTRAL, SETTLE, "film", data=verdict),
    "analysis:double-reading": page(SEE_TWICE, OMITS, "read twice"),
    "analysis:double-reading-table": page(SEE_TWICE, REFUSED, "read twice"),
    "api-label-agreement": page(SEE_TWICE, UNNAMED, "read twice"),
    "api-queue-readings-csv": page(SEE_TWICE, REFUSED, "read twice"),
}

URLS = PORTAL | RUNS | BOARDS | RESULTS | READING | DOUBLE_READING


def also(action: str, name: str, method: str = "post", /, **data: Any) -> tuple[str, Url]:
    """A further method that a URL takes, and who may send it. `data`: fields, those that name a thing by its UUID."""

    def fields(world: World) -> dict[str, Any]:
        def named(value: Any) -> Any:
            if isinstance(value, list):
                return [named(one) for one in value]
            return str(world.things[value].uuid) if isinstance(value, str) and value in world.things else value

        return {field: named(value) for field, value in data.items()}

    return name, replace(URLS[name], action=action, method=method, data=fields)


INTENT = {"metric": "auroc", "rule": "specificity", "target": 0.9, "prevalence": 0.05, "looks": 1}
FURTHER = [  # every method that a URL takes beside that of its row
    also("edit datasets", "portal:about-dataset"),
    also("import films", "portal:pacs"),
    also("label films", "portal:relabel", "get"),
    also("retire data", "portal:retire"),
    also(SIGNED_IN, "portal:keys"),
    also("edit findings", "portal:findings", findings="effusion"),
    also("edit criteria", "portal:criteria", text="Clear lungs."),
    also("import films", "portal:mapping"),
    also("make splits", "portal:new-split"),
    also(REVIEW_TEXT, "ml_engine:film-text"),
    also("request runs", "ml_engine:run-new"),
    also(ALIGN, "ml_engine:boards"),
    also("request runs", "analysis:evaluate-set"),
    also("erase patients", "analysis:erase-patient"),
    also("plan analyses", "analysis:plan", **INTENT),
    also(SEE, "analysis:figures", part="tune", weight="0.5"),
    also(MAKE, "analysis:new-worklist"),
    also(ADMINISTRATOR, "api-sites", name="Daegu"),
    also("manage people", "api-people", username="newcomer", roles=["reader"]),
    also("edit findings", "api-findings", "put", findings=["effusion"]),
    also(SIGNED_IN, "api-mail", "put"),
    also(SIGNED_IN, "api-keys", "put"),
    also(SIGNED_IN, "api-tokens"),
    also("import films", "api-datasets", name="More"),
    also("edit datasets", "api-dataset", "patch"),
    also(MEMBER, "api-film-views", name="Mine"),
    also("import films", "api-folder-imports"),
    also("import films", "api-import-mapping", tables={"t.csv": {}}),
    also("make splits", "api-splits", name="More", datasets=["dataset"]),
    also(OWN, "api-partial-upload", "patch"),
    also(OWN, "api-partial-upload", "delete"),
    also("retire data", "api-retire"),
    also(ALIGN, "api-boards", name="More", films=3, dataset="dataset"),
    also("erase patients", "api-erase-patient"),
    also("plan analyses", "api-plan", **INTENT),
    also("set rules for test", "api-rules-for-test", "put", plan=False, second_person=False),
    also(READ, "api-readings"),
    also(MAKE, "api-assignments", readers=[]),
    also(OWN, "api-own-readings", image="film", value="normal"),
]
ADMIN = Url(STAFF, REFUSED)  # every other URL below admin/
ALSO = {
    "read worklists or follow them": {
        "read worklists", MAKE, "answer escalations", "accept normals", "see adjudications",
    },
    "read or make worklists": {"read worklists", MAKE},
    "propose or accept normals": {"propose normals", "accept normals"},
}  # permissions that any of several actions gives  # fmt: skip
