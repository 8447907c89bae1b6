"""fMRI: volumes, grayordinates and responses, with their time, unit and places as stated, never guessed."""

import gzip
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from brainfm.data.cards import DataCard, check
from brainfm.data.preprocess.atlas_regions import AtlasRegions
from brainfm.data.preprocess.regress_out import RegressOut
from brainfm.data.readers import Reader
from brainfm.data.reading import read, read_entry
from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.regions import Atlas, fetch_atlas
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation

REAL = Path(os.environ.get("BRAINFM_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHAPE = (4, 5, 3)
TIMES = 40
AFFINE = np.array([[-3.0, 0, 0, 30], [0, 3, 0, -60], [0, 0, 4, -20], [0, 0, 0, 1]])


def series(times: int = TIMES, seed: int = 0) -> NDArray[np.float64]:
    """Scanner units around 1000 that vary by 1.5 percent; the first plane of x lies outside the head and holds zeros."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(800, 1200, SHAPE)
    values = base[..., None] * (1 + 0.015 * rng.standard_normal((*SHAPE, times)))
    values[0] = 0.0
    return values


def image(
    path: Path, values: NDArray[Any], tr: float = 2.5, unit: str = "sec", mni: bool = False, code: int = 1
) -> Path:
    """A NIfTI file; `unit` "unknown" leaves the header without one."""
    made = nib.Nifti1Image(values.astype(np.float32), AFFINE)
    made.set_sform(AFFINE, 4 if mni else code)
    made.set_qform(AFFINE, 4 if mni else code)
    made.header.set_xyzt_units("mm", None if unit == "unknown" else unit)
    if values.ndim == 4:
        made.header.set_zooms((3, 3, 4, tr))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(made, path)
    return path


def bold(path: Path, **given: Any) -> Recording:
    """A recording of `path` through the NIfTI reader, its unit raw unless told otherwise."""
    return read(path, reader={"kind": "nifti", "unit": "raw", **given})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return image(tmp_path / "sub-01_task-see_bold.nii.gz", series())


# --- volumes ------------------------------------------------------------------------------------------------


def test_voxels_that_vary_become_sensors_in_percent_of_their_own_mean(run: Path) -> None:
    recording = bold(run)
    signal = recording.signal("fmri")
    assert signal.data.shape == (3 * 5 * 3, TIMES) and signal.sfreq == 0.4
    assert set(signal.sensors.kind) == {"voxel"} and set(signal.sensors.unit) == {"%"}
    raw = series().astype(np.float32)[2, 3, 1].astype(float)
    row = signal.sensors.name.index("x002y003z001")
    np.testing.assert_allclose(signal.load()[row], 100 * (raw / raw.mean() - 1), atol=1e-4)
    np.testing.assert_allclose(signal.sensors.position[row], [0.024, -0.051, -0.016])
    assert any("percent signal change" in note for note in recording.notes)
    assert any("45 voxels, 15 outside it" in note for note in recording.notes)


@pytest.mark.parametrize(("code", "frame"), [(1, "own"), (4, "exact"), (0, "none")])
def test_the_header_says_in_whose_space_voxels_lie(tmp_path: Path, code: int, frame: str) -> None:
    sensors = bold(image(tmp_path / "a.nii", series(), code=code)).signal("fmri").sensors
    assert sensors.frame == frame and sensors.located.all() == (code > 0)


def test_the_name_and_the_card_say_it_before_the_header(tmp_path: Path) -> None:
    file = image(tmp_path / "sub-1_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz", series())
    assert bold(file).signal("fmri").sensors.frame == "exact"
    assert bold(file, space="native").signal("fmri").sensors.frame == "own"


def test_a_mask_chooses_and_is_brought_to_the_grid(tmp_path: Path, run: Path) -> None:
    mask = np.zeros(SHAPE)
    mask[1:3, 2, 1] = 1
    image(tmp_path / "mask.nii.gz", mask)
    assert bold(run, mask="mask.nii.gz").signal("fmri").sensors.name == ("x001y002z001", "x002y002z001")
    fine = nib.Nifti1Image(
        np.kron(mask, np.ones((2, 1, 1))).astype(np.uint8), AFFINE @ np.diag([0.5, 1, 1, 1])
    )
    nib.save(fine, tmp_path / "fine.nii.gz")
    resampled = bold(run, mask="fine.nii.gz")
    assert len(resampled.signal("fmri").sensors) == 2
    assert any("resampled" in note for note in resampled.notes)
    with pytest.raises(DataError, match=r"mask should be .*nowhere\.nii, which is not there"):
        bold(run, mask="nowhere.nii")


def test_runs_share_the_voxels_that_vary_in_all_of_them(tmp_path: Path) -> None:
    first, second = series(seed=1), series(seed=2)
    second[3, 4, 2] = 700.0  # dead in one run alone
    for number, values in enumerate((first, second)):
        image(tmp_path / f"run{number}" / "bold.nii.gz", values)
    alone, shared = (
        [
            bold(tmp_path / f"run{number}" / "bold.nii.gz", shared=pattern).signal("fmri").sensors.name
            for number in (0, 1)
        ]
        for pattern in ("", "../*/bold.nii.gz")
    )
    assert len(alone[0]) == 45 and len(alone[1]) == 44
    assert shared[0] == shared[1] == alone[1]
    with pytest.raises(DataError, match="finds 0 images"):
        bold(tmp_path / "run0" / "bold.nii.gz", shared="elsewhere/*.nii")


def test_a_constant_voxel_inside_a_mask_is_bad(tmp_path: Path) -> None:
    values = series()
    values[1, 0, 0] = 500.0
    values[1, 0, 1] = 0.0
    file = image(tmp_path / "bold.nii.gz", values)
    image(tmp_path / "mask.nii.gz", np.ones(SHAPE) * (np.arange(4) > 0)[:, None, None])
    with pytest.raises(DataError, match=r"x001y000z000 is flat, x001y000z001 is not finite.*on_bad: drop"):
        bold(file, mask="mask.nii.gz")
    kept = bold(file, mask="mask.nii.gz", on_bad="drop")
    assert len(kept.signal("fmri").sensors) == 43
    assert any("left out: x001y000z000" in note for note in kept.notes)


def test_nilearn_finds_the_brain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), axis=-1)
    head = np.linalg.norm(grid - 11.5, axis=-1) < 8
    values = np.where(head, 1000.0, 20.0)[..., None] * (1 + 0.02 * rng.standard_normal((24, 24, 24, 12)))
    found = bold(image(tmp_path / "head.nii.gz", values), mask="epi").signal("fmri").sensors
    inside = {f"x{x:03d}y{y:03d}z{z:03d}" for x, y, z in np.argwhere(head)}
    assert len(inside & set(found.name)) > 0.9 * len(inside) and len(set(found.name) - inside) < 300
    assert len(found) < 0.3 * head.size


def test_parcels_are_the_means_of_an_atlas(tmp_path: Path, run: Path) -> None:
    labels = np.zeros(SHAPE)
    labels[1, :, :], labels[2, :2, :] = 7, 3
    image(tmp_path / "atlas.nii.gz", labels)
    (tmp_path / "atlas.tsv").write_text("index\tname\n3\tinsula\n7\tcuneus\n9\tnowhere\n")
    recording = bold(run, atlas="atlas.nii.gz", names="atlas.tsv")
    signal = recording.signal("fmri")
    assert signal.sensors.name == signal.sensors.region == ("insula", "cuneus")
    assert set(signal.sensors.kind) == {"parcel"}
    mean = series().astype(np.float32)[2, :2].reshape(-1, TIMES).mean(axis=0)
    np.testing.assert_allclose(signal.load()[0], 100 * (mean / mean.mean() - 1), atol=1e-3)
    np.testing.assert_allclose(signal.sensors.position[0], [0.024, -0.0585, -0.016])
    assert any("no voxel of the image lies in nowhere" in note for note in recording.notes)
    assert bold(run, atlas="atlas.nii.gz").signal("fmri").sensors.name == ("parcel 3", "parcel 7")
    image(tmp_path / "probabilities.nii.gz", labels / 10)
    with pytest.raises(DataError, match="is no atlas"):
        bold(run, atlas="probabilities.nii.gz")


# --- repetition time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tr", "unit"), [(0.0, "sec"), (1.0, "unknown"), (2.5, "unknown")])
def test_a_header_that_does_not_say_its_time_is_refused(tmp_path: Path, tr: float, unit: str) -> None:
    file = image(tmp_path / "bold.nii.gz", series(), tr, unit)
    with pytest.raises(DataError, match=r"does not say how long a volume takes.*`tr: 2\.5`"):
        bold(file)
    assert bold(file, tr=2.0).signal("fmri").sfreq == 0.5


@pytest.mark.parametrize(("tr", "unit"), [(2.5, "sec"), (2500.0, "msec"), (2.5e6, "usec")])
def test_a_header_with_a_unit_of_time_is_believed(tmp_path: Path, tr: float, unit: str) -> None:
    assert bold(image(tmp_path / "bold.nii", series(), tr, unit)).signal("fmri").sfreq == pytest.approx(0.4)


def test_a_disagreement_names_both(tmp_path: Path, run: Path) -> None:
    with pytest.raises(DataError, match=r"`tr:` says 2 s a volume and its header says 2\.5 s"):
        bold(run, tr=2.0)
    assert bold(run, tr=2.0, header_tr="ignore").signal("fmri").sfreq == 0.5
    (tmp_path / "sub-01_task-see_bold.json").write_text(json.dumps({"RepetitionTime": 3.0}))
    with pytest.raises(DataError, match=r"sub-01_task-see_bold\.json says 3 s a volume and its header says"):
        bold(run)


def test_milliseconds_called_seconds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its header says 2500 s a volume, which is not possible"):
        bold(image(tmp_path / "bold.nii", series(), 2500.0, "sec"))


def test_a_sidecar_is_inherited_from_the_dataset_and_no_farther(tmp_path: Path) -> None:
    root = tmp_path / "study"
    file = image(root / "sub-01" / "func" / "sub-01_task-see_run-1_bold.nii.gz", series(), 0.0)
    (root / "dataset_description.json").write_text("{}")
    (tmp_path / "task-see_bold.json").write_text(json.dumps({"RepetitionTime": 9.0}))
    with pytest.raises(DataError, match="does not say how long"):
        bold(file)
    (root / "task-rest_bold.json").write_text(json.dumps({"RepetitionTime": 8.0}))
    (root / "task-see_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    assert bold(file).signal("fmri").sfreq == 0.5
    (file.parent / "sub-01_task-see_bold.json").write_text(json.dumps({"RepetitionTime": 4.0}))
    assert bold(file).signal("fmri").sfreq == 0.25


# --- units --------------------------------------------------------------------------------------------------


def test_a_unit_must_be_said(run: Path) -> None:
    with pytest.raises(DataError, match=r"`unit:` is missing and can't be guessed: say `raw`"):
        read(run, reader={"kind": "nifti"})


@pytest.mark.parametrize(("unit", "factor", "kept"), [("%", 1.0, "%"), ("1", 100.0, "%"), ("z", 1.0, "z")])
def test_what_is_no_scanner_unit_keeps_its_numbers(
    tmp_path: Path, unit: str, factor: float, kept: str
) -> None:
    values = np.random.default_rng(0).standard_normal((*SHAPE, TIMES)) / factor
    signal = bold(image(tmp_path / "bold.nii", values), unit=unit).signal("fmri")
    assert set(signal.sensors.unit) == {kept}
    np.testing.assert_allclose(signal.load()[0], factor * values[0, 0, 0], rtol=1e-5)


def test_wrong_units_are_refused_with_the_right_one(tmp_path: Path, run: Path) -> None:
    for unit in ("%", "z", "1"):
        with pytest.raises(DataError, match=r"lie around 9\d\d.*say `unit: raw`"):
            bold(run, unit=unit)
    centred = np.random.default_rng(0).standard_normal((*SHAPE, TIMES))
    with pytest.raises(DataError, match="no raw scanner units"):
        bold(image(tmp_path / "centred.nii", centred))
    with pytest.raises(DataError, match="look like 1 labelled %"):
        bold(image(tmp_path / "share.nii", 0.005 * centred), unit="%")


# --- maps of responses --------------------------------------------------------------------------------------


def test_maps_are_windows_under_their_tables_labels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((*SHAPE, 6))
    values[..., 4] = values[..., 1]  # a copy
    file = image(tmp_path / "betas.nii.gz", values, 0.0)
    with pytest.raises(DataError, match=r"betas_maps\.tsv, which is not there"):
        bold(file, unit="%", maps="{stem}_maps.tsv")
    (tmp_path / "betas_maps.tsv").write_text("trial_type\nface\nhouse\nface\nn/a\nhouse\nhouse\n")
    recording = bold(file, unit="%", maps="{stem}_maps.tsv")
    signal = recording.signal("fmri")
    assert signal.data.shape == (60, 5) and signal.breaks == (1, 2, 3, 4)
    assert recording.events.label == ("face", "house", "face", "house")
    assert recording.events.onset.tolist() == [0, 1, 2, 4]
    assert any("1 responses that copy another" in note for note in recording.notes)
    with pytest.raises(DataError, match="raw units have no baseline"):
        bold(file, maps="{stem}_maps.tsv")
    (tmp_path / "betas_maps.tsv").write_text("trial_type\nface\n")
    with pytest.raises(DataError, match="1 labels do not fit 6 responses"):
        bold(file, unit="%", maps="{stem}_maps.tsv")


def test_a_single_volume_is_a_map_or_refused(tmp_path: Path) -> None:
    file = image(tmp_path / "beta_0002.nii", np.random.default_rng(0).standard_normal(SHAPE))
    with pytest.raises(DataError, match=r"is no time course; if its volumes are responses.*maps:"):
        bold(file, unit="%")
    (tmp_path / "maps.tsv").write_text("file\ttrial_type\nbeta_0001.nii\tface\nbeta_0002.nii\thouse\n")
    assert bold(file, unit="z", maps="maps.tsv").events.label == ("house",)
    (tmp_path / "maps.tsv").write_text("file\ttrial_type\nbeta_0001.nii\tface\n")
    with pytest.raises(DataError, match=r"no row whose file is beta_0002\.nii"):
        bold(file, unit="z", maps="maps.tsv")


# --- broken files -------------------------------------------------------------------------------------------


def test_broken_files_are_one_sentence(tmp_path: Path, run: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        bold(tmp_path / "absent.nii")
    (tmp_path / "text.nii").write_text("no image")
    with pytest.raises(DataError, match=r"text\.nii can't be read as NIfTI"):
        bold(tmp_path / "text.nii")
    whole = gzip.decompress(run.read_bytes())
    (tmp_path / "short.nii").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"short\.nii can't be read to its end"):
        bold(tmp_path / "short.nii")
    (tmp_path / "short.nii.gz").write_bytes(run.read_bytes()[: run.stat().st_size // 2])
    with pytest.raises(DataError, match=r"short\.nii\.gz can't be read"):
        bold(tmp_path / "short.nii.gz")


# --- grayordinates and surfaces -----------------------------------------------------------------------------


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


# --- responses of MATLAB files ------------------------------------------------------------------------------


def responses(file: Path, **given: Any) -> Any:
    """A reader of two tasks × (voxel, label, run) in `file`, which it writes; voxel 3 holds zeros alone."""
    values = np.random.default_rng(0).standard_normal((2, 6, 3, 4))
    values[:, 3] = 0
    savemat(file, {"one": values[0], "two": values[1]})
    settings = {
        "kind": "matlab_responses",
        "responses": ["one", "two"],
        "axes": ["sensor", "label", "run"],
        "classes": ["face", "car", "house"],
        "unit": "%",
        "on_bad": "drop",
        **given,
    }
    return Reader.model_validate(settings), values


def test_every_run_of_a_matlab_file_is_a_recording(tmp_path: Path) -> None:
    reader, values = responses(tmp_path / "sub1.mat")
    entries = reader.find(tmp_path, "sub{subject}.mat")
    assert [(entry.subject, entry.run) for entry in entries] == [("1", str(run)) for run in (1, 2, 3, 4)]
    second = read_entry(reader, entries[1])
    signal = second.signal("fmri")
    assert signal.sensors.name == ("v1", "v2", "v3", "v5", "v6")
    assert second.events.label == ("face", "car", "house") * 2
    expected = np.concatenate([values[0, :, :, 1], values[1, :, :, 1]], axis=1)
    np.testing.assert_allclose(signal.load(), np.delete(expected, 3, axis=0), rtol=1e-6)
    together = reader.read(tmp_path / "sub1.mat")
    assert together.signal("fmri").n_times == 24 and together.events.label[:7] == (
        *("face", "car", "house") * 2,
        "face",
    )
    with pytest.raises(DataError, match="runs 1 to 4, not 9"):
        reader.read(tmp_path / "sub1.mat" / "run-9")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"axes": ["sensor", "label"]}, "does not fit axes"),
        ({"axes": ["label", "run"]}, "must be sensor and window"),
        ({"classes": ["face", "car"]}, "2 labels do not fit 3 responses"),
        ({"classes": []}, "needs `classes:`"),
        ({"responses": ["one", "three"]}, "has no variable 'three'; it has one, two"),
        ({"unit": "raw"}, "raw units have no baseline"),
    ],
)
def test_matlab_responses_that_do_not_fit_are_one_sentence(
    tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    reader, _ = responses(tmp_path / "sub1.mat", **given)
    with pytest.raises(DataError, match=words):
        reader.read(tmp_path / "sub1.mat")


def test_what_was_seen_lies_beside_each_response(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values, pictures = rng.standard_normal((5, 8)), rng.integers(0, 255, (5, 2, 3)).astype(np.uint8)
    values[4] = values[0]  # a copy takes its picture along
    savemat(
        tmp_path / "a.mat",
        {
            "x": values,
            "seen": pictures.transpose(0, 2, 1).reshape(5, 6),
            "y": np.array([[6, 9, 6, 9, 6]]),
        },
    )
    reader = {
        "kind": "matlab_responses",
        "responses": ["x"],
        "axes": ["window", "sensor"],
        "labels": "y",
        "unit": "z",
        "seconds": 2.0,
        "tracks": {"image": {"variable": "seen", "shape": [2, 3], "order": "F"}},
    }
    recording = read(tmp_path / "a.mat", reader=reader)
    assert recording.events.label == ("6", "9", "6", "9") and recording.events.onset.tolist() == [0, 2, 4, 6]
    assert recording.tracks["image"].rate == recording.signal("fmri").sfreq == 0.5
    np.testing.assert_array_equal(recording.tracks["image"].data, pictures[:4])
    reader["tracks"] = {"image": {"variable": "seen", "shape": [3, 3]}}
    with pytest.raises(DataError, match=r"a row of seen holds 6 numbers, not \[3, 3\]"):
        read(tmp_path / "a.mat", reader=reader)


# --- confounds ----------------------------------------------------------------------------------------------

PREPROCESSED = "sub-01_task-see_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"


def prepared(folder: Path) -> tuple[Path, NDArray[np.float64], pd.DataFrame]:
    """An image of fMRIPrep whose voxels hold some of the head's movement, the part that is none, and the confounds."""
    rng = np.random.default_rng(3)
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    table = pd.DataFrame(rng.standard_normal((TIMES, 6)).cumsum(axis=0), columns=names)
    for name in names:
        table[f"{name}_derivative1"] = table[name].diff()
        table[f"{name}_power2"] = table[name] ** 2
        table[f"{name}_derivative1_power2"] = table[name].diff() ** 2
    table["framewise_displacement"] = table[names].diff().abs().sum(axis=1, min_count=1)
    table.to_csv(
        folder / "sub-01_task-see_desc-confounds_timeseries.tsv", sep="\t", na_rep="n/a", index=False
    )
    (folder / "sub-01_task-see_desc-confounds_timeseries.json").write_text("{}")
    still = 0.01 * rng.standard_normal((*SHAPE, TIMES))
    moved = still + 0.02 * rng.standard_normal((*SHAPE, 6)) @ table[names].to_numpy().T
    return image(folder / PREPROCESSED, 1000 * (1 + moved)), still, table


def test_confounds_are_a_track_with_their_names(tmp_path: Path) -> None:
    file, _, table = prepared(tmp_path)
    recording = bold(file, confounds={"columns": ["trans_?", "trans_x_derivative1"]})
    track = recording.tracks["confounds"]
    assert track.names == ("trans_x", "trans_y", "trans_z", "trans_x_derivative1")
    column = track.names.index("trans_x_derivative1")
    np.testing.assert_allclose(track.data[1:, column], table["trans_x_derivative1"][1:], rtol=1e-6)
    assert track.data[0, column] == track.data[1, column]
    assert any("1 confounds lack a first value" in note for note in recording.notes)
    by_strategy = bold(file, confounds={"strategy": ["motion"]}).tracks["confounds"]
    assert len(by_strategy.names) == 24 and "rot_z_power2" in by_strategy.names
    column = by_strategy.names.index("rot_z")
    np.testing.assert_allclose(by_strategy.data[:, column], table["rot_z"], rtol=1e-6)


def test_confounds_that_do_not_fit_are_one_sentence(tmp_path: Path, run: Path) -> None:
    file, _, table = prepared(tmp_path)
    for said, words in (
        ({"columns": ["csf"]}, "has no column 'csf'; it has trans_x"),
        ({}, "one of the two"),
        ({"strategy": ["wm_csf"]}, "can't be read by strategy"),
    ):
        with pytest.raises(DataError, match=words):
            bold(file, confounds=said)
    with pytest.raises(
        DataError, match=r"sub-01_task-see_desc-confounds_timeseries\.tsv, which is not there"
    ):
        bold(image(tmp_path / "other" / run.name, series()), confounds={"columns": ["csf"]})
    table.iloc[:-1].to_csv(tmp_path / "short.tsv", sep="\t", na_rep="n/a", index=False)
    with pytest.raises(DataError, match=r"short\.tsv has 39 rows, but .* 40 volumes"):
        bold(file, confounds={"columns": ["trans_x"], "file": "short.tsv"})


def test_regressing_movement_out_leaves_what_is_none(tmp_path: Path) -> None:
    file, still, _ = prepared(tmp_path)
    recording = bold(file, confounds={"columns": ["trans_?", "rot_?"]})
    truth = 100 * still.reshape(-1, TIMES)

    def likeness(one: Recording) -> float:
        rows = zip(one.signal("fmri").load(), truth, strict=True)
        return float(np.median([np.corrcoef(row, true)[0, 1] for row, true in rows]))

    cleaned = RegressOut(track="confounds")(recording, "fmri")
    assert likeness(recording) < 0.6 and likeness(cleaned) > 0.9
    values, confounds = cleaned.signal("fmri").load(), recording.tracks["confounds"].data
    centred = confounds - confounds.mean(axis=0)
    assert np.abs(values @ centred).max() < 1e-3 * np.abs(recording.signal("fmri").load() @ centred).max()
    np.testing.assert_allclose(values.mean(axis=1), recording.signal("fmri").load().mean(axis=1), atol=1e-6)
    assert "6 confounds (trans_x, trans_y, trans_z, rot_x, rot_y, rot_z) taken out" in cleaned.notes[-1]
    some = RegressOut(track="confounds", columns=["trans_x"])(recording, "fmri")
    left = np.abs(some.signal("fmri").load() @ centred).max(axis=0)
    assert left[0] < 1e-6 * left[1:].max()
    with pytest.raises(DataError, match="has no column 'csf'"):
        RegressOut(track="confounds", columns=["csf"])(recording, "fmri")
    with pytest.raises(DataError, match="has no track 'motion' of confounds; its tracks: confounds"):
        RegressOut(track="motion")(recording, "fmri")


@pytest.mark.parametrize(("drift", "power"), [("linear", 1), ("polynomial", 2), ("cosine", 1)])
def test_drift_is_taken_out_and_the_signal_left(tmp_path: Path, drift: str, power: int) -> None:
    time = np.linspace(-1, 1, 200)
    fast = np.sin(2 * np.pi * np.arange(200) * 2.5 / 20)  # 20 s a cycle
    values = np.broadcast_to(fast + 20 * time**power, (*SHAPE, 200))
    file = image(tmp_path / "bold.nii", values)
    recording = bold(file, unit="%")
    cleaned = RegressOut(drift=drift)(recording, "fmri").signal("fmri").load()
    assert np.corrcoef(recording.signal("fmri").load()[0], fast)[0, 1] < 0.4
    assert np.corrcoef(cleaned[0], fast)[0, 1] > 0.9
    scaled = RegressOut(drift=drift, standardise=True)(recording, "fmri").signal("fmri")
    np.testing.assert_allclose(scaled.load().std(axis=1), 1, rtol=1e-9)
    assert set(scaled.sensors.unit) == {"z"}


def test_cleaning_refuses_what_it_would_leave_empty(tmp_path: Path) -> None:
    file, _, _ = prepared(tmp_path)
    recording = bold(file, confounds={"strategy": ["motion"]})
    with pytest.raises(DataError, match="regressors leave nothing of a stretch of 40 samples"):
        RegressOut(track="confounds", drift="cosine", slowest=6.0)(recording, "fmri")
    with pytest.raises(DataError, match="needs a `track:` of confounds, a `drift:`, or both"):
        RegressOut()(recording, "fmri")
    reader, _ = responses(tmp_path / "sub1.mat")
    with pytest.raises(DataError, match="leave regress_out out for maps of responses"):
        RegressOut(drift="linear")(reader.read(tmp_path / "sub1.mat"), "fmri")


# --- regions ------------------------------------------------------------------------------------------------


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


# --- cards, windows, decoding -------------------------------------------------------------------------------


def planted(tmp_path: Path, name: str, *changes: tuple[str, str]) -> DataCard:
    """A shipped card with errors put into it."""
    text = (Path(__file__).parents[1] / "data_cards" / f"{name}.md").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    card = DataCard.load(tmp_path / f"{name}.md")
    if card.folder and not (REAL / card.folder).is_dir():
        pytest.skip(f"{card.folder} is not in BRAINFM_DATA")
    return card


@pytest.mark.parametrize(
    ("name", "change", "field", "words"),
    [
        ("fmri_haxby_sub001", ("sfreq: 0.4", "sfreq: 0.5"), "facts.sfreq", "0.4"),
        ("fmri_haxby_sub001", ("tr: 2.5", "tr: 2.0"), "recordings", "its header says 2.5 s"),
        ("fmri_haxby_sub001", ("unit: raw", 'unit: "%"'), "recordings", "say `unit: raw`"),
        ("fmri_haxby_sub001", ("sensors: 530", "sensors: 577"), "facts.sensors", "530"),
        ("fmri_haxby_sub001", ("face: 12", "face: 11"), "facts.windows", "'face': 12"),
        ("fmri_haxby_sub001", ("recordings: 12", "recordings: 10"), "facts.recordings", "12"),
        ("fmri_vtc_tasks", ("unit: \"%\"", "unit: raw"), "recordings", "no baseline"),
        ("fmri_vtc_tasks", ("sensors: 749", "sensors: 1973"), "facts.sensors", "749"),
        ("fmri_vtc_tasks", ("axes: [sensor, label, run]", "axes: [sensor, run, label]"), "recordings", "labels"),
        ("fmri_digits69", ("unit: \"1\"", 'unit: "%"'), "recordings", "look like 1 labelled %"),
        ("fmri_digits69", ("six: 45", "six: 50"), "facts.windows", "'six': 45"),
        ("simulated_fmri", ("sfreq: 0.5", "sfreq: 0.4"), "facts.sfreq", "0.5"),
        ("simulated_fmri", ("subjects: 6\n", "subjects: 7\n"), "facts.subjects", "6"),
    ],
)  # fmt: skip
def test_check_finds_a_planted_error(
    tmp_path: Path, name: str, change: tuple[str, str], field: str, words: str
) -> None:
    (problem,) = check(planted(tmp_path, name, change))
    assert problem.field == field and words in problem.found


def test_windows_wait_for_the_blood() -> None:
    """Volumes are labelled by the event a lag before them."""
    data = np.arange(20.0)[None]
    events = Events(np.array([4.0]), np.array([8.0]), ("face",))
    recording = Recording({"fmri": Signal(data, 0.5, Sensors.of(["v"], "voxel", "%"))}, events)
    for lag, first in ((0.0, 2), (6.0, 5)):
        windows = Sliding(seconds=2.0, lag=lag)([recording], "fmri", ["face"])
        volumes = take([recording], windows, np.arange(len(windows)), "fmri")
        assert volumes.ravel().tolist() == list(range(first, first + 4))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("fmri_haxby_sub001", 0.68, 0.78), ("fmri_vtc_tasks", 0.95, 1.0), ("fmri_digits69", 0.93, 1.0)],
)
def test_the_cards_baselines_meet_the_known_numbers(name: str, low: float, high: float) -> None:
    """0.729 and 0.978 were computed outside brainfm, with the same runs held out."""
    card = DataCard.load(name)
    if not (REAL / card.folder).is_dir():
        pytest.skip(f"{card.folder} is not in BRAINFM_DATA")
    evaluation = Evaluation.of(card)
    assert card.baseline is not None
    row = evaluation.row("classical", [evaluation.baseline(card.baseline)])
    assert low <= row.score <= high


def test_people_with_voxels_of_their_own_are_decoded_each_apart() -> None:
    evaluation = Evaluation.of(DataCard.load("simulated_fmri"), limit=2)
    assert evaluation.comparable and evaluation.card.baseline is not None
    counts = {len(recording.signal("fmri").sensors) for recording in evaluation.recordings}
    assert len(counts) == 2
    row = evaluation.row("classical", [evaluation.baseline(evaluation.card.baseline)])
    assert row.score > 0.6
    pooled = Evaluation.of(DataCard.load("simulated_fmri"), split_name="CrossSubject", limit=2)
    assert not pooled.comparable
    with pytest.raises(DataError, match="differ in"):
        pooled.baseline(evaluation.card.baseline)


def test_the_pictures_seen_are_those_that_the_voxels_tell() -> None:
    """Ridge from voxels to pixels, ten folds: about 0.73, as outside brainfm; with the pictures mixed up, far less."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict

    if not (REAL / "fmri_digits69").is_dir():
        pytest.skip("fmri_digits69 is not in BRAINFM_DATA")
    (recording,) = DataCard.load("fmri_digits69").recordings()
    voxels = recording.signal("fmri").load().T
    voxels = (voxels - voxels.mean(axis=0)) / voxels.std(axis=0)
    pixels = recording.tracks["image"].data.reshape(len(voxels), -1).astype(float)
    folds = KFold(10, shuffle=True, random_state=0)

    def score(seen: NDArray[np.float64]) -> float:
        guessed = cross_val_predict(Ridge(1e4), voxels, seen, cv=folds)
        return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(guessed, seen, strict=True)]))

    assert 0.68 < score(pixels) < 0.78
    assert score(pixels[np.random.default_rng(0).permutation(len(pixels))]) < 0.6
    upright = recording.tracks["image"].data[:45].mean(axis=0)  # a six has its ink low, its stem left
    assert upright[14:].sum() > 1.2 * upright[:14].sum()
