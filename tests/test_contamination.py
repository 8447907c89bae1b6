"""Contamination by file: what a checkpoint saw is known again after what happens to files, and nothing else is."""

import os
import sys
from pathlib import Path

import pytest
import tiny

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import contamination

from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording

REAL = Path(os.environ.get("BRAINFM_DATA", "../shared/data")) / "eeg_arithmetic"
SURVIVED = [name for name in contamination.CHANGES if name not in ("average reference", "pieces of 10 s")]


def recalls(recordings: list[tuple[Recording, str]]) -> tuple[dict[str, float], int]:
    counts = contamination.measure(recordings)
    every = contamination.total(counts)
    assert every.pairs > 0 and every.copies > 50
    names = {one.change for one in counts}
    return {
        name: (one := contamination.total(counts, change=name)).seen / one.copies for name in names
    }, every.wrong


def test_simulated_people_are_known_again_after_every_change(tmp_path: Path) -> None:
    card = DataCard.load(tiny.people(tmp_path, subjects=3, seconds=130.0))
    found, wrong = recalls([(one, "eeg") for one in card.recordings()])
    assert set(SURVIVED) <= set(found)
    assert {name: found[name] for name in SURVIVED} == dict.fromkeys(SURVIVED, 1.0)
    assert wrong == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings (BRAINFM_DATA) are not here")
def test_real_recordings_of_the_same_people_are_told_apart() -> None:
    card = DataCard.load("eeg_arithmetic")
    found, wrong = recalls([(one, "eeg") for one in card.recordings(4)])
    assert all(found[name] > 0.95 for name in SURVIVED if name in found), found
    assert wrong == 0
