"""The cards of fMRI: a planted error is found, windows wait for the blood, and decoding meets the known numbers."""

from pathlib import Path

import numpy as np
import pytest
from little_files import REAL
from numpy.typing import NDArray

from brainfm.data.cards import DataCard, check
from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation


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
