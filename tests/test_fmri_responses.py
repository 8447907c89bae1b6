"""Responses of fMRI, as maps and from MATLAB: each is a window under its own label, beside what was seen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_files import SHAPE, bold, image, responses
from scipy.io import savemat

from brainfm.data.reading import read, read_entry
from brainfm.errors import DataError

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


# --- responses of MATLAB files ------------------------------------------------------------------------------


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
