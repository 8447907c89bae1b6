"""Small pictures of one thing each, with all that is known of them: what it is, its colour, where it lies and how large.

They stand in for photographs where a truth is needed: what a voxel sees of a picture follows from these factors alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THINGS = ("disc", "square", "triangle", "cross", "bar", "ring")
COLOURS = {
    "red": (0.9, 0.2, 0.2),
    "green": (0.2, 0.8, 0.3),
    "blue": (0.25, 0.35, 0.95),
    "yellow": (0.95, 0.9, 0.2),
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
}
BACKGROUND = (0.3, 0.6)
"""The darkest and the brightest grey behind a thing."""


@dataclass(frozen=True)
class Scenes:
    """One row a picture. Places and sizes are in halves of its side: (0, 0) is the middle, 1 the right and the lower edge."""

    thing: NDArray[np.int64]
    colour: NDArray[np.int64]
    place: NDArray[np.float64]
    """(scene, 2): x and y."""
    size: NDArray[np.float64]
    """Half of the thing's extent."""
    turn: NDArray[np.float64]
    """Radians by which it is turned."""
    ground: NDArray[np.float64]
    """The grey behind it."""

    def __len__(self) -> int:
        return len(self.thing)

    @classmethod
    def draw(cls, count: int, rng: np.random.Generator) -> "Scenes":
        """So many, every factor independent of the others."""
        return cls(
            thing=rng.integers(0, len(THINGS), count),
            colour=rng.integers(0, len(COLOURS), count),
            place=rng.uniform(-0.5, 0.5, (count, 2)),
            size=rng.uniform(0.25, 0.5, count),
            turn=rng.uniform(-np.pi, np.pi, count),
            ground=rng.uniform(*BACKGROUND, count),
        )

    def attributes(self) -> NDArray[np.float64]:
        """(scene, attribute) what it is and its colour, one of each at 1."""
        return np.concatenate([np.eye(len(THINGS))[self.thing], np.eye(len(COLOURS))[self.colour]], axis=1)

    def pictures(self, pixels: int = 16, grey: bool = False) -> NDArray[np.float32]:
        """(scene, channel, height, width) in [0, 1]; edges are smooth over about a pixel."""
        axis = (np.arange(pixels) + 0.5) / pixels * 2 - 1
        y, x = np.meshgrid(axis, axis, indexing="ij")
        out = np.empty((len(self), 3, pixels, pixels), np.float32)
        for row in range(len(self)):
            dx, dy = x - self.place[row, 0], y - self.place[row, 1]
            cos, sin = np.cos(self.turn[row]), np.sin(self.turn[row])
            u, v = (cos * dx + sin * dy) / self.size[row], (cos * dy - sin * dx) / self.size[row]
            outside = distance(THINGS[self.thing[row]], u, v) * self.size[row]
            ink = 1 / (1 + np.exp(np.clip(outside * pixels * 2, -50, 50)))
            colour = np.array(list(COLOURS.values())[self.colour[row]])[:, None, None]
            out[row] = self.ground[row] * (1 - ink) + colour * ink
        return out.mean(axis=1, keepdims=True) if grey else out


def distance(thing: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far points lie outside a thing of half extent 1 around the origin; negative inside."""
    far = np.hypot(u, v)
    found = {
        "disc": far - 0.9,
        "square": np.maximum(abs(u), abs(v)) - 0.8,
        "triangle": np.maximum(-v - 0.5, 0.866 * abs(u) + 0.5 * v - 0.5),
        "cross": np.minimum(np.maximum(abs(u) - 1, abs(v) - 0.3), np.maximum(abs(u) - 0.3, abs(v) - 1)),
        "bar": np.maximum(abs(u) - 1, abs(v) - 0.35),
        "ring": abs(far - 0.75) - 0.22,
    }
    return found[thing]
