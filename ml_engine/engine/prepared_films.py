"""Films that a fit of the alignment has prepared, for the fit of the detector that follows in the same process."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

PREPARED_BYTES = 2**27  # of images that are kept

Input = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]  # image, box, original_from_input


class PreparedFilms:
    """Prepared films by what they were read from and how, ``most_bytes`` of images at most; each is given once.

    Decoding takes longer than all else that is done to a film before its features, and both runs read the same files.
    """

    def __init__(self, *, most_bytes: int = PREPARED_BYTES) -> None:
        self._left = most_bytes
        self._films: dict[Hashable, Input] = {}

    def keep(self, key: Hashable, film: Input) -> None:
        """Keep a film, unless there is no room for it."""
        if film[0].nbytes <= self._left:
            self._left -= film[0].nbytes
            self._films[key] = film

    def take(self, key: Hashable) -> Input | None:
        """The film of this key, which is kept no longer; None if it is not there."""
        film = self._films.pop(key, None)
        if film is not None:
            self._left += film[0].nbytes
        return film
