"""What the number is worth: who the features know, what a nuisance reaches, what worse recordings and new sessions do."""

from collections.abc import Callable, Sequence

from brainfm import identity, new_session, nuisance, robustness
from brainfm.baselines import Baseline
from brainfm.panel import Panel
from brainfm.pooling import Pool
from brainfm.probes import Protocol
from brainfm.scores import Aside

STAGES = 4


def worth(
    panel: Panel,
    protocol: Protocol,
    pool: Pool,
    tick: Callable[[str], None],
    baselines: Sequence[tuple[str, Baseline]] = (),
) -> dict[str, Aside]:
    """The tables beside the main one. The attentive probe has no pooled features to look into: ridge stands in."""
    how: Protocol = "ridge" if protocol == "attentive" else protocol
    out: dict[str, Aside] = identity.asides(panel, how, pool) if panel.models else {}
    tick("identity")
    out["nuisance"] = nuisance.aside(panel.evaluation, how)
    tick("nuisances")
    if panel.models:
        out["robustness"] = robustness.aside(panel, how, pool, baselines)
    tick("worse recordings")
    adapted = new_session.aside(panel, how, pool) if panel.models else None
    out |= {} if adapted is None else {"adaptation": adapted}
    tick("sessions without labels")
    return out
