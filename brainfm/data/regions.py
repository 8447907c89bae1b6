"""Which region a place in the brain belongs to, by an atlas: a label image in MNI space and a table of its names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data import images
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.part import suggest

UNKNOWN = "unknown"
"""What a sensor is told that lies in no region: it was asked for and not found, unlike "", which nobody asked."""
FETCHED: dict[str, tuple[str, dict[str, Any]]] = {
    "aal": ("fetch_atlas_aal", {}),
    "destrieux": ("fetch_atlas_destrieux_2009", {}),
    "harvard_oxford": ("fetch_atlas_harvard_oxford", {"atlas_name": "cort-maxprob-thr25-2mm"}),
    "harvard_oxford_subcortical": ("fetch_atlas_harvard_oxford", {"atlas_name": "sub-maxprob-thr25-2mm"}),
    "schaefer_400": ("fetch_atlas_schaefer_2018", {"n_rois": 400, "resolution_mm": 2}),
    "talairach_lobe": ("fetch_atlas_talairach", {"level_name": "lobe"}),
}
"""Atlases that nilearn downloads, only when `fetch_atlas` is asked for one by name."""
COLUMNS = (("index", "value", "label_id", "id"), ("name", "label", "region"))
"""What a table of labels calls its two columns (BIDS's dseg.tsv: index and name)."""


@dataclass(frozen=True)
class Atlas:
    """A label image: `values` (x, y, z) are whole numbers, 0 is no region; `affine` leads to millimetres."""

    values: NDArray[np.int64]
    affine: NDArray[np.float64]
    names: Mapping[int, str]

    @classmethod
    def load(cls, image: Path, table: Path | None = None) -> "Atlas":
        """An atlas of files on this machine. Raises `DataError` where they are missing or no atlas."""
        if not image.is_file():
            raise DataError(f"the atlas {image} does not exist")
        loaded = images.load(image, "an atlas")
        return cls.of(images.values(loaded), loaded.affine, names_in(table) if table else {}, image.name)

    @classmethod
    def of(
        cls, values: NDArray[Any], affine: NDArray[np.float64], names: Mapping[int, str], where: str
    ) -> "Atlas":
        """An atlas of an array. Raises `DataError` for numbers that are no labels, or that the names lack."""
        values = values.reshape(values.shape[:3]) if values.shape[3:] == (1,) else values
        if values.ndim != 3 or not np.array_equal(values, np.round(values)):
            raise DataError(
                f"{where} of shape {values.shape} is no atlas: it should hold one whole number a voxel"
            )
        labels = values.astype(np.int64)
        absent = sorted(set(np.unique(labels).tolist()) - {0} - names.keys()) if names else []
        if absent:
            raise DataError(f"{where} holds the label {absent[0]}, which its table does not name")
        return cls(labels, np.asarray(affine, np.float64), names)

    def name(self, label: int) -> str:
        """The region's name; its number where the atlas came without names."""
        return self.names.get(label, f"parcel {label}")

    def regions(self, position: NDArray[np.float64], radius: float) -> list[str]:
        """The region of the nearest labelled voxel for places (place, 3) in metres; `UNKNOWN` beyond `radius` metres of any."""
        from nibabel.affines import apply_affine
        from scipy.spatial import cKDTree

        index = np.argwhere(self.values != 0)
        if not len(index):
            raise DataError("the atlas holds no region, only zeros")
        tree = cKDTree(apply_affine(self.affine, index) * 1e-3)
        located = np.isfinite(position).all(axis=1)
        out = [UNKNOWN] * len(position)
        found: Any = tree.query(position[located], distance_upper_bound=radius * (1 + 1e-9))
        for row, far, at in zip(np.flatnonzero(located), *found, strict=True):
            if np.isfinite(far):
                out[row] = self.name(int(self.values[tuple(index[at])]))
        return out


def with_regions(sensors: Sensors, atlas: Atlas, radius: float, where: str) -> Sensors:
    """The sensors with their regions. Raises `DataError` where their places are not in MNI space: no atlas knows them."""
    if sensors.frame not in ("exact", "approximate"):
        has = "positions in a space of their own" if sensors.frame == "own" else "sensors of unknown position"
        raise DataError(
            f"{where} has {has}, which an atlas in MNI space can't name; bring them to MNI and say so "
            "(`space: mni` of electrodes, `space: MNI...` of images)"
        )
    return sensors.with_regions(atlas.regions(sensors.position, radius))


def names_in(table: Path) -> dict[int, str]:
    """Label to name, of a table in BIDS's form (TSV or CSV) or of lines of `number name`. Raises `DataError` that names it."""
    import pandas as pd

    if not table.is_file():
        raise DataError(f"the atlas's table of names {table} does not exist")
    if table.suffix not in (".tsv", ".csv"):
        return numbered(table)
    rows = pd.read_csv(table, sep="\t" if table.suffix == ".tsv" else ",")
    found = [next((name for name in names if name in rows), None) for names in COLUMNS]
    if None in found:
        raise DataError(f"{table.name} needs the columns index and name; it has {', '.join(map(str, rows))}")
    return {int(label): str(name) for label, name in zip(rows[found[0]], rows[found[1]], strict=True)}


def numbered(table: Path) -> dict[int, str]:
    """The names of a FreeSurfer-like table: a number, a name, and whatever follows; lines after # say nothing."""
    names: dict[int, str] = {}
    for line in table.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or not words[0].isdigit():
            raise DataError(f"{table.name}: the line {line.strip()!r} is not a number and a name")
        names[int(words[0])] = words[1]
    return names


def fetch_atlas(name: str, cache: Path) -> Atlas:
    """One of nilearn's atlases in MNI space, downloaded into `cache` if it is not there yet (see `FETCHED` for the names)."""
    from nilearn import datasets

    if name not in FETCHED:
        raise DataError(f"the atlas {name!r} is not one that can be fetched{suggest(name, FETCHED)}")
    function, settings = FETCHED[name]
    found = getattr(datasets, function)(data_dir=str(cache), **settings)
    image = found.maps
    if isinstance(image, str | Path):
        atlas = Atlas.load(Path(image))
    else:
        atlas = Atlas.of(np.asarray(image.dataobj), image.affine, {}, name)
    named = fetched_names(found, atlas)
    return Atlas.of(atlas.values, atlas.affine, named, name)


def fetched_names(found: Any, atlas: Atlas) -> dict[int, str]:
    """Label to name of what nilearn fetched: by its look-up table (index, name), else by its two lists or its list's order."""
    table = getattr(found, "lut", None)
    if table is not None:
        return {int(label): str(name) for label, name in zip(table["index"], table["name"], strict=True)}
    labels: Sequence[Any] = [label.decode() if isinstance(label, bytes) else label for label in found.labels]
    if getattr(found, "indices", None) is not None:
        return {int(label): str(name) for label, name in zip(found.indices, labels, strict=True)}
    used = int(atlas.values.max())
    offset = 0 if len(labels) == used + 1 else 1  # whether the list begins with the background
    return {number + offset: str(name) for number, name in enumerate(labels)}
