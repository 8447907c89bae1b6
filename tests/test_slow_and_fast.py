"""EEG inside the scanner: rates that differ 256 times, in one window with the tokens of both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from brainfm.chance import Chance
from brainfm.corpus import Together
from brainfm.gather import gather
from brainfm.jobs.pretrain import pretrain
from brainfm.learner import learner
from brainfm.recipe import PretrainRecipe

MakeRecipe = Callable[..., PretrainRecipe]
SCANNED = {
    "eeg": {
        "prepare": [{"kind": "robust_scale", "scope": "recording", "clip": 15.0}],
        "seconds": 4.0,
        "tokenizer": {"kind": "patch", "seconds": 1.0, "sfreq": 128.0},
    },
    "fmri": {
        "prepare": [
            {"kind": "regress_out", "drift": "linear"},
            {"kind": "robust_scale", "scope": "recording", "clip": 15.0},
        ],
        "seconds": 48.0,
        "tokenizer": {"kind": "parcels", "seconds": 4.0, "sfreq": 0.5},
    },
}


@pytest.fixture(scope="module")
def recipe(make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> PretrainRecipe:
    """Two people of whom a cap and a scanner know at once; the window asked for is no whole number of volumes apart."""
    reader = "{kind: simulated, modality: eeg, beside: [fmri], subjects: 2, seconds: 131.0, sensors: 8}"
    card = tiny.card(tmp_path_factory.mktemp("cards"), "scanned", reader)
    together: list[dict[str, Any]] = [{"modalities": ["eeg", "fmri"], "seconds": 32.0, "stride": 9.0}]
    return make_recipe(
        data={"cards": [str(card)]},
        signals=SCANNED,
        together=together,
        mask={"kind": "modality", "otherwise": {"kind": "block"}},
        train={"steps": 2, "batch": 4, "learning_rate": 1e-3},
    )


@pytest.fixture(scope="module")
def stream(recipe: PretrainRecipe) -> Together:
    _, streams, _ = gather(recipe)
    assert list(streams) == ["eeg+fmri"]
    found = streams["eeg+fmri"]
    assert isinstance(found, Together)
    return found


def test_windows_begin_with_a_volume_and_hold_the_same_seconds(stream: Together) -> None:
    """Nine seconds are no whole number of volumes of two seconds: windows are as near to that as volumes are, ten apart."""
    eeg, fmri = stream.parts
    here = stream.windows.recording == 0
    np.testing.assert_array_equal(stream.windows.start[here], np.arange(0, 99, 10))
    row = np.flatnonzero(here)[3:4]
    fast, slow = stream.batches(row)
    assert (fast.signal.shape[-1], slow.signal.shape[-1]) == (32 * 128, 16)
    whole = [part.recordings[0].signal(part.modality).load() for part in (eeg, fmri)]
    np.testing.assert_allclose(fast.signal[0], whole[0][:, 30 * 128 : 62 * 128], rtol=1e-5)
    np.testing.assert_allclose(slow.signal[0], whole[1][:, 15:31], rtol=1e-5)


def test_the_encoder_sees_tokens_of_both(recipe: PretrainRecipe, stream: Together) -> None:
    net = learner(recipe, {"eeg+fmri": stream})
    batches = stream.batches(stream.layouts[0][:2])
    view = net.view(batches, Chance(0))
    eeg, fmri = (piece.tokenized.tokens for piece in view.pieces)
    assert (eeg.count, fmri.count) == (8 * 32, fmri.rows * 8) and fmri.rows > 3
    assert (eeg.period, fmri.period) == (1.0, 4.0)
    assert float(eeg.time.max()) == 31.5 and float(fmri.time.max()) == 30.0
    assert stream.tokens[stream.layouts[0][0]] == eeg.count + fmri.count
    hidden = {
        tuple(piece.hidden.seen.shape[1] for piece in net.view(batches, Chance(n)).pieces) for n in range(12)
    }
    assert {(0, fmri.count), (eeg.count, 0)} <= hidden, "either can be told from the other alone"
    for seed in range(12):
        assert torch.isfinite(net(batches, Chance(seed)).total)


def test_a_run_on_both_goes_through(recipe: PretrainRecipe, tmp_path: Path) -> None:
    pretrain(recipe, tmp_path / "run", quiet=True)
    assert [row["step"] for row in tiny.rows(tmp_path / "run")] == [1, 2]
