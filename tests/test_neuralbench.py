"""NeuralBench's own code on a checkpoint of ours: its check of shapes, and its frozen linear probe on simulated people."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from brainfm.data.modalities import modality
from brainfm.data.recording import Recording
from brainfm.montage_encoder import MontageEncoder

if sys.version_info < (3, 12):
    pytest.skip("NeuralBench needs Python 3.12", allow_module_level=True)
pytest.importorskip(
    "neuralbench", reason="NeuralBench is not installed: pip install 'brainfm-toolkit[neuralbench]'"
)
pytestmark = pytest.mark.filterwarnings("default")  # what its libraries warn of is theirs

CLASSES = ["left_hand", "right_hand", "feet", "rest"]
PEOPLE = 10


@pytest.fixture(scope="module", autouse=True)
def its_folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where it keeps data, caches and results."""
    from neuralbench import config_manager

    root = tmp_path_factory.mktemp("neuralbench")
    folders = {f"{name}_DIR": str(root / name.lower()) for name in ("CACHE", "SAVE", "DATA")}
    given = {**config_manager._default_config(), **folders, "CLUSTER": None, "N_CPUS": 1}
    (root / "config.json").write_text(json.dumps(given), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURALBENCH_CONFIG", str(root / "config.json"))
        yield


def made(number: int) -> Recording:
    """A person with trials of four classes."""
    return modality("eeg").simulate(np.random.default_rng(number), seconds=60.0, sensors=8, classes=CLASSES)


@pytest.fixture(scope="module")
def study() -> str:
    """The name of a study of its kind, of simulated people."""
    import pandas as pd
    from neuralset.events import study

    class Simulated2026People(study.Study):
        """Recordings that are made where a real study reads files."""

        def _download(self, overwrite: bool = False) -> None:
            raise NotImplementedError  # theirs asks for one; nothing is fetched here

        def iter_timelines(self) -> Any:
            yield from ({"subject": str(number)} for number in range(PEOPLE))

        def _load_raw(self, timeline: dict[str, Any]) -> Any:
            return tiny.raw_of(made(int(timeline["subject"]))).set_montage("standard_1005")

        def _load_timeline_events(self, timeline: dict[str, Any]) -> Any:
            trials = made(int(timeline["subject"])).events
            rows: list[dict[str, Any]] = [
                {"type": "Stimulus", "start": start, "duration": length, "code": CLASSES.index(label) + 1}
                for start, length, label in zip(trials.onset, trials.duration, trials.label, strict=True)
            ]
            loader = study.SpecialLoader(method=self._load_raw, timeline=timeline)
            return pd.DataFrame([*rows, {"type": "Eeg", "filepath": loader.to_json(), "start": 0}])

    return Simulated2026People.__name__


def test_it_can_be_given_every_cap_and_window_of_its_tasks() -> None:
    from neuralbench.evaluate import check_model

    found = check_model(MontageEncoder(), "eeg", ["motor_imagery", "p3", "sleep_stage"])
    assert len(found) >= 12 and set(found["status"]) == {"ok"}, found.to_string()


def test_its_linear_probe_scores_our_checkpoint_and_trains_nothing_of_it(study: str, tmp_path: Path) -> None:
    """Three seeds on people it holds out; all that is trained is a linear map of four classes."""
    from neuralbench.evaluate import evaluate_model

    own = {"data.study.source.name": study, "data.study.source.path": str(tmp_path), "data.duration": 2.0}
    short = {"trainer_config.n_epochs": 2, "data.num_workers": 0}
    encoder = MontageEncoder()
    found = evaluate_model(
        encoder,
        "eeg",
        "motor_imagery",
        name="brainfm-tiny",
        download=False,
        prepare=False,
        overrides={**own, **short},
    )
    assert len(found) == 3 and found["seed"].nunique() == 3
    assert found["test/bal_acc"].between(0, 1).all() and found["test/loss"].gt(0).all()
    assert set(found["n_trainable_params"]) == {len(CLASSES) * (encoder.backbone.width + 1)}
