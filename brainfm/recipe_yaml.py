"""Recipes as YAML: read strictly, with what `base:` and names stand for and what `--set` overrides; and written."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from brainfm import folders
from brainfm.errors import RecipeError


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML 1.2 mapping: `no` is a word, `010` is ten, a key may stand once, and there is no code."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not text in UTF-8") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, where: str | Path) -> dict[str, Any]:
    """The mapping in `text`. Raises `RecipeError` with the line at fault."""
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:  # a ValueError: the 45th of a month
        raise RecipeError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: should be a mapping of keys to values")
    return data


def to_yaml(data: Mapping[str, Any]) -> str:
    """`data` as block-style YAML, keys in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    yaml.dump(dict(data), stream)
    return stream.getvalue()


def with_base(data: dict[str, Any], path: Path, folder: str) -> dict[str, Any]:
    """Put the sections of `base:`, a file beside this one or a name of `folder`, under those of the file.

    A section is replaced whole, never merged.
    """
    if "base" not in data:
        return data
    base = str(data.pop("base"))
    beside = path.parent / f"{base.removesuffix('.yaml')}.yaml"
    parent = read_yaml(beside if beside.is_file() else folders.find(folder, base, ".yaml"))
    if "base" in parent:
        raise RecipeError(f"{path}: its base {base!r} has a base of its own; one level is allowed")
    return {**parent, **data}


def named(folder: str, value: Any) -> Any:
    """What a string names in `folder`; anything else is inline and stays."""
    return read_yaml(folders.find(folder, value, ".yaml")) if isinstance(value, str) else value


def put(data: dict[str, Any], override: str) -> None:
    """Apply `a.b=value`; the value is read as YAML."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: write it as key=value, for example train.steps=100")
    *parents, last = key.strip().split(".")
    section = data
    for parent in parents:
        section[parent] = dict(section[parent]) if isinstance(section.get(parent), Mapping) else {}
        section = section[parent]
    section[last] = parse_yaml(f"value: {value}", f"--set {override}")["value"]
