"""How much a signal repeats itself: Lempel-Ziv complexity."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def lempel_ziv(signal: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch row"]:
    """Phrases of the signal cut at its median to zeros and ones, times log2(n) / n: about 1 for coin flips (Lempel & Ziv 1976).

    A phrase is the shortest stretch that did not begin earlier in the sequence (the exhaustive history, after Kaspar & Schuster
    1987). The cost grows with the square of the length.
    """
    n_times = signal.shape[-1]
    high = signal > signal.median(dim=-1, keepdim=True).values
    phrases = count_phrases(repeats(high.flatten(0, 1)))
    return (phrases * (math.log2(n_times) / n_times)).to(signal.dtype).unflatten(0, signal.shape[:2])


def repeats(sequence: Tensor) -> Int[Tensor, "row time"]:
    """How long the stretch from each place on is one that began earlier, for sequences (row, time) of any kind.

    Going back from the end: two places agree for one longer than their successors if they agree themselves, else for none.
    """
    across = sequence.T.contiguous()
    n_times = len(across)
    agree = torch.zeros(n_times + 1, len(sequence), dtype=torch.int16, device=sequence.device)
    longest = torch.zeros(n_times, len(sequence), dtype=torch.int16, device=sequence.device)
    for place in range(n_times - 2, -1, -1):
        later = n_times - place  # places that many from here lie beyond the end
        agree[1:later] += 1
        agree[1:later] *= across[place] == across[place + 1 :]
        torch.maximum(longest[place + 1 :], agree[1:later], out=longest[place + 1 :])
    return longest.T.long()


def count_phrases(repeated: Int[Tensor, "row time"]) -> Int[Tensor, " row"]:
    """Phrases, each one longer than what repeats; the last may be cut short by the end."""
    n_times = repeated.shape[1]
    place = torch.zeros(len(repeated), dtype=torch.long, device=repeated.device)
    phrases = torch.zeros_like(place)
    while (going := place < n_times).any():
        phrases += going
        step = repeated.gather(1, place.clamp(max=n_times - 1).unsqueeze(1)).squeeze(1) + 1
        place = place + step * going
    return phrases
