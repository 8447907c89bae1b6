"""The learner: a model, a mask and objectives, built for the streams that they will see."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

from brainfm.average import Average
from brainfm.batch import Batch
from brainfm.chance import Chance, entropy, seeded
from brainfm.codec import Codec
from brainfm.corpus import AnyStream, Stream
from brainfm.errors import DataError
from brainfm.gather import sample
from brainfm.masks import Mask
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.objectives import Loss, Shapes, mean_parts
from brainfm.recipe import PretrainRecipe
from brainfm.tokens import Tokenized, Tokens
from brainfm.view import Piece, View


class Learner(nn.Module):
    """The model, the mask and the objectives under one forward, as data-parallel wrappers want it."""

    def __init__(self, model: BrainFM, mask: Mask, objectives: Mapping[str, tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.model, self.mask = model, mask
        self.weights = {name: weight for name, (weight, _) in objectives.items()}
        self.objectives = nn.ModuleDict({name: module for name, (_, module) in objectives.items()})
        self.teacher: Callable[[Batch], Tokens] | None = None
        """Set by whoever keeps a running mean of the weights, and beside it what its tokenizer alone says."""
        self.teacher_tokens: Callable[[Batch], Tokens] | None = None

    def forward(self, batches: tuple[Batch, ...], chance: Chance) -> Loss:
        view = self.view(batches, chance)
        learnt = mean_parts(piece.tokenized.losses for piece in view.pieces)  # by the tokenizers themselves
        asked = [self.objectives[name](view) * weight for name, weight in self.weights.items()]
        loss = sum(asked, start=Loss(learnt, dict.fromkeys(learnt, 1.0)))
        if not any(loss.weights.values()):
            raise DataError(
                f"no objective has anything to learn from windows of {' and '.join(one.modality for one in batches)}; "
                "add one that has, such as masked_patches"
            )
        return loss

    def save_kept(self, folder: Path) -> None:
        """Beside a checkpoint, what its objectives have learnt that more can be asked of than a loss (`Objective.kept`)."""
        for name, module in self.objectives.items():
            if getattr(getattr(module, "part", None), "kept", False):
                save_file(module.state_dict(), folder / kept_file(name))

    def view(self, batches: tuple[Batch, ...], chance: Chance) -> View:
        """What the objectives are shown of these windows."""
        tokenized = [
            self.model.tokenize(batch, chance.shared if self.training else None) for batch in batches
        ]
        hidden = self.mask.draw_together([one.tokens for one in tokenized], chance)
        pieces = tuple(map(Piece, batches, tokenized, hidden))
        return View(pieces, self.model.encoder, chance, self.teacher, self.teacher_tokens)


def kept_file(name: str) -> str:
    """The file of a checkpoint that holds what the objective of this name has learnt."""
    return f"objective_{name}.safetensors"


def teach(learner: nn.Module, average: Average) -> None:
    """Let a learner's objectives ask for the tokens of whole windows by the running mean of its weights, without a gradient."""
    assert isinstance(learner, Learner)  # it is what this file trains
    model = learner.model

    @torch.no_grad()
    def teacher(batch: Batch) -> Tokens:
        tokens: Tokens = functional_call(model, average.part("model."), (batch,))
        return tokens

    @torch.no_grad()
    def tokens(batch: Batch) -> Tokens:
        part = model.tokenizers[batch.modality]
        weights = average.part(f"model.tokenizers.{batch.modality}.")
        found: Tokenized = functional_call(part, weights, (batch,))
        return found.tokens

    learner.teacher, learner.teacher_tokens = teacher, tokens


def learner(
    recipe: PretrainRecipe, streams: Mapping[str, AnyStream], codecs: Mapping[str, Codec] | None = None
) -> Learner:
    """The untrained network of the recipe's seed, its objectives fitted to the corpus's statistics.

    `codecs` are those that the recipe names, if they have been loaded already.
    """
    parts = [part for stream_ in streams.values() for part in stream_.parts]
    model = BrainFM.fresh(met(BrainFMConfig.of(recipe), parts), recipe.seed)
    for modality, codec in (codecs_of(recipe.codecs) if codecs is None else codecs).items():
        model.attach(codec, modality)
    patches = {name: signal.tokenizer.held for name, signal in model.signals.items()}
    codes = {name: codec.sizes for name, codec in model.codecs.items()}
    shapes = Shapes(model.width, patches, codes, recipe.encoder.where, recipe.encoder.when)
    objectives = {}
    asked = {name: part for name, part in recipe.objectives.items() if part.weight}
    for number, (name, part) in enumerate(asked.items()):
        with seeded(entropy(recipe.seed, 1, number)):
            objectives[name] = (part.weight, part.build(shapes))
    with torch.no_grad():
        sampled = [(batch, model.tokenize(batch)) for part in parts for batch in sample(part, recipe.seed)]
        for _, module in objectives.values():
            if hasattr(module, "fit"):
                module.fit(sampled)
    return Learner(model, recipe.mask, objectives)


def codecs_of(folders: Mapping[str, str]) -> dict[str, Codec]:
    """The codecs of these folders, by modality.

    Raises `CheckpointError` where one is missing or did not pass, and `DataError` where it is another modality's.
    """
    found = {modality: Codec.load(folder) for modality, folder in folders.items()}
    for modality, codec in found.items():
        if modality not in codec.modalities:
            known = " and ".join(codec.modalities)
            raise DataError(f"codecs.{modality}: {folders[modality]} holds a codec for {known}")
    return found


def met(config: BrainFMConfig, streams: Iterable[Stream]) -> BrainFMConfig:
    """The config of a network that knows the sensors of these streams; its first weights then follow from the seed alone."""
    scout = BrainFM.fresh(config, 0)
    for stream_ in streams:
        scout.adopt(stream_)
    return scout.config
