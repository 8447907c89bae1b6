"""The checkpoint that comes with the package: small, whole, of open data alone, and of use in the first minute."""

from pathlib import Path

import numpy as np
import pytest

import brainfm
from brainfm.checkpoint import SHIPPED, resolve, shipped
from brainfm.data.brain import Brain
from brainfm.data.cards import DataCard
from brainfm.data.licences import licence
from brainfm.data.modalities import modality
from brainfm.model import BrainFM
from tests import tiny

OPEN = {"CC0-1.0", "CC-BY-4.0", "ODC-By-1.0", "BSD-3-Clause", "MIT"}
FIVE = ("eeg", "meg", "seeg", "fmri", "spikes")


@pytest.fixture(scope="module")
def model() -> BrainFM:
    return brainfm.load("brainfm-tiny")


def test_it_is_small_and_whole(model: BrainFM) -> None:
    assert shipped() == ["brainfm-tiny"]
    folder = SHIPPED / "brainfm-tiny"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".md"}
    assert model.load_report.coverage == 1.0 and not model.training
    assert set(model.modalities) == set(FIVE)


def test_it_saw_open_data_alone(model: BrainFM) -> None:
    names = model.manifest.datasets
    assert len(names) > 5
    for name in names:
        card = DataCard.load(name)
        found = licence(card.licence)
        made = card.licence.startswith("none needed, made by brainfm")
        assert made or (found is not None and found.spdx in OPEN), name
    assert not any(entry.with_labels for entry in model.manifest.entries)


@pytest.mark.parametrize("instrument", FIVE)
def test_it_embeds_a_stranger_of_every_instrument(model: BrainFM, instrument: str) -> None:
    seconds = 400.0 if instrument == "fmri" else 20.0
    brain = Brain.draw(np.random.default_rng(99))
    stranger = modality(instrument).simulate(np.random.default_rng(98), brain=brain, seconds=seconds)
    values = model.embed(stranger, instrument).values
    assert values.shape[1] == model.width and np.isfinite(values).all()
    assert values.std(axis=0).max() > 1e-3


def test_a_probe_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    card = tiny.people(tmp_path, subjects=3, seconds=40.0)
    result = tiny.brainfm("probe", "brainfm-tiny", card, "--seeds", 1, "--json")
    assert result.code == 0, result.err
    assert {"chance", "untrained", "frozen"} <= {row["name"] for row in result.json["rows"]}


def test_a_folder_of_its_name_wins_and_a_wrong_name_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve("brainfm-tiny") == SHIPPED / "brainfm-tiny"
    said = tiny.only_sentence(tiny.brainfm("probe", "brainfm-tniy", "simulated_eeg"))
    assert "brainfm-tiny comes with brainfm" in said
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brainfm-tiny").mkdir()
    (tmp_path / "brainfm-tiny" / "config.json").write_text("{}", encoding="utf-8")
    assert resolve("brainfm-tiny") == Path("brainfm-tiny")
