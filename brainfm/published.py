"""Published systems that recipes of ours stand for: what each is made of here, how large, and what was shown of it.

A file of `brainfm/systems/` says what a person has to say of a system; its parts are read from its recipes, its weights are
counted, and what was shown lies beside it in the file that `benchmarks/systems.py` writes.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from brainfm import any_recipe
from brainfm.errors import RecipeError
from brainfm.part import Part, Settings, explain, suggest
from brainfm.recipe import Recipe, TokenizeRecipe
from brainfm.recipe_yaml import read_yaml

FOLDER = Path(__file__).resolve().parent / "systems"
NOTHING_SHOWN = "not run"


class Count(Settings):
    """What a paper or its code says of a size, and the recipe of ours that is to have it."""

    recipe: str
    overrides: list[str] = []
    of: Literal["tokenizer", "encoder", "codec", "generator", "whole"]
    """`whole`: tokenizers and encoder, without what only training needs."""
    weights: int = Field(ge=1)
    source: str


class System(Settings):
    """A published system: one file of `brainfm/systems/`."""

    name: str
    paper: str
    modalities: list[str]
    recipes: list[str] = Field(min_length=1)
    """Of two cores, in the order in which they are run, each with its folder."""
    published: list[Count]
    provisional: bool
    """Whether the paper's own numbers were not to be had."""
    unknown: str
    benchmark: str
    """The script of `benchmarks/` that measures the claims."""
    of: str | None = None
    """Which one, where a script measures several."""
    minutes: int = Field(ge=1)
    """Of one core, that the script may take."""

    @classmethod
    def load(cls, name: str) -> Self:
        """A system by its file's name. Raises `RecipeError` with the nearest one."""
        if name not in names():
            raise RecipeError(f"{name!r} is no published system here{suggest(name, names())}")
        path = FOLDER / f"{name}.yaml"
        try:
            return cls.model_validate(read_yaml(path))
        except ValidationError as error:
            raise explain(error, path) from None

    @property
    def parts(self) -> dict[str, list[str]]:
        """Family → kinds that its recipes choose."""
        found: dict[str, set[str]] = {}
        for recipe in self.recipes:
            for part in parts_of(load(recipe)):
                found.setdefault(family_of(part), set()).add(part.kind)
        return {family: sorted(kinds) for family, kinds in sorted(found.items())}


def names() -> list[str]:
    """Every published system, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def shown(name: str) -> dict[str, Any]:
    """What was measured of a system (`benchmarks/claims.py`); no claims where it was not run."""
    path = FOLDER / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"claims": []}
    return found


def verdict(claims: list[dict[str, Any]]) -> str:
    """Claims counted by what became of them: "4 shown, 1 not shown"."""
    words = [claim["verdict"] for claim in claims]
    counted = [f"{words.count(word)} {word}" for word in ("shown", "not shown", "against") if word in words]
    return ", ".join(counted) or NOTHING_SHOWN


def load(recipe: str, overrides: list[str] | None = None) -> Recipe:
    """A recipe by folder and name, of whichever kind."""
    folder, _, name = recipe.partition("/")
    if folder == "tokenizers":
        return TokenizeRecipe.load(name, overrides or ())
    return any_recipe.load(recipe, overrides or ())


def parts_of(value: Any) -> Iterator[Part]:
    """Every part that a recipe chooses, however deep."""
    if isinstance(value, Part):
        yield value
    if isinstance(value, Settings):
        value = dict(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from parts_of(inner)


def family_of(part: Part) -> str:
    """The folder that a part's file lies in."""
    return type(part).__module__.split(".")[-2]
