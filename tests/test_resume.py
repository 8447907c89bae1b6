"""Kill it anywhere: the run that is started again has the losses of the run that was not killed, to the bit."""

import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest
import tiny
from forked import ended, finish, started, wait_for

STEPS = 24


def words(card: Path, out: Path, *overrides: str) -> list[str]:
    return tiny.train_words(card, out, "train.save_every=4", "train.batch=8", *overrides, steps=STEPS)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.people(tmp_path_factory.mktemp("card"), subjects=2, seconds=24.0)


@pytest.fixture(scope="module")
def whole(card: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs of two seeds that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    runs = {seed: folder / str(seed) for seed in (0, 1)}
    for seed, out in runs.items():
        finish(words(card, out, f"seed={seed}"))
    return runs


@pytest.mark.parametrize(("workers", "kills"), [(0, 2), (2, 3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_that_is_killed_again_and_again_goes_on_to_the_bit(
    card: Path, whole: dict[int, Path], tmp_path: Path, seed: int, workers: int, kills: int
) -> None:
    """Ten kills in all, at random steps or, where the log is still ahead of the last checkpoint, while a run starts."""
    argv = words(card, tmp_path / "run", f"seed={seed}", f"train.workers={workers}")
    steps = sorted(random.sample(range(1, STEPS - 6), kills))
    for step in steps:
        process = started(argv)
        wait_for(tmp_path / "run", step)
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, "the run ended before it was killed"
    torn = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    assert torn.count("\n") < STEPS
    finish(argv)
    assert tiny.rows(tmp_path / "run") == tiny.rows(whole[seed]), f"killed at steps {steps}"
    assert [row["step"] for row in tiny.rows(whole[seed])] == list(range(1, STEPS + 1))


def test_the_seeds_differ(whole: dict[int, Path]) -> None:
    first, second = (tiny.rows(run)[0]["loss"] for run in whole.values())
    assert first != second


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_writes_its_checkpoint(
    card: Path, whole: dict[int, Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    argv = words(card, tmp_path / "run", "train.workers=2", "train.save_every=100")
    process = started(argv)
    wait_for(tmp_path / "run", 3)
    assert process.pid is not None
    os.killpg(process.pid, number)  # the loader's workers get it too
    result = ended(process, tmp_path / "run")
    assert result.code == code, result
    step = len(tiny.rows(tmp_path / "run"))
    assert 3 <= step < STEPS
    assert tiny.only_sentence(result).startswith(f"stopped at step {step}; the checkpoint is written")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step-{step:08d}"]
    finish(argv)
    assert tiny.rows(tmp_path / "run") == tiny.rows(whole[0])


LAUNCH = [
    sys.executable,
    "-m",
    "accelerate.commands.accelerate_cli",
    "launch",
    "--cpu",
    "--num_machines",
    "1",
]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes"]


def test_it_runs_under_accelerate_launch(card: Path, whole: dict[int, Path], tmp_path: Path) -> None:
    launched = tiny.shell(*words(card, tmp_path / "run"), "--json", before=[*LAUNCH, "1"])
    result = tiny.ended(launched)
    assert result.code == 0, result.err
    assert result.json["steps"] == STEPS
    assert [row["loss"] for row in tiny.rows(tmp_path / "run")] == [
        row["loss"] for row in tiny.rows(whole[0])
    ]


TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
"""Two processes on one CPU; Accelerate's own launcher starts several for GPUs alone."""


def test_two_processes_leave_one_log_one_report_and_one_answer(card: Path, tmp_path: Path) -> None:
    launched = tiny.shell(*words(card, tmp_path / "run"), "--json", before=TWO)
    result = tiny.ended(launched)
    assert result.code == 0, result.err
    assert result.json["steps"] == STEPS
    assert [row["step"] for row in tiny.rows(tmp_path / "run")] == list(range(1, STEPS + 1))
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["checkpoints", "identity.json", "log.jsonl", "recipe.yaml", "report.html", "report.json"]


def test_two_processes_train_on_two_instruments(tmp_path: Path) -> None:
    """A step of one instrument leaves the other's tokenizer without a gradient, which must not stop the processes."""
    cards = {path.stem: path for path in tiny.five_instruments(tmp_path, subjects=1)}
    both = f"data.cards=[{cards['eeg']}, {cards['spikes']}]"
    signals = "signals={eeg: patch_250ms, spikes: spike_counts_250ms}"
    overrides = tiny.sets(
        *tiny.NETWORK, both, signals, "train.steps=6", "train.batch=16", "train.precision=no"
    )
    launched = tiny.shell(
        *["pretrain", "smoke", "--out", str(tmp_path / "run"), *overrides, "--json"],
        before=TWO,
    )
    result = tiny.ended(launched)
    assert result.code == 0, result.err
    assert len(tiny.rows(tmp_path / "run")) == 6


@pytest.fixture
def run(whole: dict[int, Path], tmp_path: Path) -> Path:
    """A copy of a run that has ended, to spoil."""
    return shutil.copytree(whole[0], tmp_path / "run")


def test_a_finished_run_does_nothing_and_says_its_loss(card: Path, run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "checkpoints").rglob("*")}
    said = tiny.brainfm(*words(card, run, "seed=0"), "--json").json
    assert said["loss"] == tiny.rows(run)[-1]["loss"]
    assert said["checkpoint"].endswith(f"step-{STEPS:08d}")
    assert {path: path.stat().st_mtime_ns for path in (run / "checkpoints").rglob("*")} == before
    assert len(tiny.rows(run)) == STEPS


@pytest.mark.parametrize("override", ["train.learning_rate=1e-4", "seed=1", "train.steps=48"])
def test_another_recipes_folder_is_refused(card: Path, run: Path, override: str) -> None:
    before = (run / "log.jsonl").read_bytes()
    result = tiny.brainfm(*words(card, run, "seed=0", override))
    assert "belongs to a run of another recipe" in tiny.only_sentence(result)
    assert (run / "log.jsonl").read_bytes() == before


def back_to(run: Path, step: int) -> None:
    """As if the run had been killed after its checkpoint of `step`: later ones gone, the log further on."""
    for path in (run / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


def test_a_line_that_was_cut_short_is_dropped(card: Path, run: Path, whole: dict[int, Path]) -> None:
    back_to(run, STEPS - 4)
    log = run / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[: STEPS - 2]) + lines[STEPS - 2][:17], encoding="utf-8")
    finish(words(card, run, "seed=0"))
    assert tiny.rows(run) == tiny.rows(whole[0])


def test_a_checkpoint_that_was_half_written_is_ignored(card: Path, run: Path, whole: dict[int, Path]) -> None:
    back_to(run, STEPS - 4)
    half = run / "checkpoints" / f"step-{STEPS:08d}.writing"
    half.mkdir()
    (half / "config.json").write_text("{", encoding="utf-8")
    finish(words(card, run, "seed=0"))
    assert tiny.rows(run) == tiny.rows(whole[0])
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == [f"step-{STEPS - 4:08d}", f"step-{STEPS:08d}"]


def test_micro_batches_make_one_line_a_step_and_resume_too(card: Path, tmp_path: Path) -> None:
    argv = words(card, tmp_path / "run", "train.accumulate=2", "train.workers=2", "train.save_every=3")
    process = started(argv)
    wait_for(tmp_path / "run", 4)
    process.kill()
    process.join(60)
    finish(argv)
    found = tiny.rows(tmp_path / "run")
    assert [row["step"] for row in found] == list(range(1, STEPS + 1))
    finish(words(card, tmp_path / "whole", "train.accumulate=2", "train.save_every=3"))
    assert found == tiny.rows(tmp_path / "whole")
