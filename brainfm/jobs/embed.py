"""Embed: a checkpoint and a file in, features out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.reading import read_one
from brainfm.files import write_file
from brainfm.model import BrainFM
from brainfm.pooling import Pool
from brainfm.recipe_yaml import put
from brainfm.whose import UNTOLD, Person, owned_by, require_met


@dataclass(frozen=True)
class Asked:
    """What is to be known of a file that it does not say, or says wrongly, and which features of it are wanted."""

    pool: Pool = "mean"
    seconds: float | None = None
    modality: str | None = None
    unit: str | None = None
    settings: Sequence[str] = ()
    """Of its reader, each as key=value."""
    person: Person = UNTOLD


def embed(checkpoint: str | Path, file: Path, out: Path, asked: Asked) -> dict[str, Any]:
    """Write `values` (window, feature) and `start` (seconds) to `out` as npz; what was written, as a mapping.

    Raises `DataError` where the model knows sensors by their owner and met none of these, unless it is told of a stranger.
    """
    model = BrainFM.from_pretrained(checkpoint)
    said: dict[str, Any] = {"modality": asked.modality, "unit": asked.unit}
    for one in asked.settings:
        put(said, one)
    recording = read_one(file, **said)
    modality = asked.modality or model.heard_in(recording)
    prepared = model.prepare([owned_by(recording, model, asked.person)], modality)
    notes = require_met(model, prepared[0], modality, asked.person)
    found = model.embed_prepared(prepared, modality, asked.pool, asked.seconds)

    def write(passing: Path) -> None:
        with passing.open("wb") as stream:
            np.savez(stream, values=found.values, start=found.start, seconds=found.seconds)

    write_file(out, write)
    return {
        "out": str(out),
        "modality": modality,
        "windows": len(found.values),
        "features": int(found.values.shape[1]),
        "pool": asked.pool,
        "notes": notes,
    }
