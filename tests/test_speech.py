"""Decoding what somebody hears: what a match is, and that it is learnt."""

from dataclasses import replace
from pathlib import Path

import listeners
import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from brainfm.answers import Answer, Matching
from brainfm.batch import number_of
from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording
from brainfm.data.targets import Targets
from brainfm.errors import DataError, RecipeError
from brainfm.metrics import OF_SEGMENTS
from brainfm.model import BrainFM
from brainfm.model_config import network_of
from brainfm.recipe import FinetuneRecipe
from brainfm.regressors.trf import Trf
from brainfm.sounds.mel import Mel
from brainfm.targeted import Targeted
from brainfm.tasks import laid_out


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    return listeners.card(folder)


@pytest.fixture(scope="module")
def people(folder: Path) -> list[Recording]:
    return DataCard.load(listeners.card(folder)).recordings()


def test_a_segment_that_several_heard_is_one_candidate() -> None:
    rng = np.random.default_rng(0)
    true = np.tile(rng.normal(size=(20, 1, 6)), (3, 1, 1))
    top_1, top_10 = OF_SEGMENTS["top_1"], OF_SEGMENTS["top_10"]
    assert top_1.chance(0, true) == 1 / 20 and top_10.chance(0, true) == 10 / 20
    assert top_1(true + 1e-3 * rng.normal(size=true.shape), true + 1e-12) == 1.0
    noise = rng.normal(size=true.shape)
    assert abs(top_10(noise, true) - 0.5) < 0.2
    said = true + 1.2 * noise
    alone = [top_1(said[20 * n : 20 * n + 20], true[:20]) for n in range(3)]
    assert top_1(said, true) == pytest.approx(np.mean(alone)) and top_1(said, true) > 0.2


def direct(told: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Equation 2 with the scores of the paper's code: candidates of length 1, one direction, no temperature."""
    scores = told @ (true / np.linalg.norm(true, axis=1, keepdims=True)).T
    return float(np.mean([np.log(np.exp(row - row[n]).sum()) for n, row in enumerate(scores)]))


def test_the_loss_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    told, true = rng.normal(size=(2, 7, 12)).astype(np.float32)
    answer = Answer(
        of="segments",
        mean=[0.0] * 12,
        scale=[1.0] * 12,
        matching=Matching(norm="candidates", temperature=1.0),
    )
    name, found = answer.loss(torch.tensor(told), torch.tensor(true[:, None]))
    assert name == "contrastive" and float(found) == pytest.approx(direct(told, true), rel=1e-4)
    both = answer.model_copy(
        update={"matching": Matching(norm="candidates", temperature=1.0, symmetric=True)}
    )
    assert float(both.loss(torch.tensor(told), torch.tensor(true[:, None]))[1]) != pytest.approx(float(found))
    squared = answer.model_copy(update={"matching": Matching(loss="squared_error")})
    name, found = squared.loss(torch.tensor(told), torch.tensor(true[:, None]))
    assert name == "squared_error" and float(found) == pytest.approx(((told - true) ** 2).mean(), rel=1e-4)
    twice = np.concatenate([true, true])
    right = 90 * twice / np.linalg.norm(twice, axis=1, keepdims=True)
    assert float(answer.loss(torch.tensor(right), torch.tensor(twice[:, None]))[1]) < 1e-4, (
        "what two people heard must not count as a mistake"
    )


def test_a_response_that_was_planted_is_found_backwards() -> None:
    """Sensors follow two features by 100 ms: with those delays all is told, with none of them nothing."""
    rng = np.random.default_rng(0)
    heard = rng.normal(size=(60, 2, 30))
    late = np.repeat(heard, 10, axis=2)  # 100 Hz, steps of a tenth of a second
    signal = np.concatenate([np.zeros((60, 2, 10)), late[..., :-10]], axis=2)
    signal = np.einsum("sf,wft->wst", rng.normal(size=(4, 2)), signal)
    target = heard.transpose(0, 2, 1).reshape(60, -1)
    groups = np.arange(60) % 5
    errors = []
    for first, last in ((0.0, 0.2), (-0.3, -0.1)):
        fitted = (
            Trf(times=30, lags=5, first=first, last=last)
            .build(100.0)
            .fit(signal[:40], target[:40], groups[:40])
        )
        told = fitted.predict(signal[40:]).reshape(20, 30, 2)[:, 2:-3]
        errors.append(float(np.mean((told - target[40:].reshape(20, 30, 2)[:, 2:-3]) ** 2)))
    assert errors[0] < 0.05 and errors[1] > 0.8


def test_the_ridge_beats_chance_and_each_person_has_their_own(card: Path, people: list[Recording]) -> None:
    recipe = listeners.small(card)
    evaluation = laid_out(recipe, BrainFM.fresh(network_of(recipe), 0))
    assert isinstance(evaluation, Targeted)
    evaluation = replace(evaluation, folds=evaluation.folds[:1])
    chance = evaluation.chance().score
    said = evaluation.baseline(Trf(times=30))
    assert evaluation.row("trf", [said]).low > chance
    own = [evaluation.baseline(Trf(times=30, lags=3, apart=apart)) for apart in (True, False)]
    assert not np.allclose(*own)


def test_the_task_runs_from_the_command_line_without_a_checkpoint(card: Path, folder: Path) -> None:
    words = [word for override in SMALLER for word in ("--set", override)]
    found = tiny.brainfm(
        "finetune", "speech", "--set", f"card={card}", *words, "--out", folder / "out", "--json"
    )
    assert found.code == 0, found.err
    rows = {row["name"]: row for row in found.json["rows"]}
    assert {"chance", "untrained", "classical:trf", "scratch"} <= rows.keys() and "frozen" not in rows
    assert found.json["split"].startswith("CrossStimulus: 2 folds") and "clean" in found.json["contamination"]
    decoder = BrainFM.from_pretrained(found.json["decoder"]).decoder
    assert decoder is not None and decoder.subjects is not None
    assert decoder.subjects.ids == [number_of("listeners/01"), number_of("listeners/02")]
    assert decoder.answer.of == "segments" and len(decoder.labels) == 600
    refused = tiny.only_sentence(
        tiny.brainfm("finetune", "speech", "--from", found.json["decoder"], "--out", folder / "x")
    )
    assert "has a network of its own" in refused
    nothing = tiny.only_sentence(tiny.brainfm("finetune", "smoke", "--out", folder / "y"))
    assert "give it a checkpoint by --from" in nothing


SMALLER = [
    "folds=2", "train.steps=3", "train.batch=16", "train.save_every=3", "network.encoder.width=8",
    "network.encoder.hidden=12", "network.encoder.depth=1", "network.signals.meg.tokenizer.channels=8",
    "network.signals.meg.tokenizer.waves=3", "window.stride=1.5",
]  # fmt: skip


def test_matching_is_for_segments() -> None:
    sections = {
        "card": "x", "head": {"kind": "linear", "pool": "mean"}, "matching": {},
        "train": {"steps": 1, "learning_rate": 1.0},
    }  # fmt: skip
    with pytest.raises(RecipeError, match="matching is for a target of segments"):
        FinetuneRecipe.resolve(sections)


def test_features_are_made_once_and_alike_for_all(people: list[Recording]) -> None:
    first, second = (one.tracks["m"] for one in Mel(bands=8).on(people, "m"))
    name = people[0].events.label[0]
    at = [round(one.events.onset[one.events.label.index(name)] * 100) for one in people]
    np.testing.assert_array_equal(first.data[at[0] : at[0] + 400], second.data[at[1] : at[1] + 400])
    with pytest.raises(DataError, match="has no track 'sond'"):
        Mel(of="sond").on(people, "m")


def test_targets_of_the_same_segment_are_one_but_for_rounding() -> None:
    value = np.random.default_rng(0).normal(5, 2, (8, 1, 4))
    both = Targets(np.concatenate([value, value + 1e-10]), tuple("abcd"), "segments")
    assert OF_SEGMENTS["top_1"].chance(0, both.value) == 1 / 8
