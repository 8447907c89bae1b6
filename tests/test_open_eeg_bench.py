"""Open EEG Bench's own code on a checkpoint of ours: its ridge probe asks `WindowEncoder` for features of windows that it cut."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from brainfm.window_encoder import WindowEncoder

pytest.importorskip(
    "open_eeg_bench", reason="open-eeg-bench is not installed: pip install 'brainfm-toolkit[openeegbench]'"
)
pytestmark = pytest.mark.filterwarnings("default")  # what its libraries warn of is theirs

SECONDS, SFREQ = 2.0, 128.0


def windows(people: range) -> Any:
    """Imagined movements of simulated people, as braindecode cuts them."""
    import mne
    from braindecode.datasets import BaseConcatDataset, RawDataset
    from braindecode.preprocessing import create_windows_from_events

    sets = []
    for subject in people:
        person = tiny.person(subject, 60.0)
        raw = tiny.raw_of(person).set_montage("standard_1005")
        events = person.events
        raw.set_annotations(mne.Annotations(events.onset, events.duration, events.label))
        sets.append(RawDataset(raw, description={"subject": subject}))
    length = round(SECONDS * SFREQ)
    return create_windows_from_events(
        BaseConcatDataset(sets),
        trial_start_offset_samples=0,
        trial_stop_offset_samples=0,
        window_size_samples=length,
        window_stride_samples=length,
        preload=True,
        mapping={"left_hand": 0, "right_hand": 1},
    )


def test_its_ridge_probe_scores_our_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our weights are loaded by its loader, none is trained, and every person's windows are where its splitter put them."""
    from open_eeg_bench.backbone import PretrainedBackbone
    from open_eeg_bench.dataset import Dataset, PredefinedSplitter
    from open_eeg_bench.experiment import Experiment
    from open_eeg_bench.finetuning import Frozen
    from open_eeg_bench.head import FlattenHead
    from open_eeg_bench.training import RidgeProbingTraining

    cut = windows(range(1, 5))
    monkeypatch.setattr(Dataset, "load", lambda self: cut)
    chs = (
        cut.datasets[0].windows.info["chs"]
        if hasattr(cut.datasets[0], "windows")
        else cut.datasets[0].raw.info["chs"]
    )
    encoder = WindowEncoder(n_outputs=2, chs_info=chs, sfreq=SFREQ, n_times=round(SECONDS * SFREQ))
    torch.save(encoder.state_dict(), tmp_path / "weights.pth")
    experiment = Experiment(
        backbone=PretrainedBackbone(
            model_cls="brainfm.window_encoder.WindowEncoder", checkpoint_path=str(tmp_path / "weights.pth")
        ),
        head=FlattenHead(),
        finetuning=Frozen(),
        dataset=Dataset(
            hf_id="local/people",
            revision="main",
            n_classes=2,
            splitter=PredefinedSplitter(
                metadata_key="subject", train_values=[1, 2], val_values=[3], test_values=[4]
            ),
        ),
        training=RidgeProbingTraining(),
    )
    found = experiment.run()
    assert found["adapter_stats"]["trainable_params"] == 0
    assert found["adapter_stats"]["total_params"] > 500_000
    assert 0 <= found["test_balanced_accuracy"] <= 1
