"""Recipes: every shipped one resolves and builds; overrides, bases, sizes and mistakes do what the page says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brainfm import folders
from brainfm.any_recipe import kind_of
from brainfm.data.cards import DataCard
from brainfm.errors import RecipeError
from brainfm.jobs.cost_of_pictures import cost_of_pictures
from brainfm.jobs.pretrain import pretrain
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig, network_of
from brainfm.objectives import Shapes
from brainfm.recipe import (
    FinetuneRecipe,
    PretrainRecipe,
    Recipe,
    SignalRecipe,
    TokenizeRecipe,
)
from brainfm.recipe_corpus import span
from brainfm.recipe_reconstruct import ReconstructRecipe
from brainfm.recipe_yaml import parse_yaml, read_yaml, to_yaml
from brainfm.sizes import SIZES, learning_rate
from tests import tiny

ROOT = Path(__file__).parents[1]

TOKENIZERS, PRETRAIN, FINETUNE = (
    sorted((ROOT / folder).glob("*.yaml")) for folder in ("tokenizers", "pretrain", "finetune")
)


SEEING = [path for path in FINETUNE if "generator" in read_yaml(path)]
DECODING = [path for path in FINETUNE if path not in SEEING]


def load(*overrides: str, name: str | Path = "smoke") -> PretrainRecipe:
    return PretrainRecipe.load(name, overrides)


def refusal(call: Callable[[], Any]) -> str:
    """The sentence of a `RecipeError`."""
    with pytest.raises(RecipeError) as caught:
        call()
    sentence = str(caught.value)
    assert sentence.strip() and "\n" not in sentence
    return sentence


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_recipes_are_found() -> None:
    assert TOKENIZERS and PRETRAIN and FINETUNE
    for folder, paths in {"tokenizers": TOKENIZERS, "pretrain": PRETRAIN, "finetune": FINETUNE}.items():
        assert folders.names(folder, ".yaml") == [path.stem for path in paths]


@pytest.mark.parametrize("path", [*PRETRAIN, *FINETUNE], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_resolves_and_resolves_again_to_itself(path: Path) -> None:
    kind: type[Recipe] = kind_of(path.parent.name, path.stem)
    by_path, by_name = kind.load(path), kind.load(path.stem)
    assert by_path.hash == by_name.hash
    again = kind.resolve(parse_yaml(by_path.text, "its own text"))
    assert again == by_path
    assert (again.text, again.hash) == (by_path.text, by_path.hash)


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_every_pretraining_recipe_builds(path: Path) -> None:
    recipe = PretrainRecipe.load(path)
    model = BrainFM.fresh(BrainFMConfig.of(recipe), recipe.seed)
    shapes = Shapes(model.width, {name: signal.tokenizer.times for name, signal in recipe.signals.items()})
    built = [model, *(part.build(shapes) for part in recipe.objectives.values())]
    assert sum(weight.numel() for one in built for weight in one.parameters()) > 1e5
    assert model.width == recipe.encoder.width
    assert all(DataCard.load(card).modality in recipe.signals for card in recipe.data.cards)


@pytest.mark.parametrize("path", DECODING, ids=lambda path: path.stem)
def test_every_finetuning_recipe_builds(path: Path) -> None:
    recipe = FinetuneRecipe.load(path)
    task = DataCard.load(recipe.card).task
    labels = recipe.labels or (task.labels if task else [])
    assert len(labels) > 1 or recipe.target is not None
    each = getattr(recipe.head, "features", len(labels))
    assert recipe.head.build(width=32, classes=5 * each, sensors=8, times=10)
    if recipe.network is not None:
        assert BrainFM.fresh(network_of(recipe), recipe.seed).width == recipe.network.encoder.told


@pytest.mark.parametrize("path", SEEING, ids=lambda path: path.stem)
def test_every_recipe_of_pictures_can_be_counted(path: Path) -> None:
    sizes = ["tiny", *(["published"] if "published" in read_yaml(path) else [])]
    counts = [cost_of_pictures(ReconstructRecipe.load(path, [f"size={size}"])).parameters for size in sizes]
    assert all(count["generator"] > 1e5 for count in counts)
    assert len(counts) == 1 or counts[1]["generator"] > 100 * counts[0]["generator"]


@pytest.mark.parametrize("path", TOKENIZERS, ids=lambda path: path.stem)
def test_every_tokenizer_builds_and_fits_its_window(path: Path) -> None:
    if "codes" in read_yaml(path):
        recipe: SignalRecipe = TokenizeRecipe.load(path)
    else:
        recipe = SignalRecipe.model_validate(read_yaml(path), context={"trust": True})
    assert recipe.tokenizer.build(width=16, modality=0)
    patches = recipe.seconds / recipe.tokenizer.seconds
    assert patches == pytest.approx(round(patches)) and patches >= 2


@pytest.mark.parametrize("path", [*TOKENIZERS, *PRETRAIN, *FINETUNE], ids=lambda path: path.stem)
def test_every_recipe_opens_with_what_it_asks(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_set_overrides_one_value() -> None:
    recipe = load("train.steps=7", "mask.radius=0.03", "seed=5", "signals.eeg.tokenizer.embed=convolution")
    assert (recipe.train.steps, recipe.seed) == (7, 5)
    assert recipe.mask.model_dump() == {**load().mask.model_dump(), "radius": 0.03}
    assert recipe.signals["eeg"].tokenizer.model_dump()["embed"] == "convolution"
    assert recipe.hash != load().hash


def test_set_reaches_into_what_a_string_names() -> None:
    """`signals: {eeg: patch_250ms}` and `--set signals.eeg.seconds=2.0`: the rest of the tokenizer's file stays."""
    recipe, before = load("signals.eeg.seconds=2.0"), load()
    assert recipe.signals["eeg"].seconds == 2.0
    assert recipe.signals["eeg"].prepare == before.signals["eeg"].prepare


def test_set_replaces_lists_and_sections_and_names() -> None:
    recipe = load(
        "data={cards: [eeg_delhi, simulated_eeg], hold_out: {eeg_delhi: ['01']}}",
        "signals.eeg.prepare=[{kind: resample, sfreq: 128.0}]",
        "mask={kind: independent}",
    )
    assert recipe.data.cards == ["eeg_delhi", "simulated_eeg"]
    assert [step.kind for step in recipe.signals["eeg"].prepare] == ["resample"]
    assert recipe.mask.kind == "independent"
    assert load("signals.eeg.seconds=2.0", "signals.eeg=patch_250ms").hash == load().hash


def test_set_does_not_change_what_it_was_given() -> None:
    data = {"train": {"steps": 3}, "signals": {"eeg": {"seconds": 1.0}}}
    with pytest.raises(RecipeError):
        PretrainRecipe.resolve(data, ["train.steps=9", "signals.eeg.seconds=2.0"])
    assert data == {"train": {"steps": 3}, "signals": {"eeg": {"seconds": 1.0}}}


def test_a_base_is_replaced_section_by_section(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.yaml", "base: smoke\ntrain: {steps: 5}\n")
    recipe, base = load(name=path), load()
    assert recipe.train.steps == 5
    assert recipe.train.batch == 64  # the default: nothing of the base's section is left
    assert recipe.train.learning_rate == learning_rate(128)
    assert recipe.train.save_every != base.train.save_every
    assert (recipe.data, recipe.signals, recipe.mask) == (base.data, base.signals, base.mask)


def test_a_base_beside_the_file_wins_and_has_none_itself(tmp_path: Path) -> None:
    whole = to_yaml({**load().model_dump(mode="json"), "seed": 11})
    write(tmp_path, "smoke.yaml", whole)
    child = write(tmp_path, "child.yaml", "base: smoke\n")
    assert load(name=child).seed == 11
    grandchild = write(tmp_path, "grandchild.yaml", "base: child\nseed: 3\n")
    sentence = refusal(lambda: load(name=grandchild))
    assert "one level is allowed" in sentence and str(grandchild) in sentence
    missing = write(tmp_path, "missing.yaml", "base: smoky\n")
    assert "did you mean 'smoke'" in refusal(lambda: load(name=missing))


def test_yaml_is_the_strict_one() -> None:
    read = parse_yaml("a: no\nb: 010\nc: 1:30\ne: 'yes'\nf: on\n", "x")
    assert read == {"a": "no", "b": 10, "c": "1:30", "e": "yes", "f": "on"}
    for text, word in [
        ("a: 1\na: 2\n", "duplicate"),
        ("a: !!python/object/apply:os.system ['true']\n", "constructor"),
        ("a: [1\n", "not valid YAML"),
        ("a: 2024-13-45\n", "month must be in 1..12"),
        ("- a\n", "should be a mapping"),
        ("", "should be a mapping"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
    ]:
        sentence = refusal(lambda text=text: parse_yaml(text, "mine.yaml"))
        assert sentence.startswith("mine.yaml: ") and word in sentence


def test_words_and_numbers_survive_the_text() -> None:
    words = ["01", "no", "1e3", "0o7", "null", "~", "12:30", "0x1f", "1_000", ".5", "2001-01-01", "", " x", "a: b",
             "#c", "é", "true", "-", ".inf", "two\nlines"]  # fmt: skip
    numbers = [1e-5, 2.4e-7, 0.1, 1e22, 3.0, 1 / 3, 1e-300, 10, -0.5]
    assert parse_yaml(to_yaml({"words": words, "numbers": numbers}), "x") == {
        "words": words,
        "numbers": numbers,
    }
    held = load("data.hold_out={simulated_eeg: ['01', '1e3', 'no']}")
    assert PretrainRecipe.resolve(parse_yaml(held.text, "x")).hash == held.hash


def test_who_is_held_out() -> None:
    data = load("data.hold_out={simulated_eeg: ['03', '04/02', '05/01/2']}").data
    assert data.held("simulated_eeg", "03", "01", "")
    assert data.held("simulated_eeg", "04", "02", "9")
    assert not data.held("simulated_eeg", "04", "01", "")
    assert data.held("simulated_eeg", "05", "01", "2")
    assert not data.held("simulated_eeg", "05", "01", "1")
    assert not data.held("simulated_eeg", "0", "", "")
    assert not data.held("eeg_delhi", "03", "01", "")
    stretch = load("data.hold_out={simulated_eeg: ['03@60-180', '04/01@0-7.5']}").data
    assert stretch.held("simulated_eeg", "03", "01", "") == {"03@60-180"}
    assert stretch.held("simulated_eeg", "04", "02", "") == set()
    assert [span(place) for place in ("03@60-180", "04/01@0-7.5", "05")] == [(60.0, 180.0), (0.0, 7.5), None]
    for place in ("03@", "03@60", "03@180-60", "03@a-b", "03@-5-60"):
        said = refusal(lambda place=place: load(f"data.hold_out={{simulated_eeg: ['{place}']}}"))
        assert f"'{place}' should end in @ and two rising numbers of seconds" in said
    assert "'eeg_delhi' is held out but is not among the cards" in refusal(
        lambda: load("data.hold_out={eeg_delhi: ['03']}")
    )


@pytest.mark.parametrize(
    ("override", "where", "what"),
    [
        ("train.stpes=3", "train: ", "did you mean 'steps'"),
        ("objektives={}", "", "did you mean 'objectives'"),
        ("train.steps='3'", "train.steps: ", "not '3'"),
        ("train.steps=0", "train.steps: ", "greater than or equal to 1"),
        ("train.precision=fp8", "train.precision: ", "'auto', 'no' or 'bf16', not 'fp8'"),
        ("train.learning_rate=.inf", "train.learning_rate: ", "finite"),
        ("signals.eeg.prepare=[{kind: resampl}]", "signals.eeg.prepare.0: ", "did you mean 'resample'"),
        ("signals.eeg.tokenizer.width=3", "signals.eeg.tokenizer: ", "known only when the run starts"),
        ("signals={}", "signals: ", "at least 1"),
        ("encoder.heads=3", "encoder: ", "can't be split into 3 heads"),
        ("encoder={}", "encoder: ", "needs a kind"),
        ("encoder=transformer", "encoder: ", "dictionary"),
        ("encoder.kind=my_lab.nowhere", "encoder: ", "can't be imported"),
        ("size=huge", "size: ", "'tiny'"),
        ("size=[tiny]", "size: ", "'tiny'"),
        ("data.cards=[]", "data.cards: ", "at least 1"),
        ("data.hold_out={simulated_eeg: [1]}", "data.hold_out.simulated_eeg.0: ", "not 1"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_key(override: str, where: str, what: str) -> None:
    sentence = refusal(lambda: load(override))
    assert sentence.startswith(f"{ROOT / 'pretrain' / 'smoke.yaml'}: {where}")
    assert what in sentence


@pytest.mark.parametrize("override", ["train.steps", "=3", "train.steps=[1", "signals.eeg=patch_25ms"])
def test_a_wrong_override_is_one_sentence(override: str) -> None:
    assert override.split("=")[-1] in refusal(lambda: load(override))


@pytest.mark.parametrize("width", ["wide", "0", "-8", "1.5", "null", "[]"])
def test_a_wrong_width_is_told_where_the_rate_follows_from_it(width: str) -> None:
    assert "encoder.width: " in refusal(lambda: load(f"encoder.width={width}", "train={steps: 3}"))


def test_a_missing_or_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    assert "did you mean 'smoke'" in refusal(lambda: load(name="smok"))
    assert "does not exist" in refusal(lambda: load(name=tmp_path / "smoke.yaml"))
    (tmp_path / "noise.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not text" in refusal(lambda: load(name=tmp_path / "noise.yaml"))
    del_train = write(tmp_path, "part.yaml", "base: smoke\ntrain: {}\n")
    assert "train.steps: is missing" in refusal(lambda: load(name=del_train))


@pytest.mark.parametrize("size", SIZES)
def test_size_derives_shape_and_rate(size: str) -> None:
    recipe = load(f"size={size}", "train={steps: 3}")
    shape = {name: getattr(recipe.encoder, name) for name in ("depth", "width", "heads")}
    assert shape == SIZES[size]
    assert recipe.train.learning_rate == pytest.approx(2.4e-4 * 512 / shape["width"], rel=1e-3)


def test_what_a_recipe_says_itself_stays() -> None:
    recipe = load("size=small", "encoder.width=64", "encoder.heads=1", "train={steps: 3}")
    assert (recipe.encoder.depth, recipe.encoder.width, recipe.encoder.heads) == (6, 64, 1)
    assert recipe.train.learning_rate == learning_rate(64)
    assert load("size=small", "train={steps: 3, learning_rate: 0.5}").train.learning_rate == 0.5
    assert load("size=small").train.learning_rate == load().train.learning_rate


def test_the_text_keeps_the_order_of_a_recipe() -> None:
    """From what is learnt from to how long: what a reader looks for first stands first."""
    keys = [line.partition(":")[0] for line in load().text.splitlines() if line[0].isalpha()]
    assert keys == list(PretrainRecipe.model_fields)
    assert keys[:3] == ["seed", "size", "data"] and keys[-1] == "train"


def test_the_hash_is_that_of_the_meaning() -> None:
    assert load("seed=0").hash == load().hash
    assert load("mask={kind: block}").hash == load().hash  # the defaults, said or not
    assert len({load(f"seed={seed}").hash for seed in range(3)}) == 3


def test_the_recipe_of_the_readme_runs(tmp_path: Path) -> None:
    """What the first page shows goes through: both cards, the joint windows, every objective, the held-out loss."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.partition("```yaml\n")[2].partition("```")[0]
    path = tmp_path / "shown.yaml"
    path.write_text(shown, encoding="utf-8")
    few = ["train.steps=10", "train.tokens=2000", "train.save_every=5", "train.precision=no"]
    told = "data.hold_out={simulated_together: ['01@60-180']}"  # the other places are of recordings that are not read here
    recipe = PretrainRecipe.load(path, [*few, told])
    assert PretrainRecipe.load(path).data.weights == {"simulated_together": 2.0}
    pretrain(recipe, tmp_path / "run", quiet=True, limit=1)
    rows = tiny.rows(tmp_path / "run")
    assert {"patches", "statistics"} <= rows[0].keys() and any("contrastive" in row for row in rows)
    assert (tmp_path / "run" / "checkpoints" / "best").exists()
