"""fMRI in volumes: their time, unit and places are as stated, never guessed."""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from little_files import AFFINE, SHAPE, TIMES, bold, image, series

from brainfm.data.events import bare, stem
from brainfm.data.reading import read
from brainfm.errors import DataError


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


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".dtseries.nii", ".func.gii"])
def test_a_recording_is_called_the_same_in_every_format(suffix: str) -> None:
    file = Path(f"sub-01_task-see_bold{suffix}")
    assert (stem(file), bare(file)) == ("sub-01_task-see", "sub-01_task-see_bold")


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
