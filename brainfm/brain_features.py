"""From a brain to the features of what it saw: tokens of any tokenizer, and latent queries for each kind of feature.

With `voxel_clusters` it is Brain-IT's Brain Interaction Transformer (Beliy et al. 2025, arXiv:2510.25976, §3), whose two
networks, for semantic and low-level features, share their tokens here. Nothing in it is a person's own but rows of the
tokenizer's vocabulary.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, SerializeAsAny, ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import Chance, seeded
from brainfm.checkpoint import LoadReport, refuse_partial, tensors_of
from brainfm.data.seen import Rows, Seen, refuse_mixed
from brainfm.errors import CheckpointError, RecipeError
from brainfm.feature_losses import weighted
from brainfm.feed import Micro
from brainfm.files import write_json
from brainfm.layers.queries import LatentQueries
from brainfm.layers.vocabulary import Knowing
from brainfm.objectives import Loss
from brainfm.part import Settings, explain
from brainfm.tokenizers import Tokenizer
from brainfm.trials import Pairs, TrialPlan, batch_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class FeatureShape(Settings):
    """Features of a picture: so many tokens of so many numbers. A map of 7 × 7 places is 49 tokens."""

    tokens: int = Field(ge=1)
    width: int = Field(ge=1)


class BrainToFeatures(Settings):
    """The description of a network from trials to features."""

    tokenizer: SerializeAsAny[Tokenizer]
    targets: dict[str, FeatureShape] = Field(min_length=1, description="features by name")
    width: int = Field(ge=4)
    depth: int = Field(ge=1, description="pairs of a block of the brain's tokens and one of the queries")
    heads: int | None = Field(default=None, ge=1)
    voxels: int | None = Field(
        default=15_000,
        ge=1,
        description="voxels drawn, with replacement, for a step of training where there are more; None: all",
    )

    def build(self, seed: int) -> "BrainFeatures":
        with seeded(seed):
            return BrainFeatures(self)


class BrainFeatures(nn.Module):
    """`Batch -> features by name`; a batch is trials of one person where the tokenizer knows single voxels."""

    def __init__(self, settings: BrainToFeatures) -> None:
        super().__init__()
        self.settings = settings
        self.tokenizer = settings.tokenizer.build(settings.width, 0)
        self.readers = nn.ModuleDict(
            {
                name: LatentQueries(settings.width, settings.depth, shape.tokens, shape.width, settings.heads)
                for name, shape in settings.targets.items()
            }
        )

    def forward(
        self, batch: Batch, generator: torch.Generator | None = None, names: Sequence[str] | None = None
    ) -> dict[str, Float[Tensor, "trial token width"]]:
        """The features called `names`, or all. With a generator, which training gives, of voxels that are drawn."""
        most, count = self.settings.voxels, batch.signal.shape[1]
        if generator is not None and most is not None and count > most:
            drawn = torch.randint(count, (most,), generator=generator)
            batch = batch.sensors(drawn.to(batch.signal.device))
        tokens = self.tokenizer(batch, generator).tokens
        return {name: self.readers[name](tokens) for name in names or self.readers}

    def adopt(self, people: Sequence[Seen], seed: int) -> None:
        """Make room for the voxels of people who are new; what was known stays as it was."""
        if isinstance(self.tokenizer, Knowing):
            with seeded(seed):
                for one in people:
                    self.tokenizer.adopt(batch_of(one, [0]))

    @torch.no_grad()
    def predict(
        self, seen: Seen, rows: Rows | None = None, names: Sequence[str] | None = None, batch: int = 64
    ) -> dict[str, Float[Tensor, "trial token width"]]:
        """Features of trials, of all their voxels."""
        rows = np.arange(len(seen)) if rows is None else rows
        device = next(self.parameters()).device
        pieces = [
            self(batch_of(seen, rows[at : at + batch]).to(device), names=names)
            for at in range(0, len(rows), batch)
        ]
        return {name: torch.cat([one[name] for one in pieces]).float().cpu() for name in pieces[0]}

    def save(self, folder: Path) -> None:
        """Weights, description and who is known, in a folder that is there."""
        known = self.tokenizer.known() if isinstance(self.tokenizer, Knowing) else {}
        settings = self.settings.model_dump(mode="json")
        write_json(folder / CONFIG, {"model_type": "brain_features", "settings": settings, "known": known})
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()},
            folder / WEIGHTS,
        )

    @classmethod
    def load(cls, folder: Path) -> "BrainFeatures":
        """As it was saved. Raises `CheckpointError` where a file is damaged, another model's, or lacks a tensor."""
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{folder / CONFIG} can't be loaded: {' '.join(str(error).split())}"
            ) from None
        if not isinstance(config, dict) or config.get("model_type") != "brain_features":
            raise CheckpointError(f"{folder} holds no network from brains to features")
        try:
            model = BrainToFeatures.model_validate(config["settings"]).build(0)
        except ValidationError as error:
            raise CheckpointError(str(explain(error, folder / CONFIG))) from None
        if isinstance(model.tokenizer, Knowing):
            model.tokenizer.restore(config["known"])
        state = tensors_of(folder / WEIGHTS)
        refuse_partial(LoadReport.of(model.state_dict(), state), folder)
        model.load_state_dict(state)
        return model.eval()


@dataclass
class PredictFeatures:
    """What the training loop needs to know of learning to predict features: whose trials, and what a prediction should be."""

    module: BrainFeatures
    people: Sequence[Pairs]
    objectives: Mapping[str, Mapping[Any, float]]
    """Target → loss → weight; targets that are not here are not computed."""
    batch: int
    seed: int

    def __post_init__(self) -> None:
        refuse_mixed([one.seen for one in self.people])
        shapes = self.module.settings.targets
        for target in self.objectives:
            if target not in shapes:
                raise RecipeError(f"no feature is called {target!r}; there are {', '.join(shapes)}")
            for one in self.people:
                asked = (shapes[target].tokens, shapes[target].width)
                found = tuple(one.features[target].shape[1:]) if target in one.features else "none"
                if found != asked:
                    raise RecipeError(f"{one.seen.who}: feature {target!r} should be {asked}, it is {found}")
        self.plan = TrialPlan(tuple(len(one.seen) for one in self.people), self.batch, self.seed)

    def item(self, step: int, part: int, parts: int) -> Micro:
        person, rows, first, count, total = self.plan.piece(step, part, parts)
        pairs = self.people[person]
        content = (batch_of(pairs.seen, rows), *pairs.targets(rows, tuple(self.objectives)))
        return Micro(content, first, count, total)

    def loss(self, module: nn.Module, content: tuple[Any, ...], chance: Chance) -> Loss:
        batch, *true = content
        names = tuple(self.objectives)
        told = module(batch, chance.shared, names)
        return Loss(*weighted(told, dict(zip(names, true, strict=True)), self.objectives, chance.shared))

    def save(self, folder: Path) -> None:
        self.module.save(folder)
