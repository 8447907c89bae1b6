"""A codec: what tokens hold as codes out of a finite set, and back, as LaBraM's, BrainOmni's and Du-IN's tokenizers have it.

It says the patch that each token of an existing tokenizer stands for, or how strong each of its frequencies is (`codes.of`).
Unless its encoder hears along the row (`codes.depth`, `codes.seanet`), a code is made of its own patch alone, so the same patch
has the same code wherever in a window it lies; the decoder sees the neighbours' codes too, and joins what it makes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import seeded
from brainfm.checkpoint import refuse_not_finite, resolve
from brainfm.codebook import Health
from brainfm.corpus import Stream
from brainfm.data.preprocess import prepare
from brainfm.data.recording import Recording
from brainfm.errors import CheckpointError, DataError
from brainfm.files import write_json
from brainfm.layers.vocabulary import Knowing
from brainfm.manifest import Manifest
from brainfm.objectives import Loss
from brainfm.part import explain
from brainfm.patch_codec import PatchCodec, Rows
from brainfm.recipe import TokenizeRecipe
from brainfm.sensor_codec import decoded, sensors_loss
from brainfm.tokens import Tokenized

MODEL_TYPE = "brainfm-codec"
Say = Callable[[Int[Tensor, "*token quantizer"]], Float[Tensor, "*token width"]]
"""Codes to the vectors that the decoder is given."""


class Codec(nn.Module):
    """A tokenizer with an autoencoder over what its tokens hold. `recipe` has what its steps learnt filled in."""

    def __init__(self, recipe: TokenizeRecipe, known: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.modality = recipe.codes.modality
        self.modalities = recipe.codes.modalities
        self.tokenizer = recipe.tokenizer.build(recipe.codes.hidden, 0)
        if known and isinstance(self.tokenizer, Knowing):
            self.tokenizer.restore(known)
        self.patches = PatchCodec(recipe.codes, recipe.tokenizer.held, recipe.tokenizer.seconds)
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

    def prepare(self, recordings: Sequence[Recording], modality: str | None = None) -> list[Recording]:
        """Recordings as the codec was trained to see them, its first instrument's signal or this one's."""
        return prepare(recordings, self.recipe.prepare, modality or self.modality)

    def held(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tokenized, int]:
        """The tokens of a batch, and how many of them each row has. Raises `DataError` for another modality."""
        if batch.modality not in self.modalities:
            raise DataError(f"this codec has codes for {' and '.join(self.modalities)}, not {batch.modality}")
        tokenized = self.tokenizer(batch, generator)
        return tokenized, tokenized.tokens.count // tokenized.tokens.rows

    def rows(self, tokenized: Tokenized, times: int) -> Rows:
        """What the tokens of each row of each window hold, as the codes are `of` it, padding left out."""
        patches = tokenized.targets[modality_of(tokenized)].value.unflatten(1, (-1, times))
        return self.patches.held(patches[tokenized.tokens.valid.unflatten(1, (-1, times)).all(dim=-1)])

    @property
    def tells_sensors(self) -> bool:
        """Whether its codes are judged by the sensors that they tell; its tokenizer has learnt with them then."""
        return self.recipe.codes.tells == "sensors"

    def forward(self, batch: Batch, generator: torch.Generator) -> Loss:
        """What training minimises, on the rows that are no padding."""
        if self.tells_sensors:
            return sensors_loss(self.tokenizer, self.patches, batch, generator)
        tokenized, times = self.held(batch, generator)
        loss = self.patches(self.rows(tokenized, times).detach(), generator)
        own = dict.fromkeys(tokenized.losses, 1.0)
        return Loss({**loss.parts, **tokenized.losses}, {**loss.weights, **own})

    @torch.no_grad()
    def codes(self, batch: Batch) -> Int[Tensor, "batch token quantizer"]:
        """The codes of every token of a batch."""
        return self.codes_of(*self.held(batch))

    @torch.no_grad()
    def codes_of(self, tokenized: Tokenized, times: int) -> Int[Tensor, "batch token quantizer"]:
        """The codes of tokens, of which each row has so many."""
        patches = tokenized.targets[modality_of(tokenized)].value
        codes = self.patches.encode(self.patches.held(patches.unflatten(1, (-1, times)).flatten(0, 1))).codes
        return codes.unflatten(0, (len(patches), -1)).flatten(1, 2)

    def tokenize(self, batch: Batch) -> Tokenized:
        """The tokens of a batch with their codes."""
        tokenized, times = self.held(batch)
        code = self.codes_of(tokenized, times)
        return replace(tokenized, tokens=replace(tokenized.tokens, code=code))

    @torch.no_grad()
    def reconstruct(self, batch: Batch, say: "Say | None" = None) -> "Reconstructed":
        """What a batch's tokens hold and what its codes say of it, row after row.

        `say` gives the vectors of codes otherwise than the quantizer's own `lookup`: by fewer quantizers, by fewer codes.
        """
        held = self.rows(*self.held(batch))
        codes = self.patches.encode(held).codes
        vectors, level = (say or self.patches.quantizer.lookup)(codes), self.patches.level(held)
        if self.tells_sensors:
            sensors = decoded(self.tokenizer, self.patches, vectors, level, batch)
            return Reconstructed(batch.signal[batch.valid], sensors[batch.valid], codes)
        told = self.patches.decode(vectors, level)
        return Reconstructed(held.flatten(1), told.flatten(1), codes, self.patches.spectra)

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
    """Rows of a batch: what they held and what their codes say, (row, time), and the codes, (coded row, times, quantizer).

    A row is what was coded, or a sensor where the codec tells those.

    With `spectra` they hold no waveform but the amplitudes of each patch's frequencies, patch after patch.
    """

    held: Float[Tensor, "row time"]
    told: Float[Tensor, "row time"]
    codes: Int[Tensor, "coded times quantizer"]
    spectra: bool = False


def modality_of(tokenized: Tokenized) -> str:
    """Of which instrument these tokens are."""
    return next(iter(tokenized.targets))


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
