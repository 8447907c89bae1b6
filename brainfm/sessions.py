"""Scores session by session, for benchmarks that keep them so (MOABB, Neuroprobe): plain data beside a table's intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainfm.evaluation import Evaluation
from brainfm.metrics import METRICS, Probabilities

KEPT = ("accuracy", "auroc")
"""Metrics that other benchmarks ask for, beside the table's own."""


def by_session(
    evaluation: Evaluation, predictions: Mapping[str, Sequence[Probabilities]]
) -> list[dict[str, Any]]:
    """One mapping for every tested session that has every class: whose it is, its counts, and what each row scores on it.

    A score is the mean over a row's seeds. None where windows are told values and not classes: no other benchmark keeps those.
    """
    if type(evaluation) is not Evaluation:
        return []
    table, tested = evaluation.windows, evaluation.tested
    owner = table.recording[tested]
    places = [(one.subject or "all", one.session or "0") for one in evaluation.recordings]
    label = table.label[tested]
    out = []
    for subject, session in sorted(set(places)):
        mine = np.array([places[index] == (subject, session) for index in owner], bool)
        if len(set(label[mine])) < evaluation.classes:
            continue
        sensors = evaluation.recordings[int(owner[mine][0])].signal(evaluation.modality).sensors
        trained = [len(fold.train) for fold in evaluation.folds if np.isin(tested[mine], fold.test).any()]
        scores = {
            name: {
                metric: float(np.mean([METRICS[metric](one[mine], label[mine]) for one in several]))
                for metric in dict.fromkeys((evaluation.metric, *KEPT))
            }
            for name, several in predictions.items()
        }
        out.append(
            {
                "subject": subject,
                "session": session,
                "samples": int(np.mean(trained)),
                "samples_test": int(mine.sum()),
                "folds": len(trained),
                "classes": evaluation.classes,
                "channels": len(sensors),
                "seconds": table.seconds,
                "scores": scores,
            }
        )
    return out
