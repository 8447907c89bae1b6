"""Results in the forms that other benchmarks keep theirs in: MOABB's table and HDF5, Neuroprobe's submission files."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainfm.errors import BrainfmError
from brainfm.files import write_file, write_text

MOABB = ("score", "time", "samples", "samples_test", "n_classes")
"""Columns of numbers that MOABB 1.7 writes for every subject and session."""
SPLITS = {"WithinSession": "Within-Session", "CrossSession": "Cross-Session", "CrossSubject": "Cross-Subject"}
"""A split's name, and Neuroprobe's folder for it."""
LABEL = {"accuracy": "test_accuracy", "auroc": "test_roc_auc"}


def require_tables(scores: Sequence[Mapping[str, Any]]) -> None:
    """Raise `BrainfmError` where a report has no table, as that of a pretraining: nothing can be written of it."""
    if not scores:
        raise BrainfmError("the report has no table of scores; probe or fine-tune, and export that report")


def moabb(scores: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A line for every session and row of every table, in the columns of MOABB's `Results.to_dataframe`.

    `scores` are those of a `report.json`. `time` is NaN: what fitting took was not measured.
    """
    lines = [
        {
            "score": row[one["metric"]],
            "time": np.nan,
            "samples": float(session["samples"]),
            "samples_test": float(session["samples_test"]),
            "n_classes": float(session["classes"]),
            "subject": session["subject"],
            "session": session["session"],
            "channels": session["channels"],
            "n_sessions": len({each["session"] for each in sessions_of(one)}),
            "dataset": one["card"],
            "pipeline": pipeline(one, name),
        }
        for one in scores
        for session in sessions_of(one)
        for name, row in session["scores"].items()
    ]
    return pd.DataFrame(lines)


def pipeline(one: Mapping[str, Any], name: str) -> str:
    """What a row is called among pipelines of other people: frozen features by their checkpoint."""
    where = ", ".join(Path(checkpoint).name for checkpoint in one.get("checkpoints", ()))
    return f"brainfm {name}" + (f" ({where})" if where and not name.startswith("classical:") else "")


def sessions_of(one: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The scores of sessions in a table. Raises `BrainfmError` where it was written without them."""
    found = one.get("sessions")
    if not found:
        raise BrainfmError(
            f"the report of {one['card']} has no scores of single sessions; probe or fine-tune again"
        )
    return list(found)


def write_moabb(scores: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write the table as CSV, or as MOABB's own HDF5 where the name ends so, which `moabb`'s `Results` reads."""
    require_tables(scores)
    table = moabb(scores)
    if out.suffix == ".csv":
        return write_text(out, table.to_csv(index=False))
    if out.suffix not in (".hdf5", ".h5"):
        raise BrainfmError(f"{out}: MOABB's results are a .hdf5 file or a .csv table; choose such a name")
    return write_file(out, lambda passing: fill(passing, table))


def fill(path: Path, table: pd.DataFrame) -> None:
    """MOABB's layout: a group for each pipeline, in it one for each dataset with its subjects and its numbers."""
    try:
        import h5py
    except ImportError:
        raise BrainfmError("MOABB's HDF5 needs h5py; pip install h5py, or write a .csv table") from None

    text = h5py.special_dtype(vlen=str)
    with h5py.File(path, "w") as file:
        file.attrs["create_time"] = np.bytes_(time.strftime("%Y-%m-%d, %H:%M"))
        for name, mine in table.groupby("pipeline", sort=False):
            group = file.create_group(hashlib.md5(str(name).encode(), usedforsecurity=False).hexdigest())
            group.attrs["name"] = group.attrs["repr"] = name
            for dataset, rows in mine.groupby("dataset", sort=False):
                kept = group.create_group(str(dataset))
                kept.attrs["n_subj"] = rows.subject.nunique()
                kept.attrs["n_sessions"] = int(rows.n_sessions.iloc[0])
                kept.attrs["channels"] = int(rows.channels.iloc[0])
                kept.attrs.create("columns", list(MOABB), dtype=text)
                ids = rows[["subject", "session"]].to_numpy(dtype=object)
                kept.create_dataset("id", data=ids, dtype=text, maxshape=(None, 2))
                numbers = rows[list(MOABB)].to_numpy(dtype=float)
                kept.create_dataset("data", data=numbers, maxshape=(None, len(MOABB)))


def write_neuroprobe(scores: Sequence[Mapping[str, Any]], out: Path, row: str, task: str) -> list[Path]:
    """Write `SPLIT/population_TASK.json` for every table into the folder `out`, as Neuroprobe's SUBMIT.md asks.

    One fold a session, with the accuracy and AUROC of what was held out. Author and organisation are left empty: they and the
    attestation are the submitting person's. Raises `BrainfmError` for a row or a split that it does not know.
    """
    require_tables(scores)
    if task and len(scores) > 1:
        raise BrainfmError("--task names one table and the report has several; export them one by one")
    written = []
    for one in scores:
        folder = next((folder for name, folder in SPLITS.items() if name in one["split"]), None)
        if folder is None:
            raise BrainfmError(
                f"{one['card']}: {one['split']!r} is no split of Neuroprobe's ({', '.join(SPLITS)})"
            )
        path = out / folder / f"population_{task or one['card']}.json"
        written.append(write_text(path, json.dumps(neuroprobe(one, row), indent=2) + "\n"))
    return written


def neuroprobe(one: Mapping[str, Any], row: str) -> dict[str, Any]:
    """One task's file: each tested session's fold."""
    sessions = sessions_of(one)
    known = list(sessions[0]["scores"])
    if row not in known:
        raise BrainfmError(f"{one['card']} has no row {row!r}; its rows are {', '.join(known)}")
    results = {
        session_name(session): {
            "population": {
                "one_second_after_onset": {
                    "time_bin_start": 0.0,
                    "time_bin_end": float(session["seconds"]),
                    "folds": [
                        {
                            **{label: session["scores"][row][name] for name, label in LABEL.items()},
                            "fold_idx": 0,
                        }
                    ],
                }
            }
        }
        for session in sessions
    }
    return {
        "model_name": pipeline(one, row),
        "description": f"{one['protocol']} probe, {one['pool']} pooling; recipe {one['recipe_hash']}; {one['contamination']}",
        "author": "",
        "organization": "",
        "organization_url": "",
        "timestamp": int(time.time()),
        "evaluation_results": results,
    }


def session_name(session: Mapping[str, Any]) -> str:
    """`btbank1_2` for subject 1, trial 2 of the Brain Treebank, whose numbers are all that its cards give as names."""
    subject, trial = str(session["subject"]), str(session["session"])
    if subject.isdigit() and trial.isdigit():
        return f"btbank{int(subject)}_{int(trial)}"
    return f"{subject}_{trial}"
