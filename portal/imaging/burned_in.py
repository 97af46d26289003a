"""Looks for text that is burned into a film. A heuristic: characters are small, have sharp edges, and stand in a line.

A film is blurred by its detector, so that neighbouring pixels hardly differ; written characters are not. Large ones
have the brightest or the darkest values of the film; the strokes of small ones are blurred themselves as they are
drawn, and stand out from what is beside them (a top hat). A side marker
(L, R, with initials at most) has fewer characters than a line of text needs here, so it is not reported. What the
heuristic misses and reports wrongly on generated films is in docs/dicom.md. It recognises no characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_CHARACTERS = 5  # of a line of text; a side marker has fewer
_LONGEST_SIDE = 2500  # pixels; larger films are looked at in coarser ones
_SHARP = 0.25  # of the range of brightness, between neighbouring pixels
_STROKE = 7  # pixels: a stroke of a small character is narrower
_STANDS_OUT = 0.25  # of the range of brightness, a stroke of a small character from what is beside it
_SHARP_STROKE = 0.18  # as _SHARP, of a small character
_HEIGHTS = (5, 120)  # pixels of a character
_WIDEST = 1.8  # width over height of a character
_FILLED = (0.15, 0.95)  # of a character's rectangle
_SAME_HEIGHT = 1.7  # heights of neighbours in a line
_FURTHEST = 1.6  # heights between neighbours in a line


_JOINED = 4  # characters that touch each other, in a line that was found by others
_NEXT_WORD = 2.5  # heights between a line that was found and what else is written beside it
_MARGIN = 0.15  # heights around a line, for the edges of its characters

_Place = tuple[slice, slice]


@dataclass(frozen=True)
class WrittenLine:
    """A rectangle in pixels of the film, (x, y) its upper left corner, and how many characters it seems to hold."""

    x: int
    y: int
    width: int
    height: int
    characters: int


def find_text(shown: NDArray[np.uint8]) -> list[WrittenLine]:
    """Lines that look like text in a film as it is shown, uint8 (H, W), from the top down."""
    from scipy import ndimage

    step = max(1, int(np.ceil(max(shown.shape) / _LONGEST_SIDE)))
    grey = shown[::step, ::step].astype(np.int16)
    low, high = np.percentile(grey, (0.5, 99.5))
    extent = max(float(high - low), 1.0)
    lines: list[WrittenLine] = []
    rest: list[_Place] = []
    for bright in (grey >= high - 0.1 * extent, grey <= low + 0.1 * extent):  # written in white, or in black
        _look_at(_pieces(bright, grey, _SHARP * extent), lines, rest)
    for strokes in (grey - ndimage.grey_opening(grey, size=_STROKE), ndimage.grey_closing(grey, size=_STROKE) - grey):
        _look_at(_pieces(strokes >= _STANDS_OUT * extent, grey, _SHARP_STROKE * extent), lines, rest)
    height, width = shown.shape
    full_size = [_enlarged(line, step, width, height) for line in _whole(_without_repeats(lines), rest)]
    return sorted(full_size, key=lambda line: (line.y, line.x))


def _look_at(pieces: Sequence[tuple[_Place, bool]], lines: list[WrittenLine], rest: list[_Place]) -> None:
    lines += _lines([place for place, is_character in pieces if is_character])
    rest += [place for place, _ in pieces]


def _pieces(mask: NDArray[np.bool_], grey: NDArray[np.int16], sharp: float) -> list[tuple[_Place, bool]]:
    """The rectangles of connected pixels of the mask that have sharp edges and are no larger than a few characters,
    and whether each is as large as one character."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return []
    sizes = np.bincount(labels.ravel())
    pieces = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        height, width = (side.stop - side.start for side in place)
        if height > _HEIGHTS[1] or width > _JOINED * _HEIGHTS[1]:
            continue
        is_character = height >= _HEIGHTS[0] and height * 0.1 <= width <= height * _WIDEST
        if not _FILLED[0] <= sizes[number] / (height * width) <= _FILLED[1] and width > 0.3 * height:
            is_character = False
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in place)
        if _is_sharp(labels[around] == number, grey[around], sharp):
            pieces.append(((place[0], place[1]), is_character))
    return pieces


def _is_sharp(inside: NDArray[np.bool_], grey: NDArray[np.int16], sharp: float) -> bool:
    """Whether most steps from a pixel of the character to one beside it are large."""
    steps = []
    for axis in (0, 1):
        differs = np.diff(inside.astype(np.int8), axis=axis) != 0
        steps.append(np.abs(np.diff(grey, axis=axis))[differs])
    return bool(np.median(np.concatenate(steps)) >= sharp) if any(map(len, steps)) else False


def _lines(characters: Sequence[_Place]) -> list[WrittenLine]:
    """Characters that stand beside each other, at one height and of about one size."""
    ordered = sorted(characters, key=lambda place: place[1].start)
    lines: list[list[_Place]] = []
    for place in ordered:
        for line in lines:
            if _continues(line[-1], place):
                line.append(place)
                break
        else:
            lines.append([place])
    return [_line(line) for line in lines if len(line) >= LEAST_CHARACTERS]


def _continues(last: _Place, place: _Place) -> bool:
    one, other = last[0].stop - last[0].start, place[0].stop - place[0].start
    tall, small = max(one, other), min(one, other)
    overlap = min(last[0].stop, place[0].stop) - max(last[0].start, place[0].start)
    gap = place[1].start - last[1].stop
    return bool(tall <= _SAME_HEIGHT * small and overlap >= 0.5 * small and -0.3 * tall <= gap <= _FURTHEST * tall)


def _whole(lines: Sequence[WrittenLine], rest: Sequence[_Place]) -> list[WrittenLine]:
    """The lines with what else is written beside them: words of few characters, a date, characters that touch each
    other, hyphens. What is blacked out as proposed may leave none of them."""
    whole = []
    for line in lines:
        for place in _beside(line, rest):
            left, right = min(line.x, place[1].start), max(line.x + line.width, place[1].stop)
            top, bottom = min(line.y, place[0].start), max(line.y + line.height, place[0].stop)
            line = WrittenLine(left, top, right - left, bottom - top, line.characters)
        whole.append(line)
    return _without_repeats(whole)


def _beside(line: WrittenLine, rest: Sequence[_Place]) -> list[_Place]:
    """Pieces on the line's own height, each near to the line or to one that is nearer."""
    top, bottom, left, right = line.y, line.y + line.height, line.x, line.x + line.width
    furthest = _NEXT_WORD * line.height
    level = []
    for place in rest:
        height, width = (side.stop - side.start for side in place)
        overlap = min(place[0].stop, bottom + 0.25 * line.height) - max(place[0].start, top - 0.25 * line.height)
        if overlap >= 0.9 * height and height <= _SAME_HEIGHT * line.height and width <= _JOINED * line.height:
            level.append(place)
    beside = []
    for place in sorted((place for place in level if place[1].stop > right), key=lambda place: place[1].start):
        if place[1].start - right <= furthest:
            beside.append(place)
            right = max(right, place[1].stop)
    for place in sorted((place for place in level if place[1].start < left), key=lambda place: -place[1].stop):
        if left - place[1].stop <= furthest:
            beside.append(place)
            left = min(left, place[1].start)
    return beside


def _enlarged(line: WrittenLine, step: int, width: int, height: int) -> WrittenLine:
    """The line with a margin, in pixels of the film."""
    margin = max(1, round(_MARGIN * line.height))
    left, top = max((line.x - margin) * step, 0), max((line.y - margin) * step, 0)
    right = min((line.x + line.width + margin) * step, width)
    bottom = min((line.y + line.height + margin) * step, height)
    return WrittenLine(left, top, right - left, bottom - top, line.characters)


def _without_repeats(lines: Sequence[WrittenLine]) -> list[WrittenLine]:
    """Lines that both ways find count once, with the larger rectangle."""
    kept: list[WrittenLine] = []
    for line in sorted(lines, key=lambda line: line.width * line.height, reverse=True):
        if all(_covered(line, other) < 0.5 for other in kept):
            kept.append(line)
    return kept


def _covered(line: WrittenLine, other: WrittenLine) -> float:
    """The share of the line's rectangle that the other covers."""
    width = min(line.x + line.width, other.x + other.width) - max(line.x, other.x)
    height = min(line.y + line.height, other.y + other.height) - max(line.y, other.y)
    return max(width, 0) * max(height, 0) / (line.width * line.height)


def _line(line: Sequence[_Place]) -> WrittenLine:
    top, bottom = min(place[0].start for place in line), max(place[0].stop for place in line)
    left, right = min(place[1].start for place in line), max(place[1].stop for place in line)
    return WrittenLine(left, top, right - left, bottom - top, len(line))
