"""A film blended with its heatmap as an 8-bit picture, as the viewer shows it first, with a legend below the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.figures.palette import ALARM, INFERNO
from ml_engine.engine.heatmap import Heatmap

OPACITY, FAINTEST = 0.6, 0.5  # as in the viewer: opacity at the top of the scale, and the share of it at the threshold
NARROWEST_PX = 640  # room for the legend of a small film
_PAPER, _INK = (0, 0, 0), (235, 235, 235)

Picture = NDArray[np.uint8]


def colours() -> Picture:
    """(256, 3) uint8, the viewer's inferno colour table."""
    stops = np.array(list(bytes.fromhex(INFERNO)), dtype=np.float64).reshape(-1, 3)
    at = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.rint(np.interp(at, np.arange(len(stops)), stops[:, i])) for i in range(3)], 1).astype(np.uint8)


def blend(shown: NDArray[np.float32], values: NDArray[np.float64], heatmap: Heatmap) -> Picture:
    """(H, W, 3) uint8 from the film as shown (H, W), in [0, 1], and the map at its pixels (H, W)."""
    grey = np.rint(shown * 255).astype(np.uint8)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    threshold = heatmap.low if heatmap.threshold is None else heatmap.threshold
    hot = values >= threshold
    marked = values[hot]
    span = heatmap.high - threshold
    rise = np.clip((marked - threshold) / span, 0, 1) if span > 0 else np.ones(marked.shape)
    alpha = (OPACITY * (FAINTEST + (1 - FAINTEST) * rise))[:, None]
    place = np.clip((marked - heatmap.low) / ((heatmap.high - heatmap.low) or 1), 0, 1)
    colour = colours()[np.rint(255 * place).astype(np.intp)]
    picture[hot] = np.rint(picture[hot] * (1 - alpha) + colour * alpha).astype(np.uint8)
    return picture


def with_legend(picture: Picture, heatmap: Heatmap, *, made_by: str, random_weights: bool) -> Picture:
    """The picture with a legend below it: nothing of the film is covered, and pixel (x, y) of the film stays pixel
    (x, y). A film that is too narrow for the legend gets a margin on its right."""
    height, columns = picture.shape[:2]
    width = max(columns, NARROWEST_PX)
    lines = _lines(heatmap, made_by, random_weights, width)
    strip = _draw(lines, heatmap, width)
    canvas = np.zeros((height + strip.shape[0], width, 3), dtype=np.uint8)
    canvas[:height, :columns] = picture
    canvas[height:] = strip
    return canvas


@dataclass(frozen=True)
class _Line:
    text: str
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    loud: bool
    height: int


def _lines(heatmap: Heatmap, made_by: str, random_weights: bool, width: int) -> list[_Line]:
    size = max(16, width // 60)
    what = "SD of calibration normals" if heatmap.is_standardised else "raw distance"
    threshold = "no threshold" if heatmap.threshold is None else f"shown from the threshold {heatmap.threshold:.3g}"
    texts = [
        NOTICE,
        f"Anomaly heatmap, fused at weight {heatmap.weight:.2f}: {what}, {threshold}.",
        made_by,
    ]
    lines = _wrapped([RANDOM_WEIGHTS.upper()], round(1.5 * size), width, loud=True) if random_weights else []
    return lines + _wrapped(texts, size, width, loud=False)


def _wrapped(texts: Sequence[str], size: int, width: int, *, loud: bool) -> list[_Line]:
    font = ImageFont.load_default(size)
    lines: list[_Line] = []
    for text in texts:
        line = ""
        for word in text.split():
            if line and font.getlength(f"{line} {word}") > width - size:
                lines.append(_Line(line, font, loud, round(1.4 * size)))
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(_Line(line, font, loud, round(1.4 * size)))
    return lines


def _draw(lines: list[_Line], heatmap: Heatmap, width: int) -> Picture:
    bar, margin = lines[-1].height, lines[-1].height // 2
    height = sum(line.height for line in lines) + 2 * bar + 3 * margin
    strip = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(strip)
    y = margin
    for line in lines:
        if line.loud:
            draw.rectangle((0, y, width, y + line.height), fill=ALARM)
        draw.text((margin, y), line.text, fill="#ffffff" if line.loud else _INK, font=line.font)
        y += line.height
    y += margin
    long = min(width - 2 * margin, 20 * bar)
    scale = Image.fromarray(np.broadcast_to(colours(), (1, 256, 3)).copy()).resize((long, bar))
    strip.paste(scale, (margin, y))
    threshold = [] if heatmap.threshold is None else [heatmap.threshold]
    for value in (heatmap.low, heatmap.high, *threshold):
        share = min(1.0, max(0.0, (value - heatmap.low) / ((heatmap.high - heatmap.low) or 1)))
        x = margin + share * long
        draw.line((x, y, x, y + bar), fill=_INK, width=max(1, bar // 10))
        anchor = "la" if share < 0.05 else "ra" if share > 0.95 else "ma"
        draw.text((x, y + bar), f"{value:.3g}", fill=_INK, font=lines[-1].font, anchor=anchor)
    return np.asarray(strip)
