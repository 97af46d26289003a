"""The keys of the whole site: one command for one key, in every room. Needs no Django.

Pages take their keys from here (portal.labels.keys adds the keys that a person has chosen), the viewer from
static/js/keys.js, and the documents print the same table; tools/keys.py writes both. Arrows, Space, Enter, Delete and
Esc belong to what has the focus. An alignment board is an editor, with keys of its own: `BOARD`, from which
tools/keys.py writes static/js/board/key_list.js.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Room(StrEnum):
    QUEUE = "queue"
    GRID = "grid"
    READING = "reading"
    VIEWER = "viewer"


_LABELLING = frozenset({Room.QUEUE, Room.GRID, Room.READING})
_SCREENING = frozenset({Room.QUEUE, Room.GRID})
_VIEWER = frozenset({Room.VIEWER})


@dataclass(frozen=True)
class Command:
    """The command of a key. A command with a `value` gives that label, with its `finding` if there is one. A command of
    the viewer with `words` has a button in its toolbar."""

    name: str
    words: str
    key: str  # a letter in lower case, a sign, or a name such as Enter or Shift+B
    help: str
    rooms: frozenset[Room] = _VIEWER
    value: str = ""
    finding: str = ""

    @property
    def shown(self) -> str:
        """The key as shown on a button."""
        return self.key.upper() if len(self.key) == 1 else self.key


CHOOSABLE = (  # under the left hand; each person may choose other keys
    Command("normal", "Normal", "a", "Normal", _LABELLING, value="normal"),
    Command("abnormal", "Abnormal", "s", "Abnormal", _LABELLING, value="abnormal"),
    Command("unsure", "Unsure", "d", "Unsure", _LABELLING, value="unsure"),
    Command(
        "bad_quality",
        "Bad quality",
        "f",
        "Exclude, with the finding “bad quality”",
        frozenset({Room.QUEUE, Room.GRID}),
        value="exclude",
        finding="bad quality",
    ),
    Command("exclude", "Exclude", "g", "Exclude", frozenset({Room.QUEUE, Room.GRID}), value="exclude"),
    Command("undo", "Undo", "z", "Back to the last film, to correct it; a label given there is taken back", _LABELLING),
    Command("next", "Next", "Enter", "Save and go on; opens the film in focus of a grid", _LABELLING),
    Command("previous", "Back", "Backspace", "Back, without a change", frozenset({Room.QUEUE})),
    Command("comment", "Comment", "c", "Comment, saved with the label or reading", _LABELLING),
)
_FIXED = (
    Command("pick", "Pick", "1 to 9", "The finding, reason or answer with this number; a rating", _LABELLING),
    Command("attribute", "Attribute", "Shift+1 to 5", "The attribute of a normal film with this number", _SCREENING),
    Command("criteria", "What normal means", "0", "Open or close what normal means here", _SCREENING),
    Command("findings", "Findings", "Shift+F", "Write the findings", frozenset({Room.READING})),
    Command("agree", "Agree", ".", "In a reader study: agree with the model", frozenset({Room.READING})),
    Command("disagree", "Disagree", ",", "In a reader study: disagree with the model", frozenset({Room.READING})),
    Command("pause", "Pause", "k", "Pause: time is not counted", frozenset({Room.READING})),
    Command("escalate", "Escalate", "u", "Escalate to the honest broker", frozenset({Room.READING})),
    Command(
        "choose", "", "Space", "Choose the film in focus; held in the viewer: hide the heatmap", _VIEWER | {Room.GRID}
    ),
    Command("choose_all", "Choose page", "Shift+A", "Choose all films of the page, or none", frozenset({Room.GRID})),
    Command("relabel", "Relabel", "Shift+R", "Relabel the chosen films, or all films", frozenset({Room.GRID})),
    Command("tag", "Tag", "Shift+T", "Tag the chosen films, or all films", frozenset({Room.GRID})),
    Command("search", "", "/", "Go to the search in the bar", _LABELLING),
    Command(
        "move",
        "",
        "Arrows",
        "The next or previous film; move the box in focus",
        frozenset({Room.QUEUE, Room.GRID, Room.VIEWER}),
    ),
    Command("fit", "Fit", "=", "Fit the film to the window"),
    Command("actual", "1:1", "o", "One film pixel on one screen pixel"),
    Command("window", "Window", "w", "Drag sets width (sideways) and level (up, down)"),
    Command("lung", "Lung", "l", "Window over the darkest part of the film, where the lungs lie"),
    Command("mediastinum", "Mediastinum", "m", "Window over the middle and bright part of the film"),
    Command("bone", "Bone", "n", "Window over the brightest part of the film"),
    Command("percentile", "0.5–99.5 %", "p", "Window over all but the outermost values"),
    Command("invert", "Invert", "i", "Invert grey"),
    Command("flip", "Flip", "x", "Mirror left to right; the side letters follow"),
    Command("turn", "Turn", "t", "Turn by a quarter, clockwise"),
    Command("ruler", "Ruler", "q", "Measure: drag along what is to be measured"),
    Command("ratio", "CTR", "v", "Cardiothoracic ratio: drag across the heart, then the thorax"),
    Command("beside", "Beside", "y", "Another film of the patient beside this one"),
    Command("next_beside", "", "Shift+Y", "The next other film of the patient, beside this one"),
    Command("boxes", "Boxes", "b", "Show or hide the boxes"),
    Command("heatmap", "Heatmap", "h", "Show or hide the heatmap", _VIEWER | {Room.READING}),
    Command("nearest", "Nearest normals", "e", "Patches of the normal set most like a hot spot"),
    Command("reset", "Reset", "r", "Window, zoom, inversion and pose as at first"),
    Command("fold", "Panels", "Shift+P", "Fold or unfold the panels beside the film"),
    Command("full", "Full", "Shift+O", "The page over the whole screen, without its bars; Esc ends it"),
    Command("keys", "Keys", "?", "List the keys", _VIEWER | _LABELLING),
    Command("zoom_in", "", "+", "Zoom in; larger films in a grid", _VIEWER | {Room.GRID}),
    Command("zoom_out", "", "-", "Zoom out; smaller films in a grid", _VIEWER | {Room.GRID}),
    Command("pan", "", "Shift+Arrows", "Move the film; the box in focus by ten pixels"),
    Command("nearest_hottest", "", "Shift+E", "Nearest normals of the hottest patch"),
    Command("blink", "", "j", "Held: the chosen nearest normal in place of this film"),
    Command("draw", "", "Shift+B", "Draw a box, where boxes may be drawn", _VIEWER | {Room.QUEUE, Room.READING}),
    Command("draw_in_middle", "", "Shift+M", "Add a box in the middle, to be moved and sized by arrows"),
    Command("size", "", "Alt+Arrows", "Size the box in focus"),
    Command("remove", "", "Delete", "Remove the box in focus"),
    Command("undo_box", "", "Ctrl+Z", "Undo the last change of the boxes"),
    Command("redo_box", "", "Ctrl+Y", "Redo it"),
    Command("close", "", "Esc", "Close, or leave a field", _VIEWER | _LABELLING),
)
TABLE = (*CHOOSABLE, *_FIXED)


class Board(StrEnum):
    """The two kinds of alignment boards, as their pages name them."""

    CANONICAL = "canonical"
    OUTCOME = "outcome"


@dataclass(frozen=True)
class BoardKey:
    """What keys do on an alignment board. `shown`: the keys, separated by spaces; `only`: on this kind of board."""

    shown: str
    help: str
    only: Board | None = None


BOARD = (
    BoardKey("Arrows", "Shift the film by a step"),
    BoardKey("[ ]", "Rotate, counter-clockwise and clockwise"),
    BoardKey("- +", "Smaller, larger"),
    BoardKey("< >", "Narrower, wider"),
    BoardKey(", .", "Shear, to the left and to the right"),
    BoardKey("J L", "Perspective across", Board.CANONICAL),
    BoardKey("I K", "Perspective up and down", Board.CANONICAL),
    BoardKey("1 2 3", "Fine, usual and coarse steps"),
    BoardKey("Z", "Undo the last change"),
    BoardKey("R", "Back to where the film started"),
    BoardKey("B", "Blend of film and canonical image"),
    BoardKey("D", "Difference of the two, gray where they agree"),
    BoardKey("C", "Film red, canonical image cyan"),
    BoardKey("F", "Flicker between the two"),
    BoardKey("V", "Variance of the stack", Board.CANONICAL),
    BoardKey("M", "Mark landmarks, or stop marking", Board.CANONICAL),
    BoardKey("O", "The film as it was before, and after", Board.OUTCOME),
    BoardKey("A", "Accept the place", Board.OUTCOME),
    BoardKey("Enter", "Save the place, and go to the next film"),
    BoardKey("X", "Leave the film out, and go to the next"),
    BoardKey("N P", "The next and the previous film"),
    BoardKey("?", "List the keys"),
)
_BOARDS = {
    Board.CANONICAL: "on a board",
    Board.OUTCOME: "on the films of a fitted alignment",
}


def of_room(room: Room) -> list[Command]:
    return [command for command in TABLE if room in command.rooms]


def as_markdown(*rooms: Room) -> str:
    """Return the table of the keys of these rooms, as the documents print it."""
    commands = [command for command in TABLE if command.rooms.intersection(rooms)]
    lines = [f"| {command.shown} | {command.help} |" for command in commands]
    return "\n".join(["| key | does |", "|---|---|", *lines]) + "\n"


def board_as_markdown() -> str:
    """Return the table of the keys of alignment boards, as docs/alignment.md prints it."""
    lines = [f"| {key.shown} | {key.help}{f' ({_BOARDS[key.only]})' if key.only else ''} |" for key in BOARD]
    return "\n".join(["| key | does |", "|---|---|", *lines]) + "\n"


def board_as_module() -> str:
    """Return static/js/board/key_list.js, the keys of alignment boards."""
    rows = [{"shown": key.shown, "help": key.help} | ({"only": key.only} if key.only else {}) for key in BOARD]
    head = "// The keys of the alignment boards, written by tools/keys.py from portal/labels/key_table.py."
    return "\n".join([head, "", *_as_list(rows)])


def as_module() -> str:
    """Return static/js/keys.js, the keys of the viewer."""
    rows = [
        {"name": command.name, "words": command.words, "key": command.shown, "help": command.help}
        for command in of_room(Room.VIEWER)
    ]
    head = "// The keys of the viewer, written by tools/keys.py from portal/labels/key_table.py."
    return "\n".join([head, "", *_as_list(rows)])


def _as_list(rows: Sequence[Mapping[str, str]]) -> list[str]:
    return ["export const KEYS = [", *(f"  {json.dumps(row, ensure_ascii=False)}," for row in rows), "];", ""]
