"""What a checkpoint's `config.json` holds: the sections of its recipe that build it again, and a decoder's settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SerializeAsAny
from transformers import PretrainedConfig

from brainfm.answers import Answer
from brainfm.data.events import EventSource
from brainfm.data.readers import Reader
from brainfm.data.windows import Cut
from brainfm.errors import RecipeError
from brainfm.heads import Head
from brainfm.layers.subjects import SubjectLayer
from brainfm.part import Settings
from brainfm.recipe import FinetuneRecipe, PretrainRecipe
from brainfm.recipe_yaml import parse_yaml


class BrainFMConfig(PretrainedConfig):
    """What a checkpoint needs to be built again: the signal and encoder sections of its resolved recipe."""

    model_type = "brainfm"
    trust: Sequence[str] | bool = ()
    """Modules outside brainfm that parts may come from, True for all; never saved: whoever loads decides."""

    def __init__(
        self,
        signals: Any = None,
        encoder: Any = None,
        recipe: str = "",
        recipe_hash: str = "",
        decoder: Any = None,
        known: Any = None,
        averaged: float = 0.0,
        modalities: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        # Sections of a recipe, unless the file is damaged: checked when the model is built, where a mistake gets its sentence.
        self.signals = signals or {}
        self.encoder = encoder or {}
        self.recipe = recipe
        self.recipe_hash = recipe_hash
        self.decoder = decoder
        self.known = known or {}
        """By modality, which single sensors or regions its tokenizer has met (`layers.vocabulary.Knowing`)."""
        self.averaged = averaged
        """The decay of the running mean that the weights are (`train.average`); 0 where they are those of the last step."""
        self.modalities = list(modalities) or order_of(self)
        """By their numbers. `signals` can't say: transformers sorts the keys of what it saves."""
        kwargs.pop("trust", None)  # a checkpoint can't vouch for itself
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        """What is saved."""
        return {key: value for key, value in super().to_dict().items() if key != "trust"}

    @classmethod
    def of(cls, recipe: PretrainRecipe) -> "BrainFMConfig":
        """The config of a resolved recipe; its whole text travels along."""
        sections = recipe.model_dump(mode="json", include={"signals", "encoder"})
        averaged = recipe.train.average
        config = cls(**sections, recipe=recipe.text, recipe_hash=recipe.hash, averaged=averaged)
        config.trust = True  # the recipe is the user's own
        return config


def order_of(config: BrainFMConfig) -> list[str]:
    """The order in which a checkpoint that does not say it was trained to number its instruments.

    Its recipe's text keeps the order; a decoder was trained as it was read, in the order of its config.
    """
    names = list(config.signals) if isinstance(config.signals, Mapping) else []
    if config.decoder or not config.recipe:
        return names
    try:
        said = parse_yaml(config.recipe, "the checkpoint's recipe").get("signals") or {}
    except RecipeError:
        return names
    return list(said) if set(said) == set(names) else names


def network_of(recipe: FinetuneRecipe) -> BrainFMConfig:
    """The config of the network that a task trains from nothing. Raises `RecipeError` where it names none."""
    if recipe.network is None:
        raise RecipeError(
            "this task names no network to train from nothing; give it a checkpoint by --from, or add a `network:` section"
        )
    sections = recipe.network.model_dump(mode="json")
    config = BrainFMConfig(**sections, recipe=recipe.text, recipe_hash=recipe.hash)
    config.trust = True  # the recipe is the user's own
    return config


class DecoderSettings(Settings):
    """What a fine-tuned model needs beside its weights to decode a new file with nothing else said."""

    head: SerializeAsAny[Head]
    labels: list[str]
    """The classes, or the names of what is told."""
    answer: Answer = Answer()
    subjects: SubjectLayer | None = None
    modality: str
    sensors: list[str]
    """Names of the raw recording's sensors, in the order in which the head expects what is made of them."""
    channels: int
    """How many rows of tokens are made of them."""
    window: SerializeAsAny[Cut]
    reader: SerializeAsAny[Reader]
    """How files of the training set were read: units, names, montage."""
    events: EventSource | None
    card: str
    recipe: str
    """The resolved recipe of the fine-tuning."""
