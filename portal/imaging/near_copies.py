"""Whether two films are the same exposure: exported again, resized, with another window, cropped, turned a little.

Candidates come from the Hamming distance of fingerprints. They are confirmed by the correlation of fine structure after
registration: normal chests resemble each other in the large, not in ribs, vessels and noise. All of it works on
previews, grey (H, W) uint8 as shown, so that a film that is there can be compared without decoding it again.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]
BITS = 256
MOST_BITS = 72  # that differ, between candidates; an inverted film differs in BITS minus as many
SAME = 0.5  # least correlation of films that may be the same; docs/duplicates.md measures it
FINE = 192  # side of the compared square, in pixels
_COARSE = (32, 64, FINE)
_STEPS = 10  # of Gauss-Newton at each size
_EDGE = 18  # pixels of FINE that are not compared: what a crop or a turn has moved out of one of the films
_DETAIL = 2.0  # pixels of FINE; structure beyond it is left out
_NO_CONTRAST = 0.003  # in ranks
_LEAST_SHARE = 0.1  # of the square, where both films have contrast
_FLAT = 12  # grey levels within which a border is empty


def fingerprint(preview: Grey) -> bytes:
    """BITS bits: the signs of the lowest coefficients of the cosine transform of the preview's ranks, without its
    empty border. Ranks do not change with window or gamma; inversion changes every sign."""
    from scipy import fft

    ranks = _ranks(_resized(without_border(preview), 64))
    coefficients = fft.dctn(ranks, norm="ortho")
    low = np.append(coefficients[:16, :16].ravel()[1:], coefficients[16, 0])  # without the mean
    return np.packbits(low > 0).tobytes()


def candidates(fingerprints: NDArray[np.uint8], film: int, *, most_bits: int = MOST_BITS) -> list[int]:
    """The films before `film` of which at most `most_bits` bits differ from its own, or all but as many. `fingerprints`
    is (N, BITS / 8) uint8."""
    words = np.ascontiguousarray(fingerprints).view(np.uint64)
    differing = np.bitwise_count(words[:film] ^ words[film]).sum(axis=1, dtype=np.int64)
    return np.flatnonzero((differing <= most_bits) | (differing >= BITS - most_bits)).tolist()


def correlation(one: Grey, other: Grey) -> float:
    """Of the fine structure of two previews, -1 to 1, after `other` was registered to `one` by an affine map, inverted
    where the two look like negative and positive."""
    one, other = without_border(one), without_border(other)
    levels = [(_ranks(_resized(one, size)), _ranks(_resized(other, size))) for size in _COARSE]
    sign = -1.0 if (levels[0][0] * levels[0][1]).sum() < 0 else 1.0
    affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # other_from_one, in units of half a side from the centre
    for fixed, moving in levels:
        affine = _register(fixed, sign * moving, affine)
    fixed, moving = levels[-1]
    inside = np.s_[_EDGE:-_EDGE, _EDGE:-_EDGE]
    (a, contrast_a), (b, contrast_b) = (
        (part[inside] for part in _fine_structure(image)) for image in (fixed, _warp(moving, affine))
    )
    both = (contrast_a > _NO_CONTRAST) & (contrast_b > _NO_CONTRAST)  # not where a window has clipped one of them
    if both.mean() < _LEAST_SHARE:
        return 0.0
    return float(sign * np.corrcoef(a[both], b[both])[0, 1])


def without_border(preview: Grey) -> Grey:
    """The preview without rows and columns at its edges that hold a single grey value; unchanged if nothing remains."""
    rows = np.flatnonzero(np.ptp(preview, axis=1) > _FLAT)
    columns = np.flatnonzero(np.ptp(preview, axis=0) > _FLAT)
    if len(rows) < 16 or len(columns) < 16:
        return preview
    return preview[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resized(grey: Grey, side: int) -> NDArray[np.float64]:
    image = Image.fromarray(grey).resize((side, side), Image.Resampling.BOX if min(grey.shape) > side else 1)
    return np.asarray(image, dtype=np.float64)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from -0.5 to 0.5; equal values have equal ranks, so that a clipped window makes no pattern."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks: NDArray[np.float64] = (middle[place] / max(values.size - 1, 1) - 0.5).reshape(values.shape)
    return ranks


def _warp(image: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square image at affine @ (y, x, 1) of each pixel."""
    from scipy import ndimage

    half = (len(image) - 1) / 2
    matrix, shift = affine[:, :2], affine[:, 2] * half
    centre = np.array([half, half])
    offset = centre + shift - matrix @ centre
    return np.asarray(ndimage.affine_transform(image, matrix, offset=offset, order=1, mode="nearest"))


def _register(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The affine map after _STEPS steps of Gauss-Newton on the squared difference (Lucas and Kanade, 1981)."""
    from scipy import ndimage

    side = len(fixed)
    fixed = ndimage.gaussian_filter(fixed, 1.0)
    moving = ndimage.gaussian_filter(moving, 1.0)
    axis = np.linspace(-1, 1, side)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    edge = max(1, side * _EDGE // FINE)
    inside = np.s_[edge:-edge, edge:-edge]
    points = np.stack([y[inside].ravel(), x[inside].ravel(), np.ones(y[inside].size)])
    for _ in range(_STEPS):
        moved = _warp(moving, affine)
        # Sobel over 8 is the slope in a pixel; a unit is half a side. The slopes are of the moved film, so that the
        # step is made before the map that moved it.
        down, right = (ndimage.sobel(moved, axis=k)[inside].ravel() * (side - 1) / 16 for k in (0, 1))
        slopes = np.concatenate([down * points, right * points])  # (6, pixels)
        normal = slopes @ slopes.T
        step = np.linalg.lstsq(normal, slopes @ (fixed - moved)[inside].ravel(), rcond=None)[0]
        affine = affine @ np.vstack([np.eye(3)[:2] + step.reshape(2, 3), [0, 0, 1]])
        if np.abs(step).max() < 1e-4:
            break
    return affine


def _fine_structure(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The image less its surroundings, over their local contrast; and that contrast."""
    from scipy import ndimage

    fine = image - ndimage.gaussian_filter(image, _DETAIL)
    contrast = np.sqrt(ndimage.gaussian_filter(fine * fine, 3 * _DETAIL))
    return fine / (contrast + _NO_CONTRAST), contrast
