"""A part is a frozen, validated description that a recipe names; the file's name is the part's name.

A family of parts is a package whose `__init__` holds one base class (`brainfm.objectives.Objective`), and each
file beside it holds one part. `{kind: masked_patches}` where an `Objective` is expected finds
`brainfm/objectives/masked_patches.py`: there is no registry and no list to edit.
"""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from brainfm.errors import RecipeError

P = TypeVar("P", bound="Part")


class Settings(BaseModel):
    """A frozen mapping with strict types: a misspelt key or `"3"` where 3 is meant is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, value: Any) -> Any:
        """Refuse a misspelt key with the nearest right one (pydantic's own message names none)."""
        if isinstance(value, Mapping):
            for key in value.keys() - cls.model_fields.keys() - {"kind"}:
                raise ValueError(f"{key!r} is not known{suggest(str(key), cls.model_fields)}")
        return value


class Part(Settings):
    """A description that a recipe can name. Subclasses add fields and a `build(...)` or `__call__`."""

    run_time: ClassVar[frozenset[str]] = frozenset()
    """Names that only a run can know (width, classes): arguments of `build`, refused in a recipe."""

    @property
    def kind(self) -> str:
        """The name a recipe uses: the file's name inside brainfm, the whole dotted path outside."""
        return kind_of(type(self))

    @model_validator(mode="wrap")
    @classmethod
    def _find(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Where a family is expected, let `kind` choose the part; elsewhere check it and drop it."""
        if not isinstance(value, Mapping):
            return handler(value)
        rest = dict(value)
        kind = rest.pop("kind", None)
        if is_family(cls):
            if not isinstance(kind, str):
                raise ValueError(f"needs a kind, one of: {', '.join(known(cls))}")
            return find(cls, kind, info.context).model_validate(rest, context=info.context)
        if taken := cls.run_time & rest.keys():
            raise ValueError(f"{sorted(taken)[0]} is known only when the run starts; remove it")
        return handler(rest)

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}


def is_family(cls: type[Part]) -> bool:
    """A family's base class lives in the `__init__` of its package; its parts live in the files beside it."""
    return hasattr(importlib.import_module(cls.__module__), "__path__")


def kind_of(cls: type[Part]) -> str:
    """The kind under which `find` finds this part."""
    module = cls.__module__
    return module.rpartition(".")[2] if module.startswith("brainfm.") else module


def known(family: type[Part]) -> list[str]:
    """Every kind of a family that brainfm ships, sorted."""
    package = importlib.import_module(family.__module__)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def find(family: type[P], kind: str, context: Mapping[str, Any] | None = None) -> type[P]:
    """The part class that `kind` names. Code outside brainfm is imported only when `context["trust"]` allows it.

    `trust` is True for a recipe of the user's own, else a list of modules. Raises `ValueError` with the nearest name.
    """
    if "." in kind.strip("."):
        trust = (context or {}).get("trust") or ()
        if trust is not True and kind not in ([trust] if isinstance(trust, str) else trust):
            raise ValueError(f"{kind} is code outside brainfm; allow it with trust=[{kind!r}] if you know it")
        module = _import(kind)
    else:
        if kind not in known(family):
            raise ValueError(f"{kind!r} is not known{suggest(kind, known(family))}")
        module = importlib.import_module(f"{family.__module__}.{kind}")
    parts = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, family) and member.__module__ == module.__name__
    ]
    if len(parts) != 1:
        raise ValueError(f"{module.__name__} must hold exactly one {family.__name__}, it holds {len(parts)}")
    return parts[0]


def suggest(word: str, words: Iterable[str]) -> str:
    """`"; did you mean 'x'? known: ..."` for an error message."""
    words = sorted(words)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" Known: {', '.join(words) or 'none'}"


def explain(error: ValidationError, where: str | Path) -> RecipeError:
    """A pydantic error as one sentence: the file, the dotted key and what is wrong there."""
    first = error.errors()[0]
    path = ".".join(str(step) for step in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        message = "is missing"
    elif first["type"].endswith(("_type", "literal_error")):
        message += f", not {first['input']!r}"
    return RecipeError(": ".join(piece for piece in (str(where), path, message) if piece))


def _import(name: str) -> Any:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} is not the name of a module")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} can't be imported ({error})") from error
