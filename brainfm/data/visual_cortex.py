"""A simulated visual cortex: people with voxels of their own see small pictures, and how it all came about is known.

Retinotopic voxels are Gaussian population receptive fields (Dumoulin & Wandell 2008, NeuroImage 39) over the energy of the
picture: contrast, orientation (a quadrature pair of Gabor filters a direction, Adelson & Bergen 1985) and opponent
colour. Semantic voxels are linear in what the thing is and its colour. People differ in their voxels, their gains, the places
of their areas and in an area that each lacks; sessions drift in level and size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Sensors
from brainfm.data.scenes import COLOURS, THINGS, Scenes
from brainfm.data.seen import Seen
from brainfm.errors import DataError

ENERGIES = ("contrast", "0°", "45°", "90°", "135°", "red-green", "blue-yellow")
AREAS = ("V1", "V2", "V4", "LOC", "VTC")
"""Three that are retinotopic, with larger receptive fields from one to the next, and two that are semantic."""
FIELD = {"V1": (0.08, 0.16), "V2": (0.15, 0.3), "V4": (0.25, 0.5)}
"""Smallest and largest spread of a receptive field, as a share of half of the picture's side."""
TUNING = {
    "V1": (0.3, 1, 1, 1, 1, 0, 0),
    "V2": (1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
    "V4": (0.5, 0, 0, 0, 0, 1, 1),
}
"""How much of each energy the voxels of an area tend to see."""
PROTOTYPES = 4
"""Kinds of voxels of a semantic area; of a retinotopic one the four quadrants take their place."""
MILLIMETRES = 0.004
"""How far, in metres, an area's middle lies from person to person."""


@dataclass(frozen=True)
class VoxelTruth:
    """What made each voxel of one person. Semantic voxels have no receptive field: NaN."""

    centre: NDArray[np.float64]
    """(voxel, 2) of the receptive field, in the units of `Scenes.place`."""
    size: NDArray[np.float64]
    """(voxel,) its spread."""
    area: tuple[str, ...]
    cluster: NDArray[np.int64]
    """(voxel,) which kind of voxel it is, the same number in all people."""
    ncsnr: NDArray[np.float64]
    """(voxel,) the spread of its signal over the pictures that were seen over that of its noise from trial to trial."""
    signal: NDArray[np.float32]
    """(picture, voxel) without noise, over the pictures that the person saw with mean 0 and spread 1."""


@dataclass(frozen=True)
class VisualCortex:
    """Several simulated people, what made them, and what their pictures show."""

    people: tuple[Seen, ...]
    truth: tuple[VoxelTruth, ...]
    scenes: Scenes
    shared: tuple[str, ...]
    """Names of the pictures that everybody saw."""

    @classmethod
    def simulate(
        cls,
        seed: int,
        subjects: int = 4,
        voxels: tuple[int, int] = (180, 260),
        pictures: int = 600,
        shared: int = 100,
        repeats: int = 3,
        sessions: int = 4,
        pixels: int = 16,
        ncsnr: tuple[float, float] = (0.3, 1.2),
        grey: bool = False,
    ) -> "VisualCortex":
        """Each person sees `pictures` of their own once and the `shared` ones `repeats` times, mixed over the sessions.

        A person has between the two numbers of `voxels` before an area is taken away; `ncsnr` bounds each voxel's.
        """
        if shared + pictures < 2 or repeats < 1 or not 0 < ncsnr[0] <= ncsnr[1]:
            raise DataError(
                "a simulated cortex needs two pictures, one repeat and a positive ncsnr at the least"
            )
        rng = np.random.default_rng([seed, 0])
        scenes = Scenes.draw(shared + subjects * pictures, rng)
        shown = scenes.pictures(pixels, grey)
        energy, attributes = energies(shown), scenes.attributes()
        kinds = {
            area: rng.normal(size=(PROTOTYPES, attributes.shape[1])) for area in AREAS if area not in FIELD
        }
        names = tuple(f"scene {row + 1:05d}" for row in range(len(scenes)))
        people, truths = [], []
        for number in range(subjects):
            own = np.random.default_rng([seed, 1, number])
            first = shared + number * pictures
            seen = np.concatenate([np.arange(shared), np.arange(first, first + pictures)])
            voxel = Voxels.draw(own, int(own.integers(voxels[0], voxels[1] + 1)), kinds)
            signal = voxel.signal(energy, attributes)
            signal = (signal - signal[seen].mean(axis=0)) / signal[seen].std(axis=0)
            ratio = np.exp(own.uniform(np.log(ncsnr[0]), np.log(ncsnr[1]), len(voxel.cluster)))
            trial = np.concatenate(
                [np.repeat(np.arange(shared), repeats), np.arange(first, first + pictures)]
            )
            trial = own.permutation(trial)
            session = np.sort(np.arange(len(trial)) % sessions)
            people.append(
                Seen(
                    subject=f"{number + 1:02d}",
                    response=measured(own, signal[trial], ratio, session),
                    voxels=voxel.sensors(),
                    picture=trial.astype(np.int64),
                    pictures=shown,
                    session=session.astype(np.int64),
                    names=names,
                    dataset="visual_cortex",
                    space="simulated",
                )
            )
            truths.append(
                VoxelTruth(
                    voxel.centre, voxel.size, voxel.area, voxel.cluster, ratio, signal.astype(np.float32)
                )
            )
        return cls(tuple(people), tuple(truths), scenes, names[:shared])


@dataclass(frozen=True)
class Voxels:
    """One person's voxels before anything is seen."""

    area: tuple[str, ...]
    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    energy: NDArray[np.float64]
    """(voxel, energy) how much of each it sees."""
    attribute: NDArray[np.float64]
    """(voxel, attribute) how much of each it says."""
    cluster: NDArray[np.int64]
    position: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int, kinds: dict[str, NDArray[np.float64]]) -> "Voxels":
        """So many over all areas, without those of a quadrant or a kind that this person lacks, in no order."""
        area = rng.choice(len(AREAS), count)
        centre = rng.uniform(-0.7, 0.7, (count, 2))
        size = np.full(count, np.nan)
        energy = np.zeros((count, len(ENERGIES)))
        attribute = np.zeros((count, len(THINGS) + len(COLOURS)))
        cluster = np.zeros(count, np.int64)
        position = np.zeros((count, 3))
        for number, name in enumerate(AREAS):
            here = np.flatnonzero(area == number)
            if name in FIELD:
                size[here] = rng.uniform(*FIELD[name], len(here))
                energy[here] = np.array(TUNING[name]) * rng.uniform(0, 1, (len(here), len(ENERGIES)))
                kind = (centre[here, 0] > 0) + 2 * (centre[here, 1] > 0)
                along = centre[here]
            else:
                kind = rng.integers(0, PROTOTYPES, len(here))
                attribute[here] = kinds[name][kind] + 0.4 * rng.normal(size=(len(here), attribute.shape[1]))
                along = np.stack([kind - 1.5, rng.uniform(-0.5, 0.5, len(here))], axis=1) / 2
            cluster[here] = PROTOTYPES * number + kind
            middle = np.array([0.0, -0.09 + 0.012 * number, 0.0]) + rng.normal(0, MILLIMETRES, 3)
            position[here, 0], position[here, 2] = (middle[[0, 2]] + 0.02 * along).T
            position[here, 1] = middle[1] + rng.normal(0, 0.001, len(here))
        centre[np.isnan(size)] = np.nan
        kept = rng.permutation(np.flatnonzero(cluster != rng.integers(0, PROTOTYPES * len(AREAS))))
        return cls(
            tuple(AREAS[one] for one in area[kept]),
            centre[kept],
            size[kept],
            energy[kept],
            attribute[kept],
            cluster[kept],
            position[kept],
        )

    def signal(self, energy: NDArray[np.float64], attributes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(picture, voxel) what each would say without noise, in units of its own."""
        pixels = energy.shape[-1]
        axis = (np.arange(pixels) + 0.5) / pixels * 2 - 1
        y, x = np.meshgrid(axis, axis, indexing="ij")
        found = attributes @ self.attribute.T
        for voxel in np.flatnonzero(np.isfinite(self.size)):
            far = (x - self.centre[voxel, 0]) ** 2 + (y - self.centre[voxel, 1]) ** 2
            field = np.exp(-far / (2 * self.size[voxel] ** 2))
            found[:, voxel] = np.einsum("pehw,e,hw->p", energy, self.energy[voxel], field, optimize=True)
        return found

    def sensors(self) -> Sensors:
        """The table: voxels with their areas, in a space that is this person's own."""
        names = [f"voxel {row + 1:04d}" for row in range(len(self.cluster))]
        return Sensors.of(names, "voxel", "1", self.position, "own").with_regions(self.area)


def measured(
    rng: np.random.Generator,
    signal: NDArray[np.float64],
    ncsnr: NDArray[np.float64],
    session: NDArray[np.int64],
) -> NDArray[np.float32]:
    """(trial, voxel) signal and noise, with each voxel's gain and level, and a level and size that drift between sessions."""
    voxels = signal.shape[1]
    noisy = signal + rng.normal(size=signal.shape) / ncsnr
    sessions = int(session.max()) + 1
    gain = rng.uniform(0.5, 2, voxels) * rng.uniform(0.8, 1.25, (sessions, voxels))
    level = rng.normal(0, 1, voxels) + rng.normal(0, 1, (sessions, voxels))
    return (noisy * gain[session] + level[session]).astype(np.float32)


def energies(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """(picture, energy, height, width) of pictures (picture, channel, height, width), in the order of `ENERGIES`.

    Contrast is the squared difference from the picture's mean; an orientation's energy that of two Gabor filters a quarter of a
    wave apart, a wave every five pixels; colour is no energy but opponent and signed. Grey pictures have none.
    """
    grey = pictures.mean(axis=1, dtype=np.float64)
    grey = grey - grey.mean(axis=(1, 2), keepdims=True)
    found = [grey**2, *(orientation_energy(grey, turn) for turn in np.arange(4) * np.pi / 4)]
    if pictures.shape[1] == 3:
        red, green, blue = (pictures[:, channel].astype(np.float64) for channel in range(3))
        found += [red - green, blue - (red + green) / 2]
    else:
        found += [np.zeros_like(grey)] * 2
    return np.stack(found, axis=1)


def orientation_energy(grey: NDArray[np.float64], turn: float, wave: float = 5.0) -> NDArray[np.float64]:
    """(picture, height, width) the energy along one direction, by a complex Gabor filter in the frequency domain."""
    frequency = np.fft.fftfreq(grey.shape[-1])
    fy, fx = np.meshgrid(frequency, frequency, indexing="ij")
    far = (fx - np.cos(turn) / wave) ** 2 + (fy - np.sin(turn) / wave) ** 2
    gabor = np.exp(
        -far / (2 * 0.06**2)
    )  # one side of the spectrum alone: real and imaginary part are the pair
    return np.asarray(np.abs(np.fft.ifft2(np.fft.fft2(grey) * gabor)) ** 2)
