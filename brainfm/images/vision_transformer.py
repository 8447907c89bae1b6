"""What the vision transformers of the transformers library have in common: patches of a layer as tokens and maps."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.images.embedders import ImageEmbedder, asked
from brainfm.images.frozen import FrozenEmbedder, Held, Preparation, as_grid
from brainfm.images.rgb import Mode
from brainfm.images.seeded import seeded
from brainfm.images.weights import loaded, whole

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and standard deviation of each colour, as CLIP, DINOv2 and ViT were trained; a folder may say others."""


class VisionTransformer(ImageEmbedder):
    """Tokens are the patches of one layer. Size, width, depth and patch count only without `weights`."""

    colours: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]

    layer: int | None = Field(default=None, description="hidden state that tokens come from; none: the last")
    cls: bool = Field(default=False, description="whether the class token comes first")
    layers: list[int] | None = Field(
        default=None, description="hidden states that are maps; none: four, evenly spaced"
    )
    size: int = Field(default=32, ge=8, description="side of a picture, pixels")
    patch: int = Field(default=8, ge=1, description="side of a patch, pixels")
    width: int = Field(default=64, ge=8)
    depth: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _divides(self) -> "VisionTransformer":
        if self.size % self.patch or self.width % self.heads:
            raise ValueError(
                f"a side of {self.size} needs whole patches of {self.patch}, a width of {self.width} {self.heads} equal heads"
            )
        return self

    @property
    def sizes(self) -> dict[str, int]:
        """What every config of transformers calls the same."""
        return {
            "image_size": self.size,
            "patch_size": self.patch,
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
        }

    def network_and_config(self) -> Any:
        """(model class, config of the settings)"""
        raise NotImplementedError  # a base class; every embedder that is one has its own

    def build(self, generator: torch.Generator | None = None) -> "TransformerEmbedder":
        model, config = self.network_and_config()
        if self.weights is None:
            with seeded(asked(generator)):
                network = model(config)
            return TransformerEmbedder(self, self.kind, network, Preparation(self.size, *self.colours))
        network = loaded(self.weights, f"a {self.kind} of transformers", lambda name: of_folder(model, name))
        prepare = preparation(self.weights, int(network.config.image_size), *self.colours)
        return TransformerEmbedder(self, f"{self.kind}:{self.weights}", network, prepare)


class TransformerEmbedder(FrozenEmbedder):
    """A vision transformer of the transformers library."""

    def __init__(self, part: VisionTransformer, name: str, network: nn.Module, prepare: Preparation) -> None:
        super().__init__(name, network, prepare, "random-features" if part.weights is None else "published")
        self.part = part
        config: Any = network.config
        self.before = 1 + int(getattr(config, "num_register_tokens", 0))  # class token, then registers
        depth = int(config.num_hidden_layers)
        self.layers = part.layers or sorted({max(1, round(depth * share / 4)) for share in (1, 2, 3, 4)})

    def read(self, prepared: Float[Tensor, "batch 3 size size"]) -> Held:
        found: Any = self.network(pixel_values=prepared, output_hidden_states=True)
        last = found.last_hidden_state
        chosen = last if self.part.layer is None else found.hidden_states[self.part.layer]
        tokens = chosen[:, self.before :]
        if self.part.cls:
            tokens = torch.cat([chosen[:, :1], tokens], dim=1)
        pooled = found.image_embeds if hasattr(found, "image_embeds") else last[:, 0]
        return Held(tokens, pooled, [as_grid(found.hidden_states[k][:, self.before :]) for k in self.layers])


def of_folder(model: Any, name: str) -> Any:
    """The model of a folder or a name, whole."""
    found, info = model.from_pretrained(name, output_loading_info=True, use_safetensors=True)
    return whole(found, info, name)


def preparation(weights: str, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Preparation:
    """What the folder's own `preprocessor_config.json` says of colours and resampling, else what the family was trained with."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        said, _ = ImageProcessingMixin.get_image_processor_dict(weights)
    except OSError:
        return Preparation(size, mean, std)
    mode: Mode = "bilinear" if said.get("resample", 3) == 2 else "bicubic"  # Pillow's numbers
    mean, std = (
        tuple(map(float, said.get(f"image_{key}") or own)) for key, own in (("mean", mean), ("std", std))
    )
    return Preparation(size, mean, std, mode)
