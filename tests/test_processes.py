"""Several processes: the same global batch gives the same losses however it is divided, and a lost process ends the others.

Tolerances: a loss is a sum of float32 numbers, and dividing it changes the order of the sum, 1e-7 a step; the update is Adam's,
which divides by the gradient's own size and so lets rounding in small gradients grow. Over a dozen steps 1e-5 of the loss, a
hundred times what was seen, is far below what a wrong mask, window or weight changes (1e-2).
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from forked import ended, finish, started, together, wait_for

STEPS = 12
CLOSE = 1e-5
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
"""Two processes on one CPU; Accelerate's own launcher starts several for GPUs alone."""
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
"""What `accelerate launch --config_file pretrain/launch/fsdp2.yaml` says to the processes that it starts."""

INSTRUMENTS = {
    "one instrument": ("eeg: patch_250ms",),
    "sources": ("eeg: sources_250ms", "meg: sources_250ms"),
    "events": ("eeg: patch_250ms", "spikes: spike_events"),
}


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cards")
    return {path.stem: path for path in tiny.five_instruments(folder, subjects=2)}


def words(
    cards: dict[str, Path], out: Path, *overrides: str, of: str = "one instrument", batch: int = 7
) -> list[str]:
    """A batch of seven is not divided evenly by two or three."""
    signals = ", ".join(INSTRUMENTS[of])
    names = ", ".join(str(cards[one.split(":")[0]]) for one in INSTRUMENTS[of])
    settings = (
        f"data.cards=[{names}]",
        f"signals={{{signals}}}",
        f"train.steps={STEPS}",
        f"train.batch={batch}",
    )
    more = ("train.precision=no", "train.save_every=4", *overrides)
    return ["pretrain", "smoke", "--out", str(out), *tiny.sets(*tiny.NETWORK, *settings, *more)]


def assert_close(run: Path, other: Path) -> None:
    """The same lines, within rounding, every part of the loss among them."""
    ours, theirs = tiny.rows(run), tiny.rows(other)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, STEPS + 1))
    for one, two in zip(ours, theirs, strict=True):
        assert one == pytest.approx(two, rel=CLOSE, abs=1e-6), one["step"]


@pytest.fixture(scope="module")
def alone(cards: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind by one process."""
    folder = tmp_path_factory.mktemp("alone")
    return {of: finish(words(cards, folder / of.replace(" ", "_"), of=of)) for of in INSTRUMENTS}


@pytest.mark.parametrize("of", INSTRUMENTS)
def test_two_processes_have_the_losses_of_one(
    cards: dict[str, Path], alone: dict[str, Path], tmp_path: Path, of: str
) -> None:
    assert_close(finish(words(cards, tmp_path / "run", of=of), 2), alone[of])


@pytest.mark.parametrize("of", INSTRUMENTS)
def test_micro_batches_of_unequal_size_have_the_losses_of_one(
    cards: dict[str, Path], alone: dict[str, Path], tmp_path: Path, of: str
) -> None:
    assert_close(finish(words(cards, tmp_path / "run", "train.accumulate=3", of=of)), alone[of])


def test_more_pieces_than_windows_change_nothing(cards: dict[str, Path], tmp_path: Path) -> None:
    """Four pieces of three windows: the one that is there for company counts for nothing."""
    one = finish(words(cards, tmp_path / "one", batch=3))
    assert_close(finish(words(cards, tmp_path / "two", "train.accumulate=2", batch=3), 2), one)


def test_a_run_may_go_on_with_more_or_fewer_processes(
    cards: dict[str, Path], alone: dict[str, Path], tmp_path: Path
) -> None:
    """The windows and masks of a step are the same for any number of them."""
    run = tmp_path / "run"
    argv = words(cards, run, "train.workers=1")
    for count, step in ((1, 3), (2, 6)):
        stop_at(argv, count, step)
    finish(argv)
    assert_close(run, alone["one instrument"])


def stop_at(argv: list[str], count: int, step: int) -> None:
    """Start a run and stop it by SIGTERM, which every process gets from its launcher, once so many steps are logged."""
    run = Path(argv[argv.index("--out") + 1])
    processes = [started(argv)] if count == 1 else together(argv, count)
    wait_for(run, step)
    for process in processes:
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGTERM)
    for rank, process in enumerate(processes):
        result = ended(process, run, rank)
        assert result.code == 143 and "the checkpoint is written" in tiny.only_sentence(result), result
    steps = [int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir()]
    assert max(steps) == len(tiny.rows(run)) < STEPS


@pytest.mark.parametrize("more", [{}, SHARDED], ids=["data parallel", "sharded"])
def test_one_of_two_that_is_killed_ends_the_other_and_the_run_goes_on_to_the_bit(
    cards: dict[str, Path], tmp_path: Path, more: dict[str, str]
) -> None:
    settings = ("train.workers=1", "train.average=0.9", "train.hold_back=0.25")
    argv = words(cards, tmp_path / "run", *settings)
    whole = finish(words(cards, tmp_path / "whole", *settings), 2, **more)
    for victim in (0, 1):
        processes = together(argv, 2, **more)
        wait_for(tmp_path / "run", random.randrange(1, 5) + 4 * victim)
        processes[victim].kill()
        survivor = ended(processes[1 - victim], tmp_path / "run", 1 - victim, seconds=30)
        assert tiny.only_sentence(survivor).startswith("another of the 2 processes ended")
        assert len(tiny.rows(tmp_path / "run")) < STEPS
    finish(argv, 2, **more)
    assert tiny.rows(tmp_path / "run") == tiny.rows(whole)


def test_torchrun_ends_where_one_process_is_killed(cards: dict[str, Path], tmp_path: Path) -> None:
    """Its launcher sends the others SIGTERM, which must not make them wait for each other to agree on a checkpoint."""
    argv = words(cards, tmp_path / "run", "train.steps=100000")
    launched = tiny.shell(*argv, before=TWO)
    wait_for(tmp_path / "run", 6)
    listed = subprocess.run(["pgrep", "-P", str(launched.pid)], capture_output=True, text=True, check=True)
    os.kill(int(listed.stdout.split()[-1]), signal.SIGKILL)
    result = tiny.ended(launched)
    assert result.code not in (0, None)
    assert "error: another of the 2 processes ended" in result.err
    assert (tmp_path / "run" / "checkpoints" / "step-00000004" / "model.safetensors").exists()


@pytest.mark.parametrize("of", INSTRUMENTS)
def test_shards_have_the_losses_of_whole_weights(
    cards: dict[str, Path], alone: dict[str, Path], tmp_path: Path, of: str
) -> None:
    """Of several instruments, a step leaves some weights without a gradient."""
    assert_close(finish(words(cards, tmp_path / "run", of=of), 2, **SHARDED), alone[of])


def test_what_shards_leave_goes_on_without_them_and_the_other_way_round(
    cards: dict[str, Path], alone: dict[str, Path], tmp_path: Path
) -> None:
    for first, then in (({}, SHARDED), (SHARDED, {})):
        run = tmp_path / f"from_{len(first)}"
        argv = words(cards, run, "train.average=0.9", "train.checkpointing=true", "train.accumulate=2")
        processes = together(argv, 2, **first)
        wait_for(run, 6)
        processes[1].kill()
        ended(processes[0], run, 0)
        finish(argv, 2, **then)
        finish(argv)  # and one process finds the run at its end
        assert_close(run, alone["one instrument"])


def test_the_first_kind_of_shards_is_refused(cards: dict[str, Path], tmp_path: Path) -> None:
    processes = together(words(cards, tmp_path / "run"), 2, ACCELERATE_USE_FSDP="true", FSDP_VERSION="1")
    for rank, process in enumerate(processes):
        result = ended(process, tmp_path / "run", rank)
        assert (
            tiny.only_sentence(result)
            == "only FSDP2 is supported; write `fsdp_version: 2` (pretrain/launch/fsdp2.yaml)"
        )
