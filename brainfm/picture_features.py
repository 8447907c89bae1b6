"""Features of pictures by name, as brains are asked to tell them: of frozen embedders, standardised over training pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, SerializeAsAny
from safetensors.torch import save_file
from torch import Tensor

from brainfm.brain_features import FeatureShape
from brainfm.chance import generator_of
from brainfm.checkpoint import LoadReport, refuse_partial, tensors_of
from brainfm.errors import CheckpointError
from brainfm.files import write_json
from brainfm.images.embedders import ImageEmbedder
from brainfm.images.small import train_small
from brainfm.part import Settings

CONFIG, WEIGHTS = "features.json", "features.safetensors"
AT_ONCE = 256


class Feature(Settings):
    """What is asked for of a picture."""

    embedder: SerializeAsAny[ImageEmbedder]
    of: Literal["tokens", "pooled"] = Field(
        default="tokens", description="pooled: one token that holds the vector"
    )
    train_steps: int = Field(
        default=200,
        ge=0,
        description="of an embedder without published weights, on the training pictures; 0: random",
    )


class PictureFeatures:
    """Embedders and, of each feature, the mean and spread that it is standardised by, over pictures and tokens."""

    def __init__(self, asked: Mapping[str, Feature], seed: int) -> None:
        self.asked = dict(asked)
        self.embedders: dict[str, Any] = {
            name: one.embedder.build(generator_of(seed, number))
            for number, (name, one) in enumerate(asked.items())
        }
        self.mean: dict[str, Tensor] = {}
        self.spread: dict[str, Tensor] = {}

    def fit(self, images: Float[Tensor, "picture 3 height width"], seed: int) -> None:
        """Train what has no published weights on these pictures, and find means and spreads."""
        for number, (name, one) in enumerate(self.asked.items()):
            embedder = self.embedders[name]
            if hasattr(embedder, "fit"):
                embedder.fit(images)
            elif embedder.origin != "published" and one.train_steps:
                train_small(embedder, images, generator_of(seed, number, 1), one.train_steps)
        for name in self.asked:
            raw = self.raw(name, images)
            self.mean[name] = raw.mean(dim=(0, 1))
            self.spread[name] = raw.std(dim=(0, 1)).clamp(min=1e-6)

    @torch.no_grad()
    def raw(
        self, name: str, images: Float[Tensor, "picture 3 height width"]
    ) -> Float[Tensor, "picture token width"]:
        """As the embedder gives them."""
        embedder, pooled = self.embedders[name].to(images.device), self.asked[name].of == "pooled"
        found = [
            embedder.pooled(part).unsqueeze(1) if pooled else embedder.tokens(part)
            for part in images.split(AT_ONCE)
        ]
        return torch.cat(found)

    def __call__(
        self, images: Float[Tensor, "picture 3 height width"], names: Sequence[str] | None = None
    ) -> dict[str, Float[Tensor, "picture token width"]]:
        """Standardised features."""
        return {
            name: (self.raw(name, images) - self.mean[name].to(images)) / self.spread[name].to(images)
            for name in names or self.asked
        }

    def unscaled(
        self, name: str, told: Float[Tensor, "picture token width"]
    ) -> Float[Tensor, "picture token width"]:
        """Back in the embedder's own numbers."""
        return told * self.spread[name].to(told) + self.mean[name].to(told)

    @property
    def shapes(self) -> dict[str, FeatureShape]:
        """Tokens and their width, by name. Known once it is fitted."""
        found = {}
        for name, one in self.asked.items():
            tokens, width = self.embedders[name].token_shape
            found[name] = FeatureShape(
                tokens=1 if one.of == "pooled" else tokens, width=len(self.mean[name]) or width
            )
        return found

    @property
    def ids(self) -> dict[str, str]:
        """The embedders, each with a hash of its weights."""
        return {name: str(one.id) for name, one in self.embedders.items()}

    def save(self, folder: Path) -> None:
        """Into a folder that is there. Published weights are not saved but found by name, and checked by their hash."""
        tensors = {f"{name}|mean": one for name, one in self.mean.items()}
        tensors |= {f"{name}|spread": one for name, one in self.spread.items()}
        for name, embedder in self.embedders.items():
            if embedder.origin != "published":
                state = embedder.network.state_dict()
                tensors |= {f"{name}|network|{key}": value.cpu() for key, value in state.items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / WEIGHTS)
        write_json(
            folder / CONFIG,
            {
                "features": {name: one.model_dump(mode="json") for name, one in self.asked.items()},
                "origins": {name: one.origin for name, one in self.embedders.items()},
                "ids": self.ids,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> "PictureFeatures":
        """As it was saved. Raises `CheckpointError` where a tensor is missing or an embedder is not the same any more."""
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        found = cls({name: Feature.model_validate(one) for name, one in config["features"].items()}, 0)
        state = tensors_of(folder / WEIGHTS)
        for name, embedder in found.embedders.items():
            found.mean[name], found.spread[name] = state[f"{name}|mean"], state[f"{name}|spread"]
            if embedder.origin != "published":
                first = f"{name}|network|"
                own = {
                    key.removeprefix(first): value for key, value in state.items() if key.startswith(first)
                }
                refuse_partial(LoadReport.of(embedder.network.state_dict(), own), folder)
                embedder.network.load_state_dict(own)
                embedder.origin = config["origins"][name]
            if embedder.id != config["ids"][name]:
                raise CheckpointError(
                    f"{folder}: embedder {name} was {config['ids'][name]}, it is now {embedder.id}"
                )
        return found
