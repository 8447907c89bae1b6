"""What a run asks for, told from the recipe and the facts of cards, against what is counted by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from brainfm.errors import DataError
from brainfm.jobs.cost import DEVICES, SHARE, cost, counted, network, pretend, shallow
from brainfm.part import known
from brainfm.recipe import PretrainRecipe
from brainfm.tokenizers import Tokenizer

MakeRecipe = Callable[..., PretrainRecipe]
W, SENSORS, PATCHES, TIMES, FOURIER, KNOWN = 32, 19, 8, 32, 72, 35
"""Of the small recipe on `simulated_eeg`: width, sensors, patches and their samples; features of places and sensors."""


@pytest.fixture(scope="module")
def recipe(make_recipe: MakeRecipe) -> PretrainRecipe:
    """Two blocks, a decoder of one, in float32."""
    asked = {"masked_patches": {"decoder_depth": 1}}
    return make_recipe(objectives=asked, train={"steps": 10, "batch": 8, "precision": "no"})


def by_hand() -> float:
    """Operations of the products of one window, forward and backward; torch counts the backward of attention as 2.5 forwards."""
    tokens = SENSORS * PATCHES
    hidden = round(0.55 * tokens)
    seen = tokens - hidden
    learnt = 2 * (
        tokens * TIMES * W + SENSORS * KNOWN * W + (seen + hidden) * FOURIER * W
    )  # inputs need no gradient
    block = 3 * seen * 12 * W**2
    attention = 3.5 * 2 * seen**2 * W
    decoder = 3 * (hidden * 10 * W**2 + seen * 2 * W**2 + hidden * W * TIMES)
    return 2.0 * (learnt + 2 * (block + attention) + decoder + 3.5 * 2 * hidden * seen * W)


def test_operations_are_those_counted_by_hand(recipe: PretrainRecipe) -> None:
    found = cost(recipe)
    assert found.tokens == {"simulated_eeg": SENSORS * PATCHES}
    assert found.flops_per_step == pytest.approx(8 * by_hand(), rel=1e-9)


def test_a_deep_network_costs_what_two_shallow_ones_say(recipe: PretrainRecipe) -> None:
    stream = pretend("eeg", SENSORS, recipe.signals["eeg"])
    one, two, five = (counted(shallow(recipe, depth), stream) for depth in (1, 2, 5))
    told = one.at(5, two)
    assert (told.parameters, told.flops) == (five.parameters, five.flops)
    assert told.kept == pytest.approx(five.kept, rel=0.02)


def test_weights_are_those_of_the_network(recipe: PretrainRecipe) -> None:
    net = network(recipe, pretend("eeg", SENSORS, recipe.signals["eeg"]))
    count = sum(one.numel() for one in net.parameters())
    found = cost(recipe)
    assert found.parameters == count
    assert found.memory["parameters"] == found.memory["gradients"] == 4 * count
    assert found.memory["optimiser"] == 8 * count
    assert found.memory["total"] == sum(found.memory.values()) - found.memory["total"]


def test_what_is_kept_grows_with_the_windows_of_a_micro_batch(
    recipe: PretrainRecipe, make_recipe: MakeRecipe
) -> None:
    plain = cost(recipe)
    train = {**recipe.train.model_dump(), "batch": 32, "accumulate": 2}
    more = cost(recipe.model_copy(update={"train": type(recipe.train)(**train)}))
    ratio = more.memory["activations"] / plain.memory["activations"]
    assert ratio == pytest.approx(2, rel=1e-6)
    assert more.flops_per_step == pytest.approx(4 * plain.flops_per_step, rel=1e-9)
    # at least what enters each product and the attention, and not a hundred times as much
    seen = SENSORS * PATCHES - round(0.55 * SENSORS * PATCHES)
    least = 8 * 4 * seen * W * 2 * (1 + 3 + 1 + 1 + 4 + 4)
    assert least < plain.memory["activations"] < 10 * least


def test_a_budget_of_tokens_is_as_many_windows(recipe: PretrainRecipe) -> None:
    train = {**recipe.train.model_dump(), "tokens": 3 * SENSORS * PATCHES}
    found = cost(recipe.model_copy(update={"train": type(recipe.train)(**train)}))
    assert found.flops_per_step == pytest.approx(3 * by_hand(), rel=1e-9)


def test_hours_follow_from_operations(recipe: PretrainRecipe) -> None:
    found = cost(recipe)
    assert found.hours["H100"] == pytest.approx(10 * found.flops_per_step / (SHARE * DEVICES["H100"]) / 3600)
    assert found.hours["this machine"] > 0
    assert set(found.hours) == {*DEVICES, "this machine"}


@pytest.mark.parametrize("kind", known(Tokenizer))
def test_every_tokenizer_can_be_counted(kind: str, make_recipe: MakeRecipe) -> None:
    settings = {
        "sources": {"sources": 6, "heads": 2, "hidden": 32},
        "voxel_clusters": {"clusters": 6, "hidden": 16},
        "spatial_attention": {"channels": 12},
    }
    tokenizer: dict[str, Any] = {"kind": kind, "seconds": 0.25, "sfreq": 128.0, **settings.get(kind, {})}
    name = Tokenizer.model_validate(tokenizer).reads[0]
    signal = {"prepare": [], "seconds": 2.0, "tokenizer": tokenizer}
    small = make_recipe(signals={name: signal}, data={"cards": [f"simulated_{name}"]})
    found = cost(small)
    assert found.flops_per_step > 0 and found.parameters > 1e4
    assert all(count >= 8 for count in found.tokens.values())  # a token for all sensors at eight times


def test_a_card_without_sensors_is_said(recipe: PretrainRecipe, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "data_cards" / "eeg_arithmetic.md").read_text(encoding="utf-8")
    card = tmp_path / "unsaid.md"
    text = text.replace("  sensors: 19\n", "", 1).replace("facts.sensors, ", "", 1)
    card.write_text(text, encoding="utf-8")
    small = recipe.model_copy(update={"data": type(recipe.data)(cards=[str(card)])})
    with pytest.raises(DataError, match=r"unsaid doesn't state facts\.sensors"):
        cost(small)


def test_show_cost_speaks_json() -> None:
    words = ("--set", "encoder.width=32", "--set", "encoder.heads=2", "--set", "encoder.depth=3")
    shown = tiny.brainfm("show", "smoke", "--cost", *words, "--json").json
    assert {"parameters", "tokens_per_window", "flops_per_step", "memory", "hours"} <= shown.keys()
    assert shown["tokens_per_window"] == {"simulated_eeg": 304}
    said = tiny.brainfm("show", "smoke", "--cost", *words).out
    assert "parameters: " in said and "H100" in said


def test_only_pretraining_has_a_cost() -> None:
    sentence = tiny.only_sentence(tiny.brainfm("show", "finetune/smoke", "--cost"))
    assert "--cost is for pretraining and for recipes with a generator" in sentence


def test_instruments_that_recorded_at_once_are_counted_each(recipe: PretrainRecipe) -> None:
    signals = {"eeg": recipe.signals["eeg"], "seeg": recipe.signals["eeg"]}
    data = recipe.data.model_copy(update={"cards": ["simulated_together"]})
    found = cost(recipe.model_copy(update={"signals": signals, "data": data}))
    assert found.tokens == {"simulated_together: eeg": 19 * PATCHES, "simulated_together: seeg": 48 * PATCHES}


def test_a_card_without_a_signal_of_the_recipe_is_refused(recipe: PretrainRecipe) -> None:
    for name in ("simulated_fmri", "meg_s1_detection"):
        data = recipe.data.model_copy(update={"cards": [name]})
        with pytest.raises(DataError, match=f"{name} holds .*, the recipe has signals of eeg alone"):
            cost(recipe.model_copy(update={"data": data}))
