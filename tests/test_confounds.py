"""Confounds are a track beside the signal, and regressing them out leaves what is none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from little_files import SHAPE, TIMES, bold, image, responses, series
from nilearn.signal import clean
from numpy.typing import NDArray

from brainfm.data.preprocess.regress_out import RegressOut
from brainfm.data.recording import Recording
from brainfm.errors import DataError

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


def test_confounds_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
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
        bold(
            image(tmp_path / "other" / "sub-01_task-see_bold.nii.gz", series()),
            confounds={"columns": ["csf"]},
        )
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
    raw = recording.signal("fmri").load().T
    theirs = clean(raw, confounds=confounds, detrend=False, standardize="zscore_sample", filter=False).T
    ours = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
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
