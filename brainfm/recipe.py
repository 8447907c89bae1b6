"""Recipes: YAML files that choose parts and numbers. Loaded strictly, resolved to explicit values, shown and hashed.

`load` reads a file (or a name in its folder), applies `--set` overrides, puts in what a string names, derives what `size`
implies, and checks every value. What `show` prints is the resolved whole; the hash of what decides the result travels with
every checkpoint and report.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from brainfm import folders
from brainfm.adaptation import Adaptation
from brainfm.adaptation.full import Full
from brainfm.answers import Matching
from brainfm.data.preprocess import Step
from brainfm.data.targets import Target
from brainfm.data.windows import Cut
from brainfm.encoders import Encoder
from brainfm.errors import RecipeError
from brainfm.heads import Head
from brainfm.layers.listening import ListeningTo
from brainfm.layers.subjects import SubjectLayer
from brainfm.masks import Mask
from brainfm.objectives import Objective
from brainfm.part import Settings, explain
from brainfm.precision import Precision
from brainfm.recipe_codes import Codes
from brainfm.recipe_corpus import Corpus
from brainfm.recipe_yaml import named, put, read_yaml, to_yaml, with_base
from brainfm.regressors import Regressor
from brainfm.sizes import SIZES, apply_size
from brainfm.sounds import Sound
from brainfm.tokenizers import Tokenizer


class Training(Settings):
    """How long and how fast to train. `learning_rate` follows from `size` unless given."""

    steps: int = Field(ge=1)
    batch: int = Field(default=64, ge=1, description="windows in one step, over all processes")
    tokens: int | None = Field(
        default=None, ge=1, description="tokens in one step, before any is hidden; takes the place of `batch`"
    )
    accumulate: int = Field(default=1, ge=1, description="micro-batches in one step")
    learning_rate: float = Field(gt=0)
    warm_up: float = Field(default=0.1, ge=0, le=1, description="share of the steps with a rising rate")
    weight_decay: float = Field(default=0.05, ge=0)
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    precision: Precision = Field(
        default="auto", description="bf16 or no (float32); auto: bf16 where the machine has it in hardware"
    )
    average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of a running mean of the weights, which is what is saved; 0: none",
    )
    checkpointing: bool = Field(
        default=False, description="compute blocks again for the gradient: less memory"
    )
    compile: bool = Field(default=False, description="compile the blocks by torch.compile")
    workers: int = Field(default=0, ge=0, description="processes that cut windows")
    save_every: int = Field(default=200, ge=1, description="steps between checkpoints")
    keep: int = Field(default=2, ge=1, description="last checkpoints that stay on disk, beside the best")
    log_with: Literal["none", "tensorboard", "wandb"] = "none"


class PretrainTraining(Training):
    """The same, and what judges the checkpoints of a long run."""

    hold_back: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="share of every recording that is not trained on; its loss says which checkpoint is the best",
    )


WITHOUT_EFFECT = {"train": {"workers", "save_every", "keep", "log_with"}, "codes": {"usage"}}
"""Values that change how a run goes on or is judged, never what it learns."""


class SignalRecipe(Settings):
    """How the signal of one modality becomes tokens: a file of `tokenizers/`."""

    prepare: list[SerializeAsAny[Step]]
    seconds: float = Field(gt=0, description="length of a pretraining window")
    stride: float | None = Field(
        default=None, gt=0, description="from window to window; `seconds` if not given"
    )
    tokenizer: SerializeAsAny[Tokenizer]


class Recipe(Settings):
    """What all recipes share: they load from a folder, resolve, show and hash."""

    folder: ClassVar[str]
    seed: int = 0

    @classmethod
    def load(cls, name: str | Path, overrides: Sequence[str] = ()) -> Self:
        """A recipe by name or path, with `a.b=value` overrides. Raises `RecipeError` in one sentence."""
        path = folders.find(cls.folder, str(name), ".yaml")
        return cls.resolve(with_base(read_yaml(path), path, cls.folder), overrides, where=path)

    @classmethod
    def resolve(
        cls, data: Mapping[str, Any], overrides: Sequence[str] = (), where: str | Path = "recipe"
    ) -> Self:
        """A recipe from a mapping. Code outside brainfm is allowed: the recipe is the user's own."""
        data = cls.expand(dict(data))  # first, so that an override reaches into what a string names
        for override in overrides:
            put(data, override)
        data = cls.derive(cls.expand(data))
        try:
            return cls.model_validate(data, context={"trust": True})
        except ValidationError as error:
            raise explain(error, where) from None

    @classmethod
    def expand(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Put in what strings name, before the values are checked."""
        return data

    @classmethod
    def derive(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Put in what other values imply, before the values are checked."""
        return data

    @property
    def text(self) -> str:
        """The resolved whole as YAML: what `brainfm show` prints."""
        return to_yaml(self.model_dump(mode="json"))

    @property
    def hash(self) -> str:
        """A hash of all that decides the result; loader workers, saving and logging are left out."""
        text = to_yaml(self.model_dump(mode="json", exclude=WITHOUT_EFFECT))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def require_grid(signals: Mapping[str, SignalRecipe], encoder: Encoder) -> None:
    """Raise `ValueError` where an encoder needs tokens at equal steps of time and a tokenizer makes them of events."""
    for modality, signal in signals.items():
        if encoder.regular and signal.tokenizer.ragged:
            raise ValueError(
                f"encoder {encoder.kind} needs tokens at equal steps of time, and {signal.tokenizer.kind} of signals.{modality} "
                "makes one of every event; take encoder.kind: transformer"
            )


class Simultaneous(Settings):
    """Instruments that recorded at once, whose windows enter as one, with the tokens of all."""

    modalities: list[str] = Field(min_length=2)
    seconds: float | None = Field(default=None, gt=0, description="of such a window; the longest of theirs")
    stride: float | None = Field(default=None, gt=0, description="from window to window; `seconds`")


class PretrainRecipe(Recipe):
    """One pretraining run: a file of `pretrain/`."""

    folder: ClassVar[str] = "pretrain"
    size: Literal["tiny", "small", "base", "large", "published"] = "tiny"
    data: Corpus
    signals: dict[str, SignalRecipe] = Field(min_length=1)
    together: list[Simultaneous] = []
    codecs: dict[str, str] = {}
    """By modality, the folder of a codec that says the tokens' codes, from the working directory (`brainfm tokenize train`)."""
    encoder: SerializeAsAny[Encoder]
    mask: SerializeAsAny[Mask]
    objectives: dict[str, SerializeAsAny[Objective]] = Field(min_length=1)
    """By name, which is also the kind unless another is given."""
    train: PretrainTraining

    @field_validator("signals")
    @classmethod
    def _of_their_modality(cls, value: dict[str, SignalRecipe]) -> dict[str, SignalRecipe]:
        for modality, signal in value.items():
            if modality not in (reads := signal.tokenizer.reads):
                kind, possible = signal.tokenizer.kind, ", ".join(reads)
                raise ValueError(f"{modality} can't be read by the tokenizer {kind}, which is for {possible}")
        return value

    @model_validator(mode="after")
    def _on_a_grid(self) -> Self:
        require_grid(self.signals, self.encoder)
        return self

    @field_validator("objectives")
    @classmethod
    def _some_weigh(cls, value: dict[str, Objective]) -> dict[str, Objective]:
        if not any(part.weight for part in value.values()):
            raise ValueError("every objective weighs nothing; give one a weight")
        return value

    @field_validator("together")
    @classmethod
    def _of_these_signals(cls, value: list[Simultaneous], info: Any) -> list[Simultaneous]:
        for name in [name for one in value for name in one.modalities]:
            if name not in info.data.get("signals", {name: None}):
                raise ValueError(f"{name!r} is to be together with others but is not among the signals")
        return value

    @field_validator("codecs")
    @classmethod
    def _of_these_modalities(cls, value: dict[str, str], info: Any) -> dict[str, str]:
        for name in value.keys() - info.data.get("signals", value).keys():
            raise ValueError(f"{name!r} has a codec but is not among the signals")
        return value

    @model_validator(mode="after")
    def _has_what_objectives_need(self) -> Self:
        asked = {name: part for name, part in self.objectives.items() if part.weight}
        for name, part in asked.items():
            if part.needs_codes and not self.codecs:
                raise ValueError(
                    f"objectives.{name} tells codes, and nothing says them; name a codec's folder under codecs, "
                    "which `brainfm tokenize train` makes"
                )
            if part.needs_causal and not self.encoder.causal:
                raise ValueError(
                    f"objectives.{name} reads in order of time, which the encoder {self.encoder.kind} can't; "
                    "take encoder.kind: transformer"
                )
            if part.needs_teacher and not self.train.average:
                raise ValueError(
                    f"objectives.{name} learns from a running mean of the weights, and none is kept; "
                    "set train.average, for example to 0.999"
                )
        return self

    @classmethod
    def expand(cls, data: dict[str, Any]) -> dict[str, Any]:
        if isinstance(signals := data.get("signals"), Mapping):
            files = {modality: named("tokenizers", value) for modality, value in signals.items()}
            data = {**data, "signals": files}
        if isinstance(objectives := data.get("objectives"), Mapping):
            asked = {name: {"kind": name, **(value or {})} for name, value in objectives.items()}
            data = {**data, "objectives": asked}
        return data

    @classmethod
    def derive(cls, data: dict[str, Any]) -> dict[str, Any]:
        return apply_size(data) if str(data.get("size", "tiny")) in SIZES else data


class TokenizeRecipe(SignalRecipe, Recipe):
    """A tokenizer whose codes are trained: a file of `tokenizers/` that has, beside what all have, these sections."""

    folder: ClassVar[str] = "tokenizers"
    codes: Codes
    data: Corpus
    train: Training

    @property
    def signal(self) -> SignalRecipe:
        """How the signal becomes tokens, without the codes."""
        return SignalRecipe.model_validate({name: getattr(self, name) for name in SignalRecipe.model_fields})

    @classmethod
    def derive(cls, data: dict[str, Any]) -> dict[str, Any]:
        if "tokenizer" in data and "codes" not in data:
            paths = {
                name: folders.find(cls.folder, name, ".yaml") for name in folders.names(cls.folder, ".yaml")
            }
            coded = ", ".join(name for name, path in paths.items() if "codes" in read_yaml(path))
            raise RecipeError(
                f"this tokenizer has no `codes:` section, so there is nothing to train; these have: {coded}"
            )
        return data

    @model_validator(mode="after")
    def _of_its_modality(self) -> Self:
        if self.train.average:
            raise ValueError("codes follow the last weights, not their mean; leave train.average at 0")
        for modality in self.codes.modalities:
            if modality not in self.tokenizer.reads:
                raise ValueError(
                    f"{modality} can't be read by the tokenizer {self.tokenizer.kind}, "
                    f"which is for {', '.join(self.tokenizer.reads)}"
                )
        learning = [step.kind for step in self.prepare if step.learns]
        if self.codes.also and learning:
            raise ValueError(
                f"prepare: {learning[0]} would learn from {self.codes.modality} alone, and the codes are also of "
                f"{', '.join(self.codes.also)}; take one that learns nothing, such as robust_scale with scope recording"
            )
        if self.codes.tells == "sensors" and (not self.tokenizer.decodes or self.codes.of == "amplitude"):
            raise ValueError(
                "codes.tells: sensors needs codes of the signal and a tokenizer that can be asked for any sensor: sources"
            )
        if self.codes.seanet is not None and self.codes.seanet.samples != self.tokenizer.held:
            raise ValueError(
                f"codes.seanet: strides {' · '.join(map(str, self.codes.seanet.strides))} make a code of "
                f"{self.codes.seanet.samples} samples, and a token holds {self.tokenizer.held}"
            )
        if self.tokenizer.ragged:
            raise ValueError(
                f"{self.tokenizer.kind} makes a token of every event, which is discrete already and has no codes; "
                "take a tokenizer of stretches, such as spike_counts"
            )
        return self

    def on(self, cards: Sequence[str]) -> Self:
        """The same recipe on other cards; who is held out stays so where the card stays."""
        kept = {Path(card).stem for card in cards}
        held = {card: places for card, places in self.data.hold_out.items() if card in kept}
        return self.model_copy(
            update={"data": Corpus(cards=list(cards), hold_out=held, store=self.data.store)}
        )


class Network(Settings):
    """A network that a task trains from nothing, where no checkpoint is given: how signal becomes tokens, and the encoder."""

    signals: dict[str, SignalRecipe] = Field(min_length=1)
    encoder: SerializeAsAny[Encoder]

    @model_validator(mode="after")
    def _on_a_grid(self) -> Self:
        require_grid(self.signals, self.encoder)
        return self


class FinetuneRecipe(Recipe):
    """One downstream task: a file of `finetune/`. The window, the labels and the split are the card's unless given here.

    With a `target` no label of a window is told but numbers, expected counts or labels of its parts; `metric`, `folds`, `gap` and
    the classical `regressors` beside it are then said here, since a card's own task is of labels.
    """

    folder: ClassVar[str] = "finetune"
    card: str
    window: SerializeAsAny[Cut] | None = None
    labels: list[str] | None = None
    split: (
        Literal["WithinSession", "CrossSession", "CrossSubject", "LeaveOneSubjectOut", "CrossStimulus"] | None
    ) = None
    target: SerializeAsAny[Target] | None = None
    metric: str | None = None
    folds: int | None = Field(default=None, ge=2)
    gap: float | None = Field(default=None, ge=0, description="seconds between blocks of time")
    regressors: list[SerializeAsAny[Regressor]] = []
    labelled: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the training windows whose labels are told, drawn by the seed",
    )
    tracks: dict[str, SerializeAsAny[Sound]] = {}
    """By name, tracks that are made of what recordings hold, for a target to name."""
    matching: Matching | None = None
    """How a target of segments is learnt."""
    network: Network | None = None
    """What is trained where no checkpoint is given; training from nothing is then the only row that is trained."""
    head: SerializeAsAny[Head]
    head_rate: float = Field(
        default=10.0, gt=0, description="the head's learning rate, as a multiple of the backbone's"
    )
    subject_layer: SubjectLayer | None = None
    sensors: ListeningTo | None = None
    """Of each person, those that a first decoder of the same training windows makes most of; all if not given."""
    adaptation: list[SerializeAsAny[Adaptation]] = Field(
        default=[Full()], min_length=1, description="a row each; the decoder that is saved is the first's"
    )
    train: Training
    seeds: int = Field(default=1, ge=1, description="networks of each arm in each fold")

    @model_validator(mode="after")
    def _one_thing_is_told(self) -> Self:
        if self.target is not None and self.labels is not None:
            raise ValueError("labels are told of a window, a target of its parts; give one of the two")
        if self.subject_layer is not None and self.subject_layer.ids:
            raise ValueError("subject_layer.ids is known only when the run starts; remove it")
        if self.target is None and self.head.each == "patch":
            raise ValueError(
                f"head {self.head.kind} answers for every patch in time and needs a target that tells of them"
            )
        if self.target is None and (self.metric or self.folds or self.gap or self.regressors):
            raise ValueError(
                "metric, folds, gap and regressors are for a target; a card's labels have the card's own"
            )
        return self

    @model_validator(mode="after")
    def _segments_are_matched(self) -> Self:
        if self.matching is not None and (self.target is None or self.target.kind != "segment"):
            raise ValueError("matching is for a target of segments; remove it")
        return self

    @classmethod
    def expand(cls, data: dict[str, Any]) -> dict[str, Any]:
        network = data.get("network")
        if isinstance(network, Mapping) and isinstance(signals := network.get("signals"), Mapping):
            files = {modality: named("tokenizers", value) for modality, value in signals.items()}
            data = {**data, "network": {**network, "signals": files}}
        return data

    @field_validator("adaptation")
    @classmethod
    def _rows_differ(cls, value: list[Adaptation]) -> list[Adaptation]:
        rows = [part.row for part in value]
        if twice := [row for row in rows if rows.count(row) > 1]:
            raise ValueError(f"two ways would both be the row {twice[0]}; compare them in two runs")
        return value
