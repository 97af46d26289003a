"""Whether a film shows anything: it may have no contrast, or a window beside its values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from portal.imaging.film import MAX_SIDE, Film, PixelFacts, counts_of_values, display_values, linear_values

NO_CONTRAST, WINDOW_BESIDE = "no_contrast", "window_beside"
SHOWS_NOTHING = frozenset({NO_CONTRAST, WINDOW_BESIDE})  # keys of warnings: a person has to look at the film
_LEAST_RANGE = 1 / 255  # of brightness: one step of a screen
_LOWEST, _HIGHEST = 0.01, 0.99
_STEP = 4  # between the pixels of a sample, in both directions


def leave_out_what_shows_nothing(film: Film) -> tuple[Film, list[str]]:
    """Return the film without the leading VOI LUTs and windows under which the middle 98 % of its pixels have one
    brightness, and the keys of warnings. Without any that is left, percentiles show the film.

    The percentiles are those of the values after the modality LUT, without padding.
    """
    if _shows_something_surely(film):
        return film, []
    middle = _middle_values(film)
    facts = film.facts
    if len(middle) == 0 or np.ptp(linear_values(_film_of(middle, facts))) == 0:
        return film, [NO_CONTRAST]
    while facts.voi_luts or facts.windows:
        display = display_values(_film_of(middle, facts))
        if display is not None and np.ptp(display) >= _LEAST_RANGE:
            break
        if facts.voi_luts:
            facts = replace(facts, voi_luts=facts.voi_luts[1:])
        else:
            facts = replace(facts, windows=facts.windows[1:])
    if facts is film.facts:
        return film, []
    return Film(film.stored, facts), [WINDOW_BESIDE]


def _shows_something_surely(film: Film) -> bool:
    """Whether a sample of the pixels proves that all of them show something, as those of most films do. Values between
    two that have 1 % of *all* pixels outside them in the sample alone lie between the percentiles."""
    counts = _counts(np.ascontiguousarray(film.stored[::_STEP, ::_STEP]), film.facts)
    sampled = int(counts.sum())
    share = _LOWEST * film.stored.size / max(sampled, 1)  # padding counts too, so it is on the safe side
    middle = _values_between(counts, film.facts, share, 1 - share) if share < 0.5 else counts[:0].astype(np.uint16)
    if len(middle) == 0 or np.ptp(linear_values(_film_of(middle, film.facts))) == 0:
        return False
    if not film.facts.voi_luts and not film.facts.windows:
        return True
    display = display_values(_film_of(middle, film.facts))
    return display is not None and bool(np.ptp(display) >= _LEAST_RANGE)


def _middle_values(film: Film) -> NDArray[np.uint16]:
    """The stored values that occur between the 1st and the 99th percentile of the values after the modality LUT."""
    return _values_between(_counts(film.stored, film.facts), film.facts, _LOWEST, _HIGHEST)


def _counts(stored: NDArray[np.uint16], facts: PixelFacts) -> NDArray[np.int64]:
    """How often each stored value occurs, 0 for padding."""
    counts = counts_of_values(stored, minlength=1)
    if facts.padding is not None:
        counts[facts.padding[0] : facts.padding[1] + 1] = 0
    return counts


def _values_between(counts: NDArray[np.int64], facts: PixelFacts, lowest: float, highest: float) -> NDArray[np.uint16]:
    """The stored values that occur between two quantiles of the values after the modality LUT."""
    occupied = np.flatnonzero(counts)[:MAX_SIDE].astype(np.uint16)
    if len(occupied) == 0:
        return occupied
    order = np.argsort(linear_values(_film_of(occupied, facts)).ravel(), kind="stable")
    below = np.cumsum(counts[occupied][order])
    first, last = (int(np.searchsorted(below, np.ceil(q * below[-1]))) for q in (lowest, highest))
    return np.asarray(occupied[order][first : last + 1])


def _film_of(values: NDArray[np.uint16], facts: PixelFacts) -> Film:
    """A film of one row with these stored values."""
    return Film(values[None, :], replace(facts, rows=1, columns=len(values)))
