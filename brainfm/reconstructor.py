"""A reconstructor: a brain that tells features of what was seen, and a generator that makes pictures of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import Chance, generator_of
from brainfm.checkpoint import LoadReport, refuse_partial, tensors_of
from brainfm.condition_noise import ConditionNoise
from brainfm.data.seen import Rows, Seen
from brainfm.errors import CheckpointError, RecipeError
from brainfm.feature_losses import weighted
from brainfm.feed import Micro
from brainfm.files import write_json
from brainfm.images.conditioning import Conditioning
from brainfm.images.inversion import invert
from brainfm.images.map_tokens import to_maps
from brainfm.images.rgb import resized, rgb
from brainfm.images.seeded import seeded
from brainfm.images.sketch import SketchNetwork
from brainfm.layers.vocabulary import Knowing
from brainfm.objectives import Loss
from brainfm.picture_features import PictureFeatures
from brainfm.recipe_reconstruct import ON_PICTURES, ReconstructRecipe, ReconstructStage
from brainfm.trials import Pairs, TrialPlan, batch_of

CONFIG, WEIGHTS, NOISE = "reconstructor.json", "model.safetensors", "noise.safetensors"
PICTURES = "pictures"
"""What the generator's loss is called."""
Told = Mapping[str, Float[Tensor, "picture token width"]]


class Reconstructor(nn.Module):
    """`brain` and `generator` train by stages; `features` are frozen, and no part of its weights."""

    def __init__(self, recipe: ReconstructRecipe, features: PictureFeatures) -> None:
        super().__init__()
        shapes, bridge = {**features.shapes, **recipe.learnt}, recipe.condition
        generator = generator_of(recipe.seed, 1)
        self.recipe, self.features = recipe, features
        self.brain = recipe.brain.build(shapes, recipe.seed)
        self.generator = recipe.generator.build(
            generator,
            tokens=shapes[bridge.tokens].width if bridge.tokens else None,
            vector=shapes[bridge.vector].tokens * shapes[bridge.vector].width if bridge.vector else None,
        )
        self.sketch: SketchNetwork | None = None
        if recipe.sketch is not None and bridge.start is not None:
            with seeded(generator):
                self.sketch = recipe.sketch.build(shapes[bridge.start].tokens, shapes[bridge.start].width)
        self.noise: dict[str, ConditionNoise] = {}
        self.trained_on: list[str] = []
        """Names of the pictures of all training trials."""
        if bridge.control:
            self.check_control(shapes[bridge.control].tokens)

    def check_control(self, tokens: int) -> None:
        """Raise `RecipeError` where a control feature is no map of the latents' size."""
        side = int(self.generator.unet.config.sample_size)
        if tokens != side**2:
            raise RecipeError(
                f"condition.control has {tokens} tokens; the generator's maps have {side} × {side}"
            )

    # ---- training ----------------------------------------------------------------------------------------------

    def forward(self, stage: ReconstructStage, content: tuple[Any, ...], chance: Chance) -> Loss:
        """The loss of a micro-batch of a stage: (pictures,), or (batch, pictures, features of the objectives …)."""
        if stage.of in ON_PICTURES:
            (images,) = content
            told = self.as_told(images, chance)
            if stage.of == "sketch":
                sketched = self.started(told)
                loss = F.mse_loss(sketched, resized(images, sketched.shape[-1]))
            else:
                loss = self.told_apart(images, told, chance)
            return Loss({stage.of: loss}, {stage.of: 1.0})
        batch, images, *true = content
        wanted = list(stage.objectives)
        names = (
            wanted if stage.of == "features" else list(dict.fromkeys([*wanted, *self.recipe.condition.names]))
        )
        told = self.brain(batch, chance.shared, names)
        parts, weights = weighted(told, dict(zip(wanted, true, strict=True)), stage.objectives, chance.shared)
        if stage.of == "both":
            parts[PICTURES], weights[PICTURES] = self.told_apart(images, told, chance), 1.0
        return Loss(parts, weights)

    def as_told(self, images: Float[Tensor, "batch 3 height width"], chance: Chance) -> Told:
        """Features of pictures as a brain would tell them."""
        given = [name for name in self.recipe.condition.names if name in self.recipe.features]
        true = self.features(images, given)
        noise = self.noise
        return {name: noise[name](one, chance.shared) if name in noise else one for name, one in true.items()}

    def told_apart(self, images: Tensor, told: Told, chance: Chance) -> Float[Tensor, ""]:
        """The generator's loss of pictures, given features."""
        return self.generator.loss(images, self.conditioning(told, starting=False), chance.shared)

    # ---- pictures ----------------------------------------------------------------------------------------------

    def conditioning(self, told: Told, starting: bool = True, first: Told | None = None) -> Conditioning:
        """What the generator is given of features; the picture to start from, of `first` or of them, is for sampling alone.

        What only a brain tells is missing where features are a picture's own, and takes no part then.
        """
        bridge = self.recipe.condition
        side = int(self.generator.unet.config.sample_size)
        tokens, vector, control, start = (
            told.get(name) if name else None
            for name in (bridge.tokens, bridge.vector, bridge.control, bridge.start)
        )
        begins = start is not None and starting
        return Conditioning(
            tokens=tokens,
            vector=None if vector is None else vector.flatten(1),
            control=None if control is None else control.transpose(1, 2).unflatten(2, (side, side)),
            start=self.started(first or told) if begins else None,
            start_at=bridge.start_at if begins else 0.0,
        )

    def started(self, told: Told) -> Float[Tensor, "picture 3 height width"]:
        """The picture that sampling begins with: sketched, or inverted from maps."""
        name = self.recipe.condition.start
        assert name is not None
        if self.sketch is not None:
            found: Tensor = self.sketch(told[name])
            return found
        return self.inverted(name, told[name])

    def inverted(
        self, name: str, told: Float[Tensor, "picture token width"]
    ) -> Float[Tensor, "picture 3 high wide"]:
        """By feature inversion, from the maps that the tokens make (Brain-IT, inference)."""
        embedder, size = self.features.embedders[name], self.generator.size
        blank = embedder.maps(torch.full((1, 3, size, size), 0.5))
        maps = to_maps(self.features.unscaled(name, told).cpu(), [tuple(one.shape[1:]) for one in blank])
        generator = generator_of(self.recipe.seed, 2)
        with torch.enable_grad():  # it descends on pictures, inside of what else needs no gradients
            found: Tensor = invert(
                maps, embedder, size, self.recipe.inversion, generator, self.generator.codec
            )
        return found.detach()

    @torch.no_grad()
    def from_features(
        self,
        told: Told,
        generator: torch.Generator,
        progress: Callable[[float], None] | None = None,
        first: Told | None = None,
    ) -> Float[Tensor, "picture 3 height width"]:
        """Pictures of features, a row each: the mean of the recipe's draws. Those of `first`, if given, make the start."""
        sample, given = self.recipe.sample, self.conditioning(told, first=first)
        total: Tensor | None = None
        for draw in range(sample.draws):
            tell = (
                None
                if progress is None
                else (lambda share, draw=draw: progress((draw + share) / sample.draws))
            )
            one = self.generator.sample(given, generator, sample.steps, sample.scale, progress=tell)
            total = one if total is None else total + one
        assert total is not None
        return (total / sample.draws).cpu()

    def reconstruct(
        self,
        seen: Seen,
        rows: Rows,
        generator: torch.Generator,
        progress: Callable[[float], None] | None = None,
    ) -> Float[Tensor, "trial 3 height width"]:
        """Pictures of trials."""
        self.eval()
        return self.from_features(self.told(seen, rows), generator, progress)

    def told(self, seen: Seen, rows: Rows | None = None) -> dict[str, Float[Tensor, "trial token width"]]:
        """Features that the brain tells of trials."""
        found: dict[str, Tensor] = self.brain.predict(seen, rows)
        return found

    # ---- keeping -----------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Weights, recipe, features, who is known and what was seen, in a folder that is there."""
        tokenizer = getattr(self.brain, "tokenizer", None)
        known = tokenizer.known() if isinstance(tokenizer, Knowing) else {}
        solved = {name: list(value.shape) for name, value in self.brain.state_dict().items()}
        write_json(
            folder / CONFIG,
            {
                "model_type": "reconstructor",
                "recipe": self.recipe.model_dump(mode="json"),
                "known": known,
                "solved": {} if self.recipe.brain.stages else solved,
                "trained_on": self.trained_on,
            },
        )
        save_file(cpu(self.state_dict()), folder / WEIGHTS)
        save_file(
            cpu(
                {
                    f"{name}|{key}": value
                    for name, one in self.noise.items()
                    for key, value in one.tensors.items()
                }
            ),
            folder / NOISE,
        )
        self.features.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "Reconstructor":
        """As it was saved. Raises `CheckpointError` where a file is damaged, another model's, or lacks a tensor."""
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())
            raise CheckpointError(f"{folder} holds no reconstructor that can be loaded: {said}") from None
        recipe = ReconstructRecipe.resolve(config["recipe"], where=folder / CONFIG)
        model = cls(recipe, PictureFeatures.load(folder))
        if config["known"]:
            model.brain.tokenizer.restore(config["known"])
        for name, shape in config["solved"].items():
            which, key = name.split(".", 1)
            getattr(model.brain, which)[key] = nn.Parameter(torch.zeros(shape), requires_grad=False)
        state = tensors_of(folder / WEIGHTS)
        report = LoadReport.of(model.state_dict(), state)
        refuse_partial(report, folder)
        if report.unexpected:
            raise CheckpointError(
                f"{folder}: nothing is there for {report.unexpected[0]!r}; its config is damaged"
            )
        model.load_state_dict(state)
        noise = tensors_of(folder / NOISE)
        names = {name.partition("|")[0] for name in noise}
        model.noise = {name: ConditionNoise(noise[f"{name}|map"], noise[f"{name}|root"]) for name in names}
        model.trained_on = config["trained_on"]
        return model.eval()


def cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are written."""
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


@dataclass
class LearnToSee:
    """What the training loop needs to know of a stage."""

    module: Reconstructor
    stage: ReconstructStage
    people: Sequence[Pairs]
    seed: int

    def __post_init__(self) -> None:
        self.plan = TrialPlan(
            tuple(len(one.seen) for one in self.people), self.stage.settings.batch, self.seed
        )

    def item(self, step: int, part: int, parts: int) -> Micro:
        person, rows, first, count, total = self.plan.piece(step, part, parts)
        pairs = self.people[person]
        images = rgb(pairs.seen.images(rows))
        content: tuple[Any, ...]
        if self.stage.of in ON_PICTURES:
            warps = self.module.recipe.warps
            if warps is not None:
                images = warps(images.contiguous(), generator_of(self.seed, step, part, 3))
            content = (images,)
        else:
            targets = pairs.targets(rows, tuple(self.stage.objectives))
            content = (batch_of(pairs.seen, rows), images, *targets)
        return Micro(content, first, count, total)

    def loss(self, module: nn.Module, content: tuple[Batch | Tensor, ...], chance: Chance) -> Loss:
        found: Loss = module(self.stage, content, chance)
        return found

    def save(self, folder: Path) -> None:
        self.module.save(folder)


def pairs_of(seen: Seen, features: PictureFeatures) -> Pairs:
    """Trials with features of the pictures that they showed; other rows of the table are not looked at."""
    each = np.unique(seen.picture)
    told = features(rgb(np.asarray(seen.pictures[each], np.float32)))
    whole = {}
    for name, one in told.items():
        whole[name] = one.new_zeros(len(seen.names), *one.shape[1:])
        whole[name][torch.from_numpy(each)] = one
    return Pairs(seen, whole)
