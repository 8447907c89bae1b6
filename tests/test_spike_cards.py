"""The cards of spikes: a planted error is found, and a real clock is the same in either unit."""

from pathlib import Path

import numpy as np
import pytest
from little_files import REAL

from brainfm.data.cards import DataCard, check
from brainfm.data.readers.spike_arrays import SpikeArrays
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError

PLANTED = [
    ("spk_zhang_desimone", "step: 0.05", "step: 0.1", "facts.sfreq"),
    ("spk_zhang_desimone", "width: 0.15", "width: 0.2", "recordings"),
    ("spk_zhang_desimone", "sensors: 132", "sensors: 131", "facts.sensors"),
    ("spk_zhang_desimone", "flower: 59", "flower: 60", "facts.windows"),
    ("spk_zhang_desimone", "unit: 1/ms", "unit: Hz", "recordings"),
    ("spk_dad_m1", "step: 0.01", "step: 0.02", "facts.sfreq"),
    ("spk_dad_m1", "sensors: 71", "sensors: 70", "facts.sensors"),
    ("spk_dad_m1", "unit: count", "unit: Hz", "recordings"),
    ("spk_nelpy_ca1", "unit: s\n  times", "unit: ms\n  times", "recordings"),
    ("spk_nelpy_ca1", "unit: s\n  times", "unit: µs\n  times", "recordings"),
    ("spk_nelpy_ca1", "sensors: 31", "sensors: 37", "facts.sensors"),
    ("spk_nelpy_ca1", "near: 424", "near: 425", "facts.windows"),
    ("spk_nelpy_ca1", "sfreq: 1000.0", "sfreq: 30000.0", "facts.sfreq"),
    ("simulated_spikes", "sfreq: 1000.0", "sfreq: 100.0", "facts.sfreq"),
]


@pytest.mark.parametrize(("name", "old", "new", "field"), PLANTED)
def test_a_planted_error_is_found(tmp_path: Path, name: str, old: str, new: str, field: str) -> None:
    card = DataCard.load(name)
    if card.folder and not (REAL / card.folder).is_dir():
        pytest.skip("the recordings are not here")
    text = (Path(__file__).parents[1] / "data_cards" / f"{name}.md").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / f"{name}.md").write_text(text.replace(old, new, 1), encoding="utf-8")
    found = check(DataCard.load(tmp_path / f"{name}.md"))
    assert field in {problem.field for problem in found}


def test_the_real_clock_in_milliseconds_is_the_same_recording(tmp_path: Path) -> None:
    """The rat's spikes written again in milliseconds: equal where they are labelled so, refused where not."""
    card = DataCard.load("spk_nelpy_ca1")
    if not (REAL / card.folder).is_dir():
        pytest.skip("the recordings are not here")
    recording = card.recordings()[0]
    spikes = recording.signal("spikes").data
    assert isinstance(spikes, SpikeTimes)
    np.savez(tmp_path / "a.npz", **{f"n{row:02d}": spikes.train(row) * 1e3 for row in range(spikes.neurons)})
    again = SpikeArrays(unit="ms", stop=spikes.seconds * 1e3).read(tmp_path / "a.npz")
    np.testing.assert_allclose(again.signal("spikes").data.time, spikes.time, atol=1e-9)
    with pytest.raises(DataError, match="ms labelled s"):
        SpikeArrays(unit="s").read(tmp_path / "a.npz")
