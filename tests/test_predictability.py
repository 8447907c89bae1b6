"""How well statistics are told: answers that are right, wrong, or right of the place alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.jobs.predictability import Told, predictable, told_of
from brainfm.learner import learner
from brainfm.objectives.neurodynamics import Answer, Describe, Neurodynamics
from brainfm.recipe import PretrainRecipe
from brainfm.statistics.memory import Memory

MakeRecipe = Callable[..., PretrainRecipe]


def judged(told: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], counted: float = 1.0) -> list[Told]:
    """What is said of answers that `told` makes of the truth and of its mean in each place: 5 + 2 statistics in two blocks."""
    drawn = torch.Generator().manual_seed(0)
    usual = 2 * torch.randn(1, 6, 7, generator=drawn)
    truth = usual + torch.randn(300, 6, 7, generator=drawn)
    asked = torch.rand(300, 6, generator=drawn) < counted
    wrong = torch.where(asked.unsqueeze(-1), told(truth, usual.expand_as(truth)), 1e6)
    describe = Describe(Neurodynamics(of=["power", "hjorth"]), 8, "eeg", Memory())
    answer = Answer(wrong, truth, asked, torch.ones(7))
    return told_of("row", [(answer, np.zeros(300, np.int64))], describe)


def test_the_truth_is_explained_whole() -> None:
    for one in judged(lambda truth, _: truth):
        assert (one.explained, one.r, one.within) == pytest.approx((1.0, 1.0, 1.0), abs=1e-4)
    assert [one.block for one in judged(lambda truth, _: truth)] == ["power", "hjorth"]


def test_what_is_usual_in_a_place_says_nothing_of_when() -> None:
    for one in judged(lambda _, usual: usual + 1e-3 * torch.randn(usual.shape)):
        assert one.r > 0.7 and one.explained > 0.5
        assert abs(one.within) < 0.1


def test_nothing_told_explains_nothing() -> None:
    for one in judged(lambda truth, _: torch.randn(truth.shape, generator=torch.Generator().manual_seed(9))):
        assert abs(one.r) < 0.15 and abs(one.within) < 0.1
        assert one.explained < 0


def test_a_shrunken_answer_has_all_the_correlation_and_less_of_the_variance() -> None:
    for one in judged(lambda truth, _: 0.5 * truth):
        assert one.r == pytest.approx(1.0, abs=1e-4)
        assert one.explained < 0.85


def test_what_was_not_asked_does_not_count() -> None:
    for one in judged(lambda truth, _: truth, counted=0.5):
        assert (one.explained, one.r, one.within) == pytest.approx((1.0, 1.0, 1.0), abs=1e-4)


def test_blocks_are_told_apart() -> None:
    """The first five statistics are the first block's."""
    half = torch.tensor([1.0] * 5 + [0.0] * 2)
    power, shape = judged(lambda truth, _: truth * half + (1 - half) * torch.randn(truth.shape))
    assert power.r > 0.99 and abs(shape.r) < 0.15


def test_learning_makes_statistics_predictable(make_recipe: MakeRecipe, streams: dict[str, Stream]) -> None:
    of = ["power", "orders", "locking"]
    found = learner(make_recipe(objectives={"neurodynamics": {"of": of}}), streams)
    (before,) = predictable(found, streams["eeg"], 0)
    found.train()
    batch = streams["eeg"].batch(np.arange(len(streams["eeg"].windows)))
    optimizer = torch.optim.AdamW(found.parameters(), lr=3e-3)
    for step in range(60):
        found((batch,), Chance(0, step)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    (after,) = predictable(found, streams["eeg"], 0)
    places = [(row["level"], row["block"]) for row in after.numbers["rows"]]
    assert sorted(places) == [
        ("pair", "locking"),
        ("row", "orders"),
        ("row", "power"),
        ("window", "locking"),
        ("window", "orders"),
        ("window", "power"),
    ]
    gained = [
        now["explained"] - then["explained"]
        for now, then in zip(after.numbers["rows"], before.numbers["rows"], strict=True)
    ]
    assert min(gained) > 0 and after.numbers["windows"] == len(streams["eeg"].windows)
    assert max(row["within"] for row in after.numbers["rows"]) > 0.3


def test_a_run_without_statistics_has_no_table(make_recipe: MakeRecipe, streams: dict[str, Stream]) -> None:
    found = learner(make_recipe(objectives={"masked_patches": {"decoder_depth": 1}}), streams)
    assert predictable(found, streams["eeg"], 0) == []


def test_a_run_reports_it_and_keeps_what_was_slow(tmp_path: Path) -> None:
    card = tiny.people(tmp_path, subjects=2, seconds=20.0)
    of = "objectives.neurodynamics.of=[power, entropy]"
    out = tmp_path / "run"
    assert not tiny.brainfm(*tiny.train_words(card, out, of, steps=2)).code
    (figure,) = json.loads((out / "report.json").read_text(encoding="utf-8"))["figures"]
    assert {row["block"] for row in figure["rows"]} == {"power", "entropy"}
    assert figure["held_out"] is False and "which statistics can be told" in figure["title"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert figure["title"] in page and "r in one place" in page
    assert (out / "statistics.safetensors").stat().st_size > 500
