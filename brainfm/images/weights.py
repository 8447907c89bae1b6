"""Published weights of image networks, from a folder or by name, through the libraries that know them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from brainfm.errors import CheckpointError

T = TypeVar("T")


def loaded(weights: str, what: str, load: Callable[[str], T]) -> T:
    """What `load` makes of a folder or a name on the Hugging Face Hub. Raises `CheckpointError` where it can't be had.

    A path that does not exist is refused before anything asks the Hub for a repository of that name.
    """
    path = Path(weights).expanduser()
    if not path.exists() and (
        path.is_absolute() or weights.startswith((".", "~")) or weights.count("/") != 1
    ):
        raise CheckpointError(f"{weights} does not exist; give a folder with {what} or a name on the Hub")
    try:
        return load(str(path) if path.exists() else weights)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{what} can't be loaded from {weights} ({reason}); give a folder that holds it"
        ) from error


def whole(model: Any, info: dict[str, Any], weights: str) -> Any:
    """The model, if every tensor of it came from the file. Raises `CheckpointError` otherwise: the rest would be random."""
    lacking = sorted(info["missing_keys"]) + sorted(str(one[0]) for one in info.get("mismatched_keys", ()))
    if lacking:
        raise CheckpointError(f"{weights} lacks {len(lacking)} tensors, the first {lacking[0]}; get it again")
    return model
