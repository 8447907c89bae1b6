"""A codec: what tokens hold as codes out of a finite set, and back, as LaBraM's, BrainOmni's and Du-IN's tokenizers have it.

It says the patch that each token of an existing tokenizer stands for. A code is made of its own patch alone, so the same
patch has the same code wherever in a window it lies; the decoder sees the neighbours' codes too, and joins what it makes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.checkpoint import refuse_not_finite, resolve
from brainfm.codebook import Health
from brainfm.corpus import Stream
from brainfm.data.preprocess import prepare
from brainfm.data.recording import Recording
from brainfm.errors import CheckpointError, DataError
from brainfm.files import write_json
from brainfm.layers.codebook import Quantised
from brainfm.layers.vocabulary import Knowing
from brainfm.manifest import Manifest
from brainfm.model import seeded
from brainfm.objectives import Loss
from brainfm.part import explain
from brainfm.recipe import Codes, TokenizeRecipe
from brainfm.tokens import Tokenized

MODEL_TYPE = "brainfm-codec"
Say = Callable[[Int[Tensor, "*token quantizer"]], Float[Tensor, "*token width"]]
"""Codes to the vectors that the decoder is given."""
Patches = Float[Tensor, "row times sample"]
"""What the tokens of one row of one window hold, in order of time."""


class Codec(nn.Module):
    """A tokenizer with an autoencoder over what its tokens hold. `recipe` has what its steps learnt filled in."""

    def __init__(self, recipe: TokenizeRecipe, known: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.modality = recipe.codes.modality
        self.tokenizer = recipe.tokenizer.build(recipe.codes.hidden, 0)
        if known and isinstance(self.tokenizer, Knowing):
            self.tokenizer.restore(known)
        self.patches = PatchCodec(recipe.codes, recipe.tokenizer.held)
        self.manifest = Manifest()
        self.health: Health | None = None
        """How its codes were used, once training has ended and they were used enough."""

    @classmethod
    def fresh(cls, recipe: TokenizeRecipe, stream: Stream, seed: int) -> "Codec":
        """The untrained codec of this seed, which knows the sensors of a stream's recordings."""
        with seeded(seed):
            scout = cls(recipe)
            if isinstance(scout.tokenizer, Knowing):
                for batch in stream.of_each():
                    scout.tokenizer.adopt(batch)
        with seeded(seed):
            return cls(recipe, scout.known)

    @property
    def known(self) -> dict[str, Any]:
        """Which single sensors or regions the tokenizer has met."""
        return self.tokenizer.known() if isinstance(self.tokenizer, Knowing) else {}

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each quantizer has."""
        sizes: tuple[int, ...] = self.patches.quantizer.sizes
        return sizes

    @property
    def digest(self) -> str:
        """A hash of the weights: which codec it is, wherever it lies."""
        found = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return found.hexdigest()[:12]

    def prepare(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Recordings as the codec was trained to see them."""
        return prepare(recordings, self.recipe.prepare, self.modality)

    def held(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tokenized, int]:
        """The tokens of a batch, and how many of them each row has. Raises `DataError` for another modality."""
        if batch.modality != self.modality:
            raise DataError(f"this codec has codes for {self.modality}, not {batch.modality}")
        tokenized = self.tokenizer(batch, generator)
        return tokenized, tokenized.tokens.count // tokenized.tokens.rows

    def rows(self, tokenized: Tokenized, times: int) -> Patches:
        """What the tokens of each row of each window hold, padding left out."""
        patches = tokenized.targets[self.modality].value.unflatten(1, (-1, times))
        return patches[tokenized.tokens.valid.unflatten(1, (-1, times)).all(dim=-1)]

    def forward(self, batch: Batch, generator: torch.Generator) -> Loss:
        """What training minimises, on the rows that are no padding."""
        tokenized, times = self.held(batch, generator)
        loss = self.patches(self.rows(tokenized, times).detach(), generator)
        own = dict.fromkeys(tokenized.losses, 1.0)
        return Loss({**loss.parts, **tokenized.losses}, {**loss.weights, **own})

    @torch.no_grad()
    def codes(self, batch: Batch) -> Int[Tensor, "batch token quantizer"]:
        """The codes of every token of a batch."""
        tokenized, _ = self.held(batch)
        return self.patches.encode(tokenized.targets[self.modality].value).codes

    def tokenize(self, batch: Batch) -> Tokenized:
        """The tokens of a batch with their codes."""
        tokenized, _ = self.held(batch)
        return replace(tokenized, tokens=replace(tokenized.tokens, code=self.codes(batch)))

    @torch.no_grad()
    def reconstruct(self, batch: Batch, say: "Say | None" = None) -> "Reconstructed":
        """What a batch's tokens hold and what its codes say of it, row after row.

        `say` gives the vectors of codes otherwise than the quantizer's own `lookup`: by fewer quantizers, by fewer codes.
        """
        held = self.rows(*self.held(batch))
        codes = self.patches.encode(held).codes
        told = self.patches.decode((say or self.patches.quantizer.lookup)(codes))
        return Reconstructed(held.flatten(1), told.flatten(1), codes)

    def save(self, folder: Path) -> None:
        """Weights as safetensors, the recipe and how the codes were used as JSON, and the manifest of what was seen."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        health = None if self.health is None else self.health.json
        settings = {"model_type": MODEL_TYPE, "recipe": self.recipe.model_dump(mode="json")}
        write_json(folder / "config.json", {**settings, "known": self.known, "health": health})
        (folder / "manifest.json").write_text(self.manifest.text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, unfinished: bool = False, trust: Sequence[str] = ()) -> "Codec":
        """The codec of a run's folder, or of one checkpoint; in evaluation mode.

        Raises `CheckpointError` where a tensor is missing, and for one whose codes were not used enough or whose training has
        not ended, unless `unfinished` allows that.
        """
        where = finished(Path(folder))
        settings = read_settings(where)
        try:
            recipe = TokenizeRecipe.model_validate(settings.get("recipe"), context={"trust": trust})
            with seeded(0):  # weights that are drawn only to be replaced
                codec = cls(recipe, settings.get("known"))
            codec.load_state_dict(load_file(where / "model.safetensors"))
        except ValidationError as error:
            raise CheckpointError(str(explain(error, where / "config.json"))) from None
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{where} can't be loaded: {' '.join(str(error).split())}") from None
        refuse_not_finite(codec.state_dict(), where)
        codec.health = Health.of_json(settings["health"]) if settings.get("health") else None
        if codec.health is None and not unfinished:
            raise CheckpointError(
                f"{where} holds no codec that passed: its training has not ended, or too few of its codes are used; "
                "run `brainfm tokenize train` to its end, or look at it with `brainfm tokenize inspect`"
            )
        codec.manifest = Manifest.load(where / "manifest.json")
        return codec.eval()


@dataclass(frozen=True)
class Reconstructed:
    """Rows of a batch: what they held and what their codes say, (row, time), and the codes, (row, times, quantizer)."""

    held: Float[Tensor, "row time"]
    told: Float[Tensor, "row time"]
    codes: Int[Tensor, "row times quantizer"]


class PatchCodec(nn.Module):
    """Patches to codes and back. The corpus's spread is divided out, so that every modality weighs its parts alike."""

    def __init__(self, part: Codes, samples: int) -> None:
        super().__init__()
        self.part = part
        self.encoder = Through(samples, part.hidden, part.width)
        self.quantizer = part.quantizer.build(part.width)
        self.mix = nn.Conv1d(part.width, part.hidden, 2 * part.context + 1, padding=part.context)
        self.decoder = Through(part.hidden, part.hidden, samples)
        self.spread = nn.Buffer(torch.ones(()))
        self.weights = {"signal": 1.0, "commitment": 1.0}
        if part.spectrum:
            self.weights |= {"amplitude": part.spectrum, "phase": part.spectrum}

    @torch.no_grad()
    def fit(self, patches: Float[Tensor, "token sample"], generator: torch.Generator) -> None:
        """Learn the corpus's spread, and put the codes where the untrained encoder's vectors are."""
        self.spread.copy_(patches.std(correction=0).clamp(min=1e-12))
        self.quantizer.start(self.encoder(patches / self.spread), generator)

    def encode(
        self, patches: Float[Tensor, "*token sample"], generator: torch.Generator | None = None
    ) -> Quantised:
        """The codes of patches, each by itself."""
        quantised: Quantised = self.quantizer(self.encoder(patches / self.spread), generator)
        return quantised

    def decode(self, vectors: Float[Tensor, "row times width"]) -> Patches:
        """The patches that the codes of whole rows say."""
        mixed = self.mix(vectors.transpose(1, 2)).transpose(1, 2)
        return self.decoder(mixed).float() * self.spread

    def forward(self, patches: Patches, generator: torch.Generator) -> Loss:
        quantised = self.encode(patches, generator)
        told = self.decode(quantised.value) / self.spread
        held = patches / self.spread
        parts = {"signal": F.smooth_l1_loss(told, held), "commitment": quantised.loss}
        if self.part.spectrum:
            parts |= spectral_loss(told.flatten(1), held.flatten(1))
        return Loss(parts, self.weights)


class Through(nn.Module):
    """A linear map and a small network beside it: what is linear need not be learnt by the other."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x: Float[Tensor, "*row inputs"]) -> Float[Tensor, "*row outputs"]:
        return self.straight(x) + self.bent(x)


def spectral_loss(told: Float[Tensor, "row time"], held: Float[Tensor, "row time"]) -> dict[str, Tensor]:
    """How far log amplitudes and phases are apart (LaBraM, eq. 5; BrainOmni, §3.2), on whole rows under a Hann window.

    The phase enters as sine and cosine, so that it has no edge, and weighs as much as its frequency is loud: that of nothing
    is noise.
    """
    window = torch.hann_window(held.shape[-1], periodic=True, device=held.device)
    window = window / window.square().sum().sqrt().clamp(min=1e-6)
    a, b = (torch.fft.rfft(x.float() * window) for x in (told, held))
    loud, loud_told = b.abs(), (a.real.square() + a.imag.square() + 1e-12).sqrt()
    share = loud / loud.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    apart = 1 - (a.real * b.real + a.imag * b.imag) / (loud_told * loud.clamp(min=1e-6))
    return {
        "amplitude": F.l1_loss(torch.log1p(loud_told), torch.log1p(loud)),
        "phase": (share * apart).sum(dim=-1).mean(),
    }


def finished(folder: Path) -> Path:
    """The codec's own folder: `codec` in a run's that passed, the newest checkpoint of one that did not."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder; `brainfm tokenize train` makes a codec")
    return folder / "codec" if (folder / "codec" / "config.json").exists() else resolve(folder)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a codec. Raises `CheckpointError` where the file is damaged or another model's."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be loaded: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or found.get("model_type") != MODEL_TYPE:
        raise CheckpointError(f"{path} is no codec; `brainfm tokenize train` makes one")
    return found
