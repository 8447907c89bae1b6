"""The shape of the code, read from its source: who imports whom, what never occurs, what every verb says."""

import ast
import importlib
import inspect
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import brainfm
from brainfm.cli import app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "brainfm"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DATA_FOLDERS = ("tokenizers", "pretrain", "finetune", "data_cards")

ORDER = [
    "errors", "part", "folders", "files", "data", "baselines", "ridge", "regressors",
    "data.cards data.new_card data.catalogue data.audit data.fetch data.export data.viewers",  # a card names its baseline
    "spike_glm spike_pairs",
    "metrics", "sequence_scores", "significance erasure",
    "scores", "exchange", "palette", "codebook code_words", "pictures code_pictures", "report",
    "batch", "sounds", "chance lengths", "tokens", "statistics", "masks", "layers", "places moments",
    "layers.placed layers.decoder", "pooling", "gathering", "view",
    "tokenizers", "encoders", "objectives", "heads", "answers", "quantizers", "blocks", "rates", "added_layers",
    "adaptation",
    "images",
    "sizes", "precision", "recipe_yaml recipe_corpus recipe_codes", "recipe", "corpus", "features", "manifest",
    "checkpoint", "model_config", "model", "whose",
    "patch_codec", "sensor_codec", "codec",
    "gather", "average", "learner", "event_model", "spike_likelihood generation wiring",
    "shards feed", "held_out", "progress", "run_folder", "launch", "train",
    "stages", "operations", "feature_losses", "trials", "brain_features clusterer",
    "condition_noise", "picture_features", "brains", "recipe_reconstruct", "any_recipe", "published", "reconstructor",
    "foreign_model", "adapters", "embedder window_reader", "window_encoder", "montage_encoder", "model_card",
    "evaluation narrowed", "sessions", "stepwise", "attentive", "probes", "sequence_probe",
    "targeted", "estimator", "opening", "panel", "tasks",
    "few_shot identity nuisance robustness new_session", "worth", "jobs",
    "options", "cli_data cli_live cli_pictures cli_tokenize", "cli",
    "__init__ __main__",
]  # fmt: skip
"""From left to right. A module may import what stands left of it, and a package its own files."""
RANK = {f"brainfm.{name}": rank for rank, names in enumerate(ORDER) for name in names.split()}
NO_TORCH = (
    "data",
    "baselines",
    "ridge",
    "spike_glm",
    "spike_pairs",
    "regressors",
    "metrics",
    "sequence_scores",
    "significance",
    "erasure",
    "scores",
    "palette",
    "codebook",
    "code_words",
    "pictures code_pictures",
    "report",
    "manifest",
    "folders",
)


def name_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 2:
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
WING = [name for name in MODULES if name.split(".")[1] in NO_TORCH]


def rank(module: str) -> int:
    """The place in `ORDER` of a module, that of the longest name that fits."""
    while module and module not in RANK:
        module = module.rpartition(".")[0]
    assert module, "every module of brainfm has a place in ORDER; give the new one its own"
    return RANK[module]


def imports(body: list[ast.stmt], inside: bool = False) -> Iterator[str]:
    """What these statements import when they run; with `inside`, what their functions import later, too."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports say the whole name"
            yield from (as_module(node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(node.orelse, inside)
        elif inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody", "handlers"):
                yield from imports(getattr(node, block, []), inside)


def as_module(module: str, name: str) -> str:
    """`from brainfm import folders` imports a module, `from brainfm.folders import find` a name of one."""
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


def test_sources_are_found() -> None:
    assert len(SOURCES) > 60
    assert {"brainfm.model", "brainfm.data", "brainfm.masks.block", "brainfm.__init__"} <= MODULES.keys()
    assert all((ROOT / folder).is_dir() for folder in DATA_FOLDERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_leftwards(module: str) -> None:
    """Those inside functions too: a late import hides a knot, it does not untie it."""
    own = rank(module)
    for imported in set(imports(MODULES[module].body, inside=True)):
        if imported.startswith("brainfm."):
            same = rank(imported) == own and imported.split(".")[1] == module.split(".")[1]
            assert same or rank(imported) < own, f"{module} imports {imported}, which stands right of it"


def test_the_order_names_only_what_exists() -> None:
    assert {name for name in RANK if name not in MODULES} - {"brainfm.__main__"} == set()


def test_imports_are_seen() -> None:
    """The walk above must find what it is there for."""
    assert "brainfm.baselines" in set(imports(MODULES["brainfm.data.cards"].body))
    assert "brainfm.folders" in set(imports(MODULES["brainfm.data.cards"].body))
    assert "brainfm.model" not in set(imports(MODULES["brainfm.__init__"].body, inside=True))
    assert "brainfm.jobs.reporting" not in set(imports(MODULES["brainfm.jobs.pretrain"].body))
    assert "brainfm.jobs.reporting" in set(imports(MODULES["brainfm.jobs.pretrain"].body, inside=True))


def test_the_numpy_wing_never_imports_torch() -> None:
    assert len(WING) > 30
    for name in WING:
        heavy = {"torch", "transformers", "accelerate"} & {
            imported.split(".")[0] for imported in imports(MODULES[name].body)
        }
        assert not heavy, f"{name} imports {heavy}"


def test_the_numpy_wing_does_not_load_torch() -> None:
    """Not the decoders among the baselines: pyriemann brings torch along where it is installed."""
    wing = [name for name in WING if not name.startswith("brainfm.baselines.")]
    code = f"import sys, {', '.join(wing)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_folders_of_data_hold_no_code(folder: str) -> None:
    """An `__init__.py` in tokenizers/ would hide Hugging Face's package of that name."""
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert files
    said = {
        path.suffix for path in files if path.parent.name != "launch"
    }  # how a cluster starts a run lies there
    assert said <= {".yaml", ".md"} and ".py" not in {path.suffix for path in files}


def test_no_file_is_a_drawer_for_everything() -> None:
    named = {path.stem for path in SOURCES}
    assert not named & {"utils", "util", "helpers", "misc", "common"}


def calls(tree: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """(dotted name, keywords) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield (
                ast.unparse(node.func),
                {keyword.arg or "**": ast.unparse(keyword.value) for keyword in node.keywords},
            )


UNSAFE = {"torch.load", "joblib.load", "eval", "exec", "__import__", "os.system"}


def test_nothing_is_unpickled() -> None:
    """Weights and settings are safetensors and JSON: a file that someone sends can't run code."""
    unsafe = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
    found = 0
    for name, tree in MODULES.items():
        imported = {module.split(".")[0] for module in imports(tree.body, inside=True)}
        assert not imported & unsafe, name
        taken = [
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and "load" in [alias.name for alias in node.names]
        ]
        assert all(str(module).startswith("brainfm.") for module in taken), name
        for call, keywords in calls(tree):
            found += 1
            assert call not in UNSAFE, f"{name}: {call}"
            for keyword in ("allow_pickle", "trust_remote_code"):
                assert keywords.get(keyword, "False") == "False", f"{name}: {call}"
    assert found > 500
    assert not [path for path in SOURCES if "torch.load(" in path.read_text(encoding="utf-8")]


def test_yaml_is_read_only_safely() -> None:
    made = [
        ast.unparse(node)
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "YAML"
    ]
    assert len(made) >= 2
    assert set(made) == {"YAML(typ='safe', pure=True)"}


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every verb of the command line with its words."""
    for name, child in getattr(command, "commands", {}).items():
        if getattr(child, "commands", None):
            yield from verbs(child, (*path, name))
        else:
            yield (*path, name), child


VERBS = dict(verbs(typer.main.get_command(app)))


def test_verbs_are_found() -> None:
    assert {("demo",), ("pretrain",), ("probe",), ("predict",), ("data", "check")} <= VERBS.keys()


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_gives_an_example_that_parses(words: tuple[str, ...]) -> None:
    command = VERBS[words]
    assert command.epilog and command.epilog.startswith("Example: "), words
    example = shlex.split(command.epilog.removeprefix("Example: ").split("    ")[0])
    assert tuple(example[: len(words) + 1]) == ("brainfm", *words)
    command.make_context(words[-1], example[len(words) + 1 :])  # raises where it does not parse
    assert command.help, f"{words} says nothing of what it does"


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_speaks_json(words: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in VERBS[words].params)


def test_the_front_door() -> None:
    assert len(brainfm.__all__) > 10
    assert brainfm.__all__ == sorted(brainfm.__all__)
    for name in brainfm.__all__:
        assert getattr(brainfm, name).__name__ == name
    with pytest.raises(AttributeError, match="brainfm has no 'Brain'"):
        _ = brainfm.Brain


def test_the_front_door_says_the_same_to_a_type_checker() -> None:
    """The names under TYPE_CHECKING and those found at run time are written twice; they must agree."""
    block = next(node for node in MODULES["brainfm.__init__"].body if isinstance(node, ast.If))
    told = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == {name: brainfm._WHERE[name] for name in brainfm.__all__}


def left_open(owner: type) -> set[str]:
    """Methods that a class of brainfm itself leaves to those below it."""
    if not owner.__module__.startswith("brainfm."):
        return set()
    own = {
        name: inspect.unwrap(getattr(one, "__func__", one))
        for name, one in vars(owner).items()
        if name != "__doc__"
    }
    return {
        name
        for name, one in own.items()
        if "NotImplementedError" in getattr(getattr(one, "__code__", None), "co_names", ())
    }


def lacking(owner: type) -> set[str]:
    """Methods that an instance would have from a class that leaves them open."""
    holder = {name: one for one in reversed(owner.__mro__) for name in vars(one)}
    return {name for one in owner.__mro__ for name in left_open(one) if holder[name] is one}


def test_what_a_base_class_leaves_open_the_last_class_below_it_has() -> None:
    """So the reason that stands beside each `NotImplementedError` is true."""
    modules = [
        importlib.import_module(name.removesuffix(".__init__")) for name in MODULES if "__main__" not in name
    ]
    classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    own = {one for one in classes if one.__module__.startswith("brainfm.")}
    assert sum(bool(left_open(one)) for one in own) >= 20
    last = own - {above for one in own for above in one.__mro__[1:]}
    assert {one.__qualname__: names for one in last if (names := lacking(one))} == {}
