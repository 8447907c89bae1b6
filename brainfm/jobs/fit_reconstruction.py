"""Fit a reconstruction: features of pictures, clusters of voxels, then stage after stage; each goes on where it was killed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from brainfm.brains.ridge import out_of_fold
from brainfm.clusterer import RESPONSE, EncodeVoxels, VoxelEncoderNetwork, functional_clusters, key_of
from brainfm.condition_noise import ConditionNoise
from brainfm.data.cards import DataCard
from brainfm.data.viewers import Viewer, by_fold, by_shared, people_of
from brainfm.errors import RecipeError
from brainfm.files import write_folder
from brainfm.images.rgb import rgb
from brainfm.model import seeded
from brainfm.picture_features import PictureFeatures
from brainfm.recipe_reconstruct import NEW, ReconstructRecipe, ReconstructStage
from brainfm.reconstructor import LearnToSee, Reconstructor, pairs_of
from brainfm.stages import Objectives, Stage, run_stage
from brainfm.tokenizers.voxel_clusters import VoxelClustersTokenizer
from brainfm.trials import Pairs, identities

FITTED = "reconstructor"
"""The folder, inside that of the run, of what `brainfm reconstruct` loads."""


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
    claim = claims(recipe, known + new)
    if recipe.brain.stages:
        find_clusters(model, pairs, [], out, claim, quiet)
    else:
        model.brain.solve(list(pairs.values()))
    if recipe.noise:
        measure(model, list(pairs.values()))
    for stage in recipe.stages:
        if stage.people == NEW and not {one.name for one in new} <= pairs.keys():
            added = {one.name: trained_on(recipe, model, one, recipe.people.new_share) for one in new}
            find_clusters(model, pairs, list(added.values()), out, claim, quiet)
            pairs |= added
        learn(model, stage, [pairs[name] for name in whose(stage, known, new)], out, claim, quiet)
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
    new = [one for one in found if one.name in asked.new]
    return [one for one in found if one.name in asked.known or not (asked.known or one in new)], new


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


def trained_on(recipe: ReconstructRecipe, model: Reconstructor, viewer: Viewer, share: float) -> Pairs:
    """A person's training trials, or the first share of them, with features."""
    return pairs_of(viewer.training(recipe.average, share), model.features)


def find_clusters(
    model: Reconstructor,
    known: Mapping[str, Pairs],
    new: Sequence[Pairs],
    out: Path,
    claim: Mapping[str, str],
    quiet: bool,
) -> None:
    """Give the tokenizer its voxels: by functional clusters if the recipe has an encoder for them, else by their places.

    People who come later are told to the encoder after all else in it is fixed.
    """
    recipe, tokenizer = model.recipe, model.brain.tokenizer
    people = [*known.values()] if not new else [*new]
    asked = recipe.clusters
    if asked is None or not isinstance(tokenizer, VoxelClustersTokenizer):
        model.brain.adopt([one.seen for one in people], recipe.seed)
        return
    shapes = {name: (one.tokens, one.width) for name, one in model.features.shapes.items()}
    encoder = asked.encoder(shapes).build(recipe.seed)
    objectives: Objectives = {RESPONSE: {"mse": 1.0, "cosine": 0.1}}
    first = Stage(name="clusters", train=["*"], objectives=objectives, settings=asked.settings)
    encode(encoder, first, list(known.values()), recipe.seed, out, claim, quiet)
    if new:
        keys = [f"embedding.{key_of(one.seen)}" for one in new]
        later = Stage(name="clusters-new", train=keys, objectives=objectives, settings=asked.settings)
        encode(encoder, later, new, recipe.seed, out, claim, quiet)
    vectors = [encoder.embeddings(one.seen) for one in people]
    if new:
        for one, vector in zip(people, vectors, strict=True):
            tokenizer.join(identities(one.seen), vector)
        return
    found = functional_clusters(np.concatenate(vectors), tokenizer.part.clusters, recipe.seed)
    ids = [voxel for one in people for voxel in identities(one.seen)]
    with seeded(recipe.seed):
        tokenizer.join(ids, np.concatenate(vectors), found.label)


def encode(
    encoder: VoxelEncoderNetwork,
    stage: Stage,
    people: Sequence[Pairs],
    seed: int,
    out: Path,
    claim: Mapping[str, str],
    quiet: bool,
) -> None:
    """Train an encoder of voxels on these people."""
    task = EncodeVoxels(encoder, people, stage.objectives, stage.settings.batch, seed)
    run_stage(stage, task, seed, out, claim, quiet=quiet)


def measure(model: Reconstructor, people: Sequence[Pairs]) -> None:
    """Find how wrong features are told that the generator is conditioned on, out of fold, over everybody."""
    for name in model.recipe.condition.names:
        true = [one.targets(np.arange(len(one.seen)), (name,))[0] for one in people]
        told = [out_of_fold(one, name) for one in people]
        model.noise[name] = ConditionNoise.measured(torch.cat(true), torch.cat(told), name)


def learn(
    model: Reconstructor,
    stage: ReconstructStage,
    people: Sequence[Pairs],
    out: Path,
    claim: Mapping[str, str],
    quiet: bool,
) -> None:
    """One stage of the recipe."""
    seed = model.recipe.seed
    run_stage(stage, LearnToSee(model, stage, people, seed), seed, out, claim, model.recipe.text, quiet)


def claims(recipe: ReconstructRecipe, people: Sequence[Viewer]) -> dict[str, str]:
    """What a stage's folder is claimed by, beside the stage itself."""
    card = DataCard.load(recipe.card)
    return {"recipe": recipe.hash, "card": card.hash, "people": ",".join(one.seen.who for one in people)}
