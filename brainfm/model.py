"""BrainFM: tokenizers and an encoder, saved and loaded as one Hugging Face model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import SerializeAsAny, TypeAdapter, ValidationError
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from brainfm.batch import Batch
from brainfm.data.preprocess import Step, on_windows, prepare
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows, take
from brainfm.data.windows.sliding import Sliding
from brainfm.encoders import Encoder
from brainfm.errors import CheckpointError, DataError
from brainfm.manifest import Manifest
from brainfm.part import explain
from brainfm.recipe import PretrainRecipe, SignalRecipe
from brainfm.tokens import Tokenized, Tokens

Pool = Literal["mean", "sensor", "time", "all"]
"""What stays apart when the tokens of a window become one vector: nothing, each sensor, each time, or both."""


class BrainFMConfig(PretrainedConfig):
    """What a checkpoint needs to be built again: the signal and encoder sections of its resolved recipe."""

    model_type = "brainfm"

    def __init__(
        self,
        signals: Mapping[str, Any] | None = None,
        encoder: Mapping[str, Any] | None = None,
        recipe: str = "",
        trust: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        self.signals = dict(signals or {})
        self.encoder = dict(encoder or {})
        self.recipe = recipe
        self._trust = list(trust)
        super().__init__(**kwargs)

    @classmethod
    def of(cls, recipe: PretrainRecipe) -> "BrainFMConfig":
        """The config of a resolved recipe; its whole text travels along."""
        sections = recipe.model_dump(mode="json", include={"signals", "encoder"})
        return cls(**sections, recipe=recipe.text)


class BrainFM(PreTrainedModel):
    """Recordings in, tokens or features out. `modalities` are the instruments that it knows, in the config's order."""

    config_class = BrainFMConfig
    base_model_prefix = "brainfm"
    all_tied_weights_keys: dict[str, str] = {}

    def __init__(self, config: BrainFMConfig) -> None:
        super().__init__(config)
        context = {"trust": getattr(config, "_trust", ())}
        try:
            self.signals: dict[str, SignalRecipe] = TypeAdapter(dict[str, SignalRecipe]).validate_python(
                config.signals, context=context
            )
            encoder = TypeAdapter(SerializeAsAny[Encoder]).validate_python(config.encoder, context=context)
        except ValidationError as error:
            raise CheckpointError(str(explain(error, "the checkpoint's config"))) from None
        self.modalities = list(self.signals)
        self.tokenizers = nn.ModuleDict(
            {name: signal.tokenizer.build(encoder.width, index) for index, (name, signal) in enumerate(self.signals.items())}
        )
        self.encoder = encoder.build(len(self.modalities))
        self.width = encoder.width
        self.manifest = Manifest()

    def _init_weights(self, module: nn.Module) -> None:
        """Every module has initialised itself; transformers must not do it again."""

    @classmethod
    def fresh(cls, config: BrainFMConfig, seed: int) -> "BrainFM":
        """The untrained network of this seed: what pretraining starts from, and the twin that a probe compares with."""
        with seeded(seed):
            return cls(config)

    def tokenize(self, batch: Batch) -> Tokenized:
        """Tokens of a batch, before the encoder."""
        if batch.modality not in self.modalities:
            raise DataError(f"this model knows {', '.join(self.modalities)}, not {batch.modality}")
        return self.tokenizers[batch.modality](batch)

    def forward(self, batch: Batch) -> Tokens:
        """Encoded tokens of a batch, nothing hidden."""
        return self.encoder(self.tokenize(batch).tokens)

    def prepare(self, recordings: Sequence[Recording], modality: str) -> list[Recording]:
        """The recordings as this model was trained to see them."""
        return prepare(recordings, self.signals[modality].prepare, modality)

    def batches(
        self, prepared: Sequence[Recording], windows: Windows, modality: str, size: int = 64
    ) -> Iterator[Batch]:
        """Batches of prepared windows, in order; rows of one batch share a layout."""
        steps = self.signals[modality].prepare
        for rows in _in_order(prepared, windows, modality, size):
            signals = [prepared[index].signal(modality) for index in windows.recording[rows]]
            array = on_windows(steps, take(prepared, windows, rows, modality))
            yield Batch.of(modality, array, signals[0].sfreq, [s.sensors for s in signals], windows.recording[rows])

    @torch.inference_mode()
    def features(
        self, prepared: Sequence[Recording], windows: Windows, modality: str, pool: Pool = "mean", batch: int = 64
    ) -> NDArray[np.float32]:
        """Pooled features of prepared windows, (window, feature). Bit-identical when called twice."""
        self.eval()
        pooled = [pool_tokens(self(b.to(self.device)), pool) for b in self.batches(prepared, windows, modality, batch)]
        if len({part.shape[1] for part in pooled}) > 1:
            raise DataError(f"windows of different layouts can't be pooled by {pool}; use pool='mean'")
        return torch.cat(pooled).float().cpu().numpy()

    def embed(
        self, recording: Recording, modality: str = "eeg", pool: Pool = "mean", seconds: float | None = None
    ) -> "Embedding":
        """Features of consecutive windows of a raw recording; `seconds` defaults to the pretraining window."""
        windows_of = Sliding(seconds=seconds or self.signals[modality].seconds)
        prepared = self.prepare([recording], modality)
        windows = windows_of(prepared, modality, [])
        return Embedding(self.features(prepared, windows, modality, pool), windows.start, windows.seconds)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Weights as safetensors, the config, and the manifest of what the model saw."""
        super().save_pretrained(save_directory, **kwargs)
        (Path(save_directory) / "manifest.json").write_text(self.manifest.text, encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> "BrainFM":
        """Load a checkpoint folder or Hub id whole. Raises `CheckpointError` if one tensor of the backbone is missing."""
        from brainfm.checkpoint import load_model

        return load_model(pretrained_model_name_or_path, **kwargs)


@dataclass(frozen=True)
class Embedding:
    """Features of the windows of one recording: `values` (window, feature), `start` in seconds, all `seconds` long."""

    values: NDArray[np.float32]
    start: NDArray[np.float64]
    seconds: float


def pool_tokens(tokens: Tokens, pool: Pool) -> Float[Tensor, "batch feature"]:
    """One vector a window. All but "mean" need a regular stream without padding."""
    if pool == "mean":
        weight = tokens.valid.unsqueeze(-1).to(tokens.embedding.dtype)
        return (tokens.embedding * weight).sum(dim=1) / weight.sum(dim=1)
    if tokens.padded or not tokens.period:
        raise DataError(f"pool={pool} needs a regular stream without padding; use pool='mean'")
    sensors = int(tokens.sensor.max()) + 1
    grid = tokens.embedding.unflatten(1, (sensors, -1))
    return {"sensor": grid.mean(dim=2), "time": grid.mean(dim=1), "all": grid}[pool].flatten(1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers draw their first weights from torch's global generator; fix it here and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _in_order(prepared: Sequence[Recording], windows: Windows, modality: str, size: int) -> Iterator[NDArray[np.int64]]:
    """Rows of `windows`, in order, cut into batches that never mix layouts."""
    counts = np.array([len(recording.signal(modality).sensors) for recording in prepared])[windows.recording]
    edges = np.flatnonzero(np.diff(counts)) + 1
    for run in np.split(np.arange(len(windows)), edges):
        for first in range(0, len(run), size):
            yield run[first : first + size]
