"""The command line: quick to help, one JSON object where it is asked for, recipes and cards by name or path."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

VERBS = [
    "demo",
    "show",
    "pretrain",
    "probe",
    "finetune",
    "reconstruct",
    "predict",
    "embed",
    "report",
    "push",
    "export",
    "stream",
    "doctor",
]
DATA = ["data list", "data show", "data check", "data new"]
TOKENIZE = ["tokenize train", "tokenize inspect"]


def seconds_to_help() -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "brainfm", "--help"], cwd=tiny.ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def test_help_answers_in_half_a_second() -> None:
    assert min(seconds_to_help() for _ in range(5)) < 0.5


@pytest.mark.parametrize("words", ["--help", "data --help", "probe --help"])
def test_help_imports_nothing_heavy(words: str) -> None:
    code = f"""
import sys
from brainfm import cli
sys.argv = ["brainfm", *{words.split()!r}]
try:
    cli.main()
except SystemExit as stop:
    assert not stop.code
heavy = ["torch", "mne", "numpy", "scipy", "pandas", "sklearn", "transformers", "accelerate"]
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, capture_output=True, text=True)
    assert found.stderr == "[]\n"
    assert "Usage: " in found.stdout


@pytest.mark.parametrize("verb", [*VERBS, *DATA, *TOKENIZE])
def test_every_verb_helps_with_an_example(verb: str) -> None:
    result = tiny.brainfm(*verb.split(), "--help")
    assert result.code == 0 and result.err == ""
    assert f"Example: brainfm {verb}" in " ".join(result.out.split())
    assert "--json" in result.out


def test_every_verb_is_tested_here() -> None:
    shown = tiny.brainfm("--help").out.partition("Commands:")[2] + " "
    listed = {line.split()[0] for line in shown.splitlines() if line[:2] == "  " and line[2:3].isalpha()}
    assert listed == {*VERBS, "data", "tokenize"}


def test_no_verb_shows_the_help() -> None:
    assert "Commands:" in tiny.brainfm().out + tiny.brainfm().err


def test_an_unknown_verb_is_a_mistake() -> None:
    result = tiny.brainfm("pertrain")
    assert result.code == 2 and result.out == "" and "pertrain" in result.err


def test_show_has_the_hash_and_every_value() -> None:
    shown = tiny.brainfm("show", "smoke", "--json").json
    assert len(shown["hash"]) == 12
    assert shown["encoder"]["kind"] == "transformer" and shown["encoder"]["width"] > 0
    assert shown["signals"]["eeg"]["tokenizer"]["kind"] == "patch"
    text = tiny.brainfm("show", "smoke").out
    assert text.endswith(f"# hash {shown['hash']}\n")


def test_the_hash_follows_the_values() -> None:
    shown = tiny.brainfm("show", "smoke", "--json").json
    same = tiny.brainfm("show", "smoke", "--set", f"train.steps={shown['train']['steps']}", "--json").json
    other = tiny.brainfm("show", "smoke", "--set", "train.steps=7", "--json").json
    assert same["hash"] == shown["hash"] != other["hash"]
    assert other["train"]["steps"] == 7
    assert {**other, "train": 0, "hash": 0} == {**shown, "train": 0, "hash": 0}


@pytest.mark.parametrize("path", sorted((tiny.ROOT / "pretrain").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_pretraining_recipe_shows_by_name_and_by_path(path: Path) -> None:
    by_name = tiny.brainfm("show", path.stem, "--json").json
    assert by_name == tiny.brainfm("show", path, "--json").json
    assert "objectives" in by_name


@pytest.mark.parametrize("path", sorted((tiny.ROOT / "finetune").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_finetuning_recipe_shows_by_path(path: Path) -> None:
    shown = tiny.brainfm("show", path, "--json").json
    assert ("head" in shown) != ("generator" in shown)
    assert "objectives" not in shown


def test_what_is_shown_can_be_run_again(tmp_path: Path) -> None:
    """The resolved recipe, saved as a file, resolves to itself."""
    for name in ("pretrain/smoke.yaml", "finetune/smoke.yaml"):
        result = tiny.brainfm("show", tiny.ROOT / name)
        saved = tmp_path / "saved.yaml"
        saved.write_text(result.out, encoding="utf-8")
        assert tiny.brainfm("show", saved).out == result.out


def test_a_finetuning_recipe_of_ones_own_shows_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((tiny.ROOT / "finetune" / "smoke.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert tiny.brainfm("show", path, "--json").json["card"] == "simulated_eeg"


def test_doctor_says_device_versions_and_what_is_missing() -> None:
    found = tiny.brainfm("doctor", "--json").json
    assert found.keys() >= {"device", "versions", "missing"}
    assert found["device"] and found["versions"]["torch"] and found["versions"]["python"]
    for how in found["missing"].values():
        assert len(how) > 10, "what is missing comes with how to get it"
    text = tiny.brainfm("doctor").out
    assert f"device: {found['device']}" in text and f"torch {found['versions']['torch']}" in text


def test_doctor_names_data_that_are_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path))
    missing = tiny.brainfm("doctor", "--json").json["missing"]
    assert "BRAINFM_DATA" in missing["data of eeg_arithmetic"]
    assert "data of simulated_eeg" not in missing
    lines = tiny.brainfm("doctor").out.splitlines()
    assert lines[-1] == "ready", "recordings that nobody asked for do not stand in the way"
    monkeypatch.setattr("brainfm.jobs.doctor.version", lambda name: None if name == "mne" else "1.0")
    assert tiny.brainfm("doctor").out.splitlines()[-1] == "not ready: mne"


def test_cards_are_listed() -> None:
    cards = tiny.brainfm("data", "list", "--json").json["cards"]
    names = [card["name"] for card in cards]
    assert names == sorted(path.stem for path in (tiny.ROOT / "data_cards").glob("*.md"))
    assert all(card["title"] and card["licence"] for card in cards)
    listed = tiny.brainfm("data", "list").out
    assert all(name in listed for name in names)


def test_a_card_is_shown() -> None:
    shown = tiny.brainfm("data", "show", "simulated_eeg", "--json").json
    assert shown["card"] == "simulated_eeg" and len(shown["hash"]) == 12 and shown["prose"]
    path = tiny.ROOT / "data_cards" / "simulated_eeg.md"
    assert tiny.brainfm("data", "show", path, "--json").json == shown
    assert "Simulated EEG" in tiny.brainfm("data", "show", "simulated_eeg").out


FACTS = "facts: {subjects: 2, sessions: 2, recordings: 2, sensors: 8, sfreq: 128.0, windows: {left_hand: 6, right_hand: 6}}\n"


def test_a_card_is_checked(tmp_path: Path) -> None:
    reader = "{kind: simulated, subjects: 2, seconds: 24.0, sensors: 8}"
    path = tiny.card(tmp_path, "right", reader, more=tiny.TASK + FACTS)
    result = tiny.brainfm("data", "check", path, "--json")
    assert result.code == 0 and result.json["ok"] and result.json["problems"] == []
    assert result.json["counted"]["windows"] == {"left_hand": 6, "right_hand": 6}
    assert "nothing in the card disagrees" in tiny.brainfm("data", "check", path).out


def test_what_is_still_to_fill_in_is_listed(tmp_path: Path) -> None:
    reader = "{kind: simulated, subjects: 2, seconds: 24.0, sensors: 8}"
    path = tiny.card(tmp_path, "first", reader, more="")
    text = path.read_text(encoding="utf-8").replace("citation: none", "citation: FILL IN")
    path.write_text(text, encoding="utf-8")
    said = tiny.brainfm("data", "check", path).out
    assert "still to fill in: citation" in said and "no task yet" in said


def test_a_recipe_of_a_name_that_both_folders_have_can_be_told_apart() -> None:
    assert tiny.brainfm("show", "finetune/smoke", "--json").json["card"] == "simulated_eeg"
    assert "card" not in tiny.brainfm("show", "pretrain/smoke", "--json").json
    assert "did you mean 'smoke'?" in tiny.only_sentence(tiny.brainfm("show", "finetune/smok"))


def test_a_card_that_is_wrong_is_told_so(tmp_path: Path) -> None:
    reader = "{kind: simulated, subjects: 2, seconds: 24.0, sensors: 8}"
    path = tiny.card(tmp_path, "wrong", reader, more=tiny.TASK + FACTS.replace("sensors: 8", "sensors: 9"))
    result = tiny.brainfm("data", "check", path, "--json")
    assert result.code == 1 and result.err == ""
    assert not result.json["ok"]
    assert result.json["problems"] == [{"field": "facts.sensors", "said": "9", "found": "8"}]
    assert "the card says 9, the files say 8" in tiny.brainfm("data", "check", path).out


def test_a_first_card_is_written_once(tmp_path: Path) -> None:
    tiny.write_edf(tmp_path / "study" / "sub01.edf", tiny.raw_of(tiny.person(1, 20.0)))
    result = tiny.brainfm("data", "new", tmp_path / "study", "--json")
    assert result.code == 0 and result.err == ""
    assert result.json == {"card": str(tmp_path / "study.md"), "log": []}
    assert tiny.brainfm("data", "check", tmp_path / "study.md", "--json").json["ok"]
    again = tiny.brainfm("data", "new", tmp_path / "study")
    assert "study.md exists already; choose another --out" in tiny.only_sentence(again)
    elsewhere = tiny.brainfm("data", "new", tmp_path / "study", "--out", tmp_path / "other.md")
    assert elsewhere.code == 0 and (tmp_path / "other.md").is_file()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a card and a run of two steps, by a process of its own, with its output."""
    folder = tmp_path_factory.mktemp("run")
    card = tiny.people(folder, subjects=3, seconds=24.0)
    result = tiny.ended(tiny.shell(*tiny.train_words(card, folder / "run", steps=2), "--json"))
    assert result.code == 0
    (folder / "out.json").write_text(result.out, encoding="utf-8")
    (folder / "err.txt").write_text(result.err, encoding="utf-8")
    return folder


def test_pretrain_prints_one_object_and_nothing_else(pretrained: Path) -> None:
    said = json.loads((pretrained / "out.json").read_text(encoding="utf-8"))
    assert said.keys() >= {"out", "steps", "loss", "seconds", "checkpoint"}
    assert said["steps"] == 2 and Path(said["checkpoint"]).is_dir()
    assert said["loss"] == tiny.rows(pretrained / "run")[-1]["loss"]
    assert (pretrained / "err.txt").read_text(encoding="utf-8") == ""
    assert (pretrained / "run" / "report.html").stat().st_size > 1000


def test_a_run_carries_the_hash_that_show_prints(pretrained: Path) -> None:
    words = tiny.train_words(pretrained / "people.md", pretrained / "run", steps=2)
    shown = tiny.brainfm("show", "smoke", *words[4:], "--json").json
    assert shown["hash"] in (pretrained / "run" / "report.html").read_text(encoding="utf-8")


def test_probe_by_a_process_of_its_own_prints_one_object(pretrained: Path) -> None:
    words = ("probe", pretrained / "run", pretrained / "people.md", "--seeds", "1", "--json")
    result = tiny.ended(tiny.shell(*words))
    assert result.code == 0 and result.err == "", result.err
    assert result.json.keys() >= {"card", "split", "held_out", "metric", "rows", "contamination"}


def test_without_json_a_reader_gets_a_table(pretrained: Path) -> None:
    result = tiny.brainfm("probe", pretrained / "run", pretrained / "people.md", "--seeds", "1")
    assert result.code == 0
    assert "untrained" in result.out and "95 % interval" in result.out
    assert "probing" in result.err


def test_embed_writes_features(pretrained: Path, tmp_path: Path) -> None:
    import numpy as np

    file = tiny.write_edf(tmp_path / "a.edf", tiny.raw_of(tiny.person(1, 20.0)))
    words = ("embed", pretrained / "run", file, "--out", tmp_path / "features.npz", "--json")
    result = tiny.brainfm(*words)
    assert result.code == 0 and result.err == ""
    with np.load(tmp_path / "features.npz") as found:
        assert found["values"].shape == (result.json["windows"], result.json["features"])
        assert found["start"][1] - found["start"][0] == found["seconds"]
        assert np.isfinite(found["values"]).all()
    assert tiny.only_sentence(tiny.brainfm(*words[:-1], "--set", "tr=2")).startswith(
        "reader MneFile: 'tr' is not known"
    )
