"""Adaptation: what stays, what moves and how fast; and a decoder that needs none of it to be read again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from brainfm.adaptation import Adaptation
from brainfm.corpus import Plan, Stream
from brainfm.data.readers import Reader
from brainfm.data.windows.trials import Trials
from brainfm.errors import BrainfmError, DataError, RecipeError
from brainfm.heads.linear import Linear
from brainfm.jobs.finetune import Finetuning, _Decode, adapt
from brainfm.model import BrainFM
from brainfm.model_config import DecoderSettings
from brainfm.part import known
from brainfm.rates import by_layer
from brainfm.recipe import FinetuneRecipe
from brainfm.train import Run, optimizer_of

PEFT = ("lora", "dora", "ia3")
TRAIN = {"steps": 4, "batch": 8, "learning_rate": 1e-2, "precision": "no"}


def asked(kind: str, **more: Any) -> FinetuneRecipe:
    """A recipe of one way."""
    sections = {"card": "simulated_eeg", "head": {"kind": "linear", "pool": "sensor"}, "train": TRAIN}
    return FinetuneRecipe.resolve({**sections, "adaptation": [{"kind": kind, **more}]})


@pytest.fixture(scope="module")
def settings() -> DecoderSettings:
    reader = Reader.model_validate({"kind": "mne_file"})
    return DecoderSettings(
        head=Linear(pool="sensor"), labels=["a", "b"], modality="eeg", sensors=[], channels=8,
        window=Trials(seconds=2.0), reader=reader, events=None, card="test", recipe="",
    )  # fmt: skip


@pytest.fixture(scope="module")
def labelled(streams: dict[str, Stream]) -> Stream:
    """The person's windows, every other one labelled 1."""
    stream = streams["eeg"]
    label = np.arange(len(stream.windows), dtype=np.int64) % 2
    return replace(stream, windows=replace(stream.windows, label=label, labels=("a", "b")))


Adapt = Callable[..., tuple[BrainFM, BrainFM]]


@pytest.fixture
def adapted(model: BrainFM, settings: DecoderSettings, labelled: Stream, tmp_path: Path) -> Adapt:
    """A model with a fresh head, and the same after a few steps."""

    def run(recipe: FinetuneRecipe, change: Callable[[BrainFM], None] = lambda _: None) -> Any:
        (adaptation,) = recipe.adaptation
        start, moved = (model.with_decoder(settings, 0) for _ in range(2))
        change(moved)
        plan = Plan({"eeg": labelled}, recipe.train.batch, 0)
        task = Finetuning(plan, _Decode(moved), moved, adaptation, torch.ones(2))
        return start, adapt(task, recipe, 0, tmp_path / "run", {"recipe": recipe.hash})

    return run


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """The names of the tensors that are no longer the same to the bit."""
    old, new = before.state_dict(), after.state_dict()
    assert old.keys() == new.keys(), "nothing that an adaptation put in is left"
    return {name for name in old if not torch.equal(old[name], new[name])}


def test_every_way_is_tried() -> None:
    assert known(Adaptation) == sorted(["frozen", "full", "lp_ft", "sensors", *PEFT])


def test_frozen_moves_the_head_and_nothing_else(adapted: Adapt) -> None:
    start, tuned = adapted(asked("frozen"))
    assert changed(start, tuned) == {name for name in start.state_dict() if name.startswith("head.")}


@pytest.mark.parametrize(("kind", "calls"), [("frozen", [False] * 4), ("full", [True] * 4)])
def test_dropout_is_off_where_the_backbone_is_frozen(kind: str, calls: list[bool], adapted: Adapt) -> None:
    """An encoder of someone else's, which drops out and keeps running statistics."""
    seen: list[bool] = []

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(32, affine=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.training)
            return self.norm(x.transpose(1, 2)).transpose(1, 2)

    def plant(model: BrainFM) -> None:
        model.encoder.norm = Noisy()

    _, tuned = adapted(asked(kind), plant)
    assert seen == calls
    assert bool(tuned.encoder.norm.norm.running_mean.abs().sum() > 0) is calls[0]
    assert not tuned.training


def test_full_moves_everything(adapted: Adapt) -> None:
    start, tuned = adapted(asked("full"))
    assert changed(start, tuned) == set(start.state_dict())


def test_rates_fall_from_layer_to_layer(model: BrainFM, settings: DecoderSettings) -> None:
    net = model.with_decoder(settings, 0)
    rates = by_layer(net, head=7.0, decay=0.5)
    recipe = asked("full")
    rates_here = {f"model.{name}": rate for name, rate in rates.items()}
    module = _Decode(net)
    run = Run(None, recipe.train, 0, Path(), "", {}, rates=rates_here)  # type: ignore[arg-type]
    groups = optimizer_of(run, module).param_groups
    peak = {id(one): group["peak"] / 1e-2 for group in groups for one in group["params"]}
    found = {name: round(peak[id(one)], 9) for name, one in net.named_parameters()}
    assert {found[name] for name in found if name.startswith("head.")} == {7.0}
    assert {found[n] for n in found if n.startswith(("encoder.blocks.1.", "encoder.norm"))} == {1.0}
    assert {found[n] for n in found if n.startswith("encoder.blocks.0.")} == {0.5}
    first = [n for n in found if n.startswith(("tokenizers.", "encoder.place", "encoder.instrument"))]
    assert first and {found[n] for n in first} == {0.25}


def test_early_layers_move_less(adapted: Adapt) -> None:
    """The ablation: without a decay they move about as much as the last."""

    def share(decay: float) -> float:
        start, tuned = adapted(asked("full", layer_decay=decay))
        moved = [
            (tuned.encoder.blocks[place].qkv.weight - start.encoder.blocks[place].qkv.weight).norm()
            for place in (0, 1)
        ]
        return float((moved[0] / moved[1]).detach())

    assert share(1.0) > 0.7


def test_early_layers_move_less_with_a_decay(adapted: Adapt) -> None:
    start, tuned = adapted(asked("full", layer_decay=0.1))
    first, last = (
        (tuned.encoder.blocks[place].qkv.weight - start.encoder.blocks[place].qkv.weight).norm()
        for place in (0, 1)
    )
    assert first < 0.2 * last


def test_layers_without_a_list_have_no_rates_of_their_own() -> None:
    net = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    assert set(by_layer(net, 1.0, 1.0)) == {"head.", "subjects."}
    with pytest.raises(DataError, match="no list called `blocks`"):
        by_layer(net, 1.0, 0.5)


def test_a_probe_comes_before_everything_moves(adapted: Adapt, tmp_path: Path) -> None:
    start, tuned = adapted(asked("lp_ft"))
    probed = BrainFM.from_pretrained(tmp_path / "run" / "phase-1")
    assert {name for name in changed(start, probed) if not name.startswith("head.")} == set()
    assert changed(start, probed)
    assert changed(probed, tuned) == set(start.state_dict())
    steps = [len(tiny.rows(folder)) for folder in (tmp_path / "run" / "phase-1", tmp_path / "run")]
    assert steps == [2, 2]


def test_the_head_knows_something_before_features_move(adapted: Adapt, tmp_path: Path) -> None:
    """What Kumar et al. 2022 ask for: the first errors that reach the features are those of a head that has learnt."""
    recipe = asked("lp_ft", probe=0.8).model_copy(update={"head_rate": 1.0})
    training = recipe.train.model_copy(update={"steps": 15})
    adapted(recipe.model_copy(update={"train": training}))
    first, second = (
        tiny.rows(folder)[0]["loss"] for folder in (tmp_path / "run" / "phase-1", tmp_path / "run")
    )
    assert first == pytest.approx(np.log(2), abs=1e-4) and second < 0.95 * first


@pytest.mark.parametrize("kind", PEFT)
def test_adapters_move_their_own_layers_alone(kind: str, adapted: Adapt) -> None:
    start, tuned = adapted(asked(kind))
    moved = changed(start, tuned)  # the keys are the same again: merged
    assert moved and all(name.startswith("head.") or ".blocks." in name for name in moved)
    layers = ("qkv", "mlp.narrow") if kind == "ia3" else ("qkv", "out", "mlp.widen", "mlp.narrow")
    assert {f"encoder.blocks.{block}.{layer}.weight" for block in (0, 1) for layer in layers} <= moved
    assert not [name for name in moved if "norm" in name and not name.startswith("head.")]


@pytest.mark.parametrize("kind", PEFT)
def test_only_adapters_are_trained_and_merging_says_the_same(
    kind: str, model: BrainFM, settings: DecoderSettings, labelled: Stream
) -> None:
    (adaptation,) = asked(kind).adaptation
    net = model.with_decoder(settings, 0).eval()
    batch = labelled.batch(np.arange(8))
    plain = net(batch).embedding
    base = {name: one.clone() for name, one in net.named_parameters()}
    adaptation.install(net, 0)
    torch.testing.assert_close(net(batch).embedding, plain, atol=1e-5, rtol=1e-5)
    (phase,) = adaptation.phases(net, 1.0)
    run = Run(None, asked(kind).train, 0, Path(), "", {}, rates=phase.rates, undecayed=phase.undecayed)  # type: ignore[arg-type]
    optimizer = optimizer_of(run, net)
    trained = {name for name, one in net.named_parameters() if one.requires_grad}
    inside = {name for name in trained if not name.startswith("head.")}
    assert inside and all("lora_" in name or "ia3_" in name for name in inside)
    if kind == "ia3":
        assert {group["weight_decay"] for group in optimizer.param_groups if len(group["params"]) > 2} == {
            0.0
        }
    for _ in range(3):
        net(batch).embedding.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = {name.replace(".base_layer", ""): one for name, one in net.named_parameters()}
    assert all(torch.equal(after[name], one) for name, one in base.items() if not name.startswith("head."))
    moved = net(batch).embedding
    assert (moved - plain).abs().max() > 1e-3, "else equality says nothing"
    adaptation.merge(net)
    assert net.state_dict().keys() == base.keys() and not hasattr(net, "peft_config")
    torch.testing.assert_close(net(batch).embedding, moved, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["lp_ft", "lora", "ia3"])
def test_an_adapted_decoder_is_read_as_any_other(
    kind: str, adapted: Adapt, labelled: Stream, tmp_path: Path
) -> None:
    _, tuned = adapted(asked(kind))
    rows = np.arange(len(labelled.windows))
    said = tuned.probabilities(labelled, rows)
    tuned.save_pretrained(tmp_path / "decoder")
    for folder in (
        tmp_path / "decoder",
        tmp_path / "run",
    ):  # and the run's own last checkpoint, which is merged too
        found = BrainFM.from_pretrained(folder)
        assert found.load_report.coverage == 1.0 and not found.load_report.unexpected
        np.testing.assert_allclose(found.probabilities(labelled, rows), said, atol=1e-5)


def test_a_stopped_adaptation_goes_on(adapted: Adapt, tmp_path: Path) -> None:
    """With adapters, whose own weights lie in the training state and not among what users load."""
    import shutil

    recipe = asked("lora")
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"save_every": 2})})
    _, whole = adapted(recipe)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000004")
    _, resumed = adapted(recipe)
    assert changed(whole, resumed) == set()


def test_without_peft_it_says_what_to_install(
    model: BrainFM, settings: DecoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    (adaptation,) = asked("lora").adaptation
    with pytest.raises(BrainfmError, match=r"pip install 'brainfm-toolkit\[adapters\]'"):
        adaptation.install(model.with_decoder(settings, 0), 0)


def test_two_ways_of_one_row_are_refused() -> None:
    part = {"card": "simulated_eeg", "head": {"kind": "linear", "pool": "mean"}, "train": TRAIN}
    twice = [{"kind": "full"}, {"kind": "full", "layer_decay": 0.5}]
    with pytest.raises(RecipeError, match="two ways would both be the row finetuned"):
        FinetuneRecipe.resolve({**part, "adaptation": twice})


def test_each_way_is_a_row_of_the_table(tmp_path: Path) -> None:
    ways = ["frozen", "lp_ft", "lora"]
    card = tiny.people(tmp_path, subjects=2, seconds=40.0)
    run = tiny.train_words(card, tmp_path / "run", "data.hold_out={people: ['02']}", steps=2)
    assert tiny.brainfm(*run).code == 0
    said = f"adaptation=[{', '.join(f'{{kind: {way}}}' for way in ways)}]"
    words = tiny.sets(f"card={card}", "train.steps=2", "train.precision=no", said)
    found = tiny.brainfm(
        "finetune", "smoke", "--from", tmp_path / "run", "--out", tmp_path / "out", *words, "--json"
    )
    assert found.code == 0, found.err
    rows = [row["name"] for row in found.json["rows"]]
    assert rows[-len(ways) - 1 :] == ["scratch", "frozen:head", "finetuned:lp_ft", "lora"]
    decoder = BrainFM.from_pretrained(found.json["decoder"])
    first = BrainFM.from_pretrained(tmp_path / "run")
    assert all(torch.equal(one, decoder.state_dict()[name]) for name, one in first.state_dict().items())
