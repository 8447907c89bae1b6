"""Surface patches: the cortical surface as a picture, cut into patches as a vision transformer cuts one (NeuroPictor).

Huo et al. 2024, arXiv:2403.18211, §3.1: vertices are laid out flat, and patches of the grid with fixed sine-cosine positions
are tokens; people share the grid, and nothing else is needed for them. Which pixel a vertex falls on is made elsewhere
(pycortex, FreeSurfer) and `join`ed: the tokenizer flattens no surface.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.batch import Batch, number_of
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.layers.fixed import of_sensors
from brainfm.layers.groups import group_mean, places_of, without_padding
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class SurfacePatch(Tokenizer):
    """`grid` pixels, in patches of `patch` × `patch`: so many tokens for every `seconds`, whatever the number of vertices.

    Vertices of one pixel are averaged; a pixel without one is 0, as outside of the surface.
    """

    reads = ("fmri",)

    grid: tuple[int, int] = Field(default=(256, 256), strict=False, description="height and width in pixels")
    patch: int = Field(default=16, ge=1, description="pixels along a patch's side")
    regions: list[str] = Field(
        default=[],
        description="where no map is joined: regions that lie side by side, a square of the grid each",
    )

    @model_validator(mode="after")
    def _whole_patches(self) -> "SurfacePatch":
        if min(self.grid) < self.patch or any(side % self.patch for side in self.grid):
            raise ValueError(f"a grid of {self.grid} pixels is no whole number of patches of {self.patch}")
        return self

    @property
    def patches(self) -> tuple[int, int]:
        """Patches along the height and along the width."""
        return self.grid[0] // self.patch, self.grid[1] // self.patch

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return tuple(
            f"patch {y + 1}, {x + 1}" for y in range(self.patches[0]) for x in range(self.patches[1])
        )

    def build(self, width: int, modality: int) -> "SurfacePatchTokenizer":
        return SurfacePatchTokenizer(self, width, modality)


class SurfacePatchTokenizer(Knowing):
    """`Batch -> Tokenized`, patch after patch by rows of the grid, each in order of time."""

    def __init__(self, part: SurfacePatch, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.vocabulary = Vocabulary(0)
        """Who is known: rows without numbers."""
        self.pixel = nn.Buffer(torch.zeros(0, dtype=torch.int64))
        """(vertex,) its pixel, row by row of the grid; −1 is none."""
        self.embed = nn.Linear(part.patch**2 * part.times, width)
        self.where = nn.Buffer(sine_cosine(*part.patches, width))

    def join(self, ids: Sequence[int], pixel: NDArray[np.int64]) -> None:
        """Add vertices by the pixel that each falls on, row · width + column of the grid, or −1. Known ones keep theirs."""
        height, width = self.part.grid
        if len(ids) != len(pixel) or (len(pixel) and not -1 <= pixel.min() <= pixel.max() < height * width):
            raise DataError(
                f"each of {len(ids)} vertices needs a pixel from 0 to {height * width - 1}, or -1"
            )
        known = set(self.vocabulary.ids)
        fresh = {one: int(at) for one, at in zip(ids, pixel, strict=True) if one and one not in known}
        self.vocabulary.adopt(list(fresh))
        more = torch.tensor(list(fresh.values()), dtype=torch.int64, device=self.pixel.device)
        self.pixel = nn.Buffer(torch.cat([self.pixel, more]))

    def adopt(self, batch: Batch) -> None:
        """Lay out vertices for which no map was joined by their places: angles around the vertical axis and above its middle.

        A rough stand-in, which keeps neighbours together and folds apart no better than a camera does; people fall on
        each other as well as their places do.
        """
        self.join(batch.identity[0].tolist(), self.laid_out(batch).numpy().astype(np.int64))

    def known(self) -> dict[str, Any]:
        return {**super().known(), "pixel": self.pixel.tolist()}

    def restore(self, known: Mapping[str, Any]) -> None:
        super().restore(known)
        self.pixel = nn.Buffer(torch.tensor(known["pixel"], dtype=torch.int64))

    def laid_out(self, batch: Batch) -> Int[Tensor, " vertex"]:
        """The pixel of each vertex by its place, −1 without one."""
        if self.part.regions:
            return self.side_by_side(batch)
        height, width = self.part.grid
        x, y, z = batch.position[0].double().cpu().unbind(dim=-1)
        around = torch.atan2(x, -y) / (2 * math.pi) + 0.5  # the back of the head is in the middle
        above = torch.atan2(z, torch.hypot(x, y)) / math.pi + 0.5
        row = ((1 - above) * height).long().clamp(0, height - 1)
        column = (around * width).long().clamp(0, width - 1)
        return torch.where(batch.located[0].cpu(), row * width + column, -1)

    def side_by_side(self, batch: Batch) -> Int[Tensor, " vertex"]:
        """Each region in a square of its own, stretched over it from left to right and from top to bottom; −1 outside of all."""
        height, width = self.part.grid
        across = math.ceil(len(self.part.regions) ** 0.5)
        tall, wide = height // across, width // across
        x, _, z = batch.position[0].double().cpu().unbind(dim=-1)
        region, there = batch.region[0].cpu(), batch.located[0].cpu()
        pixel = torch.full_like(region, -1)
        for number, name in enumerate(self.part.regions):
            here = there & (region == number_of(name))
            if here.any():
                row = ((1 - stretched(z[here])) * tall).long().clamp(0, tall - 1)
                column = (stretched(x[here]) * wide).long().clamp(0, wide - 1)
                down, right = divmod(number, across)
                pixel[here] = (row + down * tall) * width + column + right * wide
        return pixel

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        batch = without_padding(batch)
        height, width = self.part.grid
        pixel = self.pixels_of(batch)
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        n_patch, times = patches.shape[2:]
        picture = group_mean(patches.flatten(2), pixel, height * width)
        pieces = self.cut(picture.unflatten(2, (n_patch, times)))
        patch = self.patch_of(pixel)
        count = self.where.shape[0]
        mean = group_mean(patches.flatten(2), patch, count).unflatten(-1, (n_patch, times))
        position, located = places_of(batch, patch, count)
        rows = Rows.all_there(
            position,
            located,
            torch.zeros_like(located, dtype=torch.int64),
            self.where.expand(len(batch.signal), -1, -1),
        )
        return tokenized(batch, rows, self.embed(pieces), mean, self.part.seconds, self.modality)

    def cut(
        self, picture: Float[Tensor, "batch pixel patch time"]
    ) -> Float[Tensor, "batch square patch inside"]:
        """The pixels and samples of each square of the grid."""
        side, (down, across) = self.part.patch, self.part.patches
        squares = picture.unflatten(1, (down, side, across, side)).permute(0, 1, 3, 5, 2, 4, 6)
        return squares.flatten(4).flatten(1, 2)

    def patch_of(self, pixel: Int[Tensor, " vertex"]) -> Int[Tensor, " vertex"]:
        """The square of each pixel; −1 stays none."""
        side, width = self.part.patch, self.part.grid[1]
        square = pixel // width // side * self.part.patches[1] + pixel % width // side
        return torch.where(pixel < 0, pixel, square)

    @of_sensors(shared=True)
    def pixels_of(self, batch: Batch) -> Int[Tensor, " vertex"]:
        """The pixel of each vertex of a batch, by its place where it is not known."""
        if not bool((batch.identity == batch.identity[0]).all()):
            raise DataError("vertices of several people in one batch; give each person a batch of their own")
        row, known = self.vocabulary.rows(batch.identity)
        placed = self.laid_out(batch).to(batch.signal.device)
        return placed if not len(self.pixel) else torch.where(known[0], self.pixel[row[0]], placed)


def stretched(values: Float[Tensor, " vertex"]) -> Float[Tensor, " vertex"]:
    """From 0 to 1 over these vertices."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=1e-9)


def sine_cosine(down: int, across: int, width: int) -> Float[Tensor, "square width"]:
    """Fixed positions of a grid, half of the numbers for each axis, as of a masked autoencoder (He et al. 2022, §3)."""
    quarter = max(1, math.ceil(width / 4))
    rate = 10000.0 ** (-torch.arange(quarter) / quarter)
    y, x = torch.meshgrid(torch.arange(down), torch.arange(across), indexing="ij")
    angles = [one.flatten().unsqueeze(1) * rate for one in (y.float(), x.float())]
    found = torch.cat([part(one) for one in angles for part in (torch.sin, torch.cos)], dim=1)
    return found[:, :width]
