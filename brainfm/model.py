"""BrainFM: tokenizers and an encoder, saved and loaded as one Hugging Face model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import SerializeAsAny, TypeAdapter, ValidationError
from torch import Tensor, nn
from transformers import PreTrainedModel

from brainfm.answers import Answer
from brainfm.batch import Batch
from brainfm.chance import seeded
from brainfm.checkpoint import LoadReport, load_whole, read_config, resolve, without_bars
from brainfm.corpus import Stream
from brainfm.data.modalities import owner
from brainfm.data.preprocess import Step, prepare
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows, measured, without
from brainfm.data.windows.sliding import Sliding
from brainfm.encoders import Encoder
from brainfm.errors import CheckpointError, DataError
from brainfm.features import by_layout, told_of
from brainfm.layers.vocabulary import Knowing
from brainfm.manifest import Manifest
from brainfm.model_config import BrainFMConfig, DecoderSettings
from brainfm.part import explain
from brainfm.pooling import Pool, pool_tokens, require_same
from brainfm.recipe import SignalRecipe
from brainfm.recipe_yaml import parse_yaml
from brainfm.tokens import Tokenized, Tokens


class BrainFM(PreTrainedModel):
    """Recordings in, tokens or features out. `modalities` are the instruments that it knows, in the config's order."""

    config_class = BrainFMConfig
    base_model_prefix = "brainfm"
    all_tied_weights_keys: dict[str, str] = {}

    def __init__(self, config: BrainFMConfig) -> None:
        super().__init__(config)
        context = {"trust": config.trust}
        try:
            self.signals: dict[str, SignalRecipe] = TypeAdapter(dict[str, SignalRecipe]).validate_python(
                config.signals, context=context
            )
            encoder = TypeAdapter(SerializeAsAny[Encoder]).validate_python(config.encoder, context=context)
            self.decoder = (
                DecoderSettings.model_validate(config.decoder, context=context) if config.decoder else None
            )
        except ValidationError as error:
            raise CheckpointError(str(explain(error, "the checkpoint's config"))) from None
        numbered = [name for name in config.modalities if name in self.signals]
        self.modalities = [*numbered, *(name for name in self.signals if name not in numbered)]
        self.signals = {name: self.signals[name] for name in self.modalities}
        self.tokenizers = nn.ModuleDict(
            {
                name: signal.tokenizer.build(encoder.width, index)
                for index, (name, signal) in enumerate(self.signals.items())
            }
        )
        for name, tokenizer in self.knowing:
            if name in config.known:
                tokenizer.restore(config.known[name])
        self.encoder = encoder.build(len(self.modalities))
        self.width = encoder.told
        if self.decoder is not None:
            if self.decoder.subjects is not None:
                self.subjects = self.decoder.subjects.build(encoder.width)
            self.head = self.decoder.head.build(
                self.width, len(self.decoder.labels), *self.grid(self.decoder)
            )
        self.manifest = Manifest()
        self.load_report = LoadReport(0)
        self.untouched = False
        """Whether it was made just now and has seen nothing, so that no manifest is missing."""
        self.codecs: dict[str, Any] = {}
        """By modality, what fills in the tokens' codes (`attach`). Each stays a checkpoint of its own."""

    @property
    def knowing(self) -> list[tuple[str, Knowing]]:
        """The tokenizers that know single sensors or regions, by modality."""
        return [(name, part) for name, part in self.tokenizers.items() if isinstance(part, Knowing)]

    def adopt(self, stream: Stream, seed: int = 0) -> None:
        """Make room for the sensors and regions of a stream's recordings; what was known before stays as it was."""
        tokenizer = self.tokenizers[stream.modality]
        if isinstance(tokenizer, Knowing):
            with seeded(seed):
                for batch in stream.of_each():
                    tokenizer.adopt(batch.to(self.device))
            self.config.known = {**self.config.known, stream.modality: tokenizer.known()}

    def grid(self, decoder: DecoderSettings) -> tuple[int, int]:
        """Rows of tokens and patches in time of a decoder's window."""
        patch = self.signals[decoder.modality].tokenizer.seconds
        return decoder.channels, round(decoder.window.seconds / patch)

    def with_decoder(self, decoder: DecoderSettings, seed: int, keep: bool = False) -> "BrainFM":
        """A copy of this model with a fresh head, whatever head it had; with `keep` its own head, and what its numbers mean.

        Raises `CheckpointError` where there is no head to keep, or one for another answer.
        """
        if keep:
            had = self.decoder
            if had is None or (had.head, had.labels) != (decoder.head, decoder.labels):
                raise CheckpointError(
                    "this adaptation keeps the head, and the checkpoint has none for this answer; "
                    "start from a decoder of the same head and labels"
                )
            decoder = decoder.model_copy(update={"answer": had.answer})
        settings = {**self.config.to_dict(), "decoder": decoder.model_dump(mode="json")}
        config = BrainFMConfig.from_dict(settings)
        config.trust = True  # what it names is in use already
        model = BrainFM.fresh(config, seed)
        state = self.state_dict()
        fresh = () if keep else ("head.", "subjects.")
        backbone = {key: value for key, value in state.items() if not key.startswith(fresh)}
        model.load_state_dict(backbone, strict=False)
        model.manifest = self.manifest
        return model

    def decode(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch ... output"]:
        """What the decoder's head puts out: logits of its labels, or what its `answer` makes numbers of.

        While it trains, a generator draws what a tokenizer that `drops` sensors leaves out.
        Raises `CheckpointError` where the model has no decoder.
        """
        if self.decoder is None:
            raise CheckpointError(
                "this checkpoint has no decoder; make one with `brainfm finetune RECIPE --from CHECKPOINT`"
            )
        return self.head(self(batch, generator))

    @torch.inference_mode()
    def probabilities(self, stream: Stream, rows: NDArray[np.int64], batch: int = 64) -> NDArray[np.float64]:
        """(row, label) probabilities of these windows, by the decoder; (row, part, label) where it answers for every patch.

        Of a decoder of numbers, what it tells instead of probabilities, in the unit of its target.
        """
        self.eval()
        output = told_of(stream, rows, batch, lambda part: self.decode(stream.batch(part).to(self.device)))
        answer = self.decoder.answer if self.decoder is not None else Answer()
        return answer.told(torch.stack(output)).cpu().numpy()

    def _init_weights(self, module: nn.Module) -> None:
        """Every module has initialised itself; transformers must not do it again."""

    @classmethod
    def fresh(cls, config: BrainFMConfig, seed: int) -> "BrainFM":
        """The untrained network of this seed: what pretraining starts from, and the twin that a probe compares with."""
        with seeded(seed):
            return cls(config)

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe of the run that made it. Raises `CheckpointError` where the checkpoint does not say."""
        if not isinstance(self.config, BrainFMConfig) or not self.config.recipe:
            raise CheckpointError("this checkpoint does not say which recipe made it; save it with brainfm")
        return parse_yaml(self.config.recipe, "the checkpoint's recipe")

    @property
    def recipe_text(self) -> str:
        return str(self.config.recipe)

    @property
    def recipe_hash(self) -> str:
        return str(self.config.recipe_hash)

    @property
    def has_twin(self) -> bool:
        """Whether the same network can be had untrained: always, of its config."""
        return True

    def twin(self, seed: int) -> "BrainFM":
        """The same network untrained: same recipe, same preparation, first weights of `seed`."""
        return BrainFM.fresh(self.config, seed).eval()

    def digest(self) -> str:
        """A hash of the config and of every tensor with its name: what features depend on beside windows and pooling."""
        found = hashlib.sha256(self.config.to_json_string(use_diff=False).encode())
        found.update(weights_digest(self).encode())
        return found.hexdigest()

    def said(self, recordings: Sequence[Recording], seconds: float) -> list[str]:
        """What a reader of its scores must know beside them: nothing."""
        return []

    def tokenize(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        """Tokens of a batch, before the encoder; in training a generator draws what a tokenizer leaves out."""
        self.require(batch.modality)
        tokenized: Tokenized = self.tokenizers[batch.modality](batch, generator)
        if batch.modality not in self.codecs:
            return tokenized
        codec = self.codecs[batch.modality].to(
            batch.signal.device
        )  # no part of the module, so it did not move with it
        with torch.autocast(batch.signal.device.type, enabled=False):
            code = codec.codes(batch)
        return replace(tokenized, tokens=replace(tokenized.tokens, code=code))

    def attach(self, codec: Any, modality: str | None = None) -> None:
        """Let a trained `codec.Codec` say the code of every token of its modality, or of this one of its modalities.

        Where a tokenizer has learnt with the codes, this model's has its sources from now on: codes are of those. Raises
        `DataError` where the codec was trained on tokens that are made otherwise than this model's.
        """
        modality = modality or codec.modality
        self.require(modality)
        own, its = self.signals[modality], codec.recipe
        if (own.prepare, own.tokenizer) != (its.prepare, its.tokenizer):
            raise DataError(
                f"the codec's {modality} tokens are made otherwise than this model's; "
                "train it with the `prepare` and `tokenizer` of the model's recipe"
            )
        if codec.tells_sensors:
            own_tokenizer: Any = self.tokenizers[modality]
            own_tokenizer.take(codec.tokenizer)
        self.codecs[modality] = codec.to(self.device).eval()

    def rows(self, recording: Recording, modality: str) -> tuple[str, ...]:
        """What each row of tokens of a prepared recording stands for; none where its tokens are events."""
        tokenizer = self.signals[modality].tokenizer
        return tokenizer.rows(recording.signal(modality).sensors, owner(recording, modality))

    def require(self, modality: str) -> None:
        """Raise `DataError` unless the model was trained on this modality."""
        if modality not in self.modalities:
            raise DataError(f"this model knows {', '.join(self.modalities)}, not {modality}")

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokens:
        """Encoded tokens of a batch, nothing hidden; `generator` is for a tokenizer that `drops` sensors."""
        self.require(batch.modality)
        drops = self.signals[batch.modality].tokenizer.drops
        tokens = self.tokenize(batch, generator if drops else None).tokens
        if self.decoder is not None and self.decoder.subjects is not None:
            tokens = tokens.with_embedding(self.subjects(tokens.embedding, batch.subject))
        return self.encoder(tokens)

    def steps(self, modality: str) -> Sequence[Step]:
        """How a recording is prepared for this model. Raises `DataError` for a modality that it does not know."""
        self.require(modality)
        return self.signals[modality].prepare

    def prepare(self, recordings: Sequence[Recording], modality: str) -> list[Recording]:
        """The recordings as this model was trained to see them. Raises `DataError` for a modality that it does not know."""
        return prepare(recordings, self.steps(modality), modality)

    def stream(self, prepared: Sequence[Recording], windows: Windows, modality: str) -> Stream:
        """Prepared recordings and their windows as something to take batches from."""
        settings = self.signals[modality]
        return Stream(modality, prepared, windows, settings.prepare, settings.tokenizer)

    def features(
        self,
        prepared: Sequence[Recording],
        windows: Windows,
        modality: str,
        pool: Pool = "mean",
        batch: int = 64,
        apart: bool = False,
    ) -> NDArray[np.float32]:
        """Pooled features of prepared windows, (window, feature). Bit-identical when called twice.

        With `apart` no two recordings with other sensors are compared, so that a column may mean other things in them; shorter
        rows end in zeros. Raises `DataError` where they may not and windows of other sensors are pooled by anything but "mean".
        """
        self.eval()
        if not apart:
            require_same(pool, {self.rows(one, modality) for one in prepared})
        stream = self.stream(prepared, windows, modality)
        return by_layout(
            stream, batch, lambda part: pool_tokens(self(stream.batch(part).to(self.device)), pool)
        )

    def heard_in(self, recording: Recording) -> str:
        """The one modality that this model reads and the recording holds. Raises `DataError` where that is none, or several."""
        both = [name for name in self.modalities if name in recording.signals]
        if len(both) == 1:
            return both[0]
        if both:
            raise DataError(f"{recording.name} holds {' and '.join(both)}; choose with --modality, in Python modality=")
        raise DataError(
            f"{recording.name} holds {' and '.join(recording.signals)}, and the checkpoint reads "
            f"{', '.join(self.modalities)}"
        )

    def embed(
        self,
        recording: Recording,
        modality: str | None = None,
        pool: Pool = "mean",
        seconds: float | None = None,
    ) -> "Embedding":
        """Features of consecutive windows of a raw recording; `seconds` defaults to the pretraining window, and `modality` to the
        one that the recording holds.

        Sensors that are a person's own (contacts, voxels, neurons) are those that the model met only where the recording says
        whose it is, `dataset`, `subject` and `session` as in training; else each is taken for an average one.
        """
        modality = modality or self.heard_in(recording)
        return self.embed_prepared(self.prepare([recording], modality), modality, pool, seconds)

    def embed_prepared(
        self, prepared: Sequence[Recording], modality: str, pool: Pool = "mean", seconds: float | None = None
    ) -> "Embedding":
        """The same of recordings that this model has prepared."""
        length = self.signals[modality].seconds if seconds is None else seconds
        windows = throughout(prepared, modality, length)
        return Embedding(self.features(prepared, windows, modality, pool), windows.start, windows.seconds)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Weights as safetensors, the config, and the manifest of what the model saw."""
        with without_bars():
            super().save_pretrained(save_directory, **kwargs)
        (Path(save_directory) / "manifest.json").write_text(self.manifest.text, encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        trust: Sequence[str] = (),
        revision: str | None = None,
        **kwargs: Any,
    ) -> "BrainFM":
        """Load a checkpoint, a run's folder or a Hub id whole; `trust` names modules outside brainfm that its parts may use.

        `revision` is that of a Hub id; `kwargs` go to transformers (dtype, device_map). Raises `CheckpointError` if one tensor of
        the backbone is missing. `model.load_report` says what was loaded.
        """
        folder = resolve(pretrained_model_name_or_path, revision)
        config = read_config(cls.config_class, folder)
        config.trust = list(trust)
        return load_whole(cls, folder, config, **kwargs)


def load(where: str | Path, **kwargs: Any) -> BrainFM:
    """A pretrained model: "brainfm-tiny", which comes with the package, a run's folder, a checkpoint or a Hub id.

    `kwargs` are those of `BrainFM.from_pretrained`. Raises `CheckpointError` where it can't be loaded whole.
    """
    return BrainFM.from_pretrained(where, **kwargs)


def weights_digest(model: nn.Module) -> str:
    """A hash of every tensor with its name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def throughout(prepared: Sequence[Recording], modality: str, seconds: float) -> Windows:
    """Consecutive windows of recordings, less those not measured throughout. Raises `DataError` where not even one is left."""
    if not seconds > 0:
        raise DataError(f"a window of {seconds:g} s can't be cut; its length must be positive")
    windows = Sliding(seconds=seconds)(prepared, modality, [])
    if not len(windows):
        raise DataError(f"{prepared[0].name} is shorter than one window of {seconds:g} s")
    windows = without(windows, measured(prepared, windows, modality), "not measured throughout")
    if not len(windows):
        raise DataError(f"{prepared[0].name}: {modality} was measured throughout no window of {seconds:g} s")
    return windows


@dataclass(frozen=True)
class Embedding:
    """Features of the windows of one recording: `values` (window, feature), `start` in seconds, all `seconds` long."""

    values: NDArray[np.float32]
    start: NDArray[np.float64]
    seconds: float
