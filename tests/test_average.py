"""The running mean of the weights: what it is, that it is what users load, and that it can teach."""

import copy
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import MakeRecipe
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from brainfm.average import Average, decay_after
from brainfm.errors import RecipeError
from brainfm.gather import gather
from brainfm.learner import learner, teach
from brainfm.model import BrainFM
from brainfm.recipe import TokenizeRecipe


def walk(module: nn.Module, seed: int) -> None:
    """A step in some direction."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)


def test_it_is_torchs_running_mean_once_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(3, 2)
    average = Average(module, 0.9)
    peer = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    peer.update_parameters(module)  # its first call copies
    for step in range(200, 230):
        walk(module, step)
        average.update(module, step)
        peer.update_parameters(module)
    for name, value in peer.module.named_parameters():
        torch.testing.assert_close(average.values[name], value)


def test_the_decay_warms_up() -> None:
    assert [decay_after(step, 0.999) for step in (1, 2, 8)] == [2 / 11, 3 / 12, 9 / 18]
    assert decay_after(100_000, 0.999) == 0.999
    module = nn.Linear(3, 2)
    first = copy.deepcopy(module)
    average = Average(module, 0.999)
    for step in range(1, 31):
        walk(module, step)
        average.update(module, step)
    # by hand: what each step's weights count is its share times all later decays, and the untrained ones count for nothing
    kept = np.cumprod([decay_after(step, 0.999) for step in range(30, 0, -1)])[::-1]
    assert kept[0] < 1e-4
    other, sum_ = copy.deepcopy(first), kept[0] * first.weight
    for step in range(1, 31):
        walk(other, step)
        sum_ = sum_ + (1 - decay_after(step, 0.999)) * (kept[step] if step < 30 else 1.0) * other.weight
    torch.testing.assert_close(average.values["weight"], sum_)


def test_worn_weights_are_given_back_to_the_bit() -> None:
    module = nn.Linear(3, 2)
    average = Average(module, 0.9)
    walk(module, 0)
    own = module.weight.detach().clone()
    with pytest.raises(ValueError), average.worn(module):
        assert torch.equal(module.weight, average.values["weight"]) and not torch.equal(module.weight, own)
        raise ValueError
    assert torch.equal(module.weight, own)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    card = tiny.people(folder, subjects=2, seconds=24.0)
    for name, more in {"raw": (), "mean": ("train.average=0.5",)}.items():
        result = tiny.brainfm(
            *tiny.train_words(card, folder / name, "train.save_every=1", "train.keep=6", *more, steps=6),
            "--json",
        )
        assert result.code == 0, result.err
    return {name: folder / name for name in ("raw", "mean")}


def test_it_changes_no_loss_and_is_what_users_load(runs: dict[str, Path]) -> None:
    assert tiny.rows(runs["raw"]) == tiny.rows(runs["mean"])
    name = "encoder.blocks.0.mlp.widen.weight"
    raw = [load_file(folder / "model.safetensors")[name] for folder in folders(runs["raw"])]
    mean = [load_file(folder / "model.safetensors")[name] for folder in folders(runs["mean"])]
    last = [
        load_file(folder / "training.safetensors")[f"module.model.{name}"] for folder in folders(runs["mean"])
    ]
    assert all(torch.equal(one, two) for one, two in zip(raw, last, strict=True))
    for step in range(1, 6):
        share = 1 - decay_after(step + 1, 0.5)
        torch.testing.assert_close(mean[step], mean[step - 1].lerp(raw[step], share))
    config = BrainFM.from_pretrained(runs["mean"]).config
    assert config.averaged == 0.5 and BrainFM.from_pretrained(runs["raw"]).config.averaged == 0.0


def folders(run: Path) -> list[Path]:
    found = sorted((run / "checkpoints").iterdir())
    assert len(found) == 6
    return found


def test_it_teaches_with_whole_windows_and_without_a_gradient(make_recipe: MakeRecipe) -> None:
    recipe, streams, _ = gather(make_recipe(train={"steps": 2, "batch": 4, "average": 0.9}), limit=1)
    network = learner(recipe, streams)
    average = Average(network, 0.9)
    teach(network, average)
    batch = next(iter(streams.values())).batches(np.arange(3))[0]
    with torch.no_grad():
        before = network.model(batch).embedding, network.model.tokenize(batch).tokens.embedding
    walk(network, 1)
    teachers = network.teacher, network.teacher_tokens
    told = []
    for teacher, wanted in zip(teachers, before, strict=True):
        assert teacher is not None
        told.append(teacher(batch).embedding)
        torch.testing.assert_close(told[-1], wanted)
        assert not told[-1].requires_grad
    assert not any("teacher" in name for name in network.state_dict())
    average.update(network, 10_000)
    for teacher, earlier in zip(teachers, told, strict=True):
        assert teacher is not None and not torch.equal(teacher(batch).embedding, earlier)


def test_codes_are_not_averaged() -> None:
    with pytest.raises(RecipeError, match="codes follow the last weights"):
        TokenizeRecipe.load("codes_eeg", ["train.average=0.9"])
