"""Fit a reconstruction: features of pictures, clusters of voxels, then stage after stage; each goes on where it was killed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainfm.brains.ridge import out_of_fold
from brainfm.chance import seeded
from brainfm.clusterer import RESPONSE, EncodeVoxels, VoxelEncoderNetwork, functional_clusters, key_of
from brainfm.condition_noise import ConditionNoise
from brainfm.data.cards import DataCard
from brainfm.data.seen import refuse_mixed
from brainfm.data.viewers import Viewer, by_fold, by_shared, people_of
from brainfm.errors import RecipeError
from brainfm.files import write_folder
from brainfm.images.rgb import rgb
from brainfm.picture_features import PictureFeatures
from brainfm.recipe_reconstruct import NEW, Clusters, ReconstructRecipe, ReconstructStage
from brainfm.reconstructor import LearnToSee, Reconstructor, pairs_of
from brainfm.stages import Stage, run_stage
from brainfm.tokenizers.voxel_clusters import VoxelClustersTokenizer
from brainfm.trials import Pairs, identities

FITTED = "reconstructor"
"""The folder, inside that of the run, of what `brainfm reconstruct` loads."""
ENCODE: dict[str, Any] = {"objectives": {RESPONSE: {"mse": 1.0, "cosine": 0.1}}}
"""The losses of an encoder of voxels (Brain-IT)."""


@dataclass(frozen=True)
class Fitted:
    """A reconstructor and whom it may be asked about."""

    model: Reconstructor
    known: list[Viewer]
    new: list[Viewer]
    checkpoint: Path


def fit(recipe: ReconstructRecipe, out: Path, quiet: bool = False) -> Fitted:
    """Fit all that the recipe names, in folders of `out`. Raises `BrainfmError` in one sentence."""
    known, new = people(recipe)
    model, pairs = begin(recipe, known)
    fitting = Fitting(model, out, claims(recipe, known + new), quiet)
    if recipe.brain.stages:
        fitting.meet(list(pairs.values()))
    else:
        model.brain.solve(list(pairs.values()))
    if recipe.noise:
        measure(model, list(pairs.values()))
    for stage in recipe.stages:
        if stage.people == NEW and not {one.name for one in new} <= pairs.keys():
            asked = recipe.people
            seen = [one.training(recipe.average, asked.new_share, asked.new_sessions) for one in new]
            added = {one.subject: pairs_of(one, model.features) for one in seen}
            fitting.meet(list(added.values()), list(pairs.values()))
            pairs |= added
        fitting.learn(stage, [pairs[name] for name in whose(stage, known, new)])
    model.trained_on = sorted({name for one in pairs.values() for name in one.seen.shown})
    write_folder(out / FITTED, model.save)
    return Fitted(model.eval(), known, new, out / FITTED)


def whose(stage: ReconstructStage, known: Sequence[Viewer], new: Sequence[Viewer]) -> list[str]:
    """Names of those that a stage trains on. Raises `RecipeError` for one who is not known."""
    if isinstance(stage.people, str):
        return [one.name for one in (new if stage.people == NEW else known)]
    there = [one.name for one in known]
    for name in stage.people:
        if name not in there:
            raise RecipeError(
                f"stage {stage.name}: {name!r} is not among the known people, {', '.join(there)}"
            )
    return stage.people


def people(recipe: ReconstructRecipe) -> tuple[list[Viewer], list[Viewer]]:
    """Those whom the first stages train on, and those who come later."""
    everybody = people_of(DataCard.load(recipe.card))
    refuse_mixed(everybody)
    names, asked = [one.subject for one in everybody], recipe.people
    for name in [*asked.known, *asked.new]:
        if name not in names:
            raise RecipeError(f"people: {recipe.card} has no subject {name!r}; it has {', '.join(names)}")
    if twice := set(asked.known) & set(asked.new):
        raise RecipeError(f"people: {sorted(twice)[0]} is both known and new; take one")
    test = recipe.test
    if test.kind == "shared":
        found = by_shared(everybody, recipe.scaling)
    else:
        found = by_fold(everybody, test.folds, test.fold, recipe.scaling)
    known = asked.known or [name for name in names if name not in asked.new]
    return [one for one in found if one.name in known], [one for one in found if one.name in asked.new]


def begin(recipe: ReconstructRecipe, known: Sequence[Viewer]) -> tuple[Reconstructor, dict[str, Pairs]]:
    """A model that nothing has trained, with features fitted on the pictures that train, and everybody's trials."""
    training = [one.training(recipe.average) for one in known]
    shown: dict[str, Tensor] = {}
    for one in training:
        rows = np.unique(one.picture)
        pictures = rgb(np.asarray(one.pictures[rows], np.float32))
        shown |= {one.names[row]: picture for row, picture in zip(rows, pictures, strict=True)}
    features = PictureFeatures(recipe.features, recipe.seed)
    features.fit(torch.stack([shown[name] for name in sorted(shown)]), recipe.seed)
    model = Reconstructor(recipe, features)
    return model, {one.subject: pairs_of(one, features) for one in training}


@dataclass(frozen=True)
class Fitting:
    """What the stages of one fit share."""

    model: Reconstructor
    out: Path
    claim: Mapping[str, str]
    quiet: bool

    def learn(self, stage: ReconstructStage, people: Sequence[Pairs]) -> None:
        """One stage of the recipe."""
        recipe = self.model.recipe
        task = LearnToSee(self.model, stage, people, recipe.seed)
        run_stage(stage, task, recipe.seed, self.out, self.claim, recipe.text, self.quiet)

    def meet(self, people: Sequence[Pairs], before: Sequence[Pairs] = ()) -> None:
        """Give the tokenizer the voxels of people, of whom it met others `before`.

        By functional clusters, if the recipe has an encoder that finds them, else by places.
        """
        recipe, tokenizer = self.model.recipe, self.model.brain.tokenizer
        if recipe.clusters is None or not isinstance(tokenizer, VoxelClustersTokenizer):
            self.model.brain.adopt([one.seen for one in people], recipe.seed)
            return
        encoder = self.encoder(recipe.clusters, before or people, people if before else ())
        vectors = [encoder.embeddings(one.seen) for one in people]
        ids = [voxel for one in people for voxel in identities(one.seen)]
        group = None  # who comes later joins the clusters of the nearest voxels
        if not before:
            group = functional_clusters(np.concatenate(vectors), tokenizer.part.clusters, recipe.seed).label
        with seeded(recipe.seed):
            tokenizer.join(ids, np.concatenate(vectors), group)

    def encoder(self, asked: Clusters, first: Sequence[Pairs], later: Sequence[Pairs]) -> VoxelEncoderNetwork:
        """The encoder of voxels: all of it trained on the first people, of later ones their voxels' embeddings alone."""
        shapes = {name: (one.tokens, one.width) for name, one in self.model.features.shapes.items()}
        network = asked.encoder(shapes).build(self.model.recipe.seed)
        own = [f"embedding.{key_of(one.seen)}" for one in later]
        for name, people, trained in (("clusters", first, ["*"]), ("clusters-new", later, own)):
            if people:
                self.encode(
                    network, asked, Stage(name=name, train=trained, **ENCODE, settings=asked.settings), people
                )
        return network

    def encode(
        self, network: VoxelEncoderNetwork, asked: Clusters, stage: Stage, people: Sequence[Pairs]
    ) -> None:
        """Train what a stage names of an encoder."""
        seed = self.model.recipe.seed
        task = EncodeVoxels(network, people, stage.objectives, asked.settings.batch, seed)
        run_stage(stage, task, seed, self.out, self.claim, quiet=self.quiet)


def measure(model: Reconstructor, people: Sequence[Pairs]) -> None:
    """Find how wrong the features are told that the generator is conditioned on, out of fold, over everybody."""
    for name in model.recipe.condition.names:
        true = [one.targets(np.arange(len(one.seen)), (name,))[0] for one in people]
        told = [out_of_fold(one, name) for one in people]
        model.noise[name] = ConditionNoise.measured(torch.cat(true), torch.cat(told), name)


def claims(recipe: ReconstructRecipe, people: Sequence[Viewer]) -> dict[str, str]:
    """What a stage's folder is claimed by, beside the stage itself."""
    card = DataCard.load(recipe.card)
    return {"recipe": recipe.hash, "card": card.hash, "people": ",".join(one.seen.who for one in people)}
