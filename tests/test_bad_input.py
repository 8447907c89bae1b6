"""Bad input: one clear sentence on stderr, a non-zero exit and nothing left behind, through the real command line."""

import re
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest
import tiny
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two people's EDF files and their card, all as it should be."""
    return tiny.edf_people(tmp_path_factory.mktemp("good"), subjects=2, seconds=24.0).parent


@pytest.fixture
def card(good: Path, tmp_path: Path) -> Path:
    """A copy of the good card and its files, to spoil."""
    return shutil.copytree(good, tmp_path / "set") / "edf_people.md"


@pytest.fixture(scope="module")
def run(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended well on the good files."""
    out = tmp_path_factory.mktemp("run") / "run"
    result = tiny.brainfm(*tiny.train_words(good / "edf_people.md", out, steps=2), "--json")
    assert result.code == 0, result.err
    return out


def spoil(card: Path, change: str) -> None:
    """The second person's EDF file, changed."""
    raw = tiny.raw_of(tiny.person(2, 24.0))
    if change == "flat":
        raw._data[3] = 0.0
    elif change == "names":
        raw.rename_channels({"C3": "Foo1", "Cz": "Bar2"})
    elif change == "no events":
        raw.set_annotations(mne.Annotations([], [], []))
    elif change == "one class":
        raw.annotations.description = np.array(["left_hand"] * len(raw.annotations))
    tiny.write_edf(card.parent / "edf" / "sub02.edf", raw)


def refused(words: list[str], out: Path) -> str:
    """The sentence of a command that must fail and leave nothing at `out`."""
    said = tiny.only_sentence(tiny.brainfm(*words))
    assert not left(out), left(out)
    return said


def left(out: Path) -> list[str]:
    """Every file under a folder."""
    return [path.name for path in out.rglob("*") if path.is_file()]


def test_the_good_files_are_good(card: Path, run: Path, tmp_path: Path) -> None:
    result = tiny.brainfm("probe", run, card, "--out", tmp_path / "out", "--json", "--seeds", "1")
    assert result.code == 0 and result.err == "", result.err
    assert sorted(left(tmp_path / "out")) == ["report.html", "report.json"]


def test_a_truncated_edf(card: Path, tmp_path: Path) -> None:
    path = card.parent / "edf" / "sub02.edf"
    path.write_bytes(path.read_bytes()[:-3000])
    said = refused(tiny.train_words(card, tmp_path / "out"), tmp_path / "out")
    assert re.match(r"sub02\.edf is cut short: its header promises \d+ bytes, .*; get it again$", said)


def test_a_truncated_edf_by_a_process_of_its_own(card: Path, tmp_path: Path) -> None:
    path = card.parent / "edf" / "sub02.edf"
    path.write_bytes(path.read_bytes()[:-3000])
    result = tiny.ended(tiny.shell(*tiny.train_words(card, tmp_path / "out")))
    assert "sub02.edf is cut short" in tiny.only_sentence(result)
    assert not left(tmp_path / "out")


def as_fif(card: Path) -> None:
    """The card reads FIF, which holds what EDF can't: volts as large as kilovolts, and NaN."""
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("sub{subject}.edf", "sub{subject}_raw.fif"), encoding="utf-8")
    for path in sorted((card.parent / "edf").glob("*.edf")):
        raw = tiny.raw_of(tiny.person(int(path.stem[-2:]), 24.0))
        raw.save(path.with_name(f"{path.stem}_raw.fif"), verbose="error")


def respoil(card: Path, values: np.ndarray) -> None:
    """The second person's FIF file with other values."""
    raw = tiny.raw_of(tiny.person(2, 24.0))
    raw._data[:] = values
    raw.save(card.parent / "edf" / "sub02_raw.fif", overwrite=True, verbose="error")


def test_microvolts_labelled_volts(card: Path, tmp_path: Path) -> None:
    as_fif(card)
    respoil(card, tiny.person(2, 24.0).signal("eeg").load() * 1e6)
    said = refused(tiny.train_words(card, tmp_path / "out"), tmp_path / "out")
    assert "sub02_raw.fif: sensor " in said and "microvolts labelled volts" in said
    assert "say `unit: µV` in the card" in said


def test_a_channel_of_nan(card: Path, tmp_path: Path) -> None:
    as_fif(card)
    values = tiny.person(2, 24.0).signal("eeg").load()
    values[3, 500:600] = np.nan
    respoil(card, values)
    said = refused(tiny.train_words(card, tmp_path / "out"), tmp_path / "out")
    assert said.startswith("sub02_raw.fif: sensor Fz is not finite in 100 of 3072 samples; leave it out")


def test_a_flat_channel(card: Path, tmp_path: Path) -> None:
    spoil(card, "flat")
    said = refused(tiny.train_words(card, tmp_path / "out"), tmp_path / "out")
    assert said.startswith("sub02.edf: sensor Fz is flat; leave it out with `drop: [Fz]`")


def test_unknown_electrode_names(card: Path, tmp_path: Path) -> None:
    spoil(card, "names")
    said = refused(tiny.train_words(card, tmp_path / "out"), tmp_path / "out")
    assert "sub02.edf" in said and "Foo1" in said and "Bar2" in said


def probe(run: Path, card: Path, out: Path) -> list[str]:
    return ["probe", str(run), str(card), "--out", str(out), "--json", "--seeds", "1"]


def test_no_events(card: Path, run: Path, tmp_path: Path) -> None:
    spoil(card, "no events")
    shutil.copy(card.parent / "edf" / "sub02.edf", card.parent / "edf" / "sub01.edf")
    said = refused(probe(run, card, tmp_path / "out"), tmp_path / "out")
    assert said == "none of 2 recordings has an event; say in the card where its events are"


def test_one_class_only(card: Path, run: Path, tmp_path: Path) -> None:
    spoil(card, "one class")
    (card.parent / "edf" / "sub01.edf").unlink()
    said = refused(probe(run, card, tmp_path / "out"), tmp_path / "out")
    assert said == "every window is labelled 'left_hand', but decoding needs two classes; add some"


def test_one_person_under_two_names(card: Path, run: Path, tmp_path: Path) -> None:
    shutil.copy(card.parent / "edf" / "sub01.edf", card.parent / "edf" / "sub03.edf")
    said = refused(probe(run, card, tmp_path / "out"), tmp_path / "out")
    assert said.startswith(
        "subject 01: the same signal, in sub01.edf and sub03.edf is in both train and test"
    )


def test_subjects_that_are_not_told_apart(card: Path, run: Path, tmp_path: Path) -> None:
    text = card.read_text(encoding="utf-8").replace("sub{subject}.edf", "sub*.edf")
    card.write_text(text, encoding="utf-8")
    said = refused(probe(run, card, tmp_path / "out"), tmp_path / "out")
    assert "CrossSubject needs" in said and "subject" in said


def test_a_recipe_with_a_misspelt_key(card: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    text = (tiny.ROOT / "pretrain" / "smoke.yaml").read_text(encoding="utf-8")
    recipe.write_text(text.replace("steps: 60", "stepz: 60"), encoding="utf-8")
    said = refused(["pretrain", str(recipe), "--out", str(tmp_path / "out")], tmp_path / "out")
    assert said.startswith(f"{recipe}: train: 'stepz' is not known; did you mean 'steps'?")


def test_a_misspelt_key_on_the_command_line(tmp_path: Path) -> None:
    words = ["pretrain", "smoke", "--out", str(tmp_path / "out"), "--set", "trian.steps=2"]
    assert "'trian' is not known; did you mean 'train'?" in refused(words, tmp_path / "out")


@pytest.fixture
def partial(run: Path, tmp_path: Path) -> Path:
    """A checkpoint that lacks one tensor."""
    copy = shutil.copytree(run / "checkpoints" / "step-00000002", tmp_path / "checkpoint")
    tensors = load_file(copy / "model.safetensors")
    del tensors["encoder.norm.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def test_a_checkpoint_with_a_missing_tensor(card: Path, partial: Path, tmp_path: Path) -> None:
    said = refused(probe(partial, card, tmp_path / "out"), tmp_path / "out")
    assert said.startswith(f"{partial} lacks 1 of the backbone's ")
    assert "encoder.norm.weight" in said


def test_a_missing_tensor_by_a_process_of_its_own(card: Path, partial: Path, tmp_path: Path) -> None:
    result = tiny.ended(tiny.shell(*probe(partial, card, tmp_path / "out")))
    assert "lacks 1 of the backbone's" in tiny.only_sentence(result)
    assert not left(tmp_path / "out")


def test_a_checkpoint_whose_weights_are_cut_short(card: Path, partial: Path, tmp_path: Path) -> None:
    path = partial / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    said = refused(probe(partial, card, tmp_path / "out"), tmp_path / "out")
    assert said.startswith(f"{partial} can't be loaded: ")


def test_a_checkpoint_whose_config_is_no_json(card: Path, partial: Path, tmp_path: Path) -> None:
    (partial / "config.json").write_text("{", encoding="utf-8")
    assert str(partial) in refused(probe(partial, card, tmp_path / "out"), tmp_path / "out")


def test_a_run_whose_state_is_damaged(good: Path, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    state = copy / "checkpoints" / "step-00000002" / "training.safetensors"
    state.write_bytes(state.read_bytes()[:5000])
    said = tiny.only_sentence(tiny.brainfm(*tiny.train_words(good / "edf_people.md", copy, steps=2)))
    assert "training.safetensors" in said


def test_a_checkpoint_that_does_not_exist(card: Path, tmp_path: Path) -> None:
    said = refused(probe(tmp_path / "nowhere", card, tmp_path / "out"), tmp_path / "out")
    assert "nowhere" in said


def test_a_folder_without_a_checkpoint(card: Path, tmp_path: Path) -> None:
    said = refused(probe(card.parent, card, tmp_path / "out"), tmp_path / "out")
    assert "holds no checkpoint" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data", "show", "simulated_eegg"], "did you mean 'simulated_eeg'?"),
        (["data", "check", "nowhere.md"], "nowhere.md does not exist"),
        (["data", "new", "no_such_folder"], "is not a folder"),
        (["show", "smok"], "did you mean 'smoke'?"),
        (["show", "nowhere/mine.yaml"], "nowhere/mine.yaml does not exist"),
        (["show", "smoke", "--set", "train.steps"], "--set train.steps: write it as key=value"),
        (["show", "smoke", "--set", "train.steps=many"], "train.steps: "),
        (["show", "smoke", "--set", "train.steps=[1"], "not valid YAML"),
        (["show", "smoke", "--set", "encoder.kind=transfomer"], "did you mean 'transformer'?"),
        (["show", "smoke", "--set", "size=huge"], "size: "),
    ],
)
def test_what_does_not_exist_or_is_mistyped(words: list[str], says: str) -> None:
    assert says in tiny.only_sentence(tiny.brainfm(*words))


def test_a_file_that_does_not_exist(run: Path, tmp_path: Path) -> None:
    words = ["embed", str(run), "nowhere.edf", "--out", str(tmp_path / "out" / "features.npz")]
    assert refused(words, tmp_path / "out") == "nowhere.edf does not exist"


def test_a_checkpoint_without_a_decoder(run: Path, card: Path, tmp_path: Path) -> None:
    words = ["predict", str(run), str(card.parent / "edf" / "sub01.edf"), "--out", str(tmp_path / "out.csv")]
    assert "has no decoder; make one with `brainfm finetune" in refused(words, tmp_path / "out.csv")


def test_a_card_whose_recordings_are_not_here(card: Path, tmp_path: Path) -> None:
    shutil.rmtree(card.parent / "edf")
    said = refused(tiny.train_words(card, tmp_path / "out"), tmp_path / "out")
    assert "edf_people: its folder is not at" in said and "set BRAINFM_DATA" in said


def test_everyone_held_out(card: Path, tmp_path: Path) -> None:
    words = tiny.train_words(card, tmp_path / "out", "data.hold_out={edf_people: ['01', '02']}")
    assert "hold no eeg recording to train on" in refused(words, tmp_path / "out")


def test_a_misspelt_card_is_not_held_out(card: Path, tmp_path: Path) -> None:
    words = tiny.train_words(card, tmp_path / "out", "data.hold_out={edf_peopel: ['01']}")
    assert "'edf_peopel' is held out but is not among the cards" in refused(words, tmp_path / "out")


def test_a_window_longer_than_every_recording(card: Path, tmp_path: Path) -> None:
    words = tiny.train_words(card, tmp_path / "out", "signals.eeg.seconds=40")
    said = refused(words, tmp_path / "out")
    assert said == "no recording is as long as a window of 40 s; shorten signals.eeg.seconds"


def test_a_checkpoint_with_nan_weights(run: Path, good: Path, tmp_path: Path) -> None:
    used = shutil.copytree(run, tmp_path / "run")
    path = used / "checkpoints" / "step-00000002" / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.norm.weight"][0] = np.nan
    save_file(tensors, path, metadata={"format": "pt"})
    said = refused(probe(used, good / "edf_people.md", tmp_path / "out"), tmp_path / "out")
    assert "encoder.norm.weight holds NaN or infinity" in said


def test_people_held_out_who_are_in_no_recording(card: Path, tmp_path: Path) -> None:
    words = tiny.train_words(card, tmp_path / "out", "data.hold_out={edf_people: ['01', '7']}")
    said = refused(words, tmp_path / "out")
    assert said == "data.hold_out: edf_people has no recording of 7; its subjects are 01, 02"


def test_another_corpus_in_a_used_folder(good: Path, card: Path, run: Path, tmp_path: Path) -> None:
    used = shutil.copytree(run, tmp_path / "run")
    before = sorted(left(used))
    raw = tiny.raw_of(tiny.person(3, 24.0))
    (card.parent / "edf" / "sub02.edf").unlink()
    tiny.write_edf(card.parent / "edf" / "sub02.edf", raw)
    for extra in (["--limit", "1"], []):
        source = good / "edf_people.md" if extra else card
        result = tiny.brainfm(*tiny.train_words(source, used, steps=2), *extra)
        said = tiny.only_sentence(result)
        assert "belongs to a run of another" in said and "data" in said
    assert sorted(left(used)) == before


def test_an_out_that_is_a_file(good: Path, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("mine", encoding="utf-8")
    for words in (
        tiny.train_words(good / "edf_people.md", file, steps=2),
        probe(run, good / "edf_people.md", file),
    ):
        said = tiny.only_sentence(tiny.brainfm(*words))
        assert said == f"{file} is a file; choose another --out, a folder"
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_modality_that_the_checkpoint_does_not_know(good: Path, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "meg.md"
    text = (good / "edf_people.md").read_text(encoding="utf-8")
    path.write_text(text.replace("modality: eeg", "modality: meg"), encoding="utf-8")
    (tmp_path / "edf").symlink_to(good / "edf")
    said = tiny.only_sentence(tiny.brainfm(*probe(run, path, tmp_path / "out")))
    assert "meg" in said


def test_a_finished_run_without_its_log_still_ends_well(good: Path, run: Path, tmp_path: Path) -> None:
    used = shutil.copytree(run, tmp_path / "run")
    (used / "log.jsonl").unlink()
    result = tiny.brainfm(*tiny.train_words(good / "edf_people.md", used, steps=2), "--json")
    assert result.code == 0 and result.json["loss"] is None, result.err
