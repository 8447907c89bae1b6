"""What an evaluation found, as plain data: the rows, their paired differences, who was held out, the verdict.

`probe` and `finetune` return `Scores`; `report.py` puts them on a page, `table` prints them in a terminal,
`scores_json` is what `--json` prints.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from brainfm.errors import BrainfmError
from brainfm.significance import Paired, stouffer

NAN = float("nan")
FAMILIES = ("chance", "shuffled", "untrained", "classical", "scratch", "frozen", "lora", "finetuned")
OURS = ("frozen", "lora", "finetuned")
CONTROLS = ("untrained", "scratch", "frozen")
NOUNS = {
    "untrained": "the untrained network",
    "shuffled": "the same features with shuffled labels",
    "scratch": "training from scratch",
    "frozen": "frozen features",
    "lora": "LoRA fine-tuning",
    "finetuned": "fine-tuning",
}
LISTED = 8
"""Folds whose held-out people are named one by one; all are in report.json."""
TESTED = (
    "p is one-sided over subjects, that the first is better: sign flips below 20 subjects, Wilcoxon's test from there on; "
    "corrected by Holm for all differences"
)
BAR = 30
"""Characters of an interval bar in the terminal."""
FEWEST = 5
"""Subjects by whom two rows can be told apart: that all of five favour one happens by chance once in 32 times."""


@dataclass(frozen=True)
class Row:
    """A score, its 95 % interval (NaN: none), the windows it was scored on, the seeds it averages.

    Names: `chance`, `shuffled`, `untrained`, `classical:<which>`, `scratch`, `frozen`, `lora`, `finetuned`.
    """

    name: str
    score: float
    low: float = NAN
    high: float = NAN
    n_test: int = 0
    seeds: int = 1


@dataclass(frozen=True)
class Difference:
    """The paired difference of two rows, `of` minus `minus`, with its 95 % interval.

    `p` is one-sided over `units` subjects, that `of` is better (see `significance`), `p_holm` the same corrected for all
    differences of the table, `effect` the standardised mean difference.
    """

    of: str
    minus: str
    score: float
    low: float = NAN
    high: float = NAN
    n_test: int = 0
    seeds: int = 1
    p: float = NAN
    p_holm: float = NAN
    effect: float = NAN
    units: int = 0

    @property
    def name(self) -> str:
        return f"{self.of} − {self.minus}"

    @property
    def few(self) -> bool:
        """Whether there are subjects, and so few that they tell nothing: the interval of two random guessers' difference lies
        on one side of zero in 42 % of all pairs of subjects, in 16 % of three, in 8 % of four."""
        return 0 < self.units < FEWEST

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0 (also without an interval, or of few subjects)."""
        return 0 if self.few else int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Point:
    """A row of a learning curve: its score where a decoder has so many labelled windows of each class."""

    windows_per_class: int
    row: Row


@dataclass(frozen=True)
class Aside:
    """A small table beside the main one: rows under another condition, or of another question. `mark` is chance there."""

    title: str
    rows: Sequence[Row]
    metric: str
    mark: float
    sentence: str = ""


@dataclass(frozen=True)
class Scores:
    """What was scored, on whom, and how well: more is better in every metric.

    `split` and `held_out` say in words how the data were divided and who was held out; `unit` is what the
    bootstrap draws ("9 held-out subjects"); `contamination` says what pretraining saw of the test data,
    `contaminated` whether it saw any; `per_group` is the score of each row in each `group`
    ({"S01": {"frozen": 0.7}}).
    """

    card: str
    split: str
    held_out: str | Sequence[str]
    metric: str
    chance: float
    rows: Sequence[Row]
    differences: Sequence[Difference] = ()
    unit: str = ""
    contamination: str = ""
    contaminated: bool = False
    exposure: Mapping[str, str] = field(default_factory=dict)
    """What pretraining saw of each tested recording: clean, seen without labels, seen with labels, unknown."""
    per_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    group: str = "subject"
    title: str = ""
    protocol: str = ""
    pool: str = ""
    checkpoints: Sequence[str] = ()
    recipe: str = ""
    """The text of the recipe that pretrained the (first) checkpoint."""
    recipe_hash: str = ""
    seed: int = 0
    notes: Sequence[str] = ()
    """What a reader must know beside the numbers: folds and rows that were left out, and why."""
    sessions: Sequence[Mapping[str, Any]] = ()
    """What each row scores on each tested session (`sessions.by_session`), for other benchmarks' tables."""
    curve: Sequence[Point] = ()
    asides: Mapping[str, Aside] = field(default_factory=dict)
    """By the name that `--json` gives them."""

    def __post_init__(self) -> None:
        if not self.rows:
            raise BrainfmError(f"the scores of {self.card} have no rows; give at least the chance level")

    @property
    def held_out_words(self) -> str:
        if isinstance(self.held_out, str):
            return self.held_out
        more = f" and {len(self.held_out) - LISTED} more" if len(self.held_out) > LISTED else ""
        return "; ".join(self.held_out[:LISTED]) + more

    @property
    def probe(self) -> str:
        """How features became predictions, in words."""
        return f"{self.protocol}, tokens pooled by {self.pool}" if self.protocol else ""

    @property
    def columns(self) -> list[str]:
        """The rows that `per_group` knows, in the table's order."""
        return [row.name for row in self.rows if any(row.name in one for one in self.per_group.values())]

    def best(self, kind: str) -> Row | None:
        """The row of this family with the highest score, if it has one."""
        rows = [row for row in self.rows if family(row.name) == kind and np.isfinite(row.score)]
        return max(rows, key=lambda row: row.score, default=None)


def family(name: str) -> str:
    """The family of a row: `classical:csp_lda` -> `classical`; `other` for a name that is not brainfm's."""
    head = name.partition(":")[0]
    return head if head in FAMILIES else "other"


def number(value: float) -> str:
    """Two decimals, which is what intervals of this width deserve; a dash where there is no number."""
    return f"{value:.2f}".replace("-", "−") if np.isfinite(value) else "–"


def signed(value: float) -> str:
    """A difference, always with its sign."""
    return ("+" if value > 0 else "") + number(value)


def small(value: float) -> str:
    """A p: two digits, `< 0.001` below; a dash where there is none."""
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.095 else f"{value:.2f}"


def interval(row: Row | Difference) -> str:
    """`0.77 to 0.85`, or nothing where there is no interval."""
    known = np.isfinite(row.low) and np.isfinite(row.high)
    return f"{number(row.low)} to {number(row.high)}" if known else ""


def verdict(scores: Scores) -> str:
    """The outcome in plain words: against the networks not pretrained, then the best classical baseline."""
    ours = [best for kind in OURS if (best := scores.best(kind))]
    compared = [one for one in scores.differences if one.of in OURS and one.minus in CONTROLS]
    clauses = [_comparison(one, scores.metric) for one in compared]
    if not compared:
        clauses = [
            f"{_noun(row.name)} reach {number(row.score)}{_bracket(row)} {scores.metric}" for row in ours
        ]
    if classical := scores.best("classical"):
        which = classical.name.partition(":")[2].replace("_", " ") or "unnamed"
        against = "".join(f", {_noun(row.name)} {number(row.score)}" for row in ours if compared)
        clauses.append(f"the best classical baseline ({which}) scores {number(classical.score)}{against}")
    sentence = "; ".join([*clauses, f"chance is {number(scores.chance)}"]) + "."
    warning = (
        " Pretraining saw some of these test data: the scores are marked." if scores.contaminated else ""
    )
    return sentence[0].upper() + sentence[1:] + warning


def overall(many: Sequence[Scores]) -> str:
    """The verdict over several cards, by counting the intervals that exclude zero on either side.

    The first table of a card counts: fine-tuning shows a probe's comparison again.
    """
    first = {scores.card: scores for scores in reversed(many)}
    if len(first) == 1:
        return verdict(many[0])
    signs = [
        one.sign
        for scores in first.values()
        for one in scores.differences
        if one.name == "frozen − untrained"
    ]
    if not signs:
        return f"{len(many)} evaluations, each with its own verdict below."
    better, worse = signs.count(1), signs.count(-1)
    found = together(many)
    tested = (
        f" Over all of them p = {small(found.p)} ({found.n} subjects, each card's taken for people of their own; "
        "Stouffer's method)."
        if np.isfinite(found.p)
        else ""
    )
    return (
        f"Frozen features beat the untrained network in {better} of {len(signs)} evaluations, "
        f"fall below it in {worse}, and can't be told from it in {len(signs) - better - worse}.{tested}"
    )


def together(many: Sequence[Scores], name: str = "frozen − untrained") -> Paired:
    """One difference over the first table of every card."""
    first = {scores.card: scores for scores in reversed(many)}
    every = [one for scores in first.values() for one in scores.differences if one.name == name]
    return stouffer([Paired(one.p, one.effect, one.units) for one in every])


def scores_json(scores: Scores) -> dict[str, Any]:
    """What `probe --json` prints: plain values, null where a number is not finite."""
    keys = (
        "title",
        "card",
        "split",
        "metric",
        "chance",
        "unit",
        "contamination",
        "contaminated",
        "exposure",
        "per_group",
        "protocol",
        "pool",
        "checkpoints",
        "recipe_hash",
        "seed",
        "notes",
        "sessions",
    )
    found = {key: getattr(scores, key) for key in keys} | {"verdict": verdict(scores)}
    found["held_out"] = scores.held_out if isinstance(scores.held_out, str) else list(scores.held_out)
    found["rows"] = [vars(row) for row in scores.rows]
    found["differences"] = [{"name": one.name, **vars(one)} for one in scores.differences]
    found["curve"] = [
        {"windows_per_class": point.windows_per_class, **vars(point.row)} for point in scores.curve
    ]
    found["asides"] = {
        key: {**vars(one), "rows": [vars(row) for row in one.rows]} for key, one in scores.asides.items()
    }
    return {key: plain(value) for key, value in found.items()}


def plain(value: Any) -> Any:
    """As JSON knows it: numpy's numbers made Python's, NaN and infinity made null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def table(scores: Scores, width: int = 110) -> str:
    """The rows and the paired differences as text for a terminal, without colour."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(rich_table(scores))
    return captured.get()


def rich_table(scores: Scores) -> Group:
    """The same with rich: interval bars with `┊` at chance (or at no difference), and the split in words."""
    values = [scores.chance, *_values(scores.rows)]
    parts = [_table(scores.metric, scores.rows, scores.chance, (min(values), max(values)))]
    if scores.differences:
        values = [0.0, *_values(scores.differences)]
        parts.append(_table("paired difference", scores.differences, 0.0, (min(values), max(values))))
    for title, rows, mark in [*_curve_tables(scores), *_aside_tables(scores)]:
        values = [mark, *_values(rows)]
        parts.append(_table(title, rows, mark, (min(values), max(values))))
    words = [f"{scores.card}: {scores.split}", f"Held out: {scores.held_out_words}"]
    words += [f"95 % intervals by bootstrap over {scores.unit}"] if scores.unit else []
    words += [TESTED] if any(np.isfinite(one.p) for one in scores.differences) else []
    words += [f"Probe: {scores.probe}"] if scores.probe else []
    words += [scores.contamination] if scores.contamination else []
    words += [f"Tested recordings: {exposed(scores)}"] if scores.exposure else []
    words += scores.notes
    return Group(*parts, *map(Text, words))


def interval_bar(row: Row | Difference, mark: float, span: tuple[float, float], width: int = BAR) -> str:
    """`┊  ├──●──┤` over `span`: the interval, the score, and where `mark` (chance, or zero) lies."""
    places = (width - 1) / ((span[1] - span[0]) or 1.0)
    cells = [" "] * width

    def put(value: float, sign: str) -> None:
        if np.isfinite(value):
            cells[round((value - span[0]) * places)] = sign

    put(mark, "┊")
    if np.isfinite(row.low) and np.isfinite(row.high):
        first, last = (round((edge - span[0]) * places) for edge in (row.low, row.high))
        cells[first : last + 1] = "─" * (last + 1 - first)
        put(row.low, "├")
        put(row.high, "┤")
    put(row.score, "●")
    return "".join(cells).rstrip()


def _table(title: str, rows: Sequence[Row | Difference], mark: float, span: tuple[float, float]) -> Table:
    made = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("", "score", "95 % interval"):
        made.add_column(name, justify="left" if not name else "right")
    made.add_column("", min_width=BAR, no_wrap=True)
    tested = any(isinstance(row, Difference) and np.isfinite(row.p) for row in rows)
    for name in ("n test", "seeds", *(("p", "effect") if tested else ())):
        made.add_column(name, justify="right")
    for row in rows:
        score = signed(row.score) if isinstance(row, Difference) else number(row.score)
        cells = (
            row.name,
            score,
            interval(row),
            interval_bar(row, mark, span),
            str(row.n_test or ""),
            str(row.seeds),
            *((small(row.p_holm), signed(row.effect)) if tested and isinstance(row, Difference) else ()),
        )
        made.add_row(*map(Text, cells))
    return made


def exposed(scores: Scores) -> str:
    """How many tested recordings have which verdict: `2 clean, 1 seen without labels`."""
    counts = Counter(scores.exposure.values())
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def curve_rows(scores: Scores) -> dict[int, list[Row]]:
    """The rows of the learning curve by the number of windows per class."""
    counts = sorted({point.windows_per_class for point in scores.curve})
    return {n: [point.row for point in scores.curve if point.windows_per_class == n] for n in counts}


def _curve_tables(scores: Scores) -> list[tuple[str, Sequence[Row], float]]:
    return [
        (f"{n} labelled window{'s' * (n > 1)} per class", rows, scores.chance)
        for n, rows in curve_rows(scores).items()
    ]


def _aside_tables(scores: Scores) -> list[tuple[str, Sequence[Row], float]]:
    return [(f"{one.title} ({one.metric})", one.rows, one.mark) for one in scores.asides.values() if one.rows]


def _values(rows: Sequence[Row | Difference]) -> list[float]:
    every = (value for row in rows for value in (row.score, row.low, row.high))
    return [value for value in every if np.isfinite(value)]


def _noun(name: str) -> str:
    return NOUNS.get(name, name.replace("classical:", "the classical baseline ").replace("_", " "))


def _bracket(row: Row | Difference) -> str:
    words = interval(row).replace(" to ", ", ")
    return f" [{words}]" if words else " (no interval)"


def _comparison(one: Difference, metric: str) -> str:
    of, minus, bracket = _noun(one.of), _noun(one.minus), _bracket(one)
    metric = metric.replace("_", " ")
    plural = one.of == "frozen"
    if one.sign > 0:
        return f"{of} beat{'' if plural else 's'} {minus} by {number(one.score)}{bracket} {metric}"
    if one.sign < 0:
        return f"{of} {'fall' if plural else 'falls'} below {minus} by {number(-one.score)}{bracket} {metric}"
    why = f" by {one.units} subjects, who are too few" if one.few else ""
    return f"{of} can't be told from {minus}{why}: {signed(one.score)}{bracket} {metric}"
