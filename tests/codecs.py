"""A small codec for tests: untrained, its codes where the vectors of a stream are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from brainfm.codebook import Health, Usage
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.manifest import Manifest
from brainfm.recipe import SignalRecipe, TokenizeRecipe

RVQ = {"kind": "rvq", "codes": 8, "depth": 2}


def codec_of(
    signal: SignalRecipe, modality: str, stream: Stream, quantizer: Mapping[str, Any] = RVQ, seed: int = 0
) -> Codec:
    """A codec of these tokens that says it passed."""
    codes = {"modality": modality, "quantizer": dict(quantizer), "hidden": 16, "width": 8}
    sections = {
        "codes": codes,
        "data": {"cards": ["simulated_eeg"]},
        "train": {"steps": 1, "learning_rate": 1e-3},
    }
    recipe = TokenizeRecipe.resolve({**signal.model_dump(mode="json"), **sections})
    codec = Codec.fresh(recipe, stream, seed)
    with torch.no_grad():
        rows = codec.rows(*codec.held(stream.batch(stream.layouts[0][:8])))
        codec.patches.fit(rows, torch.Generator().manual_seed(seed))
    codec.health = Health((Usage(8, 8, 8.0),), 100, 0.5, 0.5, 1.0, 0.8, "the windows of a test")
    codec.manifest = Manifest.of(stream.recordings, modality, with_labels=False)
    return codec.eval()


def saved(codec: Codec, folder: Path) -> Path:
    """Its folder, as `brainfm tokenize train` leaves it."""
    (folder / "codec").mkdir(parents=True)
    codec.save(folder / "codec")
    return folder
