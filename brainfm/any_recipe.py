"""A recipe of whichever kind: by name from the folder that has it, by path from what it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brainfm import folders
from brainfm.recipe import FinetuneRecipe, PretrainRecipe, Recipe
from brainfm.recipe_yaml import read_yaml

FOLDERS = ("pretrain", "finetune")


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """`finetune/smoke` says which of two of one name. Raises `RecipeError` in one sentence."""
    path = Path(name)
    if path.parent.name in FOLDERS and not path.suffix:
        folder, name = path.parent.name, path.name
    elif path.suffix == ".yaml" and path.is_file():
        folder = "finetune" if "card" in read_yaml(path) or path.parent.name == "finetune" else "pretrain"
    else:
        there = {one: path.stem in folders.names(one, ".yaml") for one in FOLDERS}
        folder = "finetune" if there["finetune"] and not there["pretrain"] else "pretrain"
    return kind_of(folder, name).load(name, overrides)


def kind_of(folder: str, name: str) -> type[Recipe]:
    """The class of a file of one of the two folders."""
    if folder == "pretrain":
        return PretrainRecipe
    return reconstruct_recipe() if has_generator(name) else FinetuneRecipe


def has_generator(name: str) -> bool:
    """Whether a file of `finetune/` makes pictures."""
    data: Any = read_yaml(folders.find("finetune", name, ".yaml"))
    return isinstance(data, dict) and "generator" in data


def reconstruct_recipe() -> type[Recipe]:
    """Imported where it is asked for: it brings the whole side of pictures."""
    from brainfm.recipe_reconstruct import ReconstructRecipe

    return ReconstructRecipe
