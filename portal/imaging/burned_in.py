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
from scipy import ndimage

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
    step = max(1, int(np.ceil(max(shown.shape) / _LONGEST_SIDE)))
    grey = shown[::step, ::step].astype(np.int16)
    low, high = np.percentile(grey, (0.5, 99.5))
    extent = max(float(high - low), 1.0)
    lines: list[WrittenLine] = []
    for bright in (grey >= high - 0.1 * extent, grey <= low + 0.1 * extent):  # written in white, or in black
        lines += _lines(_characters(bright, grey, _SHARP * extent))
    for strokes in (grey - ndimage.grey_opening(grey, size=_STROKE), ndimage.grey_closing(grey, size=_STROKE) - grey):
        lines += _lines(_characters(strokes >= _STANDS_OUT * extent, grey, _SHARP_STROKE * extent))
    full_size = [
        WrittenLine(line.x * step, line.y * step, line.width * step, line.height * step, line.characters)
        for line in _without_repeats(lines)
    ]
    return sorted(full_size, key=lambda line: (line.y, line.x))


def _characters(mask: NDArray[np.bool_], grey: NDArray[np.int16], sharp: float) -> list[tuple[slice, slice]]:
    """The rectangles of connected pixels of the mask that are as large as characters and have sharp edges."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return []
    sizes = np.bincount(labels.ravel())
    characters = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        height, width = (side.stop - side.start for side in place)
        if not _HEIGHTS[0] <= height <= _HEIGHTS[1] or not height * 0.1 <= width <= height * _WIDEST:
            continue
        if not _FILLED[0] <= sizes[number] / (height * width) <= _FILLED[1] and width > 0.3 * height:
            continue
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in place)
        if _is_sharp(labels[around] == number, grey[around], sharp):
            characters.append((place[0], place[1]))
    return characters


def _is_sharp(inside: NDArray[np.bool_], grey: NDArray[np.int16], sharp: float) -> bool:
    """Whether most steps from a pixel of the character to one beside it are large."""
    steps = []
    for axis in (0, 1):
        differs = np.diff(inside.astype(np.int8), axis=axis) != 0
        steps.append(np.abs(np.diff(grey, axis=axis))[differs])
    return bool(np.median(np.concatenate(steps)) >= sharp) if any(map(len, steps)) else False


def _lines(characters: Sequence[tuple[slice, slice]]) -> list[WrittenLine]:
    """Characters that stand beside each other, at one height and of about one size."""
    ordered = sorted(characters, key=lambda place: place[1].start)
    lines: list[list[tuple[slice, slice]]] = []
    for place in ordered:
        for line in lines:
            if _continues(line[-1], place):
                line.append(place)
                break
        else:
            lines.append([place])
    return [_line(line) for line in lines if len(line) >= LEAST_CHARACTERS]


def _continues(last: tuple[slice, slice], place: tuple[slice, slice]) -> bool:
    one, other = last[0].stop - last[0].start, place[0].stop - place[0].start
    tall, small = max(one, other), min(one, other)
    overlap = min(last[0].stop, place[0].stop) - max(last[0].start, place[0].start)
    gap = place[1].start - last[1].stop
    return bool(tall <= _SAME_HEIGHT * small and overlap >= 0.5 * small and -0.3 * tall <= gap <= _FURTHEST * tall)


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


def _line(line: Sequence[tuple[slice, slice]]) -> WrittenLine:
    top, bottom = min(place[0].start for place in line), max(place[0].stop for place in line)
    left, right = min(place[1].start for place in line), max(place[1].stop for place in line)
    return WrittenLine(left, top, right - left, bottom - top, len(line))
