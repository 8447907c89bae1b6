"""A stranger's folder of EDF files: a card is written, filled in by hand, and all else works without touching another file."""

import json
from pathlib import Path

import mne
import numpy as np
import pytest
import tiny

from brainfm.data.brain import Brain
from brainfm.data.modalities import modality

LAYOUTS = {
    "names": "P{subject:02d}_session{session}.edf",
    "folders": "person{subject}/visit{session}/eeg.edf",
    "bids": "sub-{subject:02d}/ses-{session:02d}/eeg/sub-{subject:02d}_ses-{session:02d}_task-hands_eeg.edf",
}
DESCRIPTIONS = {"left_hand": "T1/left", "right_hand": "T2/right"}


def study(folder: Path, layout: str) -> Path:
    """Three people, two sessions each, as someone else's software would write them: other words, an ECG, a rest marker."""
    for subject in (1, 2, 3):
        brain = Brain.draw(np.random.default_rng([3, subject]))
        for session in (1, 2):
            rng = np.random.default_rng([3, subject, session])
            recording = modality("eeg").simulate(rng, seconds=40.0, sfreq=128.0, sensors=8, brain=brain)
            raw = tiny.raw_of(recording)
            raw.annotations.description = np.array(
                [DESCRIPTIONS[word] for word in raw.annotations.description]
            )
            raw.annotations.append(0.5, 0.0, "T0/rest")
            heart = np.random.default_rng(0).normal(0, 3e-4, (1, raw.n_times))
            info = mne.create_info(["ECG"], 128.0, "ecg")
            raw.add_channels([mne.io.RawArray(heart, info, verbose="error")])
            raw.rename_channels({name: f"EEG {name.upper()}-REF" for name in raw.ch_names[:-1]})
            path = folder / LAYOUTS[layout].format(subject=subject, session=session)
            tiny.write_edf(path, raw)
    return folder


def fill_in(card: Path) -> None:
    """What a person does: remove the # of the task, keep two labels, answer what was left open."""
    text = card.read_text(encoding="utf-8")
    assert '"T1/left"' in text and '"T2/right"' in text and '"T0/rest"' in text
    lines = []
    for line in text.splitlines():
        if line.startswith(("# task:", "#   ")):
            line = line.removeprefix("# ")
        if line.strip().startswith("labels:"):
            line = '  labels: ["T1/left", "T2/right"]'
        lines.append(line.replace("FILL IN", "said by its author"))
    card.write_text("\n".join(lines) + "\n", encoding="utf-8")


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_strangers_folder_becomes_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = study(tmp_path / "my_study", layout)
    untouched = files(folder)
    shipped = files(tiny.ROOT / "data_cards") | files(tiny.ROOT / "pretrain")

    made = tiny.brainfm("data", "new", "my_study")
    assert made.code == 0 and made.err == "", made.err
    card = tmp_path / "my_study.md"
    fill_in(card)
    checked = tiny.brainfm("data", "check", card, "--json")
    assert checked.code == 0 and checked.json["ok"], checked.out
    # the facts were counted before there was a task: its windows are for the author to state, or not
    counted = json.dumps(checked.json["counted"]["windows"])
    assert set(checked.json["counted"]["windows"]) == {"T1/left", "T2/right"}
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("facts:\n", f"facts:\n  windows: {counted}\n"), encoding="utf-8")
    assert tiny.brainfm("data", "check", card, "--json").json["ok"]
    card.write_text(text.replace("facts:\n", "facts:\n  windows: {left: 1}\n"), encoding="utf-8")
    wrong = tiny.brainfm("data", "check", card, "--json")
    assert wrong.code == 1 and wrong.json["problems"][0]["field"] == "facts.windows"
    card.write_text(text, encoding="utf-8")

    run = tmp_path / "run"
    held = "data.hold_out={my_study: ['" + {"names": "03", "folders": "3", "bids": "03"}[layout] + "']}"
    trained = tiny.brainfm(*tiny.train_words(Path("my_study.md"), run, held, steps=4), "--json")
    assert trained.code == 0 and trained.err == "", trained.err
    probed = tiny.brainfm("probe", run, "my_study.md", "--seeds", "1", "--out", "report", "--json")
    assert probed.code == 0 and probed.err == "", probed.err
    assert probed.json["card"] == "my_study" and probed.json["contaminated"] is False
    assert [name[-1] for name in probed.json["held_out"]] == ["3"]
    assert {row["name"] for row in probed.json["rows"]} >= {"chance", "untrained", "frozen"}
    assert (tmp_path / "report" / "report.html").is_file()

    assert files(folder) == untouched, "the stranger's files are only read"
    assert files(tiny.ROOT / "data_cards") | files(tiny.ROOT / "pretrain") == shipped
