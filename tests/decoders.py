"""Decoders without a training: a network of a few thousand random weights, saved as fine-tuning saves one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import person, raw_of

from brainfm.data.readers.mne_file import MneFile
from brainfm.data.recording import Recording
from brainfm.data.windows.sliding import Sliding
from brainfm.heads.linear import Linear
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig, DecoderSettings
from brainfm.recipe import PretrainRecipe

PREPARE: tuple[dict[str, Any], ...] = (
    {"kind": "band_pass", "low": 1.0, "high": 40.0},
    {"kind": "reference", "to": "average"},
    {"kind": "resample", "sfreq": 128.0},
    {"kind": "robust_scale", "scope": "recording", "clip": 15.0},
)
SENSORS = list(person(1, 2.0).signal("eeg").sensors.name)


def network(prepare: Sequence[dict[str, Any]] = PREPARE, **sections: Any) -> BrainFM:
    """An untrained network of EEG, or of what `sections` of a recipe say."""
    signal = {
        "prepare": list(prepare),
        "seconds": 2.0,
        "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 128.0},
    }
    recipe = PretrainRecipe.resolve(
        {
            "data": {"cards": ["simulated_eeg"]},
            "signals": {"eeg": signal},
            "encoder": {"kind": "transformer", "depth": 1, "width": 32, "heads": 2},
            "mask": {"kind": "block"},
            "objectives": {"masked_patches": {"decoder_depth": 1}},
            "train": {"steps": 1, "batch": 2},
            **sections,
        }
    )
    return BrainFM.fresh(BrainFMConfig.of(recipe), seed=0)


def decoding(model: BrainFM, sensors: Sequence[str] = SENSORS, **changes: Any) -> BrainFM:
    """The network with a head that is not zero, as a head begins, so that windows are told apart."""
    settings: dict[str, Any] = {
        "head": Linear(pool="sensor"),
        "labels": ["left_hand", "right_hand", "rest"],
        "modality": "eeg",
        "sensors": list(sensors),
        "channels": len(sensors),
        "window": Sliding(seconds=2.0),
        "reader": MneFile(),
        "events": None,
        "card": "simulated_eeg",
        "recipe": "",
        **changes,
    }
    made = model.with_decoder(DecoderSettings(**settings), seed=0)
    with torch.no_grad():
        made.head.score.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(0))
    return made.eval()


def saved(model: BrainFM, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def fast_person(seconds: float = 20.0, sfreq: float = 250.0) -> Recording:
    """Someone at another rate than the decoder's, in volts and with mains hum."""
    from brainfm.data.modalities import modality

    return modality("eeg").simulate(np.random.default_rng(5), seconds=seconds, sfreq=sfreq, sensors=8)


def file_of(recording: Recording, path: Path) -> Path:
    """The recording as a FIF file, whose numbers are not rounded to sixteen bits."""
    raw_of(recording).save(path, fmt="double", verbose="error")
    return path
