"""One key for one command on the whole site, and pages that print the table."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from django.test import Client

from portal.labels import key_table
from portal.labels.events import BAD_QUALITY
from portal.labels.key_table import BOARD, CHOOSABLE, TABLE, Board, Room, of_room
from portal.labels.keys import TAKEN
from portal.models import LabelValue
from portal.sets.screening_queues import queue_films
from tests.paths import ROOT
from tests.portal import factories
from tests.portal.views.conftest import as_

# Keys of what has the focus, and of steps from film to film; digits count.
GENERAL = {"Esc", "Space", "Shift", "Enter", "Backspace", "←", "→", "↑", "↓", *map(str, range(10)), *"+−/"}


@pytest.mark.parametrize("of", ["name", "key"])
def test_no_name_and_no_key_has_two_meanings(of: str) -> None:
    values = Counter(getattr(command, of).lower() for command in TABLE)
    assert {value: times for value, times in values.items() if times > 1} == {}


def test_the_keys_that_people_know_are_kept() -> None:
    keys = {command.name: command.key for command in TABLE}
    labelling = [keys[name] for name in ("normal", "abnormal", "unsure", "bad_quality", "exclude", "undo", "comment")]
    assert labelling == ["a", "s", "d", "f", "g", "z", "c"]
    assert (keys["next"], keys["heatmap"], keys["keys"]) == ("Enter", "h", "?")


def test_labels_are_labels() -> None:
    assert {command.value for command in CHOOSABLE if command.value} == set(LabelValue.values)
    assert {command.finding for command in TABLE if command.finding} == {BAD_QUALITY}


def test_keys_that_nobody_may_choose_are_in_the_table() -> None:
    assert {key for key in TAKEN if not key.isdigit()} <= {command.key for command in TABLE}


def test_every_command_is_in_a_room_and_every_room_lists_its_keys() -> None:
    assert all(command.rooms and command.help for command in TABLE)
    assert all("keys" in {command.name for command in of_room(room)} for room in Room)


def test_the_viewer_s_module_and_the_tables_of_the_documents_print_every_key() -> None:
    for command in of_room(Room.VIEWER):
        assert f'"key": "{command.shown}"' in key_table.as_module()
        assert f"| {command.shown} | {command.help} |" in key_table.as_markdown(Room.VIEWER)


def test_templates_and_the_viewer_write_no_key_of_their_own() -> None:
    shown = {
        path.name: set(re.findall(r"<kbd>([^<{]+)</kbd>", path.read_text(encoding="utf-8"))) - GENERAL
        for path in (ROOT / "templates").rglob("*.html")
    }
    board = shown.pop("_aligner.html")  # an editor with keys of its own
    assert board <= {key for row in BOARD for key in row.shown.split()}
    assert {name: keys for name, keys in shown.items() if keys} == {"keys.html": {"?"}}
    fixed = [
        path.name for path in (ROOT / "templates").rglob("*.html") if re.search(r'data-key="[^\W\d]"', path.read_text())
    ]
    assert fixed == []


def test_boards_do_what_their_table_lists_and_nothing_else() -> None:
    listed = Counter(key for row in BOARD for key in row.shown.split())
    assert {key: times for key, times in listed.items() if times > 1} == {}
    handler = (ROOT / "static" / "js" / "board" / "index.js").read_text(encoding="utf-8")
    handler = handler[handler.index("function onKey") : handler.index("function listen")]
    done = re.findall(r'[{ ]"?([^\s"{}()]+)"?: \(?(?:\(\) =>|undo\b|reset\b|showBefore\b)', handler)
    arrows = {key for key in done if key.startswith("Arrow")}
    keys = {key.upper() if len(key) == 1 else key for key in done if key not in arrows} - {"="}  # = is + without Shift
    assert arrows == {"ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"}
    assert keys | {"Arrows"} == set(listed)


def test_the_module_and_the_document_of_boards_print_every_key() -> None:
    for row in BOARD:
        assert f'"shown": "{row.shown}"' in key_table.board_as_module()
        assert f"| {row.shown} | {row.help}" in key_table.board_as_markdown()
    script = (ROOT / "static" / "js" / "board" / "index.js").read_text(encoding="utf-8")
    assert all(f'mode === "{board}"' in script for board in Board)


@pytest.mark.django_db
def test_queue_and_grid_print_the_table() -> None:
    of, ann = factories.dataset(), factories.curator("ann")
    factories.film(of)
    queue = queue_films(site=of.site, name="May", images=of.images.all(), author=ann, source="all", order="imported")
    for room, address in ((Room.QUEUE, f"/queues/{queue.uuid}/"), (Room.GRID, f"/datasets/{of.uuid}/")):
        listed = _dialog(as_(ann), address)
        assert listed == [(command.shown, command.help) for command in of_room(room)]


def _dialog(client: Client, address: str) -> list[tuple[str, str]]:
    page = client.get(address).content.decode()
    dialog = page[page.index('<dialog id="keys"') : page.index('<dialog id="merge"')]
    return re.findall(r"<dt><kbd>(.*?)</kbd></dt><dd>(.*?)</dd>", dialog)
