"""The simulated brain: deterministic, plausible, its classes decodable across people but not perfectly."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, welch

from brainfm.data.brain import NAMES, Brain, coloured
from brainfm.data.gate import trustworthy
from brainfm.data.modalities import instruments, known, modality
from brainfm.data.readers.simulated import Simulated
from brainfm.data.reading import read_entry
from brainfm.data.recording import Recording
from brainfm.errors import DataError


@pytest.fixture(scope="module")
def people() -> list[Recording]:
    """Six people, three minutes each."""
    part = Simulated(subjects=6, seed=1)
    return [read_entry(part, entry) for entry in part.find(Path(), "")]


def test_find_gives_subjects_times_sessions() -> None:
    entries = Simulated(subjects=2, sessions=2).find(Path(), "")
    assert [(entry.subject, entry.session) for entry in entries] == [
        ("01", "01"), ("01", "02"), ("02", "01"), ("02", "02")
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_bytes_in_any_order() -> None:
    part = Simulated(subjects=2, sessions=2, seconds=10.0)
    entries = part.find(Path(), "")
    once = [part.read(entry.path).content_hash for entry in entries]
    again = [part.read(entry.path).content_hash for entry in reversed(entries)][::-1]
    assert once == again
    assert len(set(once)) == 4
    other = part.model_copy(update={"seed": 1}).read(entries[0].path)
    assert other.content_hash != once[0]


def test_a_person_is_the_same_in_every_session_and_unlike_others() -> None:
    first, again, other = (Brain.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.hertz, again.hertz)
    assert not np.array_equal(first.hertz, other.hertz)
    assert not np.array_equal(first.place, other.place)


@pytest.mark.parametrize("sensors", [8, 19, 64])
def test_every_montage_is_seen(sensors: int) -> None:
    recording = modality("eeg").simulate(np.random.default_rng(0), seconds=8.0, sensors=sensors, sfreq=200.0)
    signal = recording.signal("eeg")
    assert signal.data.shape == (sensors, 1600)
    assert signal.sensors.located.all()
    assert 1e-6 < np.median(signal.load().std(axis=1)) < 50e-6
    assert "eeg" in known()


def test_a_smaller_montage_sees_the_same_brain() -> None:
    few, many = (
        modality("eeg").simulate(np.random.default_rng(3), seconds=5.0, sensors=n).signal("eeg")
        for n in (8, 32)
    )
    np.testing.assert_array_equal(few.load(), many.load()[:8])


def test_what_can_not_be_simulated_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="7 sensors can't be simulated; take 8 to 64"):
        modality("eeg").simulate(rng, sensors=7)
    with pytest.raises(DataError, match="class 'tongue' can't be simulated; known: left_hand"):
        modality("eeg").simulate(rng, classes=["tongue"])
    with pytest.raises(DataError, match=r"modality 'eegg' is not known; did you mean 'eeg'\?"):
        modality("eegg")


def test_labels_and_truth_tell_the_same(people: list[Recording]) -> None:
    recording = people[0]
    counts = [recording.events.label.count(name) for name in ("left_hand", "right_hand")]
    assert min(counts) > 15 and abs(counts[0] - counts[1]) <= 1
    truth = recording.tracks["class"]
    for onset, label in zip(recording.events.onset, recording.events.label, strict=True):
        middle = round((onset + 1.25) * truth.rate)
        assert truth.data[middle] == ("left_hand", "right_hand").index(label)
    assert (truth.data == -1).any()


def test_imagery_lowers_the_mu_rhythm_of_the_other_side(people: list[Recording]) -> None:
    ratio = []
    for recording in people:
        track, label = recording.tracks["envelopes"], recording.tracks["class"].data
        left, right = (track.data[:, NAMES.index(name)] for name in ("mu_left", "mu_right"))
        asymmetry = np.log(left / right)
        ratio.append(asymmetry[label == 0].mean() - asymmetry[label == 1].mean())
    assert min(ratio) > 0.1  # left hand: the right hemisphere's rhythm is the lower one


def test_alpha_is_strongest_at_the_back_and_power_falls_with_frequency(people: list[Recording]) -> None:
    for recording in people:
        signal = recording.signal("eeg")
        hertz, power = welch(signal.load(), signal.sfreq, nperseg=256)
        band = power[:, (hertz > 8) & (hertz < 12.5)].mean(axis=1)
        rows = {name: band[row] for row, name in enumerate(signal.sensors.name)}
        assert rows["O1"] + rows["O2"] > 2 * (rows["F3"] + rows["F4"])
        low, high = (power[:, (hertz > a) & (hertz < b)].mean() for a, b in ((1, 4), (30, 45)))
        assert low > 5 * high


def test_coloured_noise_falls_as_asked_within_its_band() -> None:
    noise = coloured(np.random.default_rng(0), 4, 20000, 100.0, 1.5, band=(1.0, 30.0))
    hertz, power = welch(noise, 100.0, nperseg=1000)
    inside = (hertz > 2) & (hertz < 25)
    slope = np.polyfit(np.log(hertz[inside]), np.log(power.mean(axis=0)[inside]), 1)[0]
    assert slope == pytest.approx(-1.5, abs=0.15)
    assert power[:, hertz > 32].max() < 1e-3 * power[:, inside].min()
    np.testing.assert_allclose(noise.std(axis=1), 1.0)


def windows(people: list[Recording]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Band-passed trials, their labels and whose they are."""
    sos = butter(4, (8, 30), "bandpass", fs=128.0, output="sos")
    trials, labels, groups = [], [], []
    for person, recording in enumerate(people):
        data = sosfiltfilt(sos, recording.signal("eeg").load()) * 1e6
        for onset, label in zip(recording.events.onset, recording.events.label, strict=True):
            first = round((onset + 0.25) * 128)
            trials.append(data[:, first : first + 256])
            labels.append(label)
            groups.append(person)
    return np.array(trials), np.array(labels), np.array(groups)


def test_csp_across_people_is_above_chance_and_far_from_perfect(people: list[Recording]) -> None:
    from pyriemann.estimation import Covariances
    from pyriemann.spatialfilters import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    from sklearn.pipeline import make_pipeline

    trials, labels, groups = windows(people)
    decoder = make_pipeline(Covariances("oas"), CSP(6), LinearDiscriminantAnalysis())
    scores = cross_val_score(
        decoder, trials, labels, groups=groups, cv=LeaveOneGroupOut(), scoring="balanced_accuracy"
    )
    assert 0.62 < scores.mean() < 0.88


@pytest.fixture(scope="module")
def scanned() -> Recording:
    return modality("fmri").simulate(np.random.default_rng(5))


def test_the_blood_follows_the_brain_late(scanned: Recording) -> None:
    """Under C3 the signal is higher in blocks of the right hand, and most so about five seconds after they begin to differ."""
    signal = scanned.signal("fmri")
    assert 50 < len(signal.sensors) < 150 and signal.sfreq == 0.5
    data = signal.load() - signal.load().mean(axis=1, keepdims=True)
    regions = np.array(signal.sensors.region)
    side = data[regions == "under_C3"].mean(axis=0) - data[regions == "under_C4"].mean(axis=0)
    label = np.zeros(signal.n_times)
    for onset, duration, name in zip(
        scanned.events.onset, scanned.events.duration, scanned.events.label, strict=True
    ):
        label[round(onset / 2) : round((onset + duration) / 2)] = 1 if name == "right_hand" else -1
    together = [np.corrcoef(label[: len(label) - lag], side[lag:])[0, 1] for lag in range(6)]
    assert max(together) > 0.3
    assert int(np.argmax(together)) in (1, 2, 3)


def test_movement_is_in_every_voxel_and_its_truth_is_kept(scanned: Recording) -> None:
    data, moved = scanned.signal("fmri").load(), scanned.tracks["motion"].data
    explained, centred = moved - moved.mean(axis=0), (data - data.mean(axis=1, keepdims=True)).T
    fitted = explained @ np.linalg.lstsq(explained, centred, rcond=None)[0]
    assert np.median(fitted.var(axis=0) / centred.var(axis=0)) > 4 * 6 / len(moved)  # four times chance


@pytest.mark.parametrize("name", known())
def test_every_instrument_sees_the_same_brain(name: str) -> None:
    """One person's rhythms under each instrument: the truth beside the signal is that person's, and within the gate's ranges."""
    brain = Brain.draw(np.random.default_rng(9))
    seen = modality(name).simulate(np.random.default_rng(1), seconds=60.0, brain=brain)
    envelopes = seen.tracks["envelopes"]
    assert envelopes.data.shape[1] == len(NAMES)
    assert np.median(envelopes.data.mean(axis=0) / brain.moment) == pytest.approx(1.0, abs=0.3)
    checked = trustworthy(seen)
    assert checked.content_hash and checked.signal(name).sensors.located.all() == (name in instruments())


def test_behaviour_is_no_instrument_of_the_brain() -> None:
    assert instruments() == ["eeg", "fmri", "meg", "seeg", "spikes"]
    assert known() == sorted([*instruments(), "behaviour"])
