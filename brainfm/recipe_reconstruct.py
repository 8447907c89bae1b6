"""Recipes of reconstruction: from responses to the pictures that were seen, stage by stage."""

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from brainfm.brain_features import FeatureShape
from brainfm.brains import Brain
from brainfm.clusterer import VoxelEncoder
from brainfm.data.seen import Scaling
from brainfm.images.generators import Diffusion
from brainfm.images.inversion import Inversion
from brainfm.images.sketch import Sketch
from brainfm.images.warps import Warps
from brainfm.part import Settings
from brainfm.picture_features import Feature
from brainfm.recipe import Recipe, Training
from brainfm.stages import Objectives, Stage

NEW = "new"
ON_PICTURES = ("pictures", "sketch")
"""Stages that need no responses."""


class Held(Settings):
    """Which pictures test: those that everybody saw, or one of `folds` of a person's."""

    kind: Literal["shared", "folds"] = "shared"
    folds: int = Field(default=10, ge=2)
    fold: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_of_them(self) -> "Held":
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} is none; they count from 0")
        return self


class People(Settings):
    """Whose responses. `new` people come later: stages of theirs alone train on them."""

    known: list[str] = Field(default=[], description="nobody named: all but the new ones")
    new: list[str] = []
    new_sessions: int | None = Field(
        default=None,
        ge=1,
        description="of a new person, the first so many: NSD's first is an hour; none: all",
    )
    new_share: float = Field(
        default=1.0, gt=0, le=1, description="of a new person's training trials, the first ones"
    )


class Clusters(Settings):
    """Functional clusters of voxels, found by an encoder from features to voxels (`brainfm.clusterer`)."""

    features: list[str] = Field(min_length=1)
    embedding: int = Field(default=64, ge=2)
    width: int = Field(default=32, ge=2)
    settings: Training

    def encoder(self, shapes: dict[str, tuple[int, int]]) -> VoxelEncoder:
        """The encoder of these features."""
        levels = {name: shapes[name] for name in self.features}
        return VoxelEncoder(levels=levels, embedding=self.embedding, width=self.width)


class Bridge(Settings):
    """Where features enter the generator, each by its name."""

    tokens: str | None = Field(default=None, description="what the UNet attends to")
    vector: str | None = Field(default=None, description="beside the time, all of its numbers")
    control: str | None = Field(default=None, description="a map for the control branch, a token a place")
    start: str | None = Field(default=None, description="made a picture, with which sampling begins")
    start_at: float = Field(default=0.5, ge=0, le=1, description="share of the steps that are skipped then")

    @property
    def names(self) -> list[str]:
        """The features that take part."""
        given = (self.tokens, self.vector, self.control, self.start)
        return list(dict.fromkeys(one for one in given if one is not None))


class Sampling(Settings):
    """How pictures are drawn; with several `draws` the mean of them is what is shown."""

    steps: int = Field(default=20, ge=1)
    scale: float = Field(default=1.0, ge=0, description="of classifier-free guidance; 1: none")
    draws: int = Field(default=1, ge=1)


class ReconstructStage(Stage):
    """What trains: `features` from responses, `both` those and the generator by its loss; on pictures alone the generator
    (`pictures`) or the `sketch`."""

    of: Literal["features", "pictures", "sketch", "both"]
    people: Literal["known", "new"] | list[str] = Field(
        default="known", description="or some of the known, by name"
    )
    objectives: Objectives = {}

    @model_validator(mode="after")
    def _has_a_loss(self) -> "ReconstructStage":
        if self.of == "features" and not self.objectives:
            raise ValueError(
                f"stage {self.name} learns features, so it needs objectives: feature → loss → weight"
            )
        if self.of in ON_PICTURES and self.objectives:
            raise ValueError(
                f"stage {self.name} learns pictures, which have a loss of their own; drop objectives"
            )
        return self


class ReconstructRecipe(Recipe):
    """A file of `finetune/` that has a generator: fMRI in, pictures out."""

    folder: ClassVar[str] = "finetune"

    card: str
    size: Literal["tiny", "published"] = Field(
        default="tiny", description="published: the papers' own, to be counted"
    )
    people: People = People()
    scaling: Scaling = "session_all"
    average: bool = Field(
        default=True, description="train on the mean over a picture's repeats, not on trials"
    )
    test: Held = Held()
    features: dict[str, Feature] = Field(min_length=1)
    learnt: dict[str, FeatureShape] = Field(
        default={},
        description="what a brain tells for the generator's use alone: no embedder says what it should be",
    )
    brain: SerializeAsAny[Brain]
    clusters: Clusters | None = None
    generator: SerializeAsAny[Diffusion]
    condition: Bridge
    sketch: Sketch | None = Field(default=None, description="makes the feature of condition.start a picture")
    inversion: Inversion = Field(default=Inversion(), description="makes it one without a sketch")
    noise: bool = Field(
        default=False, description="train the generator on features as wrong as a brain tells them"
    )
    warps: Warps | None = Field(default=None, description="change the pictures that the generator trains on")
    stages: list[ReconstructStage] = []
    sample: Sampling = Sampling()

    @model_validator(mode="after")
    def _learnt_have_names_of_their_own(self) -> "ReconstructRecipe":
        if both := self.learnt.keys() & self.features.keys():
            raise ValueError(f"{sorted(both)[0]!r} is a feature and learnt; give one another name")
        if self.learnt and not self.brain.stages:
            raise ValueError(
                f"brain {self.brain.kind} learns nothing by stages, so `learnt` would stay empty"
            )
        return self

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, value: list[ReconstructStage]) -> list[ReconstructStage]:
        names = [stage.name for stage in value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two stages are called {twice[0]}; give one another name")
        return value

    @model_validator(mode="after")
    def _features_exist(self) -> "ReconstructRecipe":
        asked = {
            "condition": self.condition.names,
            "clusters": self.clusters.features if self.clusters else [],
        }
        asked |= {f"stage {stage.name}": list(stage.objectives) for stage in self.stages}
        for where, names in asked.items():
            for name in names:
                if name not in self.features and (name not in self.learnt or where != "condition"):
                    raise ValueError(
                        f"{where}: no feature is called {name!r}; there are {', '.join(self.features)}"
                    )
        if self.noise and self.brain.stages:
            raise ValueError(
                f"noise is measured out of fold, which brain {self.brain.kind} is not asked for; leave it out"
            )
        for stage in self.stages:
            if stage.of == "sketch" and not (self.sketch and self.condition.start):
                raise ValueError(f"stage {stage.name}: there is no sketch; set `sketch` and condition.start")
            if stage.of not in ON_PICTURES and not self.brain.stages:
                raise ValueError(
                    f"stage {stage.name}: brain {self.brain.kind} is solved at once; drop the stage"
                )
            if stage.people == NEW and not self.people.new:
                raise ValueError(f"stage {stage.name} trains on new people, and people.new names none")
        return self

    @classmethod
    def derive(cls, data: dict[str, Any]) -> dict[str, Any]:
        """`size: published` takes the values of the section `published:` in place of the tiny ones."""
        published = data.pop("published", {})
        return {**data, **published} if data.get("size") == "published" else data
