"""What several tests need: a small recipe, a simulated person, four neurons, a network of a few thousand weights."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from brainfm.batch import Batch
from brainfm.corpus import Stream
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording, Signal
from brainfm.data.windows.sliding import Sliding
from brainfm.gather import stream
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.recipe import PretrainRecipe

SMALL: dict[str, Any] = {
    "data": {"cards": ["simulated_eeg"]},
    "signals": {
        "eeg": {
            "prepare": [{"kind": "robust_scale", "scope": "recording", "clip": 15.0}],
            "seconds": 2.0,
            "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 128.0},
        }
    },
    "encoder": {"kind": "transformer", "depth": 2, "width": 32, "heads": 2},
    "mask": {"kind": "block"},
    "objectives": {"masked_patches": {"decoder_depth": 1}, "neurodynamics": {}},
    "train": {"steps": 4, "batch": 8},
}
MakeRecipe = Callable[..., PretrainRecipe]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The matrices are so small that a second thread only waits, on a busy machine for most of the time."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder that the tests of a file share."""
    return tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where features are kept, of each file its own: none finds what another, or whoever runs the tests, has left."""
    kept = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINFM_CACHE", str(kept))
        yield kept / "features"


@pytest.fixture(scope="session")
def make_recipe() -> MakeRecipe:
    """A small recipe with some sections replaced."""

    def make(**sections: Any) -> PretrainRecipe:
        return PretrainRecipe.resolve({**SMALL, **sections})

    return make


@pytest.fixture(scope="session")
def recipe(make_recipe: MakeRecipe) -> PretrainRecipe:
    return make_recipe()


@pytest.fixture(scope="session")
def person() -> Recording:
    """Twenty raw seconds of one simulated person, eight sensors, the last of unknown position."""
    simulated = modality("eeg").simulate(np.random.default_rng(3), seconds=20.0, sensors=8)
    return without_position(simulated, 7)


@pytest.fixture
def trains() -> list[np.ndarray]:
    """Four neurons of 5, 8, 20 and 1 Hz over a minute, on a grid of 30 kHz that every unit of time can hold."""
    rng = np.random.default_rng(0)
    return [np.sort(rng.choice(59 * 30_000, n, replace=False)) / 30_000 for n in (300, 480, 1200, 60)]


@pytest.fixture(scope="session")
def model(recipe: PretrainRecipe) -> BrainFM:
    """An untrained network that no test may change."""
    return BrainFM.fresh(BrainFMConfig.of(recipe), seed=0).eval()


@pytest.fixture(scope="session")
def batch(model: BrainFM, person: Recording) -> Batch:
    """Eight windows of two seconds."""
    return windows_of(model, person)


@pytest.fixture(scope="session")
def streams(recipe: PretrainRecipe, person: Recording) -> dict[str, Stream]:
    """The simulated person's windows, as the small recipe cuts them."""
    return {"eeg": stream([person], recipe.signals["eeg"], "eeg")}


@pytest.fixture(scope="session")
def windows(streams: dict[str, Stream]) -> Batch:
    """The first eight of them."""
    return streams["eeg"].batch(np.arange(8))


def windows_of(model: BrainFM, recording: Recording, rows: int = 8) -> Batch:
    """The first windows of a raw recording, prepared as the model wants them."""
    prepared = model.prepare([recording], "eeg")
    windows = Sliding(seconds=model.signals["eeg"].seconds)(prepared, "eeg", [])
    return model.stream(prepared, windows, "eeg").batch(np.arange(rows))


def without_position(recording: Recording, row: int) -> Recording:
    """The same recording, one sensor's position unknown."""
    signal: Signal = recording.signal("eeg")
    position = signal.sensors.position.copy()
    position[row] = np.nan
    return recording.with_signal("eeg", replace(signal, sensors=replace(signal.sensors, position=position)))


@pytest.fixture(scope="session")
def cut() -> Callable[..., Batch]:
    """`windows_of`, for tests that build networks of their own."""
    return windows_of


@pytest.fixture
def moabb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MOABB, whose files go into the test's folder."""
    found = pytest.importorskip("moabb", reason="MOABB is an extra: pip install moabb")
    monkeypatch.setenv("MNE_DATA", str(tmp_path))
    monkeypatch.setenv("MOABB_RESULTS", str(tmp_path))
    return found
