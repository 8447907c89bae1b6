"""Embed: a checkpoint and a file in, features out."""

from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.reading import read_one
from brainfm.files import write_file
from brainfm.model import BrainFM
from brainfm.pooling import Pool


def embed(
    checkpoint: str | Path, file: Path, out: Path, pool: Pool, seconds: float | None, unit: str | None
) -> dict[str, Any]:
    """Write `values` (window, feature) and `start` (seconds) to `out` as npz; what was written, as a mapping."""
    model = BrainFM.from_pretrained(checkpoint)
    found = model.embed(read_one(file, unit=unit), pool=pool, seconds=seconds)

    def write(passing: Path) -> None:
        with passing.open("wb") as stream:
            np.savez(stream, values=found.values, start=found.start, seconds=found.seconds)

    write_file(out, write)
    return {
        "out": str(out),
        "windows": len(found.values),
        "features": int(found.values.shape[1]),
        "pool": pool,
    }
