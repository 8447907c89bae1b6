"""Published systems as recipes: every file says what is so, its parts are those of its recipes, its weights near the paper's."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from codecs_of_waveforms import evaluation_of
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import results_page
import systems
from claims import Claim, compared, found, lines

from brainfm import folders, published
from brainfm.cli import app
from brainfm.errors import RecipeError
from brainfm.jobs.systems import matrix, row, rows, table, weights_of
from brainfm.published import Count, System, load, names, shown, verdict
from brainfm.recipe_yaml import read_yaml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("key", names())
def test_every_system_is_made_of_recipes_that_say_so(key: str) -> None:
    system = System.load(key)
    assert system.parts
    for recipe in [*system.recipes, *(count.recipe for count in system.published)]:
        assert load(recipe, [])
        folder, _, name = recipe.partition("/")
        text = folders.find(folder, name, ".yaml").read_text(encoding="utf-8")
        assert text.startswith("#") and ("# Run: " in text or "brainfm " in text.partition("\n\n")[0]), recipe


@pytest.mark.parametrize("key", names())
def test_every_system_has_its_script_and_its_place_on_the_page(key: str) -> None:
    system = System.load(key)
    assert system.benchmark and (ROOT / "benchmarks" / f"{system.benchmark}.py").exists()
    assert key in results_page.tables(systems.PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("key", names())
def test_what_the_page_says_is_what_was_measured(key: str) -> None:
    inside = results_page.tables(systems.PAGE.read_text(encoding="utf-8"))[key]
    measured = shown(key)
    assert inside.split() == " ".join(lines(measured) if measured["claims"] else []).split()


@pytest.mark.parametrize("key", names())
def test_weights_are_counted_beside_the_papers(key: str) -> None:
    for count, ours in row(key).counts:
        assert 0.2 < ours / count.weights < 3, f"{count.recipe} is of another size than {count.source} says"


def test_the_house_says_which_part_is_whose() -> None:
    """`python benchmarks/systems.py` writes the table anew."""
    inside = results_page.tables(systems.HOUSE.read_text(encoding="utf-8"))["systems"]
    assert inside.split() == " ".join(matrix(rows())).split()


def test_a_size_that_is_not_the_papers_is_seen() -> None:
    count = Count(recipe="finetune/speech_published", of="encoder", weights=6_108_800, source="code")
    assert weights_of(count) == 6_108_800
    narrower = count.model_copy(update={"overrides": ["network.encoder.hidden=160"]})
    assert weights_of(narrower) < 3_000_000


def test_a_task_without_a_network_has_nothing_to_count() -> None:
    with pytest.raises(RecipeError, match="no network of its own"):
        weights_of(Count(recipe="finetune/smoke", of="encoder", weights=1, source="nobody"))


def test_the_table_has_a_line_for_each_and_the_page_of_one_says_all() -> None:
    printed = table(rows())
    assert all(System.load(key).name in printed for key in names())
    one = row("speech")
    assert "spatial_attention" in one.text and one.system.unknown in one.text


def test_show_prints_systems_as_json_and_refuses_what_is_none() -> None:
    result = CliRunner().invoke(app, ["show", "--systems", "speech", "--json"])
    (only,) = json.loads(result.stdout)["rows"]
    assert only["parameters"] == only["published_parameters"] == 6_108_800
    assert only.keys() >= {"system", "recipe", "parameters", "published_parameters", "shown", "verdict"}
    with pytest.raises(RecipeError, match="did you mean 'speech'"):
        rows(["spech"])


def claim(low: float, high: float) -> Claim:
    return Claim("it helps", "nobody", "1 beside 2", ((low + high) / 2, low, high))


def test_a_claim_is_decided_by_its_interval() -> None:
    assert [claim(*ends).verdict for ends in ((0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1), (0.0, 0.1))] == [
        "shown", "not shown", "against", "not shown",
    ]  # fmt: skip
    assert Claim("equal", "nobody", "4 of 4", holds=True).verdict == "shown"
    with pytest.raises(ValueError, match="interval"):
        Claim("both", "nobody", "", (0.0, 0.0, 0.0), holds=True)


def test_one_row_less_another_is_a_claim() -> None:
    evaluation = evaluation_of()
    true = np.eye(4)[evaluation.windows.label[evaluation.tested]]
    right, flat = ("right", [true]), ("flat", [np.full_like(true, 0.25)])
    better = compared("it helps", "nobody", evaluation, right, flat)
    assert better.verdict == "shown" and better.difference == (0.75, 0.75, 0.75)
    assert better.figure == "balanced_accuracy: right 1.000 [1.000, 1.000], flat 0.250 [0.250, 0.250]"
    assert compared("it helps", "nobody", evaluation, flat, right).verdict == "against"


def test_claims_are_counted_in_words() -> None:
    claims = found([claim(0.1, 0.2), claim(-0.1, 0.2), claim(0.3, 0.4)])["claims"]
    assert verdict(claims) == "2 shown, 1 not shown"
    assert verdict([]) == "not run"


def test_one_command_writes_what_was_measured_and_keeps_what_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two systems one was measured; a check leaves the systems' files alone and adds nothing to what it measured."""
    whole, system = rows(["speech"]), System.load("speech")
    folder, page, house = tmp_path / "systems", tmp_path / "SYSTEMS.md", tmp_path / "ARCHITECTURE.md"
    folder.mkdir()
    page.write_text("<!-- table: speech -->\n<!-- /table -->\n", encoding="utf-8")
    house.write_text("<!-- table: systems -->\n<!-- /table -->\n", encoding="utf-8")
    for module, name, value in (
        (systems, "FOLDER", folder), (published, "FOLDER", folder), (systems, "PAGE", page), (systems, "HOUSE", house),
        (systems, "rows", lambda: whole), (systems.System, "load", lambda key: system),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    out = tmp_path / "out"
    out.mkdir()
    (out / "speech.json").write_text(json.dumps(found([claim(0.1, 0.2)])), encoding="utf-8")
    before = found([claim(-2.0, -1.0)], ["| a | b |"])
    before["claims"][0]["long"] = True
    (folder / "speech.json").write_text(json.dumps(before), encoding="utf-8")
    for _ in range(2):
        systems.written(["speech", "brain_it"], out, 2)
    now = found([claim(0.1, 0.2)])["claims"]
    assert json.loads((out / "speech.json").read_text(encoding="utf-8"))["claims"] == json.loads(
        json.dumps(now)
    )
    assert json.loads((folder / "speech.json").read_text(encoding="utf-8")) == json.loads(json.dumps(before))
    systems.written(["speech", "brain_it"], out, None)
    text = page.read_text(encoding="utf-8")
    assert "| +0.150 [+0.100, +0.200] | shown |" in text and "| a | b |" in text
    kept = json.loads((folder / "speech.json").read_text(encoding="utf-8"))["claims"]
    assert [one["verdict"] for one in kept] == ["shown", "against"], (
        "claims that take long stay until made again"
    )
    assert not (folder / "brain_it.json").exists()


def test_recipes_of_systems_are_named_in_their_comment() -> None:
    """A user finds the paper where the recipe is."""
    for key in names():
        system = System.load(key)
        folder, _, name = system.recipes[-1].partition("/")
        path = folders.find(folder, name, ".yaml")
        assert read_yaml(path) and "arXiv" in path.read_text(encoding="utf-8")
