"""Statistics that are slow to compute, kept under the content of their windows: a second pass over the corpus costs nothing."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

LIMIT = 1_000_000
"""Windows whose statistics are kept; later ones are computed every time."""
SIZE = 16
"""Bytes of a key."""


class Memory:
    """What was computed of which window: by a hash of the statistic's name, the rate, and the window's numbers."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.known: dict[bytes, NDArray[np.float32]] = {}

    def __deepcopy__(self, _: Any) -> "Memory":
        """A copy of a network remembers with it: what is known of a window is known."""
        return self

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as three arrays, for a file: keys, the shape under each, and the values end to end."""
        shape = np.array([value.shape for value in self.known.values()], np.int64).reshape(-1, 2)
        keys = np.frombuffer(b"".join(self.known), np.uint8).reshape(-1, SIZE)
        values = [value.ravel() for value in self.known.values()]
        return {"key": keys, "shape": shape, "value": np.concatenate([np.zeros(0, np.float32), *values])}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add what `arrays` gave."""
        ends = arrays["shape"].prod(axis=1).cumsum()
        values = np.split(arrays["value"], ends[:-1])
        for key, shape, value in zip(arrays["key"], arrays["shape"], values, strict=False):
            self.known[key.tobytes()] = value.reshape(shape)

    def __call__(
        self,
        name: str,
        of: Callable[[Tensor, float], Tensor],
        signal: Float[Tensor, "batch row time"],
        sfreq: float,
    ) -> Float[Tensor, "batch row statistic"]:
        """`of(signal, sfreq)`, of which each window must depend on itself alone, to the bit."""
        first = hashlib.blake2b(f"{name}/{sfreq!r}/{tuple(signal.shape[1:])}".encode(), digest_size=SIZE)
        keys = [key_of(first, window) for window in signal.detach().cpu().contiguous().numpy()]
        fresh = [place for place, key in enumerate(keys) if key not in self.known]
        values = {key: self.known[key] for key in keys if key in self.known}
        if fresh:
            computed = of(signal[fresh], sfreq).cpu().numpy()
            values |= {keys[place]: value for place, value in zip(fresh, computed, strict=True)}
            room = max(0, self.limit - len(self.known))
            self.known |= {keys[place]: values[keys[place]] for place in fresh[:room]}
        return torch.from_numpy(np.stack([values[key] for key in keys])).to(signal.device)


@cache
def of_this_process() -> Memory:
    """One for all networks here: seeds and ablations on one corpus compute nothing twice."""
    return Memory()


def key_of(first: "hashlib.blake2b", window: NDArray[np.float32]) -> bytes:
    """The hash of a window's bytes, begun with what was asked of it."""
    begun = first.copy()
    begun.update(window.tobytes())
    return begun.digest()
