"""The wheel: built without network from this checkout, opened, and used from where it was unpacked."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from brainfm.folders import checkout

ROOT = Path(__file__).parents[1]
FOLDERS = {"tokenizers": "*.yaml", "pretrain": "*.yaml", "finetune": "*.yaml", "data_cards": "*.md"}
SCRIPT = """
import json, brainfm, brainfm.cli
from brainfm import folders
print(json.dumps({
    "file": brainfm.__file__,
    "checkout": str(folders.checkout()),
    "names": {f: folders.names(f, ".yaml") + folders.names(f, ".md")
              for f in ("tokenizers", "pretrain", "finetune", "data_cards")},
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_nothing_but_brainfm_lands_in_site_packages(names: list[str]) -> None:
    """A `tokenizers` at the root would be Hugging Face's package no more."""
    roots = {name.split("/")[0] for name in names}
    assert roots == {"brainfm", next(root for root in roots if root.endswith(".dist-info"))}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc") or "tests/" in name]


def imported_at_once(tree: ast.Module) -> Iterator[str]:
    """Packages that a module imports when it is imported itself, not those inside functions or for types alone."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_what_is_imported_at_once_comes_with_the_package() -> None:
    """Whoever installs brainfm without its extras has every package that importing a module asks for."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    direct = {named(one) for one in asked}
    coming = direct | {named(one) for name in direct for one in requires(name) or () if "extra ==" not in one}
    owners = packages_distributions()
    for path in sorted((ROOT / "brainfm").rglob("*.py")):
        for package in imported_at_once(ast.parse(path.read_text(encoding="utf-8"))):
            if package in sys.stdlib_module_names or package == "brainfm":
                continue
            theirs = {named(one) for one in owners.get(package, [package])}
            assert theirs & coming, f"{path.relative_to(ROOT)} imports {package}, which is not a dependency"


def named(requirement: str) -> str:
    """The name of a distribution without its version, as all spellings of it are."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def test_published_systems_are_inside(names: list[str]) -> None:
    here = {path.name for path in (ROOT / "brainfm" / "systems").iterdir()}
    assert here == {Path(name).name for name in names if name.startswith("brainfm/systems/")}


@pytest.mark.parametrize(("folder", "pattern"), FOLDERS.items())
def test_recipes_and_cards_are_inside(folder: str, pattern: str, names: list[str]) -> None:
    here = {path.name for path in (ROOT / folder).glob(pattern)}
    here |= {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).glob("launch/*")}
    prefix = f"brainfm/_recipes/{folder}/"
    inside = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    assert len(here) > 1
    assert inside == here
    assert folder != "pretrain" or {"launch/ddp.yaml", "launch/fsdp2.yaml", "launch/slurm.sh"} <= inside


def test_every_module_and_the_reports_template_are_inside(names: list[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "brainfm").rglob("*.py")}
    assert len(modules) > 60
    assert modules <= set(names)
    assert "brainfm/templates/report.html" in names


def test_it_says_what_it_is(wheel: Path, names: list[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = {name.rpartition("/")[2]: name for name in names if ".dist-info/" in name}
        metadata = archive.read(info["METADATA"]).decode()
        assert "Name: brainfm-toolkit\n" in metadata
        assert "Requires-Python: >=3.11\n" in metadata
        assert "Requires-Dist: torch>=" in metadata
        assert "brainfm = brainfm.cli:main" in archive.read(info["entry_points.txt"]).decode()
        assert "LICENSE" in info


def test_it_works_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    """Its own recipes and cards, not this checkout's."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["file"].startswith(str(tmp_path / "site"))
    assert found["checkout"] == "None"
    for folder, pattern in FOLDERS.items():
        assert found["names"][folder] == sorted(path.stem for path in (ROOT / folder).glob(pattern))


def test_here_the_checkout_wins() -> None:
    assert checkout() == ROOT
