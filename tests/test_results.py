"""RESULTS.md from one command: the same digits wherever it runs, tables rewritten and prose left alone, nothing made twice."""

import json
import sys
from pathlib import Path

import pytest
import tiny

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import few_labels
import full_tables
import new_sessions
import results
import results_page
from asked import Asked
from results_sections import SECTIONS, Section, chosen

from brainfm.errors import BrainfmError

CHEAP = ("few_labels", "new_sessions")
PAGE = """# Results

## Few labels

**Verdict.** Five are
enough.

<!-- table: few_labels -->
| old | 0.9 |
<!-- /table -->

## Sessions

<!-- table: new_sessions -->
old
<!-- /table -->

## Of others

<!-- table: other -->
stays
<!-- /table -->
"""


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    path = folder / "RESULTS.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def small(folder: Path, page: Path) -> object:
    """Both sections on four simulated people, and a page of the test's own."""
    card = tiny.people(folder, subjects=4, seconds=60.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_labels, "SETS", (str(card),))
        patch.setattr(few_labels, "COUNTS", (1, 3))
        patch.setattr(new_sessions, "SETS", {str(card): None})
        patch.setattr(results, "PAGE", page)
        yield


def run(out: Path, limit: int = 2) -> dict[str, str]:
    """What a check of both sections leaves, as text."""
    sections = chosen(CHEAP)
    results.claim(out, limit)
    assert all(results.made(one, out, limit) for one in sections)
    results.written(sections, out, out / "RESULTS.md")
    return {
        name: (out / name).read_text(encoding="utf-8")
        for name in (*(f"{one}.json" for one in CHEAP), "RESULTS.md")
    }


@pytest.fixture(scope="module")
def first(folder: Path, small: object) -> dict[str, str]:
    return run(folder / "first")


def test_two_checks_in_different_folders_agree_to_the_last_digit(first: dict[str, str], folder: Path) -> None:
    again = run(folder / "elsewhere" / "second")
    assert again == first
    assert list(
        (folder / "elsewhere" / "second" / "work" / "cache" / "features").iterdir()
    )  # computed, not looked up


def test_both_sections_hold_numbers(first: dict[str, str]) -> None:
    (curve,) = json.loads(first["few_labels.json"])["sets"]
    points = {(point["name"], point["windows_per_class"]) for point in curve["curve"]}
    assert points >= {("frozen", 1), ("frozen", 3), ("untrained", 1), ("untrained", 3)}
    assert all(0 <= row["score"] <= 1 and row["low"] <= row["high"] for row in curve["rows"][1:])
    (sessions,) = json.loads(first["new_sessions.json"])["sets"]
    assert {row["to"]["name"] for row in sessions["rows"]} >= {"frozen:session statistics", "frozen:entropy"}
    for row in sessions["rows"]:
        assert row["gap"]["score"] == pytest.approx(row["to"]["score"] - row["from"]["score"])
        assert row["gap"]["low"] <= row["gap"]["score"] <= row["gap"]["high"]


def test_tables_are_rewritten_and_prose_and_other_tables_stay(first: dict[str, str], page: Path) -> None:
    text = first["RESULTS.md"]
    assert "| old | 0.9 |" not in text and "1 a class" in text and "session statistics" in text
    assert results_page.TABLE.sub("", text) == results_page.TABLE.sub("", PAGE)
    assert results_page.tables(text)["other"] == "stays\n"
    assert page.read_text(encoding="utf-8") == PAGE  # a check leaves the page alone


def test_what_is_there_is_not_made_again_and_what_is_lost_comes_back_the_same(
    first: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "first"
    (out / "new_sessions.json").unlink()  # as a kill before its end leaves it
    called: list[str] = []
    measured = Section.measured

    def watched(self: Section, asked: Asked) -> object:
        called.append(self.name)
        return measured(self, asked)

    monkeypatch.setattr(Section, "measured", watched)
    assert run(out) == first
    assert called == ["new_sessions"]


def test_a_folder_of_another_limit_or_of_other_code_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "claimed"
    results.claim(out, 2)
    results.claim(out, 2)
    with pytest.raises(BrainfmError, match="begun with --limit 2"):
        results.claim(out, None)
    monkeypatch.setattr(results, "code", lambda: "other")
    with pytest.raises(BrainfmError, match="begun by other code"):
        results.claim(out, 2)
    results.claim(out, 2, keep=True)


def test_the_hash_of_the_code_knows_a_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pretrain").mkdir()
    monkeypatch.setattr(results, "ROOT", folder)
    before = results.code()
    (folder / "pretrain" / "one.yaml").write_text("size: tiny")
    assert results.code() != before


def test_verdicts_beside_changed_numbers_are_named() -> None:
    after = results_page.rewritten(PAGE, {"few_labels": ["| new | 0.8 |"], "new_sessions": ["old"]})
    assert results_page.to_read_again(PAGE, after) == [
        "Few labels (few_labels): **Verdict.** Five are enough."
    ]
    assert results_page.to_read_again(PAGE, results_page.rewritten(PAGE, {"new_sessions": ["new"]})) == [
        "Sessions (new_sessions): no verdict stands there"
    ]


def test_a_page_whose_markers_are_wrong_is_refused() -> None:
    with pytest.raises(BrainfmError, match="no place for lost"):
        results_page.rewritten(PAGE, {"lost": []})
    with pytest.raises(BrainfmError, match="each <!-- table: NAME --> needs one"):
        results_page.tables(PAGE.replace("<!-- /table -->", "", 1))
    with pytest.raises(BrainfmError, match="two tables called other"):
        results_page.tables(PAGE.replace("table: new_sessions", "table: other"))


def test_every_section_has_its_place_on_the_page_and_every_place_a_section() -> None:
    text = (Path(results.__file__).parent / "RESULTS.md").read_text(encoding="utf-8")
    assert set(results_page.tables(text)) == {one.name for one in SECTIONS}
    assert all(one.minutes > 0 for one in SECTIONS)
    with pytest.raises(BrainfmError, match="'few' is no section; take one of real_eeg"):
        chosen(["few"])


def test_a_file_that_hours_have_made_is_taken_but_not_in_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.json"
    path.write_text("[1]", encoding="utf-8")
    section = Section("one", "joint", 1, dropped=path)
    monkeypatch.setattr(Section, "_function", lambda self, name: lambda asked: {"tables": asked.limit})
    assert section.measured(Asked(tmp_path)) == {"tables": [1]}
    assert section.measured(Asked(tmp_path, 2)) == {"tables": 2}


def test_every_decoder_of_real_recordings_has_a_row_and_no_other_recipe() -> None:
    tasks = full_tables.real_tasks()
    assert {"eeg_arithmetic", "fmri_digits69", "spk_dad_m1_velocity"} <= set(tasks)
    # simulated, no decoder but pictures, a network of its own
    assert not {"smoke", "demo_eeg", "digits", "brain_it", "poyo", "poyo_published"} & set(tasks)
