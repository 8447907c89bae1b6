"""Pictures side by side: what was seen, what was reconstructed, and the controls, one column a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from brainfm.errors import DataError
from brainfm.files import write_file
from brainfm.images.rgb import resized
from brainfm.palette import STYLE, Picture, inline_svg

COLUMNS = 12
"""Pictures that are shown at most, evenly spaced over all."""
SIDE, GAP = 64, 4
"""Pixels of a picture in the grid, and between two."""
LABEL = 1.5
"""Inches that the names of rows take."""


def grid(rows: Mapping[str, Float[Tensor, "_ 3 _ _"]], caption: str = "", columns: int = COLUMNS) -> Picture:
    """Rows by name, each of as many pictures, for a report; the names stand beside them as text."""
    tiled = tiles(rows, columns)
    high, wide = (side / (SIDE + GAP) * 0.5 for side in tiled.shape[:2])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(wide + LABEL, high), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(tiled, interpolation="none")
        at = [(SIDE + GAP) * row + SIDE / 2 for row in range(len(rows))]
        axes.set_yticks(at, labels=list(rows))
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0)
        axes.spines[:].set_visible(False)
        alt = f"{_shown(rows, columns)} pictures in columns; rows: {', '.join(rows)}"
        return Picture(inline_svg(figure, alt), caption)


def save_grid(rows: Mapping[str, Float[Tensor, "_ 3 _ _"]], path: Path, columns: int = COLUMNS) -> Path:
    """The same as a PNG file, rows in order and without their names, which the file keeps as text under `rows`."""
    from PIL import Image, PngImagePlugin

    said = PngImagePlugin.PngInfo()
    said.add_text("rows", ", ".join(rows))
    image = Image.fromarray((tiles(rows, columns) * 255).round().astype(np.uint8), "RGBA")
    return write_file(path, lambda passing: image.save(passing, format="PNG", pnginfo=said))


def tiles(rows: Mapping[str, Float[Tensor, "_ 3 _ _"]], columns: int) -> Float[NDArray[Any], "high wide 4"]:
    """All pictures on one sheet, red, green, blue and opacity from 0 to 1; gaps are clear.

    Raises `DataError` where rows are not of as many pictures.
    """
    counts = {name: len(pictures) for name, pictures in rows.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise DataError(f"rows of a grid have as many pictures, unlike {counts}")
    shown, step = _shown(rows, columns), SIDE + GAP
    sheet = np.zeros((step * len(rows) - GAP, step * shown - GAP, 4))
    for row, pictures in enumerate(rows.values()):
        which = torch.linspace(0, len(pictures) - 1, shown).round().long()
        for column, picture in enumerate(_at_side(pictures[which.to(pictures.device)])):
            at = np.s_[row * step : row * step + SIDE, column * step : column * step + SIDE]
            sheet[at] = np.concatenate([picture, np.ones((SIDE, SIDE, 1))], axis=2)
    return sheet


def _at_side(pictures: Tensor) -> NDArray[np.float64]:
    """(picture, side, side, 3); small ones keep their pixels, sharp."""
    times = SIDE // max(pictures.shape[-2:])
    if times > 1:
        pictures = pictures.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    made = resized(pictures.float(), SIDE).clamp(0, 1)
    return np.asarray(made.permute(0, 2, 3, 1).double().cpu().numpy())


def _shown(rows: Mapping[str, Tensor], columns: int) -> int:
    return min(columns, len(next(iter(rows.values()))))
