"""A4 pages of headings, paragraphs, tables and plots, drawn by matplotlib. Text stays text, fonts are embedded, and the
same content gives the same bytes.

Text is set in DejaVu Sans, which matplotlib brings, and where DejaVu lacks a character, in the fonts of the folder
`fonts`: Droid Sans Fallback for Korean, Japanese and Chinese, Noto Sans for Thai and Devanagari. Matplotlib shapes them
with libraqm from 3.11 on: marks stand on their letters, conjuncts are joined.
"""

from __future__ import annotations

import io
import logging
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, fontManager, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.figures.palette import ALARM, PAPER

WIDTH, HEIGHT = 595.28, 841.89  # A4 in points
MARGIN = 48.0
TOP, BOTTOM = HEIGHT - 66.0, 54.0
INSIDE = WIDTH - 2 * MARGIN
INK, MUTED, LINE, GRID = (PAPER["light"][name] for name in ("ink", "muted", "line", "grid"))
LEADING = 1.35
BODY, SMALL = 9.0, 7.5
PAD = 4.0  # beside the text of a table's field
TOGETHER = 3  # rows of a table
NO_GLYPH = "\u25a1"
VIRAMA = 9  # the combining class of the sign that joins two letters
_LATIN = "Hilum report"  # names of our own: a system font never takes their place
_OTHERS = {  # which have no bold face
    f"{_LATIN} {name}": Path(__file__).parent / "fonts" / f"{name}.ttf"
    for name in ("DroidSansFallback", "NotoSansThai", "NotoSansDevanagari")
}
_FAMILY = [_LATIN, *_OTHERS]
_BEFORE_LETTER, _AFTER_LETTER = "\u0e40\u0e41\u0e42\u0e43\u0e44", "\u0e33"  # vowels of Thai that stand beside it
_JOINERS = "\u200c\u200d"  # unprintable, and between letters they choose a form


def _latin_file(*, bold: bool) -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")


def _register_fonts() -> None:
    for name, weight, path in (
        (_LATIN, "normal", _latin_file(bold=False)),
        (_LATIN, "bold", _latin_file(bold=True)),
        *((name, weight, path) for name, path in _OTHERS.items() for weight in ("normal", "bold")),
    ):
        fontManager.ttflist.append(FontEntry(fname=str(path), name=name, weight=weight))


_register_fonts()
_SETTINGS: Any = {
    "pdf.fonttype": 42,  # TrueType: text can be searched and copied
    "font.family": _FAMILY,
    "font.size": 7.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "text.parse_math": False,
}
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs each table of each font that it subsets
_drawing = Lock()  # matplotlib's settings are shared by all threads

Draw = Callable[[Any], None]


class Paper:
    """A document. Each addition goes below the previous one, on a new page if it does not fit."""

    def __init__(self, *, title: str, foot: str, random_weights: bool) -> None:
        self.title, self.foot, self.random_weights = title, foot, random_weights
        self.pages: list[Figure] = []
        self.y = 0.0
        self.new_page()

    def new_page(self) -> None:
        self.pages.append(Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="white"))
        self.y = TOP

    def need(self, height: float) -> None:
        if self.y - height < BOTTOM and self.y < TOP:
            self.new_page()

    def heading(self, text: str, *, size: float = 12.5, keep: float = 60) -> None:
        """Keep at least `keep` points of room for what follows on the same page."""
        self.need(size * 2.2 + keep)
        self.y -= size * (0.9 if self.y < TOP else 0)
        for line in wrapped(text, INSIDE, size, bold=True):
            self.y -= size * LEADING
            self._text(MARGIN, line, size=size, bold=True)
        self.y -= size * 0.35

    def paragraph(self, text: str, *, size: float = BODY, colour: str = INK, bold: bool = False) -> None:
        for line in wrapped(text, INSIDE, size, bold=bold):
            self.need(size * LEADING)
            self.y -= size * LEADING
            self._text(MARGIN, line, size=size, colour=colour, bold=bold)
        self.y -= size * 0.5

    def table(
        self,
        head: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        caption: str = "",
        muted_first: bool = False,
        size: float = SMALL,
    ) -> None:
        """Columns are as wide as their text if that fits the page, otherwise wrapped. Each page repeats the head, with
        at least `TOGETHER` rows; a table of up to twice as many is not divided."""
        lines = [list(map(str, row)) for row in rows]
        widths = column_widths([list(head), *lines], size)
        fields = [[wrapped(text, w - PAD, size) for text, w in zip(row, widths, strict=True)] for row in lines]
        heads = [wrapped(text, w - PAD, size, bold=True) for text, w in zip(head, widths, strict=True)]
        step = size * LEADING
        tall = step * max(map(len, heads), default=1) + 5
        heights = [step * max(map(len, row)) + 3 for row in fields]
        first = sum(heights[: len(heights) if len(heights) <= 2 * TOGETHER else TOGETHER]) + 1
        if caption:
            self.need(len(wrapped(caption, INSIDE, size)) * step + tall + first + 6)
            self.paragraph(caption, size=size, colour=MUTED)
            self.y += size * 0.3
        self.need(tall + first)
        self._head(heads, widths, size)
        for place, (row, height) in enumerate(zip(fields, heights, strict=True)):
            is_last_part = place == len(fields) - TOGETHER and place >= TOGETHER
            if self.y - (sum(heights[place:]) if is_last_part else height) < BOTTOM:
                self.new_page()
                self._head(heads, widths, size)
            self._draw_fields(row, widths, size=size, muted_first=muted_first)
            self.y -= height
            self._rule(sum(widths), GRID)
        self.y -= 8

    def facts(self, facts: Iterable[tuple[str, str]], *, size: float = SMALL) -> None:
        """A table of names and values."""
        self.table(["", ""], facts, size=size, muted_first=True)

    def plots(self, draws: Sequence[Draw], *, height: float, below: float, left: float = 44, right: float = 10) -> None:
        """Axes side by side, each `height` points tall, with `below` points below for ticks and legend, and `left` and
        `right` points beside them."""
        self.need(height + below + 14)
        wide = INSIDE / len(draws)
        for place, draw in enumerate(draws):
            x, y = MARGIN + place * wide + left, self.y - height - 8
            box = (x / WIDTH, y / HEIGHT, (wide - left - right) / WIDTH, height / HEIGHT)
            with _drawing, matplotlib.rc_context(_SETTINGS):
                draw(self.pages[-1].add_axes(box))
        self.y -= height + below + 14

    def tiles(self, tiles: Sequence[tuple[Draw, Sequence[str]]], *, columns: int, size: float = 6.5) -> None:
        """Square axes in rows, each with texts below it."""
        wide = INSIDE / columns
        side = wide - 2 * PAD
        for start in range(0, len(tiles), columns):
            row = tiles[start : start + columns]
            texts = [[line for text in under for line in wrapped(text, side, size)] for _, under in row]
            tall = side + size * LEADING * max(map(len, texts)) + 2 * PAD
            self.need(tall)
            for place, ((draw, _), lines) in enumerate(zip(row, texts, strict=True)):
                x, y = MARGIN + place * wide, self.y - side
                with _drawing, matplotlib.rc_context(_SETTINGS):
                    draw(self.pages[-1].add_axes((x / WIDTH, y / HEIGHT, side / WIDTH, side / HEIGHT)))
                for k, line in enumerate(lines, 1):
                    _put(self.pages[-1], x, y - size * LEADING * k, line, size=size)
            self.y -= tall

    def to_pdf(self, *, creator: str) -> bytes:
        target = io.BytesIO()
        facts = {"Title": glyphs(self.title), "Creator": creator, "Subject": NOTICE, "CreationDate": None}
        with _drawing, matplotlib.rc_context(_SETTINGS), PdfPages(target, metadata=facts) as book:
            for number, page in enumerate(self.pages, 1):
                self._stamp(page, number)
                book.savefig(page)
        return target.getvalue()

    def _stamp(self, page: Figure, number: int) -> None:
        """Header and footer of every page, so that each single page carries the notices."""
        _put(page, MARGIN, HEIGHT - 34, self.title, size=SMALL, colour=MUTED)
        if self.random_weights:
            width = text_width(RANDOM_WEIGHTS, 9.5, bold=True) + 12
            x, y = WIDTH - MARGIN - width, HEIGHT - 41
            page.add_artist(Rectangle((x / WIDTH, y / HEIGHT), width / WIDTH, 17 / HEIGHT, color=ALARM, linewidth=0))
            _put(page, x + 6, y + 5, RANDOM_WEIGHTS, size=9.5, colour="white", bold=True)
        _line(page, MARGIN, WIDTH - MARGIN, 40, LINE)
        _put(page, MARGIN, 29, NOTICE, size=SMALL, bold=True)
        _put(page, MARGIN, 19, self.foot, size=6.5, colour=MUTED)
        numbering = f"page {number} of {len(self.pages)}"
        _put(page, WIDTH - MARGIN - text_width(numbering, SMALL), 29, numbering, size=SMALL, colour=MUTED)

    def _head(self, heads: Sequence[list[str]], widths: Sequence[float], size: float) -> None:
        if any(line for field in heads for line in field):
            self._draw_fields(heads, widths, size=size, bold=True)
            self.y -= size * LEADING * max(map(len, heads)) + 3
            self._rule(sum(widths), LINE)
            self.y -= 2

    def _draw_fields(
        self,
        fields: Sequence[list[str]],
        widths: Sequence[float],
        *,
        size: float,
        bold: bool = False,
        muted_first: bool = False,
    ) -> None:
        x = MARGIN
        for place, (lines, width) in enumerate(zip(fields, widths, strict=True)):
            for k, line in enumerate(lines):
                y = self.y - size * LEADING * (k + 1) + 1
                _put(
                    self.pages[-1], x, y, line, size=size, bold=bold, colour=MUTED if muted_first and not place else INK
                )
            x += width

    def _text(self, x: float, text: str, *, size: float, colour: str = INK, bold: bool = False) -> None:
        _put(self.pages[-1], x, self.y + size * 0.25, text, size=size, colour=colour, bold=bold)

    def _rule(self, width: float, colour: str) -> None:
        _line(self.pages[-1], MARGIN, MARGIN + width, self.y, colour)


def _put(page: Figure, x: float, y: float, text: str, *, size: float, colour: str = INK, bold: bool = False) -> None:
    if text:
        page.text(
            x / WIDTH, y / HEIGHT, glyphs(text), size=size, color=colour, parse_math=False, fontproperties=font(bold)
        )


def _line(page: Figure, x0: float, x1: float, y: float, colour: str) -> None:
    page.add_artist(Line2D([x0 / WIDTH, x1 / WIDTH], [y / HEIGHT] * 2, color=colour, linewidth=0.6))


@lru_cache
def font(bold: bool) -> FontProperties:
    return FontProperties(family=_FAMILY, weight="bold" if bold else "normal")


@lru_cache(20_000)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width in points."""
    prop = font(bold).copy()
    prop.set_size(size)
    return float(text_to_path.get_text_width_height_descent(text, prop, False)[0])


@lru_cache(20_000)
def glyphs(text: str) -> str:
    """The text with a box for each character that all fonts lack, and a space for each unprintable one."""
    fonts = [get_font(path) for path in (_latin_file(bold=False), *_OTHERS.values())]

    def is_known(sign: str) -> bool:
        return (sign.isprintable() or sign in _JOINERS) and any(font.get_char_index(ord(sign)) for font in fonts)

    return "".join(sign if sign == " " or is_known(sign) else _other(sign) for sign in text)


def _other(sign: str) -> str:
    return " " if sign.isspace() or not sign.isprintable() else NO_GLYPH


def wrapped(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Lines of at most `width` points; a word longer than a line, such as a hash, is broken. [""] for no text."""
    lines, line = [], ""
    for word in glyphs(text).split():
        longer = f"{line} {word}".strip()
        if text_width(longer, size, bold=bold) <= width:
            line = longer
            continue
        lines += [line] if line else []
        while text_width(word, size, bold=bold) > width and len(word) > 1:
            fits = max(1, int(len(word) * width / text_width(word, size, bold=bold)))
            while fits > 1 and (text_width(word[:fits], size, bold=bold) > width or is_inside_letter(word, fits)):
                fits -= 1
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line or not lines else lines


def is_inside_letter(word: str, place: int) -> bool:
    """Whether a break before this character would part a mark from its letter, or a conjunct."""
    if not 0 < place < len(word):
        return False
    before, after = word[place - 1], word[place]
    is_joined = before in _JOINERS or after in _JOINERS or unicodedata.combining(before) == VIRAMA
    is_mark = after == _AFTER_LETTER or before in _BEFORE_LETTER or unicodedata.category(after) in ("Mn", "Mc", "Me")
    return is_joined or is_mark


def column_widths(rows: Sequence[Sequence[str]], size: float) -> list[float]:
    """Widths in points: those of the texts if they fit, otherwise those of the longest words, with the remaining room
    distributed in proportion to what is missing."""
    columns = list(zip(*rows, strict=True))
    wanted = [max(text_width(glyphs(text), size, bold=True) for text in column) + PAD + 4 for column in columns]
    if sum(wanted) <= INSIDE:
        return wanted
    least = [
        min(max(text_width(word, size, bold=True) for text in column for word in [*glyphs(text).split(), "n"]), 110)
        + PAD + 2
        for column in columns
    ]  # fmt: skip
    if sum(least) >= INSIDE:
        return [width * INSIDE / sum(least) for width in least]
    spare, missing = INSIDE - sum(least), [max(0.0, a - b) for a, b in zip(wanted, least, strict=True)]
    return [b + spare * w / sum(missing) for b, w in zip(least, missing, strict=True)]
