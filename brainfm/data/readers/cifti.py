"""fMRI in grayordinates: CIFTI-2, vertices of the cortex and voxels beneath it (dtseries), or parcels (ptseries)."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data import images
from brainfm.data.bold import Bold, beside
from brainfm.data.readers import Reader
from brainfm.data.recording import Frame, Recording, Sensors
from brainfm.data.surfaces import vertices
from brainfm.errors import DataError

PREFIX = "CIFTI_STRUCTURE_"
CORTEX = {"cortex_left": "L", "cortex_right": "R"}
"""Structures with a surface of their own in a recording's name of its vertices, as a GIfTI file of a hemisphere has them."""


class Cifti(Reader, Bold):
    """One `.dtseries.nii` or `.ptseries.nii` per recording; how long a volume takes is in its series axis.

    Vertices are called L00001 by hemisphere and number, voxels by structure and place in the grid. A sensor's region is its
    structure (cortex_left, thalamus_right), a parcel's its own name. Voxels are placed by the file; vertices, which it gives no
    place, by the meshes `left` and `right`.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".dtseries.nii", ".ptseries.nii")

    left: str = Field(
        default="", description="the left mesh, a .surf.gii beside the recording, for the places"
    )
    right: str = Field(default="", description="the right one")

    def open(self, path: Path) -> Recording:
        """The grayordinates' courses. Raises `DataError` for another file, or one without a time."""
        image = load(path)
        series, brain = (image.header.get_axis(axis) for axis in (0, 1))
        sfreq = self.sfreq(path, series_tr(series, path.name))
        sensors = self.sensors(brain, path)
        return self.run(images.values(image, np.float32).T, sfreq, sensors, path)

    def label(self, path: Path) -> str:
        """The unit after the reader's own conversion."""
        return "%" if self.unit == "raw" else self.unit

    def sensors(self, brain: Any, path: Path) -> Sensors:
        """The table of a file's axis of places."""
        from nibabel import cifti2

        if isinstance(brain, cifti2.ParcelsAxis):
            return self.parcels(brain, path)
        if not isinstance(brain, cifti2.BrainModelAxis):
            raise DataError(
                f"{path.name} has no axis of grayordinates or parcels: it is no time course of a brain"
            )
        names, kinds, regions = [], [], []
        for structure, on_surface, vertex, voxel in zip(
            brain.name, brain.surface_mask, brain.vertex, brain.voxel, strict=True
        ):
            region = plain(structure)
            names.append(
                f"{CORTEX.get(region, region + '_')}{vertex:05d}" if on_surface else at(region, voxel)
            )
            kinds.append("vertex" if on_surface else "voxel")
            regions.append(region)
        place = self.places(brain, path)
        return Sensors(
            name=tuple(names),
            kind=tuple(kinds),
            unit=(self.si,) * len(names),
            position=place,
            orientation=np.full_like(place, np.nan),
            region=tuple(regions),
            frame=self.known(place, path),
        )

    def parcels(self, brain: Any, path: Path) -> Sensors:
        """A parcel lies in the middle of its voxels and, where meshes are given, of its vertices."""
        from nibabel.affines import apply_affine

        meshes = self.meshes(brain, path)
        place = np.full((len(brain.name), 3), np.nan)
        for row, (voxels, by_surface) in enumerate(zip(brain.voxels, brain.vertices, strict=True)):
            points = [apply_affine(brain.affine, voxels) * 1e-3] if len(voxels) else []
            points += [meshes[plain(s)][own] for s, own in by_surface.items() if plain(s) in meshes]
            # without a mesh for all of its surface, its middle is not known
            if points and all(plain(structure) in meshes for structure in by_surface):
                place[row] = np.concatenate(points).mean(axis=0)
        names = [str(name) for name in brain.name]
        found = Sensors.of(names, "parcel", self.si, place, self.known(place, path))
        return found.with_regions(names)

    def places(self, brain: Any, path: Path) -> NDArray[np.float64]:
        """(grayordinate, 3) in metres; NaN for vertices without a mesh."""
        from nibabel.affines import apply_affine

        place = np.full((len(brain.name), 3), np.nan)
        if (inside := brain.volume_mask).any():
            place[inside] = apply_affine(brain.affine, brain.voxel[inside]) * 1e-3
        for structure, points in self.meshes(brain, path).items():
            rows = np.array([plain(name) == structure for name in brain.name]) & brain.surface_mask
            place[rows] = points[brain.vertex[rows]]
        return place

    def meshes(self, brain: Any, path: Path) -> dict[str, NDArray[np.float64]]:
        """The vertices' places in metres, of each hemisphere whose mesh is given and that the file has."""
        counts = {plain(structure): count for structure, count in brain.nvertices.items()}
        given = {"cortex_left": self.left, "cortex_right": self.right}
        return {
            structure: vertices(beside(path, file, "surface"), counts[structure])
            for structure, file in given.items()
            if file and structure in counts
        }

    def known(self, place: NDArray[np.float64], path: Path) -> Frame:
        """How well the places are known, where any is."""
        return self.frame(path) if np.isfinite(place).all(axis=1).any() else "none"


def load(path: Path) -> Any:
    """nibabel's CIFTI-2 image. Raises `DataError` if it is missing, broken, or of another kind."""
    import nibabel

    image = images.load(path, "CIFTI")
    if not isinstance(image, nibabel.Cifti2Image):
        raise DataError(f"{path.name} is no CIFTI-2 file; for volumes say `reader: {{kind: nifti, ...}}`")
    return image


def series_tr(series: Any, where: str) -> float | None:
    """Seconds from one volume to the next by the series axis, None where it says none."""
    from nibabel import cifti2

    if not isinstance(series, cifti2.SeriesAxis):
        raise DataError(
            f"{where} is no series over time, but of {type(series).__name__.removesuffix('Axis')}s"
        )
    if series.unit != "SECOND":
        raise DataError(f"{where} is a series over {series.unit.lower()}, not over time")
    return float(series.step) if series.step > 0 else None


def plain(structure: str) -> str:
    """CIFTI_STRUCTURE_CORTEX_LEFT is cortex_left."""
    return str(structure).removeprefix(PREFIX).lower()


def at(region: str, voxel: NDArray[np.int64]) -> str:
    """A voxel's name: its structure and its place in the grid."""
    x, y, z = voxel.tolist()
    return f"{region}_x{x:03d}y{y:03d}z{z:03d}"
