"""Which checkpoints stay, which one is the best, and on what it is judged."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny
from conftest import MakeRecipe
from forked import ended, finish, started, wait_for

from brainfm.errors import DataError
from brainfm.files import remove_folder
from brainfm.gather import gather
from brainfm.held_out import HeldOut, kept_back
from brainfm.jobs.pretrain import hold_back
from brainfm.model import BrainFM
from brainfm.run_folder import tidy, write_held_out

STEPS = 12
HELD = ("train.hold_back=0.25", "train.save_every=2", "train.keep=1", "train.average=0.5")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.people(tmp_path_factory.mktemp("card"), subjects=2, seconds=64.0)


def words(card: Path, out: Path, *overrides: str) -> list[str]:
    return tiny.train_words(card, out, "train.batch=8", *HELD, *overrides, steps=STEPS)


@pytest.fixture(scope="module")
def whole(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(words(card, tmp_path_factory.mktemp("whole") / "run"))


def left(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def checkpoint(run: Path, step: int, loss: float | None) -> None:
    folder = run / "checkpoints" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    if loss is not None:
        write_held_out(folder, loss)


def test_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    kept = []
    for step, loss in enumerate((3.0, 1.0, 2.0, None, 1.5, 0.5, 0.5)):
        checkpoint(tmp_path, step, loss)
        tidy(tmp_path, 2)
        kept.append([int(name[-1]) for name in left(tmp_path) if name != "best"])
        kept[-1].append(int((tmp_path / "checkpoints" / "best").readlink().name[-1]))
    assert kept == [[0, 0], [0, 1, 1], [1, 2, 1], [1, 2, 3, 1], [1, 3, 4, 1], [4, 5, 5], [5, 6, 5]]


def test_without_held_out_windows_none_is_the_best(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint(tmp_path, step, None)
    tidy(tmp_path, 3)
    assert left(tmp_path) == [f"step-{step:08d}" for step in (2, 3, 4)]


def test_what_a_kill_left_half_is_taken_for_nothing_and_removed(tmp_path: Path) -> None:
    checkpoint(tmp_path, 1, 1.0)
    (tmp_path / "checkpoints" / "step-00000002.writing").mkdir()
    (tmp_path / "checkpoints" / "best.17.writing").symlink_to("step-00000001")
    tidy(tmp_path, 1)
    assert left(tmp_path) == ["best", "step-00000001"]


def test_a_folder_loses_its_name_before_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path, 1, 1.0)

    def killed(folder: Path, **_: object) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("brainfm.files.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "checkpoints" / "step-00000001")
    assert left(tmp_path) == ["step-00000001.writing"]


def test_the_best_is_the_one_of_the_lowest_held_out_loss_and_loads_by_name(whole: Path) -> None:
    judged = {row["step"]: row["held_out"] for row in tiny.rows(whole) if "held_out" in row}
    assert list(judged) == list(range(2, STEPS + 1, 2))
    best = min(judged, key=lambda step: judged[step])
    assert (whole / "checkpoints" / "best").resolve().name == f"step-{best:08d}"
    found = json.loads((whole / "checkpoints" / "best" / "held_out.json").read_text(encoding="utf-8"))
    assert found == {"held_out": judged[best]}
    assert judged[STEPS] < judged[2]
    assert BrainFM.from_pretrained(whole / "checkpoints" / "best").load_report.coverage == 1
    assert not list(whole.rglob("*.writing"))


def test_the_same_windows_judge_two_processes_and_a_run_that_was_killed(
    card: Path, whole: Path, tmp_path: Path
) -> None:
    two = finish(words(card, tmp_path / "two"), 2)
    for one, other in zip(tiny.rows(two), tiny.rows(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)
    argv = words(card, tmp_path / "killed")
    process = started(argv)
    wait_for(tmp_path / "killed", 5)
    process.kill()
    process.join()
    finish(argv)
    assert tiny.rows(tmp_path / "killed") == tiny.rows(whole)
    assert left(tmp_path / "killed") == left(whole)


def test_one_that_is_asked_to_stop_is_not_judged(card: Path, tmp_path: Path) -> None:
    """It may have seconds; what it writes goes on, and is no candidate for the best."""
    argv = words(card, tmp_path / "run", "train.save_every=1000", "train.steps=1000")
    process = started(argv)
    wait_for(tmp_path / "run", 3)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    assert ended(process, tmp_path / "run").code == 143
    assert not any("held_out" in row for row in tiny.rows(tmp_path / "run"))
    assert left(tmp_path / "run") == [f"step-{len(tiny.rows(tmp_path / 'run')):08d}"]


def test_what_is_kept_back_shares_no_sample_with_what_is_trained_on(make_recipe: MakeRecipe) -> None:
    signals = make_recipe().model_dump(mode="json")["signals"]
    signals["eeg"]["stride"] = 0.5
    _, streams, _ = gather(make_recipe(signals=signals), limit=2)
    train, back = kept_back(streams["eeg"], 4)
    assert back is not None
    assert 2 * len(back.windows) < len(train.windows)
    for index, start in zip(back.windows.recording, back.windows.start, strict=True):
        others = train.windows.start[train.windows.recording == index]
        assert (np.abs(others - start) >= back.windows.seconds - 1e-9).all()


def test_pieces_of_what_is_held_out_are_each_looked_at_once(make_recipe: MakeRecipe) -> None:
    _, streams, _ = gather(make_recipe(), limit=2)
    _, held = hold_back(streams, 0.25, batch=5)
    assert isinstance(held, HeldOut)
    for parts in (1, 2, 3):
        counts = [
            held.item(number, part, parts).count for number in range(held.batches) for part in range(parts)
        ]
        assert sum(counts) == held.windows > 5


def test_recordings_too_short_to_hold_any_back_are_refused(make_recipe: MakeRecipe) -> None:
    _, streams, _ = gather(make_recipe(), limit=1)
    with pytest.raises(
        DataError, match=r"no recording is long enough to keep train\.hold_back=0\.001 of it back"
    ):
        hold_back(streams, 0.001, 8)
