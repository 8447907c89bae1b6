"""What a reconstruction asks for: weights of each part, counted without making them, and one forward of shapes alone."""

from dataclasses import dataclass
from typing import Any

import torch

from brainfm.brain_features import BrainFeatures, FeatureShape
from brainfm.chance import generator_of
from brainfm.images.conditioning import Conditioning
from brainfm.recipe_reconstruct import ReconstructRecipe


@dataclass(frozen=True)
class CostOfPictures:
    """Weights by part, and the shapes of features and of what the generator gives."""

    parameters: dict[str, int]
    features: dict[str, tuple[int, int]]
    latents: tuple[int, ...]

    @property
    def json(self) -> dict[str, Any]:
        """What `show --cost --json` prints."""
        return {
            "parameters": self.parameters,
            "features": {name: list(shape) for name, shape in self.features.items()},
            "latents": list(self.latents),
        }

    @property
    def text(self) -> str:
        """For a terminal."""
        lines = [f"{name:24} {count / 1e6:12.2f} M weights" for name, count in self.parameters.items()]
        lines += [f"{name:24} {tokens} tokens of {width}" for name, (tokens, width) in self.features.items()]
        return "\n".join([*lines, f"{'latents':24} {' × '.join(map(str, self.latents))}"])


@torch.no_grad()
def cost_of_pictures(recipe: ReconstructRecipe) -> CostOfPictures:
    """Build everything on torch's meta device, which has shapes and no numbers, and send one picture's shapes through it.

    Voxels' own weights are not among them: how many there are, the data say.
    """
    parameters: dict[str, int] = {}
    shapes: dict[str, FeatureShape] = {}
    with torch.device("meta"):
        for name, feature in recipe.features.items():
            embedder = feature.embedder.model_copy(update={"weights": None}).build(generator_of(0))
            tokens, width = embedder.to("meta").token_shape
            if feature.of == "pooled":
                tokens = 1
            shapes[name] = FeatureShape(tokens=tokens, width=width)
            parameters[f"feature {name}"] = counted(embedder)
        shapes |= recipe.learnt
        brain = recipe.brain.build(shapes, 0)
        parameters["brain"] = counted(brain)
        if isinstance(brain, BrainFeatures):
            parameters |= {f"brain, {name}": counted(one) for name, one in brain.readers.items()}
    bridge = recipe.condition
    mapped = shapes[bridge.control] if bridge.control else None
    tokens_of = shapes[bridge.tokens] if bridge.tokens else None
    vector_of = shapes[bridge.vector] if bridge.vector else None
    generator = recipe.generator.build(
        generator_of(0),
        tokens=tokens_of.width if tokens_of else None,
        vector=vector_of.tokens * vector_of.width if vector_of else None,
        device="meta",
    )
    parameters["generator"] = counted(generator)
    if generator.control is not None:
        parameters["generator, control branch"] = counted(generator.control)
    side = int(generator.unet.config.sample_size)
    latents = torch.empty(1, int(generator.unet.config.in_channels), side, side, device="meta")
    given = Conditioning(
        tokens=torch.empty(1, tokens_of.tokens, tokens_of.width, device="meta") if tokens_of else None,
        vector=torch.empty(1, vector_of.tokens * vector_of.width, device="meta") if vector_of else None,
        control=torch.empty(1, mapped.width, side, side, device="meta") if mapped else None,
    )
    told = generator.predict(latents, torch.zeros(1, dtype=torch.int64, device="meta"), given)
    return CostOfPictures(
        parameters, {name: (one.tokens, one.width) for name, one in shapes.items()}, tuple(told.shape[1:])
    )


def counted(module: torch.nn.Module) -> int:
    """Weights of a module."""
    return sum(one.numel() for one in module.parameters())
