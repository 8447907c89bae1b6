"""The loop: rates, what is decayed or frozen, what is logged and kept, and what stops it."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from brainfm.chance import Chance
from brainfm.errors import BrainfmError, CheckpointError
from brainfm.feed import Micro
from brainfm.objectives import Loss
from brainfm.recipe import Training
from brainfm.train import Run, optimizer_of, schedule, train


class Toy:
    """A small regression, poisoned at one step if asked."""

    def __init__(self, poison: int | None = None) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))
        self.poison = poison

    def item(self, step: int, part: int, parts: int) -> Micro:
        item = torch.randn(8, 3, generator=torch.Generator().manual_seed(100 * step + part))
        return Micro(item * float("nan") if step == self.poison else item, 8 * part, 8, 8 * parts)

    def loss(self, module: nn.Module, item: Tensor, chance: Chance) -> Loss:
        square = (module(item) - item.sum(dim=1, keepdim=True)).square().mean()
        return Loss({"square": square, "size": square.detach() * 0 + 2.0}, {"square": 1.0, "size": 0.5})

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text("{}", encoding="utf-8")


def training(**changes: Any) -> Training:
    given = {"steps": 12, "learning_rate": 0.01, "precision": "no", "save_every": 4}
    return Training.model_validate({**given, **changes})


def run(out: Path, task: Toy | None = None, rates: Mapping[str, float] | None = None, **changes: Any) -> Run:
    identity = {"recipe": "one", "data": "these"}
    return Run(
        task or Toy(), training(**changes), 0, out, "a recipe\n", identity, quiet=True, rates=rates or {}
    )


def weights(task: Toy) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in task.module.named_parameters()}


def test_the_rate_rises_then_falls_as_a_cosine() -> None:
    settings = training(steps=100, warm_up=0.1)
    rates = [schedule(step, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert max(rates) == 1.0
    assert all(after < before for before, after in itertools.pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.5)  # half way down the cosine
    assert 0 < rates[-1] < 0.001


def test_no_warm_up_starts_at_the_top() -> None:
    assert schedule(0, training(steps=10, warm_up=0.0)) == 1.0


def test_the_logged_rate_is_the_schedule(tmp_path: Path) -> None:
    settings = run(tmp_path)
    train(settings)
    expected = [0.01 * schedule(step, settings.training) for step in range(12)]
    assert [row["learning_rate"] for row in tiny.rows(tmp_path)] == expected


def test_norms_and_biases_are_not_decayed(tmp_path: Path) -> None:
    task = Toy()
    decay = {
        id(parameter): group["weight_decay"]
        for group in optimizer_of(run(tmp_path, task, weight_decay=0.3), task.module).param_groups
        for parameter in group["params"]
    }
    found = {name: decay[id(parameter)] for name, parameter in task.module.named_parameters()}
    assert found == {"0.weight": 0.3, "2.weight": 0.3} | dict.fromkeys(
        ("0.bias", "1.weight", "1.bias", "2.bias"), 0.0
    )


def test_rates_scale_by_prefix(tmp_path: Path) -> None:
    task = Toy()
    peak = {
        id(parameter): group["peak"]
        for group in optimizer_of(run(tmp_path, task, {"2.": 10.0, "0.bias": 0.5}), task.module).param_groups
        for parameter in group["params"]
    }
    found = {name: peak[id(parameter)] / 0.01 for name, parameter in task.module.named_parameters()}
    assert found == pytest.approx(
        {"0.weight": 1.0, "0.bias": 0.5, "1.weight": 1.0, "1.bias": 1.0, "2.weight": 10.0, "2.bias": 10.0}
    )


def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(tmp_path: Path) -> None:
    task = Toy()
    before = weights(task)
    train(run(tmp_path, task, {"0.": 0.0}))
    changed = {name for name, value in weights(task).items() if not torch.equal(value, before[name])}
    assert changed == {"1.weight", "1.bias", "2.weight", "2.bias"}


def test_a_frozen_run_resumes_to_the_bit(tmp_path: Path) -> None:
    whole, half = Toy(), Toy()
    train(run(tmp_path / "whole", whole, {"0.": 0.0}))
    with pytest.raises(BrainfmError):
        train(run(tmp_path / "half", Toy(poison=7), {"0.": 0.0}))
    train(run(tmp_path / "half", half, {"0.": 0.0}))
    assert tiny.rows(tmp_path / "half") == tiny.rows(tmp_path / "whole")
    assert all(torch.equal(value, weights(half)[name]) for name, value in weights(whole).items())


class Halves(Toy):
    """One of its two layers is used at odd steps alone."""

    def __init__(self, poison: int | None = None) -> None:
        super().__init__(poison)
        self.module = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
        self.uses = 0

    def loss(self, module: nn.Module, item: Tensor, chance: Chance) -> Loss:
        step = round(float(item[0, 0]))
        value = module[0](item) + (module[1](item) if step % 2 else 0.0)
        return Loss({"square": (value - 1.0).square().mean()}, {"square": 1.0})

    def item(self, step: int, part: int, parts: int) -> Micro:
        poison = float("nan") if step == self.poison else 0.0
        return Micro(torch.full((8, 3), float(step)) + poison)


def test_what_is_trained_now_and_then_resumes_to_the_bit(tmp_path: Path) -> None:
    """Adam counts the steps of each parameter apart: with a modality per step they differ."""
    whole, half = Halves(), Halves()
    train(run(tmp_path / "whole", whole))
    with pytest.raises((BrainfmError, ValueError)):
        train(run(tmp_path / "half", Halves(poison=6)))
    train(run(tmp_path / "half", half))
    assert tiny.rows(tmp_path / "half") == tiny.rows(tmp_path / "whole")
    assert all(torch.equal(value, weights(half)[name]) for name, value in weights(whole).items())


def test_what_decides_no_loss_may_change_between_starts(tmp_path: Path) -> None:
    train(run(tmp_path / "whole"))
    with pytest.raises(BrainfmError):
        train(run(tmp_path / "run", Toy(poison=7)))
    changed = replace(run(tmp_path / "run", save_every=3), recipe="the recipe, saved more often\n")
    train(changed)
    assert tiny.rows(tmp_path / "run") == tiny.rows(tmp_path / "whole")
    assert (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8") == changed.recipe


def test_a_run_that_had_ended_and_lost_its_log_says_no_loss(tmp_path: Path) -> None:
    train(run(tmp_path))
    (tmp_path / "log.jsonl").unlink()
    assert train(run(tmp_path)).json["loss"] is None


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brainfm.launch.find_spec", lambda _: None)
    with pytest.raises(BrainfmError, match="needs wandb; `pip install wandb`"):
        train(run(tmp_path / "run", log_with="wandb"))
    assert not (tmp_path / "run").exists()


def test_the_log_has_each_part_unweighted(tmp_path: Path) -> None:
    train(run(tmp_path))
    rows = tiny.rows(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 13))
    for row in rows:
        assert row["size"] == 2.0
        assert row["loss"] == pytest.approx(row["square"] + 0.5 * row["size"])
        assert row["gradient_norm"] > 0
    assert rows[-1]["square"] < rows[0]["square"]


def test_micro_batches_are_averaged(tmp_path: Path) -> None:
    """Also where they are of different lengths: each window weighs the same."""

    class Split(Toy):
        def item(self, step: int, part: int, parts: int) -> Micro:
            piece = super().item(step, 0, 1).content.tensor_split(parts)[part]
            return Micro(piece, count=len(piece), total=8)

    train(run(tmp_path / "one", Split()))
    train(run(tmp_path / "three", Split(), accumulate=3))
    for one, three in zip(tiny.rows(tmp_path / "one"), tiny.rows(tmp_path / "three"), strict=True):
        assert one == pytest.approx(three, rel=1e-4)


def test_a_gradient_is_clipped(tmp_path: Path) -> None:
    free, clipped = Toy(), Toy()
    before = weights(free)
    train(run(tmp_path / "free", free, steps=1, weight_decay=0.0, clip=1e9))
    train(run(tmp_path / "clipped", clipped, steps=1, weight_decay=0.0, clip=1e-12))
    moved = [
        max(float((value - before[name]).abs().max()) for name, value in weights(task).items())
        for task in (free, clipped)
    ]
    assert moved[1] < 0.01 * moved[0]  # Adam's step is short only where the gradient is near its epsilon


@pytest.mark.parametrize("steps", [12, 10])
def test_the_last_two_checkpoints_are_kept(tmp_path: Path, steps: int) -> None:
    outcome = train(run(tmp_path, steps=steps))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000008", f"step-{steps:08d}"]
    assert outcome.checkpoint == tmp_path / "checkpoints" / f"step-{steps:08d}"
    assert outcome.loss == tiny.rows(tmp_path)[-1]["loss"]
    assert outcome.json.keys() >= {"out", "steps", "loss", "seconds", "checkpoint"}


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(BrainfmError, match=r"^the loss became nan at step 6; lower train\.learning_rate"):
        train(run(tmp_path, Toy(poison=5)))
    assert len(tiny.rows(tmp_path)) == 5
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


class Held:
    """One batch of eight windows that are no numbers."""

    batches, windows = 1, 8

    def item(self, step: int, part: int, parts: int) -> Micro:
        return Micro(torch.full((8, 3), float("nan")), 0, 8, 8)


def test_a_held_out_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(BrainfmError, match=r"^the loss became nan at step 4; lower train\.learning_rate"):
        train(replace(run(tmp_path), held_out=Held()))
    assert not (tmp_path / "checkpoints").exists()


def test_another_recipes_folder_is_left_alone(tmp_path: Path) -> None:
    ours = run(tmp_path)
    train(ours)
    for key in ours.identity:
        other = replace(ours, identity={**ours.identity, key: "another"})
        with pytest.raises(CheckpointError, match=f"belongs to a run of another {key}; choose another --out"):
            train(other)


def test_one_process_trains_in_several_precisions(tmp_path: Path) -> None:
    for number, precision in enumerate(("bf16", "no", "bf16")):
        assert train(run(tmp_path / str(number), precision=precision)).steps == 12
    first, second = tiny.rows(tmp_path / "0"), tiny.rows(tmp_path / "1")
    assert first[0]["loss"] != second[0]["loss"]
    assert first == tiny.rows(tmp_path / "2")


def test_a_run_does_not_go_on_in_another_precision(tmp_path: Path) -> None:
    """As one would whose folder went to another machine while its recipe left the precision to that."""
    train(run(tmp_path, precision="bf16"))
    with pytest.raises(CheckpointError, match="belongs to a run of another precision"):
        train(run(tmp_path, precision="no"))


def test_what_can_not_be_compiled_is_said_in_a_sentence(tmp_path: Path) -> None:
    class Broken(RuntimeError):
        """As torch.compile raises where g++ fails."""

    class Uncompiled(Toy):
        def loss(self, module: nn.Module, item: Tensor, chance: Chance) -> Loss:
            raise Broken("CppCompileError: C++ compile error\nand a thousand lines")

    with pytest.raises(Broken):
        train(run(tmp_path / "other", Uncompiled()))
    Broken.__module__ = "torch._inductor.exc"
    with pytest.raises(
        BrainfmError, match=r"^torch\.compile failed \(CppCompileError: C\+\+ compile error\); set train"
    ):
        train(run(tmp_path / "run", Uncompiled()))


def test_pretraining_logs_the_parts_of_its_objective(tmp_path: Path) -> None:
    card = tiny.people(tmp_path, subjects=2, seconds=24.0)
    override = "objectives.neurodynamics.weight=0.25"
    result = tiny.brainfm(*tiny.train_words(card, tmp_path / "run", override, steps=3), "--json")
    assert result.json["steps"] == 3
    for row in tiny.rows(tmp_path / "run"):
        assert row["loss"] == pytest.approx(row["patches"] + 0.25 * row["statistics"], rel=1e-5)
