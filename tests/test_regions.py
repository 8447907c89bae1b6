"""An atlas names the region of each sensor that lies in MNI space, and the sensors of a region become a parcel."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from little_files import SHAPE, image

from brainfm.data.preprocess.atlas_regions import AtlasRegions
from brainfm.data.preprocess.parcellate import Parcellate
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.regions import Atlas, fetch_atlas
from brainfm.errors import DataError


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    """Two labelled voxels in MNI space, at (27, -60, -20) and (24, -48, -12) millimetres."""
    labels = np.zeros(SHAPE)
    labels[1, 0, 0], labels[2, 4, 2] = 3, 8
    (tmp_path / "names.tsv").write_text("index\tname\n0\tBackground\n3\tlingual gyrus\n8\tinsula\n")
    return image(tmp_path / "atlas.nii.gz", labels, mni=True)


def placed(millimetres: list[list[float]], frame: str = "exact", kind: str = "seeg") -> Recording:
    """A recording of contacts or voxels at these places."""
    modality, unit = ("seeg", "V") if kind == "seeg" else ("fmri", "%")
    place = np.array(millimetres) * 1e-3
    sensors = Sensors.of([f"c{row}" for row in range(len(place))], kind, unit, place, frame)
    data = np.random.default_rng(0).standard_normal((len(place), 50))
    return Recording({modality: Signal(data, 10.0, sensors)}, source="placed")


@pytest.mark.parametrize("kind", ["seeg", "voxel"])
def test_a_region_is_that_of_the_nearest_voxel_within_the_radius(
    tmp_path: Path, atlas: Path, kind: str
) -> None:
    places = [[27, -60, -20], [27, -60, -16.1], [24, -48, -7], [24, -48, -6.9], [np.nan] * 3]
    step = AtlasRegions(image=str(atlas), names=str(tmp_path / "names.tsv"), radius=0.005)
    modality = "seeg" if kind == "seeg" else "fmri"
    labelled = step(placed(places, kind=kind), modality)
    regions = labelled.signal(modality).sensors.region
    assert regions == ("lingual gyrus", "lingual gyrus", "insula", "unknown", "unknown")
    assert labelled.notes == ("atlas_regions: 2 regions, 2 sensors in none",)
    wider = step.model_copy(update={"radius": 0.1})(placed(places, kind=kind), modality)
    assert wider.signal(modality).sensors.region[3:] == ("insula", "unknown")
    nameless = AtlasRegions(image=str(atlas))(placed(places, kind=kind), modality)
    assert nameless.signal(modality).sensors.region[0] == "parcel 3"


def test_regions_refuse_what_is_not_in_mni_space(tmp_path: Path, atlas: Path) -> None:
    step = AtlasRegions(image=str(atlas))
    for frame, words in (
        ("own", "positions in a space of their own"),
        ("none", "sensors of unknown position"),
    ):
        with pytest.raises(DataError, match=words):
            step(placed([[27, -60, -20]], frame), "seeg")
    (tmp_path / "few.tsv").write_text("index\tname\n3\tlingual gyrus\n")
    with pytest.raises(DataError, match="holds the label 8, which its table does not name"):
        AtlasRegions(image=str(atlas), names=str(tmp_path / "few.tsv")).atlas()
    with pytest.raises(DataError, match="needs an atlas"):
        AtlasRegions().atlas()


def test_voxels_of_a_region_become_a_parcel() -> None:
    recording = placed([[0, 0, 0], [2, 0, 0], [9, 9, 9], [5, 5, 5], [1, 1, 1]], kind="voxel")
    signal = recording.signal("fmri")
    labelled = recording.with_signal(
        "fmri", replace(signal, sensors=signal.sensors.with_regions(["b", "b", "a", "unknown", ""]))
    )
    made = Parcellate()(labelled, "fmri")
    parcels = made.signal("fmri")
    assert parcels.sensors.name == parcels.sensors.region == ("a", "b")
    assert parcels.sensors.kind == ("parcel", "parcel") and parcels.sensors.unit == ("%", "%")
    np.testing.assert_allclose(parcels.load()[1], signal.load()[:2].mean(axis=0))
    np.testing.assert_allclose(parcels.sensors.position[1], [0.001, 0, 0])
    assert made.notes == ("parcellate: 3 sensors in 2 regions, 2 left out",)
    assert Parcellate(keep=["b"])(labelled, "fmri").signal("fmri").sensors.name == ("b",)
    with pytest.raises(DataError, match="no sensor lies in c; its regions: a, b"):
        Parcellate(keep=["c"])(labelled, "fmri")
    with pytest.raises(DataError, match="no sensor has a region"):
        Parcellate()(recording, "fmri")


def test_a_freesurfer_table_names_regions(tmp_path: Path, atlas: Path) -> None:
    (tmp_path / "lut.txt").write_text("# number name r g b\n3 Lingual 1 2 3 0\n\n8 Insula 4 5 6 0\n")
    assert Atlas.load(atlas, tmp_path / "lut.txt").names == {3: "Lingual", 8: "Insula"}
    (tmp_path / "lut.txt").write_text("three Lingual\n")
    with pytest.raises(DataError, match="'three Lingual' is not a number and a name"):
        Atlas.load(atlas, tmp_path / "lut.txt")


@pytest.mark.parametrize(
    "extra",
    [
        {"lut": pd.DataFrame({"index": [0, 3, 8], "name": ["Background", "a", "b"]}), "labels": []},
        {"labels": ["a", "b"], "indices": ["3", "8"]},
        {"labels": ["Background", *"12", "a", *"4567", "b"]},
        {"labels": [b"1", b"2", b"a", *[b"x"] * 4, b"b"]},
    ],
)
def test_an_atlas_is_fetched_by_name_into_the_cache_alone(
    tmp_path: Path, atlas: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    """nilearn's answer in each of the forms that it takes, made of local files."""
    asked: list[dict[str, Any]] = []

    def fetched(**settings: Any) -> SimpleNamespace:
        asked.append(settings)
        return SimpleNamespace(maps=str(atlas), **extra)

    monkeypatch.setattr("nilearn.datasets.fetch_atlas_harvard_oxford", fetched)
    step = AtlasRegions(fetch="harvard_oxford", cache=str(tmp_path / "cache"))
    found = step(placed([[27, -60, -20], [24, -48, -12]]), "seeg")
    assert found.signal("seeg").sensors.region == ("a", "b")
    assert asked == [{"data_dir": str(tmp_path / "cache"), "atlas_name": "cort-maxprob-thr25-2mm"}]
    with pytest.raises(DataError, match="did you mean 'harvard_oxford'"):
        fetch_atlas("havard_oxford", tmp_path)
    with pytest.raises(DataError, match="say `cache:`"):
        AtlasRegions(fetch="harvard_oxford").atlas()
