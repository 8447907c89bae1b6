"""Preparing a store: killed anywhere it goes on to the same bytes, it grows, and runs read it like the files."""

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import tracemalloc
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from store_files import STEPS

from brainfm.data import fingerprint as prints
from brainfm.data import spool
from brainfm.data.footprint import footprint
from brainfm.data.lazy import Computed
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.readers import Entry
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.store import open_store, table
from brainfm.data.store.writing import PASSING, RECEIPTS, Order, write_recording
from brainfm.errors import DataError
from brainfm.gather import gather
from brainfm.jobs.prepare import locked
from brainfm.manifest import Manifest
from brainfm.recipe import PretrainRecipe

TOKENIZER = """prepare:
  - {kind: band_pass, low: 0.5, high: 45.0}
  - {kind: resample, sfreq: 128.0}
  - {kind: robust_scale, scope: recording, per: all, clip: 15.0}
seconds: 4.0
tokenizer: {kind: patch, seconds: 0.25, sfreq: 128.0}
"""


def files(root: Path) -> dict[str, str]:
    """Every file under a folder, with its checksum."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def tokenizer(folder: Path) -> Path:
    path = folder / "tok.yaml"
    path.write_text(TOKENIZER, encoding="utf-8")
    return path


def prepare_words(card: Path, out: Path, *more: str) -> list[str]:
    return [
        "data",
        "prepare",
        str(card),
        "--tokenizer",
        str(tokenizer(card.parent)),
        "--out",
        str(out),
        *more,
    ]


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["brainfm.jobs.prepare", "brainfm.recipe", "brainfm.jobs.pretrain", "mne"])


def main(argv: list[str], said: Path) -> None:
    """The command line in a forked process that has imported everything."""
    from brainfm import cli

    sys.argv = ["brainfm", *argv]
    os.setsid()
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(said.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    cli.main()


def started(argv: list[str]) -> ForkServerProcess:
    process = FORKS.Process(target=main, args=([*argv, "--json"], Path(argv[argv.index("--out") + 1])))
    process.start()
    return process


def finish(argv: list[str]) -> dict[str, Any]:
    process, out = started(argv), Path(argv[argv.index("--out") + 1])
    process.join(120)
    said = [out.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".out", ".err")]
    result = tiny.Result(process.exitcode if process.exitcode is not None else -1, *said)
    assert result.code == 0, result
    return result.json


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.edf_people(tmp_path_factory.mktemp("card"), subjects=6, seconds=12.0)


@pytest.fixture(scope="module")
def whole(card: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store that nothing interrupted, and the seconds from its first file to its end."""
    out = tmp_path_factory.mktemp("whole") / "store"
    process = started(prepare_words(card, out))
    wait_for_work(out)
    began = time.monotonic()
    process.join(120)
    assert process.exitcode == 0
    return out, time.monotonic() - began


def wait_for_work(out: Path) -> None:
    """Until a prepare has taken its folder; where nobody looked for long, it may have given it back already."""
    until = time.monotonic() + 90
    while not ((out / ".lock").exists() or (out / "manifest.parquet").exists()):
        assert time.monotonic() < until, "prepare does not begin"
        time.sleep(0.001)


@pytest.mark.parametrize("number", range(10))
def test_a_killed_prepare_goes_on_to_the_same_bytes(
    card: Path, whole: tuple[Path, float], tmp_path: Path, number: int
) -> None:
    """Killed wherever it is; nothing is half under a final name then, and after the next start all is as if nothing was."""
    complete, seconds = whole
    out = tmp_path / "store"
    argv = prepare_words(card, out)
    moment = random.uniform(0, seconds)
    process = started(argv)
    wait_for_work(out)
    time.sleep(moment)
    process.kill()
    process.join(30)
    nothing_is_half(out, complete)
    said = finish(argv)
    assert said["recordings"] == 6
    assert files(out) == files(complete), f"killed after {moment:.2f} of {seconds:.2f} s"
    assert open_store(out, verify=True).cards == ["edf_people"]


def nothing_is_half(out: Path, complete: Path) -> None:
    """What has a final name in a store that was killed is what it should be."""
    wanted = files(complete)
    for name, found in files(out).items():
        if name.partition("/")[0] not in (PASSING, RECEIPTS, ".lock"):
            assert found == wanted[name], f"{name} is half"


def test_a_killed_prepare_keeps_what_was_done(card: Path, whole: tuple[Path, float], tmp_path: Path) -> None:
    out = tmp_path / "store"
    process = started(prepare_words(card, out))
    until = time.monotonic() + 60
    while len(list((out / RECEIPTS).glob("*.json"))) < 2:
        assert time.monotonic() < until and process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join(30)
    assert not (out / table.NAME).exists()
    with pytest.raises(DataError, match="holds no prepared store"):
        open_store(out)
    made = {path: path.stat().st_mtime_ns for path in out.glob("edf_people/*.int16")}
    done = len(list((out / RECEIPTS).glob("*.json")))
    said = finish(prepare_words(card, out))
    assert said["prepared"] <= 6 - done < 6
    assert sum(path.stat().st_mtime_ns == at for path, at in made.items()) >= done
    assert files(out) == files(whole[0])


def test_workers_that_are_killed_leave_nothing_half_either(
    card: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    """Two recordings at once: killed with their parent, then prepared to the same bytes."""
    out = tmp_path / "store"
    argv = prepare_words(card, out, "--jobs", "2")
    process = tiny.shell(*argv)
    until = time.monotonic() + 90
    while not list(out.glob("edf_people/*.int16")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)  # all of them, as where memory or a job's time runs out
    process.communicate()
    nothing_is_half(out, whole[0])
    result = tiny.ended(tiny.shell(*argv, "--json"))
    assert result.code == 0, result
    assert result.json["recordings"] == 6
    assert files(out) == files(whole[0])


@pytest.fixture
def made(whole: tuple[Path, float], tmp_path: Path) -> Path:
    """A copy of a prepared store, to add to or to spoil."""
    return shutil.copytree(whole[0], tmp_path / "made")


def test_a_store_grows_card_by_card_and_recording_by_recording(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    assert tiny.brainfm(*prepare_words(card, out, "--limit", "2", "--json")).json["prepared"] == 2
    first = files(out)
    assert tiny.brainfm(*prepare_words(card, out, "--limit", "3", "--json")).json["prepared"] == 1
    assert first.items() - files(out).items() == {("manifest.parquet", first["manifest.parquet"])}
    fewer = tiny.brainfm(*prepare_words(card, out, "--limit", "1", "--json")).json
    assert (fewer["prepared"], fewer["recordings"]) == (0, 3), "what lies beyond a limit stays"
    others = tiny.people(tmp_path, subjects=1, seconds=8.0)
    said = tiny.brainfm(*prepare_words(others, out, "--json")).json
    assert (said["prepared"], said["recordings"], said["cards"]) == (1, 4, ["edf_people", "people"])
    grown = open_store(out, verify=True)
    assert [one.subject for one in grown.recordings("edf_people")] == ["01", "02", "03"]
    assert len(grown.recordings("people")) == 1


def test_a_changed_fact_or_file_is_prepared_again(card: Path, made: Path, tmp_path: Path) -> None:
    changed = tmp_path / card.name
    text = card.read_text(encoding="utf-8").replace("{kind: mne_file}", "{kind: mne_file, drop: [C3]}")
    changed.write_text(text, encoding="utf-8")
    shutil.copytree(card.parent / "edf", tmp_path / "edf")
    said = tiny.brainfm(*prepare_words(changed, made, "--json")).json
    assert (said["prepared"], said["recordings"]) == (6, 6)
    store = open_store(made, verify=True)
    assert all("C3" not in one.signal("eeg").sensors.name for one in store.recordings())
    named = {name for row in store.rows for name, _, _ in row.files}
    assert files(made).keys() == {*named, "manifest.parquet"}  # what was there before is gone


def test_a_corrected_signal_of_the_same_length_is_prepared_again(
    card: Path, made: Path, tmp_path: Path
) -> None:
    """What is unchanged is not, though its files are a copy."""
    copied = Path(shutil.copy(card, tmp_path / card.name))
    shutil.copytree(card.parent / "edf", tmp_path / "edf")
    assert tiny.brainfm(*prepare_words(copied, made, "--json")).json["prepared"] == 0
    tiny.write_edf(tmp_path / "edf" / "sub01.edf", tiny.raw_of(tiny.person(77, 12.0)))
    said = tiny.brainfm(*prepare_words(copied, made, "--json")).json
    assert (said["prepared"], said["recordings"]) == (1, 6)


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/eeg/sub-01_task-x_eeg.vhdr",
        "sub-01/eeg/sub-01_task-x_eeg.eeg",
        "sub-01/eeg/sub-01_task-x_events.tsv",
        "sub-01/sub-01_space-CapTrak_electrodes.tsv",
        "task-x_channels.tsv",
        "task-x_eeg.json",
        "participants.tsv",
        "sub-01/eeg/sub-01_task-x_atlas.nii",
    ],
)
def test_a_recording_stands_on_its_files_and_what_is_said_about_it(tmp_path: Path, name: str) -> None:
    others = ["sub-02/eeg/sub-02_task-x_eeg.eeg", "sub-01/eeg/sub-01_task-y_events.tsv", "task-y_eeg.json"]
    for each in ("dataset_description.json", "sub-01/eeg/sub-01_task-x_eeg.vhdr", *others):
        path = tmp_path / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    entry = Entry(tmp_path / "sub-01" / "eeg" / "sub-01_task-x_eeg.vhdr", subject="01")

    def now() -> str:
        return footprint(
            entry, {"reader": {"atlas": {"file": "{stem}_atlas.nii"}}}, lambda folder: [*folder.iterdir()]
        )

    before = now()
    for each in others:
        (tmp_path / each).write_text("changed", encoding="utf-8")
    assert now() == before
    (tmp_path / name).write_text("participant_id\tage\nsub-01\t30\n", encoding="utf-8")
    after = now()
    assert after != before
    (tmp_path / name).write_text("participant_id\tage\nsub-01\t31\n", encoding="utf-8")
    assert now() not in (before, after)


def test_another_preparation_or_a_foreign_folder_is_refused(card: Path, made: Path, tmp_path: Path) -> None:
    before = files(made)
    plain = tiny.brainfm("data", "prepare", card, "--out", made)
    assert "holds eeg prepared by band_pass(low=0.5, high=45.0)" in tiny.only_sentence(plain)
    assert files(made) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("", encoding="utf-8")
    foreign = tiny.brainfm(*prepare_words(card, tmp_path / "full"))
    assert "holds thesis.tex and no store; choose another --out" in tiny.only_sentence(foreign)


def test_two_processes_do_not_prepare_one_store(card: Path, made: Path) -> None:
    with locked(made):
        result = tiny.brainfm(*prepare_words(card, made))
    assert "is being prepared by another process" in tiny.only_sentence(result)
    assert tiny.brainfm(*prepare_words(card, made)).code == 0


def test_what_learns_from_training_recordings_is_left_to_the_run(card: Path, tmp_path: Path) -> None:
    """Who is held out is not known when a store is made, so a scale of the training set can't be in it."""
    path = tokenizer(card.parent)
    learnt = path.with_name("learnt.yaml")
    learnt.write_text(TOKENIZER.replace("scope: recording", "scope: training_set"), encoding="utf-8")
    out = tmp_path / "store"
    result = tiny.brainfm("data", "prepare", card, "--tokenizer", learnt, "--out", out, "--limit", "2")
    assert result.code == 0, result
    store = open_store(out)
    assert [step["kind"] for step in store.steps["eeg"]] == ["band_pass", "resample"]
    recipe = PretrainRecipe.load(
        "smoke", [f"data.cards=[{card}]", f"data.store={out}", f"signals.eeg={learnt}"]
    )
    chosen, streams, _ = gather(recipe)
    scale = chosen.signals["eeg"].prepare[-1]
    assert isinstance(scale, RobustScale) and scale.value is not None
    from_files, others, _ = gather(
        recipe.model_copy(update={"data": recipe.data.model_copy(update={"store": None})}), 2
    )
    np.testing.assert_allclose(
        scale.value["eeg"], from_files.signals["eeg"].prepare[-1].value["eeg"], rtol=1e-3
    )
    rows = np.arange(4)
    one, other = streams["eeg"].batch(rows).signal, others["eeg"].batch(rows).signal
    assert (one - other).abs().max() < 5e-3


def test_pretraining_from_a_store_has_the_losses_of_the_files(card: Path, made: Path, tmp_path: Path) -> None:
    settings = (f"signals.eeg={tokenizer(card.parent)}", "data.hold_out={edf_people: ['02']}")
    runs = []
    for name, more in (("files", ()), ("store", (f"data.store={made}",))):
        assert tiny.brainfm(*tiny.train_words(card, tmp_path / name, *settings, *more)).code == 0
        runs.append(tmp_path / name)
    first, second = (np.array([row["loss"] for row in tiny.rows(run)]) for run in runs)
    assert len(first) == 8 and np.ptp(first) > 0.01
    np.testing.assert_allclose(first, second, rtol=2e-3)
    assert not np.array_equal(first, second)  # two bytes a sample: near, not equal
    manifests = [Manifest.load(next(run.rglob("manifest.json"))) for run in runs]
    assert manifests[0] == manifests[1]
    assert {entry.subject for entry in manifests[1].entries} == {"01", "03", "04", "05", "06"}


def test_a_recipe_of_another_preparation_refuses_the_store(card: Path, made: Path, tmp_path: Path) -> None:
    words = tiny.train_words(card, tmp_path / "run", f"data.store={made}", "signals.eeg.prepare=[]")
    assert "the recipe prepares it by no step" in tiny.only_sentence(tiny.brainfm(*words))


def test_joblib_chooses_where_it_runs(card: Path, whole: tuple[Path, float], tmp_path: Path) -> None:
    """The backend is joblib's own choice: on a cluster `parallel_config("dask")` does the same."""
    from joblib import parallel_config

    from brainfm.jobs.prepare import prepare as run

    where = tokenizer(card.parent)
    with parallel_config("threading", n_jobs=2):
        run([str(card)], [str(where)], tmp_path / "store", quiet=True)
    assert files(tmp_path / "store") == files(whole[0])


def peak(n: int, root: Path) -> int:
    """Bytes held at most while a recording of n samples, of which nothing is in memory, is prepared and written."""
    hertz = np.random.default_rng(7).uniform(2.5, 14, (4, 6))

    def read(first: int, stop: int) -> np.ndarray:
        return 1e-5 * np.sin(hertz[..., None] * np.arange(first, stop) / 40).sum(axis=1)

    sensors = Sensors.of(["A", "B", "C", "D"], "eeg", "V")
    raw = Recording({"eeg": Signal(Computed((4, n), read), 250.0, sensors)}, dataset=f"long{n}")
    for folder in (PASSING, RECEIPTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tracemalloc.start()
    write_recording(root, Order({"eeg": STEPS}), raw, "long", f"{n:032x}")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_preparing_needs_no_more_memory_for_a_longer_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BLOCK", 40_000)
    monkeypatch.setattr(spool, "AT_ONCE", 10_000)
    monkeypatch.setattr(prints, "PIECE", 1)
    peak(30_000, tmp_path)  # what is imported late is not the recording's
    short, long = peak(60_000, tmp_path), peak(300_000, tmp_path)
    assert long < 1.3 * short, (short, long)
