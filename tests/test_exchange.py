"""Results as MOABB and Neuroprobe keep theirs, of a real probe."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny

from brainfm.checkpoint import SHIPPED


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The report of a probe of four people."""
    card = tiny.people(folder, subjects=4, seconds=60.0)
    result = tiny.brainfm("probe", SHIPPED / "brainfm-tiny", card, "--seeds", "1", "--out", folder / "probe")
    assert result.code == 0, result.err
    return folder / "probe"


@pytest.fixture(scope="module")
def scores(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))["scores"][0]
    return found


def test_a_table_has_moabbs_columns_and_our_numbers(
    run: Path, scores: dict[str, Any], tmp_path: Path
) -> None:
    result = tiny.brainfm("report", run, "--format", "moabb", "--out", tmp_path / "all.csv")
    assert result.code == 0, result.err
    table = pd.read_csv(tmp_path / "all.csv", dtype={"subject": str, "session": str})
    wanted = "score time samples samples_test n_classes subject session channels n_sessions dataset pipeline"
    assert set(table) == set(wanted.split())
    frozen = table[table.pipeline == "brainfm frozen (brainfm-tiny)"].set_index("subject")
    assert frozen.score.to_dict() == pytest.approx(
        {who: row["frozen"] for who, row in scores["per_group"].items()}
    )
    assert (frozen.channels == 8).all() and (frozen.n_classes == 2).all()
    assert (frozen.samples + frozen.samples_test == frozen.samples_test.sum()).all()
    assert len(table) == 4 * len(scores["sessions"][0]["scores"])


def test_moabb_reads_its_own_format_and_compares_our_rows(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("moabb", reason="MOABB is an extra: pip install moabb")
    from moabb.analysis.meta_analysis import compute_dataset_statistics
    from moabb.analysis.results import Results
    from moabb.evaluations import CrossSubjectEvaluation
    from moabb.paradigms import LeftRightImagery

    theirs = Results(CrossSubjectEvaluation, LeftRightImagery, hdf5_path=str(tmp_path), overwrite=True)
    out = Path(theirs.filepath)
    result = tiny.brainfm("report", run, "--format", "moabb", "--out", out)
    assert result.code == 0, result.err
    read = theirs.to_dataframe()
    tiny.brainfm("report", run, "--format", "moabb", "--out", tmp_path / "all.csv")
    ours = pd.read_csv(tmp_path / "all.csv", dtype={"subject": str, "session": str})
    keys = ["pipeline", "subject"]
    left, right = (one.sort_values(keys).reset_index(drop=True) for one in (read, ours))
    pd.testing.assert_frame_equal(left[list(right)], right, check_dtype=False, check_exact=False)
    stats = compute_dataset_statistics(read)
    assert stats.nsub.eq(4).all() and len(stats) == read.pipeline.nunique() ** 2


def test_hdf5_can_be_written_without_moabb(run: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    result = tiny.brainfm("report", run, "--out", tmp_path / "all.hdf5", "--json")
    assert result.json["written"] == [str(tmp_path / "all.hdf5")]
    with h5py.File(tmp_path / "all.hdf5") as file:
        names = {group.attrs["name"] for group in file.values()}
        data = next(iter(file.values()))["people"]["data"][:]
    assert "brainfm frozen (brainfm-tiny)" in names and data.shape == (4, 5) and np.isfinite(data[:, 0]).all()


def test_a_submission_has_neuroprobes_form(run: Path, scores: dict[str, Any], tmp_path: Path) -> None:
    result = tiny.brainfm("report", run, "--format", "neuroprobe", "--task", "speech", "--out", tmp_path)
    assert result.code == 0, result.err
    made = json.loads((tmp_path / "Cross-Subject" / "population_speech.json").read_text(encoding="utf-8"))
    for field in ("model_name", "description", "author", "organization", "organization_url"):
        assert isinstance(made[field], str)
    assert isinstance(made["timestamp"], int) and len(made["evaluation_results"]) == 4
    for number, session in enumerate(scores["sessions"], 1):
        found = made["evaluation_results"][f"btbank{number}_{int(session['session'])}"]
        window = found["population"]["one_second_after_onset"]
        (fold,) = window["folds"]
        assert (window["time_bin_start"], window["time_bin_end"]) == (0.0, 2.0)
        assert fold["test_roc_auc"] == session["scores"]["frozen"]["auroc"]
        assert fold["test_accuracy"] == session["scores"]["frozen"]["accuracy"]
        assert 0 <= fold["test_roc_auc"] <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "table.xlsx"), "a .hdf5 file or a .csv table"),
        (
            ("--format", "neuroprobe", "--row", "nothing", "--out", "there"),
            "has no row 'nothing'; its rows are",
        ),
    ],
)
def test_what_can_t_be_written_is_said(run: Path, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    here = [str(tmp_path / word) if word in ("table.xlsx", "there") else word for word in words]
    assert said in tiny.only_sentence(tiny.brainfm("report", run, *here))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_report_is_said(tmp_path: Path) -> None:
    said = tiny.only_sentence(tiny.brainfm("report", tmp_path, "--out", tmp_path / "x.csv"))
    assert "is no report" in said


@pytest.mark.parametrize("words", [("there.hdf5",), ("there.csv",), ("there", "--format", "neuroprobe")])
def test_a_report_without_tables_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"scores": []}', encoding="utf-8")
    out, *more = words
    said = tiny.only_sentence(tiny.brainfm("report", tmp_path, "--out", tmp_path / out, *more))
    assert said == "the report has no table of scores; probe or fine-tune, and export that report"
    assert not (tmp_path / out).exists()
