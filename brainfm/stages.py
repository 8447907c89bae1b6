"""Stages: one network trained several times in turn, each time other parts of it, on other data, by other losses.

Brain-IT has four: an encoder that finds the clusters, semantic and low-level features, both with the generator, and a new
person of whom only voxel embeddings train. Each begins with what the one before left, and is a run of the one training loop
in a folder of its own, so each can be killed and goes on.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import nn

from brainfm.errors import RecipeError
from brainfm.part import Settings
from brainfm.recipe import Training
from brainfm.train import Outcome, Run, Task, train

Objectives = dict[str, dict[Literal["mse", "cosine", "info_nce"], float]]
"""Target → loss → weight."""


class Stage(Settings):
    """One stage of a recipe."""

    name: str = Field(min_length=1, pattern=r"^[\w-]+$")
    train: list[str] = Field(
        min_length=1, description='globs of the names of parameters that train: ["*"] is all'
    )
    objectives: Objectives = Field(min_length=1, description="target → loss → weight")
    undecayed: list[str] = Field(
        default=["*vocabulary.table", "embedding.*"],
        description="globs of parameters that are not decayed: else rows of people who are not trained on would shrink",
    )
    settings: Training

    def rates(self, module: nn.Module) -> dict[str, float]:
        """Of each parameter, 1 where it trains and 0 where it stays. Raises `RecipeError` for a glob that names none."""
        names = [name for name, parameter in module.named_parameters() if parameter.numel()]
        for glob in self.train:
            if not any(fnmatchcase(name, glob) for name in names):
                raise RecipeError(
                    f"stage {self.name}: no parameter is called {glob!r}; they begin with {', '.join(beginnings(names))}"
                )
        found = {name: float(any(fnmatchcase(name, glob) for glob in self.train)) for name in names}
        # longer names first: the loop goes by how a name begins
        return dict(sorted(found.items(), key=lambda one: -len(one[0])))


def beginnings(names: Iterable[str]) -> list[str]:
    """The first words of dotted names, each once."""
    return sorted({name.partition(".")[0] for name in names})


def run_stage(
    stage: Stage,
    task: Task,
    seed: int,
    out: Path,
    identity: Mapping[str, str],
    recipe: str = "",
    quiet: bool = True,
) -> Outcome:
    """Train what the stage names, in `out/NAME`, and leave all else of the task's module as it was, to the bit.

    `identity` says what else decides its losses (the data, where it started), as of any run.
    """
    module = task.module
    module.train()
    names = [name for name, _ in module.named_parameters()]
    undecayed = [name for name in names if any(fnmatchcase(name, glob) for glob in stage.undecayed)]
    run = Run(
        task,
        stage.settings,
        seed,
        out / stage.name,
        recipe,
        {**identity, "stage": stage.model_dump_json(exclude={"settings": IRRELEVANT}), "seed": str(seed)},
        quiet=quiet,
        rates=stage.rates(module),
        undecayed=undecayed,
        several=True,
    )
    outcome = train(run)
    module.cpu().eval().requires_grad_()
    return outcome


IRRELEVANT = {"workers", "save_every", "keep", "log_with"}
"""Settings that change how a run goes on, never what it learns."""
