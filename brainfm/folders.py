"""Where recipes and data cards lie: a checkout's own folders win, else the copies that the wheel ships."""

from pathlib import Path

from brainfm.errors import RecipeError
from brainfm.part import suggest

PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The root of the checkout that this code runs from; None where brainfm was installed from a wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and not (PACKAGE / "_recipes").exists() else None


def shipped(folder: str) -> Path:
    """The folder of that name ("tokenizers", "pretrain", ...): the checkout's, else the wheel's."""
    root = checkout()
    return root / folder if root else PACKAGE / "_recipes" / folder


def find(folder: str, name: str, suffix: str) -> Path:
    """The file that `name` means: a path as it is, else `<name><suffix>` in that folder.

    Raises `RecipeError` with the nearest names.
    """
    path = Path(name).expanduser()
    if path.suffix == suffix:
        if path.is_file():
            return path
        inside = shipped(folder) / path.name
        if path.parent == Path() and inside.is_file():
            return inside
        raise RecipeError(
            f"{path} does not exist; give a path, or a name of {folder}: {', '.join(names(folder, suffix))}"
        )
    if name not in names(folder, suffix):
        raise RecipeError(f"{name!r} is not in {folder}{suggest(name, names(folder, suffix))}")
    return shipped(folder) / f"{name}{suffix}"


def names(folder: str, suffix: str) -> list[str]:
    """Every name in that folder, sorted."""
    return sorted(path.stem for path in shipped(folder).glob(f"*{suffix}"))
