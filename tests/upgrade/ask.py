"""What an installation shows: the responses of its addresses, its rows by table, and what its database refuses.

    DATABASE_URL=… HILUM_DATA_DIR=… python tests/upgrade/ask.py < QUESTIONS > ANSWERS

It runs in the root of any release, both the one that made the fixture and those that open it, so it relies only on
what no release renames: addresses, names of models, settings.
Questions: {"addresses": [[user, address]], "scores_of": [run], "user": …, "password": …}.
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOMS = ("portal", "ml_engine", "analysis")
FROZEN = ("portal.LabelEvent", "portal.AuditEvent", "analysis.Reading")  # append-only, each guarded by a trigger


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    import django

    django.setup()
    questions = json.load(sys.stdin)
    installation = {  # the rows first: opening a page may add one, such as a reader who started a worklist
        "rows": rows_by_table(),
        "labels": count_by("portal.CurrentLabel", "value"),
        "label_history": label_history(),
        "audit": count_by("portal.AuditEvent", "verb"),
        "runs": count_by("ml_engine.Run", "state"),
        "changeable": [name for name in FROZEN if can_be_changed(name)],
        "logs_in": logs_in(questions["user"], questions["password"]),
        "scores": {run: scores_of(run) for run in questions["scores_of"]},
        "answers": answers(questions["addresses"]),
    }
    json.dump(installation, sys.stdout)


def rows_by_table() -> dict[str, int]:
    from django.apps import apps

    models = [model for room in ROOMS for model in apps.get_app_config(room).get_models()]
    return {model._meta.label: model._default_manager.count() for model in models}


def count_by(name: str, field: str) -> dict[str, int]:
    from django.apps import apps

    return dict(Counter(apps.get_model(name)._default_manager.values_list(field, flat=True)))


def label_history() -> dict[str, list[list[str]]]:
    """The label events by film, oldest first: (source, value, author, reason)."""
    from django.apps import apps

    history: dict[str, list[list[str]]] = {}
    names = ("source", "value", "author__username", "reason")
    events = apps.get_model("portal.LabelEvent")._default_manager.order_by("pk")
    for film, *event in events.values_list("image__uuid", *names):
        history.setdefault(str(film), []).append(event)
    return history


def scores_of(run: str) -> dict[str, list[float]]:
    """The stored global, region and fused score and the percentile, by film."""
    from django.apps import apps

    scores = apps.get_model("ml_engine.Score")._default_manager.filter(run__uuid=run).order_by("row")
    names = ("global_score", "region_score", "fused_score", "percentile")
    return {str(image): numbers for image, *numbers in scores.values_list("image__uuid", *names)}


def can_be_changed(name: str) -> bool:
    from django.apps import apps
    from django.db import DatabaseError, transaction
    from django.db.models import F

    rows = apps.get_model(name)._default_manager.all()
    try:
        with transaction.atomic():
            assert rows.update(uuid=F("uuid")), f"{name} has no row to try an update on"
    except DatabaseError:
        return False
    return True


def logs_in(user: str, password: str) -> bool:
    from django.test import Client

    return Client(SERVER_NAME="localhost").login(username=user, password=password)


def answers(addresses: list[list[str]]) -> list[dict[str, Any]]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    clients: dict[str, Client] = {}
    for user in {user for user, _ in addresses}:
        clients[user] = Client(SERVER_NAME="localhost", raise_request_exception=False)
        clients[user].force_login(get_user_model().objects.get(username=user))
    return [{"user": user, "address": address} | answer(clients[user], address) for user, address in addresses]


def answer(client: Any, address: str) -> dict[str, Any]:
    """Status, media type and content of the response."""
    response = client.get(address)
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return {"status": response.status_code, "kind": kind, "content": content_of(kind, body)}


def content_of(kind: str, body: bytes) -> Any:
    """JSON as it is; a CSV as rows by column; maps as numbers, None for a masked patch; for a page the numbers that it
    shows with two decimals or more; None for any other media type."""
    if kind == "application/json":
        return json.loads(body)
    if kind == "text/csv":
        return list(csv.DictReader(io.StringIO(body.decode())))
    if kind == "application/octet-stream":
        import numpy as np

        values = np.frombuffer(body, "<f4")
        return [None if np.isnan(value) else float(value) for value in values]
    if kind == "text/html":
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", body.decode(), flags=re.DOTALL)
        return re.findall(r"(?<![\w.])\d+\.\d{2,}(?![\w.]|\d)", html.unescape(text))
    return None


if __name__ == "__main__":
    main()
