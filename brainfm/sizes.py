"""One dial: `size` derives depth, width, heads and learning rate; what a recipe gives itself stays."""

from collections.abc import Mapping
from typing import Any

SIZES: dict[str, dict[str, int]] = {
    # Heads of 64 and widths in multiples of 128 keep matrix units busy (LOG: narrow models waste them).
    "tiny": {"depth": 4, "width": 128, "heads": 2},
    "small": {"depth": 6, "width": 256, "heads": 4},
    "base": {"depth": 12, "width": 512, "heads": 8},
    "large": {"depth": 22, "width": 1216, "heads": 19},  # REVE-large (El Ouahidi et al. 2025, code)
    "published": {
        "depth": 4,
        "width": 512,
        "heads": 8,
    },  # masking-geometry study (Guetschel et al. 2026, code)
}


def learning_rate(width: int) -> float:
    """2.4e-4 at width 512 (Guetschel et al. 2026; REVE), inverse in width (maximal update, Yang et al. 2022, table 8)."""
    return round(2.4e-4 * 512 / width, 8)


def apply_size(data: dict[str, Any]) -> dict[str, Any]:
    """Fill in the encoder's shape and the learning rate where the recipe is silent."""
    encoder = data.get("encoder", {})
    train = data.get("train", {})
    if not isinstance(encoder, Mapping) or not isinstance(train, Mapping):
        return data
    encoder = {
        **encoder,
        **{key: value for key, value in SIZES[data.get("size", "tiny")].items() if key not in encoder},
    }
    width = encoder["width"]
    if "learning_rate" not in train and isinstance(width, int) and width > 0:  # else the check says it better
        train = {**train, "learning_rate": learning_rate(width)}
    return {**data, "encoder": encoder, "train": train}
