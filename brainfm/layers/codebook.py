"""Codebooks: vectors to the nearest of a learned set and back, and what every quantizer gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brainfm.errors import DataError

FEW = 2**12
"""Codes that start again in one step, at most."""


@dataclass(frozen=True)
class Quantised:
    """Vectors as their codes say them, the codes, and what the quantizer itself is to learn (zero if nothing)."""

    value: Float[Tensor, "*token width"]
    codes: Int[Tensor, "*token quantizer"]
    loss: Float[Tensor, ""]


class Codebooks(nn.Module):
    """One codebook, or several of which each says what the ones before left over (Zeghidour et al. 2021, algorithm 1).

    The codes follow the vectors by a running mean (van den Oord et al. 2017, appendix A.1), one that is hardly used starts again
    at a vector of the batch (Zeghidour et al. 2021, §III-C), rather one that is badly said than any: most stretches of a quiet
    neuron are the same, and have their code already. Gradients pass by the rotation trick (Fifty et al. 2024). All that training
    changes is in buffers of float32, whatever the precision around it, so a checkpoint holds it.
    """

    def __init__(
        self,
        width: int,
        codes: int,
        depth: int,
        kmeans: bool,
        decay: float,
        restart: float,
        commitment: float,
    ) -> None:
        super().__init__()
        from vector_quantize_pytorch import ResidualVQ  # slow to import, and needed here alone

        self.sizes = (codes,) * depth
        self.restart = restart
        self.residual = ResidualVQ(
            dim=width,
            num_quantizers=depth,
            codebook_size=codes,
            kmeans_init=kmeans,
            decay=decay,
            threshold_ema_dead_code=0,  # `start_again` does it
            commitment_weight=commitment,
        )
        for layer in self.residual.layers:  # patience: one that starts again is not unused in the next step
            layer._codebook.reset_cluster_size = 2 * restart

    @property
    def tables(self) -> Float[Tensor, "quantizer code width"]:
        """The vector of each code."""
        return torch.stack([layer.codebook for layer in self.residual.layers])

    def start(self, x: Float[Tensor, "*token width"], generator: torch.Generator) -> None:
        """Put the codes where the vectors are (k-means), if they are to start so; otherwise they stay where they are.

        Raises `DataError` where there are fewer vectors than codes.
        """
        vectors = x.flatten(0, -2)
        if len(vectors) < max(self.sizes):
            raise DataError(
                f"{len(vectors)} tokens can't start a codebook of {max(self.sizes)} codes; take fewer codes or more recordings"
            )
        before = self.training
        self.train()
        with torch.no_grad():
            self(vectors, generator)
        self.train(before)

    def forward(
        self, x: Float[Tensor, "*token width"], generator: torch.Generator | None = None
    ) -> Quantised:
        """In training the generator draws where an unused code starts again."""
        with torch.autocast(x.device.type, enabled=False), drawing(generator if self.training else None, x):
            vectors = x.float().flatten(0, -2)
            value, codes, losses = self.residual(vectors.unsqueeze(0))
            if self.training and self.restart:
                self.start_again(vectors.detach(), codes[0])
        codes = codes.long().reshape(*x.shape[:-1], -1)
        return Quantised(value.reshape(x.shape), codes, losses.float().mean())

    @torch.no_grad()
    def start_again(self, left: Float[Tensor, "token width"], codes: Int[Tensor, "token quantizer"]) -> None:
        """Move codes with fewer than `restart` vectors a step (their running mean) to vectors, the worse said the likelier."""
        for layer, chosen in zip(self.residual.layers, codes.T, strict=True):
            book = layer._codebook
            left = left - layer.codebook[chosen]
            error = left.square().sum(dim=-1)
            dead = book.cluster_size < self.restart
            count = min(int(dead.sum()), int((error > 0).sum()), FEW)
            if count:
                dead[0, dead[0].nonzero()[count:, 0]] = False
                at = torch.multinomial(error, count)
                book.replace((left + layer.codebook[chosen])[at].unsqueeze(0), batch_mask=dead)

    def lookup(self, codes: Int[Tensor, "*token quantizer"]) -> Float[Tensor, "*token width"]:
        """What codes say; of the first few quantizers alone if only those are given."""
        said = [table[code] for table, code in zip(self.tables, codes.unbind(-1), strict=False)]
        return torch.stack(said).sum(dim=0)


class Levels(nn.Module):
    """Finite scalar quantization: a few numbers, each rounded to one of so many levels (Mentzer et al. 2023, §3).

    There is no codebook to learn: the code is the place in the grid.
    """

    def __init__(self, width: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        from vector_quantize_pytorch import FSQ

        self.grid = FSQ(levels=list(levels), dim=width)
        self.sizes = (int(self.grid.codebook_size),)

    def start(self, x: Float[Tensor, "*token width"], generator: torch.Generator) -> None:
        """Scale the projection so that the vectors fill the grid: tanh is then neither flat nor clipped."""
        with torch.no_grad():
            narrow = self.grid.project_in(x.flatten(0, -2).float())
            spread = narrow.std(dim=0).clamp(min=1e-6)
            if isinstance(self.grid.project_in, nn.Linear):
                self.grid.project_in.bias.sub_(narrow.mean(dim=0)).div_(spread)
                self.grid.project_in.weight.div_(spread.unsqueeze(1))

    def forward(
        self, x: Float[Tensor, "*token width"], generator: torch.Generator | None = None
    ) -> Quantised:
        """Nothing is drawn: rounding is the same in training."""
        with torch.autocast(x.device.type, enabled=False):
            value, codes = self.grid(x.float().flatten(0, -2).unsqueeze(0))
        nothing = torch.zeros((), device=x.device)
        return Quantised(value.reshape(x.shape), codes.reshape(*x.shape[:-1], 1).long(), nothing)

    def lookup(self, codes: Int[Tensor, "*token quantizer"]) -> Float[Tensor, "*token width"]:
        """What codes say."""
        shape = codes.shape[:-1]
        return self.grid.indices_to_codes(codes.reshape(1, -1)).reshape(*shape, -1)


@contextmanager
def drawing(generator: torch.Generator | None, x: Tensor) -> Iterator[Any]:
    """Let a library that draws from torch's global generator draw from this one, and give the global one back as it was."""
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        yield
