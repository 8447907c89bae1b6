"""fMRI on surfaces, in CIFTI and GIfTI: vertices keep their structure, time and place."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from little_files import AFFINE, SHAPE, TIMES, bold, image, series
from numpy.typing import NDArray

from brainfm.data.reading import read
from brainfm.errors import DataError


def mesh(path: Path, count: int) -> NDArray[np.float64]:
    """A surface file of points in millimetres, and the points."""
    points = np.random.default_rng(count).uniform(-60, 60, (count, 3)).astype(np.float32)
    triangles = np.arange(count // 3 * 3).reshape(-1, 3).astype(np.int32)
    arrays = [
        nib.gifti.GiftiDataArray(points, intent="NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(triangles, intent="NIFTI_INTENT_TRIANGLE"),
    ]
    nib.save(nib.GiftiImage(darrays=arrays), path)
    return points.astype(float)


def brain_axis() -> Any:
    """Four of ten left vertices, three of ten right ones, and five voxels of the left thalamus."""
    left = nib.cifti2.BrainModelAxis.from_surface([0, 2, 3, 9], 10, "CortexLeft")
    right = nib.cifti2.BrainModelAxis.from_surface([1, 4, 5], 10, "CortexRight")
    inside = np.zeros(SHAPE, bool)
    inside[1, :, 2] = True
    return left + right + nib.cifti2.BrainModelAxis.from_mask(inside, "thalamus_left", affine=AFFINE)


def cifti(path: Path, axis: Any, step: float = 0.72, unit: str = "SECOND") -> NDArray[np.float32]:
    """A CIFTI file of scanner units over time, and its values (volume, grayordinate)."""
    values = 1000 + 10 * np.random.default_rng(0).standard_normal((TIMES, len(axis)))
    series_axis = nib.cifti2.SeriesAxis(0, step, TIMES, unit)
    nib.save(nib.Cifti2Image(values.astype(np.float32), (series_axis, axis)), path)
    return values.astype(np.float32)


def test_grayordinates_keep_structure_time_and_place(tmp_path: Path) -> None:
    file = tmp_path / "rest.dtseries.nii"
    values = cifti(file, brain_axis())
    recording = read(file, reader={"kind": "cifti", "unit": "raw"})
    signal = recording.signal("fmri")
    assert signal.sfreq == pytest.approx(1 / 0.72) and signal.data.shape == (12, TIMES)
    assert signal.sensors.name[:7] == ("L00000", "L00002", "L00003", "L00009", "R00001", "R00004", "R00005")
    assert signal.sensors.name[7] == "thalamus_left_x001y000z002"
    assert signal.sensors.kind == ("vertex",) * 7 + ("voxel",) * 5
    assert signal.sensors.region == ("cortex_left",) * 4 + ("cortex_right",) * 3 + ("thalamus_left",) * 5
    assert signal.sensors.located.tolist() == [False] * 7 + [True] * 5 and signal.sensors.frame == "own"
    np.testing.assert_allclose(signal.sensors.position[7], [0.027, -0.060, -0.012])
    np.testing.assert_allclose(signal.load()[4], 100 * (values[:, 4] / values[:, 4].mean() - 1), atol=1e-3)


def test_meshes_place_the_vertices(tmp_path: Path) -> None:
    cifti(tmp_path / "rest.dtseries.nii", brain_axis())
    points = mesh(tmp_path / "left.surf.gii", 10)
    given = {"kind": "cifti", "unit": "raw", "left": "left.surf.gii", "space": "MNI152NLin6Asym"}
    sensors = read(tmp_path / "rest.dtseries.nii", reader=given).signal("fmri").sensors
    assert sensors.located.tolist() == [True] * 4 + [False] * 3 + [True] * 5 and sensors.frame == "exact"
    np.testing.assert_allclose(sensors.position[:4], points[[0, 2, 3, 9]] * 1e-3, rtol=1e-5)
    mesh(tmp_path / "left.surf.gii", 9)
    with pytest.raises(DataError, match="has 9 vertices, but the recording's surface 10"):
        read(tmp_path / "rest.dtseries.nii", reader=given)


def test_parcels_of_grayordinates(tmp_path: Path) -> None:
    brain = brain_axis()
    parts = [("V1", brain[:4]), ("thalamus", brain[7:])]
    axis = nib.cifti2.ParcelsAxis.from_brain_models(parts)
    cifti(tmp_path / "rest.ptseries.nii", axis)
    points = mesh(tmp_path / "left.surf.gii", 10)
    given = {"kind": "cifti", "unit": "raw"}
    plain = read(tmp_path / "rest.ptseries.nii", reader=given).signal("fmri").sensors
    assert plain.name == plain.region == ("V1", "thalamus") and set(plain.kind) == {"parcel"}
    assert plain.located.tolist() == [False, True]
    np.testing.assert_allclose(plain.position[1], [0.027, -0.054, -0.012])
    placed = read(tmp_path / "rest.ptseries.nii", reader={**given, "left": "left.surf.gii"})
    middle = points[[0, 2, 3, 9]].mean(axis=0) * 1e-3
    np.testing.assert_allclose(placed.signal("fmri").sensors.position[0], middle, rtol=1e-4)


def test_a_series_axis_is_asked_for_its_time(tmp_path: Path) -> None:
    file = tmp_path / "rest.dtseries.nii"
    given = {"kind": "cifti", "unit": "raw"}
    cifti(file, brain_axis(), step=0.0)
    with pytest.raises(DataError, match="does not say how long a volume takes"):
        read(file, reader=given)
    assert read(file, reader={**given, "tr": 2.0}).signal("fmri").sfreq == 0.5
    cifti(file, brain_axis(), unit="HERTZ")
    with pytest.raises(DataError, match="a series over hertz, not over time"):
        read(file, reader=given)
    cifti(file, brain_axis())
    with pytest.raises(DataError, match=r"`tr:` says 2 s a volume and its header says 0\.72 s"):
        read(file, reader={**given, "tr": 2.0})
    with pytest.raises(DataError, match=r"say `reader: \{kind: cifti"):
        bold(file)
    with pytest.raises(DataError, match="is no CIFTI-2 file; for volumes"):
        read(image(tmp_path / "bold.nii", series()), reader=given)


def surface(path: Path, values: NDArray[np.float64], together: bool = False) -> Path:
    """A func.gii of (vertex, volume), an array per volume or one for all."""
    columns = [values] if together else list(values.T)
    arrays = [
        nib.gifti.GiftiDataArray(column.astype(np.float32), intent="NIFTI_INTENT_TIME_SERIES")
        for column in columns
    ]
    nib.save(nib.GiftiImage(darrays=arrays), path)
    return path


@pytest.mark.parametrize("together", [False, True])
def test_a_surface_states_its_time_beside_it_or_not_at_all(tmp_path: Path, together: bool) -> None:
    values = 1000 + 10 * np.random.default_rng(0).standard_normal((9, TIMES))
    values[4] = 0.0  # the medial wall
    file = surface(tmp_path / "sub-1_hemi-R_bold.func.gii", values, together)
    points = mesh(tmp_path / "right.surf.gii", 9)
    given = {"kind": "gifti", "unit": "raw", "surface": "right.surf.gii"}
    with pytest.raises(DataError, match=r"does not say how long a volume takes.*`tr: 2\.5`"):
        read(file, reader=given)
    (tmp_path / "sub-1_hemi-R_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    recording = read(file, reader=given)
    signal = recording.signal("fmri")
    assert signal.sfreq == 0.5 and signal.data.shape == (8, TIMES)
    assert signal.sensors.name[3:5] == ("R00003", "R00005") and set(signal.sensors.kind) == {"vertex"}
    np.testing.assert_allclose(signal.sensors.position[4], points[5] * 1e-3, rtol=1e-5)
    raw = values.astype(np.float32)[5]
    np.testing.assert_allclose(signal.load()[4], 100 * (raw / raw.mean() - 1), atol=1e-3)
    assert "1 vertices are constant and were left out" in recording.notes


def test_both_hemispheres_are_one_recording(tmp_path: Path) -> None:
    values = 1000 + 10 * np.random.default_rng(0).standard_normal((9, TIMES))
    left = surface(tmp_path / "a_hemi-L_bold.func.gii", values)
    surface(tmp_path / "a_hemi-R_bold.func.gii", values[:7] + 5)
    points = [mesh(tmp_path / f"a_hemi-{side}_pial.surf.gii", n) for side, n in (("L", 9), ("R", 7))]
    given = {"kind": "gifti", "unit": "raw", "tr": 2.0, "both": True, "surface": "a_hemi-L_pial.surf.gii"}
    signal = read(left, reader=given).signal("fmri")
    assert signal.sensors.name[:9] == tuple(f"L{row:05d}" for row in range(9))
    assert signal.sensors.name[9:] == tuple(f"R{row:05d}" for row in range(7))
    np.testing.assert_allclose(signal.sensors.position, np.concatenate(points) * 1e-3, rtol=1e-5)
    raw = values.astype(np.float32)[3] + 5
    np.testing.assert_allclose(signal.load()[12], 100 * (raw / raw.mean() - 1), atol=1e-3)
    surface(tmp_path / "a_hemi-R_bold.func.gii", values[:7, :-1])
    with pytest.raises(DataError, match="its hemispheres have 40 and 39 volumes"):
        read(left, reader=given)
    (tmp_path / "a_hemi-R_bold.func.gii").unlink()
    with pytest.raises(DataError, match=r"a_hemi-R_bold\.func\.gii does not exist"):
        read(left, reader=given)


def test_surfaces_that_are_no_series_are_refused(tmp_path: Path) -> None:
    given = {"kind": "gifti", "unit": "raw", "tr": 2.0}
    values = 1000 + 10 * np.random.default_rng(0).standard_normal((9, TIMES))
    with pytest.raises(DataError, match="does not say its hemisphere"):
        read(surface(tmp_path / "a.func.gii", values), reader=given)
    with pytest.raises(DataError, match="no time course"):
        read(surface(tmp_path / "a.L.func.gii", values[:, :1]), reader=given)
    (tmp_path / "text.L.func.gii").write_text("no xml")
    with pytest.raises(DataError, match=r"text\.L\.func\.gii can't be read as GIfTI"):
        read(tmp_path / "text.L.func.gii", reader=given)
