"""Parts: named by their file, strictly typed, found without a registry, and foreign code only where it is trusted."""

import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from brainfm.encoders import Encoder
from brainfm.encoders.transformer import Transformer
from brainfm.errors import RecipeError
from brainfm.masks import Mask
from brainfm.masks.block import Block
from brainfm.part import Part, explain, find, is_family, known
from brainfm.tokenizers import Tokenizer

SHAPE = {"depth": 1, "width": 8, "heads": 1}
FOREIGN = """
from pathlib import Path
from brainfm.encoders import Encoder
Path(__file__).with_name("was_run").touch()
class Mine(Encoder):
    colour: str = "blue"
"""


def said(family: type[Part], value: object, **context: object) -> str:
    """The sentence that refuses this value."""
    with pytest.raises(ValidationError) as caught:
        family.model_validate(value, context=context)
    sentence = str(explain(caught.value, "recipe.yaml"))
    assert "\n" not in sentence
    return sentence


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package outside brainfm that holds an encoder."""
    package = tmp_path / "my_lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "my_encoder.py").write_text(FOREIGN)
    (package / "two.py").write_text(FOREIGN + "class Other(Encoder):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def test_the_kind_is_the_files_name() -> None:
    part = Mask.model_validate({"kind": "block", "length": 3})
    assert isinstance(part, Block)
    assert part.kind == "block"
    assert {"block", "independent"} <= set(known(Mask))
    assert is_family(Mask)
    assert not is_family(Block)


def test_a_misspelt_key_names_the_nearest() -> None:
    sentence = said(Mask, {"kind": "block", "radus": 0.1})
    assert sentence.startswith("recipe.yaml: 'radus' is not known; did you mean 'radius'?")
    assert "Known: length, radius, share" in sentence


def test_an_unknown_kind_names_the_nearest_and_all() -> None:
    sentence = said(Mask, {"kind": "blok"})
    assert "'blok' is not known; did you mean 'block'?" in sentence
    assert f"Known: {', '.join(known(Mask))}" in sentence


@pytest.mark.parametrize("value", [{}, {"kind": None}, {"kind": 3}, {"share": 0.5}])
def test_a_family_needs_a_kind(value: object) -> None:
    assert f"needs a kind, one of: {', '.join(known(Mask))}" in said(Mask, value)


@pytest.mark.parametrize(
    "kind", [".block", "block.", "..", "/etc/passwd", "a b.c", "", "__init__", "my-lab.x"]
)
def test_a_kind_that_is_no_name_is_refused(kind: str) -> None:
    assert said(Mask, {"kind": kind}, trust=True)


@pytest.mark.parametrize("name", sorted(Tokenizer.run_time))
def test_what_only_a_run_knows_is_refused(name: str) -> None:
    part = {"kind": "patch", "seconds": 0.25, "sfreq": 128.0}
    assert Tokenizer.model_validate(part)
    assert f"{name} is known only when the run starts" in said(Tokenizer, {**part, name: 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": "2"}, {"length": 2.0}, {"length": True}, {"radius": "0.1"}, {"radius": None},
        {"share": 1.0}, {"share": 0.0}, {"radius": float("nan")}, {"radius": float("inf")}, {"length": [2]},
    ],
    ids=str,
)  # fmt: skip
def test_types_are_strict(wrong: dict[str, object]) -> None:
    (key,) = wrong
    assert f"recipe.yaml: {key}: " in said(Mask, {"kind": "block", **wrong})


def test_a_whole_number_serves_as_a_real_one() -> None:
    assert Mask.model_validate({"kind": "block", "radius": 1}).radius == 1.0  # type: ignore[attr-defined]


def test_a_part_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Block().length = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "part",
    [Block(radius=0.03, share=0.7), Transformer(depth=3, width=64, heads=2)],
    ids=lambda part: part.kind,
)
def test_a_part_comes_back_from_its_own_words(part: Part) -> None:
    family = type(part).__mro__[1]
    for mode in ("json", "python"):
        words = part.model_dump(mode=mode)
        assert words["kind"] == part.kind
        assert family.model_validate(words) == part
    assert TypeAdapter(family).validate_json(part.model_dump_json()) == part


def test_code_outside_brainfm_is_honoured_where_it_is_trusted(my_lab: Path) -> None:
    value = {"kind": "my_lab.my_encoder", **SHAPE, "colour": "red"}
    for trust in (True, ["my_lab.my_encoder"]):
        part = Encoder.model_validate(value, context={"trust": trust})
        assert part.kind == "my_lab.my_encoder"
        assert part.colour == "red"  # type: ignore[attr-defined]
        assert Encoder.model_validate(part.model_dump(), context={"trust": trust}) == part


@pytest.mark.parametrize(
    "trust", [(), [], ["my_lab"], ["my_lab.other"], False, "my_lab.my_encoder_and_more", None]
)
def test_code_outside_brainfm_is_not_run_unless_trusted(my_lab: Path, trust: object) -> None:
    sentence = said(Encoder, {"kind": "my_lab.my_encoder", **SHAPE}, trust=trust)
    assert "code outside brainfm; allow it with trust=['my_lab.my_encoder']" in sentence
    assert not (my_lab / "was_run").exists()


def test_a_foreign_module_must_hold_one_part(my_lab: Path) -> None:
    assert "must hold exactly one Encoder, it holds 2" in said(
        Encoder, {"kind": "my_lab.two", **SHAPE}, trust=True
    )
    assert "must hold exactly one Mask, it holds 0" in said(Mask, {"kind": "my_lab.my_encoder"}, trust=True)
    assert "can't be imported" in said(Encoder, {"kind": "my_lab.none", **SHAPE}, trust=True)


def test_a_foreign_part_is_held_to_the_same_rules(my_lab: Path) -> None:
    value = {"kind": "my_lab.my_encoder", **SHAPE}
    assert "did you mean 'colour'" in said(Encoder, {**value, "color": "red"}, trust=True)
    assert "modalities is known only" in said(Encoder, {**value, "modalities": 2}, trust=True)


def test_find_gives_the_class() -> None:
    assert find(Encoder, "transformer") is Transformer
    with pytest.raises(ValueError, match="not known"):
        find(Encoder, "block")


def test_every_family_has_parts_and_every_part_its_own_file() -> None:
    for family in (Encoder, Mask, Tokenizer):
        assert known(family)
        for kind in known(family):
            assert find(family, kind).__doc__, f"{kind} says nothing"
            assert find(family, kind).__module__.endswith(f".{kind}")


def test_explain_is_an_error_of_recipes() -> None:
    with pytest.raises(ValidationError) as caught:
        Block.model_validate({"share": "much"})
    assert isinstance(explain(caught.value, "x.yaml"), RecipeError)
    assert str(explain(caught.value, "x.yaml")).startswith("x.yaml: share: ")
    assert str(explain(caught.value, "x.yaml")).endswith("not 'much'")
