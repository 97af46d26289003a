"""A flow diagram after STARD 2015: boxes from the top, what is left out at their right, arrows between them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from analysis.figures.palette import LABELS, PAPER, Theme
from analysis.figures.paper import finish, new_figure

CHARACTERS = 24  # of a line in a box, which is half as wide as the narrowest figure of a page
LINE, PAD, GAP = 15.0, 7.0, 22.0  # pixels: a line of text, the room around a text, the least room between boxes
WIDE, MIDDLE, RIGHT = 0.48, 0.24, 0.52  # a box's width, the middle of the left column, the right column's left edge
BETWEEN = 0.02  # the boxes of two labels
FONT_PX = 11


@dataclass(frozen=True)
class FlowBox:
    """A number of films, of `patients` where these are counted."""

    title: str
    films: int
    patients: int | None = None


@dataclass(frozen=True)
class FlowStep:
    """A box, and the films that are left out between it and the next, by reason; `why` is the title of these."""

    box: FlowBox
    why: str
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class FlowEnd:
    """A box at the bottom, and its films by reference standard."""

    box: FlowBox
    abnormal: int
    normal: int


@dataclass(frozen=True)
class PlacedBox:
    """Left edge and width as shares of the drawing's width, top and height in pixels from its top. The first `titles`
    lines of the text are its title. `label` is the label of its films where they have one."""

    left: float
    top: float
    width: float
    height: float
    lines: tuple[str, ...]
    titles: int = 1
    label: str = ""

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        return self.top + self.height


@dataclass(frozen=True)
class Connector:
    """A line from one point to another, in the units of `PlacedBox`, with the head of an arrow at its end."""

    x0: float
    y0: float
    x1: float
    y1: float
    has_head: bool = True


@dataclass(frozen=True)
class FlowDrawing:
    boxes: tuple[PlacedBox, ...]
    connectors: tuple[Connector, ...]

    @property
    def height(self) -> float:
        return max(box.bottom for box in self.boxes)


def place_flow(steps: Sequence[FlowStep], ends: Sequence[FlowEnd]) -> FlowDrawing:
    """Where the boxes of the steps and of one or two ends are drawn."""
    boxes: list[PlacedBox] = []
    connectors: list[Connector] = []
    top = 0.0
    for step in steps:
        box = _box(0.0, top, *_counted(step.box))
        boxes.append(box)
        top = box.bottom + GAP
        if step.left_out:
            aside = _box(RIGHT, box.bottom + GAP / 2, *_left_out(step))
            boxes.append(aside)
            middle = aside.top + aside.height / 2
            connectors.append(Connector(MIDDLE, middle, RIGHT, middle))
            top = aside.bottom + GAP / 2
        connectors.append(Connector(MIDDLE, box.bottom, MIDDLE, top))
    parents = [_box(left, top, *_counted(end.box)) for left, end in zip((0.0, RIGHT), ends, strict=False)]
    for parent in parents[1:]:
        connectors.append(Connector(MIDDLE, top - GAP / 2, parent.middle, top - GAP / 2, has_head=False))
        connectors.append(Connector(parent.middle, top - GAP / 2, parent.middle, top))
    below = max(parent.bottom for parent in parents) + GAP
    for parent, end in zip(parents, ends, strict=True):
        width = (WIDE - BETWEEN) / 2
        for left, label, films in (
            (parent.left, "abnormal", end.abnormal),
            (parent.left + width + BETWEEN, "normal", end.normal),
        ):
            child = _box(left, below, label.capitalize(), f"n = {films:,}", width=width, label=label)
            boxes.append(child)
            connectors.append(Connector(child.middle, parent.bottom, child.middle, child.top))
    return FlowDrawing((*boxes, *parents), tuple(connectors))


def flow_figure(
    steps: Sequence[FlowStep],
    ends: Sequence[FlowEnd],
    *,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """The diagram; it looks the same at each width, since lines are broken for the narrowest."""
    drawing, paper = place_flow(steps, ends), PAPER[theme]
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_layout(margin_l=16)
    figure.update_xaxes(visible=False, range=[-0.005, 1.005], fixedrange=True)  # edges of boxes are not cut
    figure.update_yaxes(visible=False, range=[drawing.height + 1, -1], fixedrange=True)
    for box in drawing.boxes:
        figure.add_shape(
            type="rect", x0=box.left, x1=box.left + box.width, y0=box.top, y1=box.bottom,
            line={"color": LABELS[theme].get(box.label, paper["muted"]), "width": 2 if box.label else 1},
        )  # fmt: skip
        figure.add_annotation(
            x=box.middle, y=box.top + box.height / 2, text=_marked_up(box),
            showarrow=False, font={"size": FONT_PX},
        )  # fmt: skip
    for line in drawing.connectors:
        figure.add_annotation(
            x=line.x1, y=line.y1, ax=line.x0, ay=line.y0, xref="x", yref="y", axref="x", ayref="y", text="",
            showarrow=True, arrowhead=2 if line.has_head else 0, arrowwidth=1, arrowcolor=paper["muted"],
        )  # fmt: skip
    return finish(figure, "", theme=theme, plot_px=round(drawing.height), axis_px=16)


def _marked_up(box: PlacedBox) -> str:
    title, below = box.lines[: box.titles], box.lines[box.titles :]
    return "<br>".join([*(f"<b>{escape(line)}</b>" for line in title), *map(escape, below)])


def _box(left: float, top: float, title: str, *texts: str, width: float = WIDE, label: str = "") -> PlacedBox:
    titles, below = _wrapped(title), [line for text in texts for line in _wrapped(text)]
    height = LINE * (len(titles) + len(below)) + 2 * PAD
    lines = (*titles, *below)
    return PlacedBox(left=left, top=top, width=width, height=height, lines=lines, titles=len(titles), label=label)


def _counted(box: FlowBox) -> tuple[str, str]:
    of = "" if box.patients is None else f" films of {box.patients:,} patients"
    return box.title, f"n = {box.films:,}{of}"


def _left_out(step: FlowStep) -> tuple[str, ...]:
    reasons = (f"{films:,} {reason}" for reason, films in step.left_out.items())
    return f"{step.why}, n = {sum(step.left_out.values()):,}", *reasons


def _wrapped(text: str) -> tuple[str, ...]:
    return tuple(textwrap.wrap(text, CHARACTERS))
