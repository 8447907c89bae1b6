"""Fine-tuning: two more rows, and a decoder that reads a new file with nothing else said."""

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mne
import numpy as np
import pytest
import tiny
import torch

from brainfm.data.cards import DataCard
from brainfm.jobs.finetune import Bench
from brainfm.jobs.predict import cut_windows, same_sensors
from brainfm.manifest import Manifest
from brainfm.model import BrainFM
from brainfm.recipe import FinetuneRecipe

SECONDS = 60.0


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    """EDF files of three people; its labels stand in another order than the alphabet's."""
    path = tiny.edf_people(folder, subjects=3, seconds=SECONDS)
    text = path.read_text(encoding="utf-8").replace("[left_hand, right_hand]", "[right_hand, left_hand]")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(card: Path, folder: Path) -> Path:
    held = "data.hold_out={edf_people: ['03']}"
    result = tiny.brainfm(*tiny.train_words(card, folder / "run", held, steps=6), "--json")
    assert result.code == 0, result.err
    return folder / "run"


def words(card: Path, run: Path, out: Path) -> list[str]:
    settings = (f"card={card}", "train.steps=6", "train.precision=no", "train.learning_rate=1e-3")
    return ["finetune", "smoke", "--from", str(run), "--out", str(out), *tiny.sets(*settings), "--json"]


@pytest.fixture(scope="module")
def tuned(card: Path, run: Path, folder: Path) -> tiny.Result:
    result = tiny.brainfm(*words(card, run, folder / "out"))
    assert result.code == 0 and result.err == "", result.err
    return result


@pytest.fixture(scope="module")
def decoder(tuned: tiny.Result) -> Path:
    return Path(tuned.json["decoder"])


def test_scratch_and_finetuned_stand_beside_the_other_rows(tuned: tiny.Result) -> None:
    rows = {row["name"]: row for row in tuned.json["rows"]}
    assert list(rows) == [
        "chance",
        "shuffled",
        "untrained",
        "frozen",
        "classical:band_power",
        "classical:tangent_space",
        "classical:csp_lda",
        "scratch",
        "finetuned",
    ]
    assert rows["finetuned"]["low"] <= rows["finetuned"]["score"] <= rows["finetuned"]["high"]
    assert tuned.json["held_out"] == ["subject 03"]
    names = [difference["name"] for difference in tuned.json["differences"]]
    assert {"frozen − untrained", "finetuned − scratch", "finetuned − frozen"} <= set(names)
    assert {f"{ours} − classical:csp_lda" for ours in ("frozen", "finetuned")} <= set(names)
    assert tuned.json["contaminated"] is False


def test_a_fold_learns_without_the_labels_that_it_is_tested_on(tuned: tiny.Result, folder: Path) -> None:
    for arm in ("scratch", "finetuned"):
        fold = BrainFM.from_pretrained(folder / "out" / "folds" / f"{arm}-0-0")
        labelled = {entry.subject for entry in fold.manifest.entries if entry.with_labels}
        assert labelled == {"01", "02"}


def test_the_report_is_written(tuned: tiny.Result, folder: Path) -> None:
    assert tuned.json["report"] == str(folder / "out" / "report.html")
    assert "finetuned" in (folder / "out" / "report.json").read_text(encoding="utf-8")


def test_run_again_it_gives_the_same_and_trains_nothing(
    card: Path, run: Path, folder: Path, tuned: tiny.Result
) -> None:
    logs = {path: path.read_bytes() for path in (folder / "out").rglob("log.jsonl")}
    weights = {path: path.stat().st_mtime_ns for path in (folder / "out" / "folds").rglob("*.safetensors")}
    assert len(logs) == 3 and weights
    again = tiny.brainfm(*words(card, run, folder / "out"))
    assert again.json == tuned.json
    assert {path: path.read_bytes() for path in logs} == logs
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


def test_a_used_folder_lends_nothing_to_other_labels_or_another_start(
    card: Path, run: Path, folder: Path, tuned: tiny.Result, tmp_path: Path
) -> None:
    used = shutil.copytree(folder / "out", tmp_path / "used")
    other = tmp_path / "run"
    held = "data.hold_out={edf_people: ['03']}"
    assert tiny.brainfm(*tiny.train_words(card, other, held, "seed=5", steps=2), "--json").code == 0
    said = tiny.only_sentence(tiny.brainfm(*words(card, other, used)))
    assert "belongs to a run of another checkpoint" in said

    text = card.read_text(encoding="utf-8")
    turned = text.replace("[right_hand, left_hand]", "[left_hand, right_hand]")
    try:
        card.write_text(turned, encoding="utf-8")
        said = tiny.only_sentence(tiny.brainfm(*words(card, run, used)))
    finally:
        card.write_text(text, encoding="utf-8")
    assert "belongs to a run of another data" in said


def test_the_decoder_says_that_it_saw_labels(decoder: Path, card: Path) -> None:
    manifest = Manifest.load(decoder / "manifest.json")
    recordings = DataCard.load(card).recordings()
    assert {manifest.verdict(recording, "eeg") for recording in recordings} == {"seen with labels"}


def test_probing_with_a_decoder_says_that_it_saw_labels(decoder: Path, card: Path) -> None:
    found = tiny.brainfm("probe", decoder, card, "--seeds", "1", "--json").json
    assert found["contaminated"] and found["contamination"].startswith("seen with labels")


def test_label_names_and_sensors_survive(decoder: Path) -> None:
    settings = BrainFM.from_pretrained(decoder).decoder
    assert settings is not None
    assert settings.labels == ["right_hand", "left_hand"]
    assert settings.sensors == list(tiny.person(1).signal("eeg").sensors.name)
    assert settings.card == "edf_people"


def decoded(decoder: Path, file: Path) -> tuple[np.ndarray, dict[str, object]]:
    """(window, label) probabilities of a file by the command line, and all it said."""
    result = tiny.brainfm("predict", decoder, file, "--json")
    assert result.code == 0 and result.err == "", result.err
    found = result.json
    rows = [[row["probability"][label] for label in found["labels"]] for row in found["windows"]]
    return np.array(rows), found


@pytest.fixture(scope="module")
def original(decoder: Path) -> np.ndarray:
    """What the decoder says of a new person's recording in memory, never written to a file."""
    model = BrainFM.from_pretrained(decoder)
    assert model.decoder is not None
    prepared = model.prepare([same_sensors(tiny.person(9, SECONDS), model.decoder)], "eeg")
    windows, _ = cut_windows(prepared, model.decoder)
    assert len(windows) == len(tiny.person(9, SECONDS).events)
    return model.probabilities(model.stream(prepared, windows, "eeg"), np.arange(len(windows)))


def new_file(path: Path) -> Path:
    return tiny.write_edf(path, tiny.raw_of(tiny.person(9, SECONDS)))


def test_a_new_file_is_decoded_as_the_recording_is(
    decoder: Path, original: np.ndarray, tmp_path: Path
) -> None:
    found, said = decoded(decoder, new_file(tmp_path / "new.edf"))
    np.testing.assert_allclose(found, original, atol=0.005)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    assert original.std(axis=0).min() > 0.02, "the windows are told apart, so equality says something"
    assert said["cut"] == "a window at each event" and said["labels"] == ["right_hand", "left_hand"]
    starts = [row["start"] for row in said["windows"]]
    np.testing.assert_allclose(starts, tiny.person(9, SECONDS).events.onset, atol=0.01)
    likeliest = [said["labels"][index] for index in found.argmax(axis=1)]
    assert [row["label"] for row in said["windows"]] == likeliest


def test_the_order_of_a_files_sensors_does_not_matter(
    decoder: Path, original: np.ndarray, tmp_path: Path
) -> None:
    raw = tiny.raw_of(tiny.person(9, SECONDS))
    order = np.random.default_rng(0).permutation(raw.ch_names).tolist()
    assert order != raw.ch_names
    found, _ = decoded(decoder, tiny.write_edf(tmp_path / "shuffled.edf", raw.reorder_channels(order)))
    np.testing.assert_allclose(found, original, atol=0.005)


def test_more_sensors_than_the_decoder_needs_are_left_out(
    decoder: Path, original: np.ndarray, tmp_path: Path
) -> None:
    raw = tiny.raw_of(tiny.person(9, SECONDS))
    noise = np.random.default_rng(0).normal(0, 3e-4, (1, raw.n_times))
    info = mne.create_info(["Oz"], raw.info["sfreq"], "eeg")
    raw.add_channels([mne.io.RawArray(noise, info, verbose="error")])
    found, _ = decoded(decoder, tiny.write_edf(tmp_path / "more.edf", raw))
    np.testing.assert_allclose(found, original, atol=0.005)


def test_another_rate_gives_nearly_the_same(decoder: Path, original: np.ndarray, tmp_path: Path) -> None:
    raw = tiny.raw_of(tiny.person(9, SECONDS)).resample(256.0, verbose="error")
    found, _ = decoded(decoder, tiny.write_edf(tmp_path / "fast.edf", raw))
    np.testing.assert_allclose(found, original, atol=0.05)


def test_a_file_without_events_is_decoded_throughout(decoder: Path, tmp_path: Path) -> None:
    raw = tiny.raw_of(tiny.person(9, SECONDS)).set_annotations(mne.Annotations([], [], []))
    found, said = decoded(decoder, tiny.write_edf(tmp_path / "bare.edf", raw))
    assert said["cut"] == "consecutive windows" and len(found) == SECONDS / 2.0
    starts = [row["start"] for row in said["windows"]]
    assert all(after - before == 2.0 for before, after in itertools.pairwise(starts))


def test_events_too_near_the_end_are_refused_and_told(decoder: Path, tmp_path: Path) -> None:
    raw = tiny.raw_of(tiny.person(9, SECONDS))
    late, fine = SECONDS - 0.5, 3.0
    file = tiny.write_edf(
        tmp_path / "late.edf", raw.set_annotations(mne.Annotations([late], [0.1], ["left_hand"]))
    )
    said = tiny.only_sentence(tiny.brainfm("predict", decoder, file))
    assert said == "late.edf: none of its 1 events has 2 s of signal where the decoder looks"
    both = raw.set_annotations(mne.Annotations([fine, late], [0.1] * 2, ["left_hand"] * 2))
    found, said = decoded(decoder, tiny.write_edf(tmp_path / "both.edf", both))
    assert len(found) == 1
    assert said["cut"].startswith("a window at each event; 1 left out: crosses")


def test_a_file_shorter_than_a_window_is_refused(decoder: Path, run: Path, tmp_path: Path) -> None:
    raw = (
        tiny.raw_of(tiny.person(9, SECONDS))
        .crop(0, 1.0, include_tmax=False)
        .set_annotations(mne.Annotations([], [], []))
    )
    file = tiny.write_edf(tmp_path / "short.edf", raw)
    said = tiny.only_sentence(tiny.brainfm("predict", decoder, file))
    assert said == "short.edf is shorter than one window of 2 s"
    out = tmp_path / "features.npz"
    said = tiny.only_sentence(tiny.brainfm("embed", run, file, "--out", out))
    assert said == "short.edf is shorter than one window of 4 s"
    for length in ("0", "-1"):
        said = tiny.only_sentence(tiny.brainfm("embed", run, file, "--out", out, "--seconds", length))
        assert said.startswith(f"a window of {length} s can't be cut")
    assert not out.exists()


def test_a_decoder_of_picked_sensors_reads_raw_files(card: Path, folder: Path, tmp_path: Path) -> None:
    """The preparation picks after the reader: the decoder asks a file for what the preparation needs."""
    pick = "[{kind: pick, names: [C3, C4, O2]}, {kind: robust_scale, scope: recording, per: all, clip: 15.0}]"
    few = f"signals.eeg.prepare={pick}"
    ran = tiny.brainfm(*tiny.train_words(card, tmp_path / "run", few, steps=2), "--json")
    assert ran.code == 0, ran.err
    made = tiny.brainfm(*words(card, tmp_path / "run", tmp_path / "out"), "--set", "train.steps=2")
    assert made.code == 0, made.err
    found, _ = decoded(Path(made.json["decoder"]), new_file(tmp_path / "new.edf"))
    assert len(found) == len(tiny.person(9, SECONDS).events)
    settings = BrainFM.from_pretrained(made.json["decoder"]).decoder
    assert settings is not None and settings.channels == 3 and len(settings.sensors) == 8


def test_a_decoder_that_learnt_from_tables_reads_a_file_without_one(
    card: Path, run: Path, tmp_path: Path
) -> None:
    bids = shutil.copytree(card.parent / "edf", tmp_path / "edf")
    for number in (1, 2, 3):
        marks = tiny.person(number, SECONDS).events
        table = zip(marks.onset, marks.duration, marks.label, strict=True)
        lines = "".join(f"{onset}\t{duration}\t{label}\n" for onset, duration, label in table)
        (bids / f"sub{number:02d}_events.tsv").write_text(f"onset\tduration\ttrial_type\n{lines}")
    other = tmp_path / card.name
    text = card.read_text(encoding="utf-8").replace("task:", "events: {source: bids}\ntask:")
    other.write_text(text, encoding="utf-8")
    made = tiny.brainfm(*words(other, run, tmp_path / "out"), "--set", "train.steps=2")
    assert made.code == 0, made.err
    file = new_file(tmp_path / "new.edf")
    assert decoded(Path(made.json["decoder"]), file)[1]["cut"] == "consecutive windows"
    (tmp_path / "new_events.tsv").write_text("onset\tduration\ttrial_type\n3.0\t1.0\tleft_hand\n")
    found, said = decoded(Path(made.json["decoder"]), file)
    assert len(found) == 1 and said["cut"] == "a window at each event"


@pytest.mark.parametrize("lost", [["C4"], ["C3", "O2"]])
def test_a_file_that_lacks_a_sensor_is_refused_by_name(
    decoder: Path, tmp_path: Path, lost: list[str]
) -> None:
    raw = tiny.raw_of(tiny.person(9, SECONDS)).drop_channels(lost)
    file = tiny.write_edf(tmp_path / "fewer.edf", raw)
    result = tiny.brainfm("predict", decoder, file, "--out", tmp_path / "out.csv")
    said = tiny.only_sentence(result)
    named = ", ".join(name for name in tiny.person(9).signal("eeg").sensors.name if name in lost)
    assert said.startswith(f"fewer.edf lacks {named}, which the decoder of edf_people was trained with")
    assert not (tmp_path / "out.csv").exists()


def test_a_table_is_written(decoder: Path, original: np.ndarray, tmp_path: Path) -> None:
    file = new_file(tmp_path / "new.edf")
    result = tiny.brainfm("predict", decoder, file, "--out", tmp_path / "out.csv")
    assert result.code == 0 and result.out.startswith(f"{len(original)} windows (a window at each event)")
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "start,seconds,label,p_right_hand,p_left_hand"
    assert len(lines) == 1 + len(original)
    assert tiny.brainfm("predict", decoder, file).out.splitlines() == lines


def test_no_code_and_no_pickle_is_in_a_decoder(decoder: Path) -> None:
    assert {path.suffix for path in decoder.iterdir()} <= {".json", ".safetensors"}
    config = json.loads((decoder / "config.json").read_text(encoding="utf-8"))
    assert config["decoder"]["labels"] == ["right_hand", "left_hand"]


def test_a_decoder_is_replaced_whole_or_not_at_all(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between weights and manifest, new weights would lie beside the list of what the old ones saw."""
    model = BrainFM.from_pretrained(decoder)
    windows = SimpleNamespace(windows=range(8))
    bench: Any = SimpleNamespace(
        recipe=FinetuneRecipe.load("smoke"), panel=SimpleNamespace(evaluation=windows),
        model=None, seeds=[0], out=tmp_path, train=lambda *_: model,
    )  # fmt: skip
    path = Bench.final(bench)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert before.keys() >= {"model.safetensors", "manifest.json", "config.json"}
    with torch.no_grad():
        model.head.score.weight.add_(1.0)

    def stopped(_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(model.manifest), "text", property(stopped))
        with pytest.raises(KeyboardInterrupt):
            Bench.final(bench)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    Bench.final(bench)
    assert (path / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert [one.name for one in tmp_path.iterdir()] == ["decoder"]
