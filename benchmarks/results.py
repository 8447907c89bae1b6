"""Make every table of benchmarks/RESULTS.md anew, from recordings to Markdown. One command, resumable.

    BRAINFM_DATA=recordings python benchmarks/results.py                  # all of it, some hours on two cores
    python benchmarks/results.py --only few_labels new_sessions           # these alone, the other tables stay
    python benchmarks/results.py --list                                   # every section with its budget
    python benchmarks/results.py --limit 2 --out runs/results-check       # a check: at most two steps, sets and seeds of each

Each section leaves OUT/NAME.json and its runs under OUT/work; what is there is not made again, so a killed command goes on.
OUT belongs to one state of the code and one limit, and another is refused. Only what stands between `<!-- table: NAME -->`
and `<!-- /table -->` is rewritten; verdicts are a person's, and the command says which of them to read again. One thread a
run: scores are the same to the last digit, wherever OUT is and however many runs go side by side. With --limit the page goes
to OUT/RESULTS.md.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import results_page
from asked import Asked
from results_sections import SECTIONS, Section, chosen

from brainfm.errors import BrainfmError
from brainfm.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "benchmarks" / "RESULTS.md"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DECIDE = ("brainfm/**/*.py", "brainfm/checkpoints/**/*", "benchmarks/*.py", "data_cards/*.md")
DECIDE_TOO = ("tokenizers/*.yaml", "pretrain/*.yaml", "finetune/*.yaml")
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "mne", "pyriemann", "transformers", "peft")


def main() -> int:
    """Make what is asked for; 0 only if all of it was made."""
    arguments = options(__doc__, "results", "of those that --list has")
    arguments.add_argument("--list", action="store_true", help="sections and their budgets")
    asked = arguments.parse_args()
    one_thread()
    if asked.list:
        say(listed())
        return 0
    try:
        sections = chosen(asked.only)
        claim(asked.out, asked.limit, asked.keep)
        lacking = [one.name for one in sections if not made(one, asked.out, asked.limit, asked.side_by_side)]
        page = asked.out / "RESULTS.md" if asked.limit is not None else PAGE
        written(sections, asked.out, page)
    except BrainfmError as error:
        say(str(error))
        return 1
    if lacking:
        say(f"not made: {', '.join(lacking)}")
    return int(bool(lacking))


def options(doc: str | None, name: str, which: str) -> argparse.ArgumentParser:
    """What can be asked of a command that makes a page: where, which parts of it, how small, how many at once."""
    arguments = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("runs") / name)
    arguments.add_argument("--only", nargs="+", default=[], metavar="NAME", help=which)
    arguments.add_argument(
        "--limit", type=int, help="at most so many training steps, sets and seeds: a check"
    )
    arguments.add_argument("--side-by-side", type=int, default=2, help="runs at once, one thread each")
    arguments.add_argument("--keep", action="store_true", help="go on in a folder that other code began")
    return arguments


def one_thread() -> None:
    """Before a section imports numpy: another number of threads gives other last digits."""
    os.environ.update(dict.fromkeys(THREADS, "1"))


def listed() -> str:
    """The sections with their budgets."""
    rows = [f"{one.name:20} {one.minutes:4} min   benchmarks/{one.module}.py" for one in SECTIONS]
    total = sum(one.minutes for one in SECTIONS)
    return "\n".join([*rows, f"{'all':20} {total:4} min   of two cores"])


def claim(out: Path, limit: int | None, keep: bool = False) -> None:
    """Let a folder belong to this code and this limit. Raises `BrainfmError` where it belongs to others."""
    path, mine = out / "made_by.json", {"code": code(), "limit": limit}
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if theirs["limit"] != limit:
            raise BrainfmError(f"{out} was begun with --limit {theirs['limit']}; give another --out")
        if theirs != mine and not keep:
            raise BrainfmError(
                f"{out} was begun by other code or libraries; give another --out, or --keep what it has"
            )
    write_json(path, mine)


def code() -> str:
    """A hash of what scores depend on beside recordings: the code, the recipes, the cards, the libraries."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in (*DECIDE, *DECIDE_TOO) for path in ROOT.glob(pattern)):
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    for name in LIBRARIES:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()


def made(section: Section, out: Path, limit: int | None = None, side_by_side: int = 1) -> bool:
    """Make a section's JSON unless it is there, and say how it went; whether it is there now."""
    path = out / f"{section.name}.json"
    if path.exists():
        say(f"{section.name}: is there")
        return True
    budget = f"budget {section.minutes} min" if limit is None else f"limit {limit}"
    say(f"{section.name}: begins ({budget})")
    began = time.monotonic()
    os.environ["BRAINFM_CACHE"] = str(
        (out / "work" / "cache").resolve()
    )  # features of other runs prove nothing
    try:
        found = section.measured(Asked(out / "work" / section.name, limit, side_by_side))
    except BrainfmError as error:
        say(f"{section.name}: {error}")
        return False
    write_json(path, found)
    took = (time.monotonic() - began) / 60
    over = f", over its budget of {section.minutes}" if limit is None and took > section.minutes else ""
    say(f"{section.name}: {took:.1f} min{over}")
    return True


def written(sections: Sequence[Section], out: Path, page: Path) -> list[str]:
    """Put the tables of what is there into the page; what a person should read again, which is also said."""
    before = PAGE.read_text(encoding="utf-8")
    tables = {
        one.name: one.lines(json.loads(path.read_text(encoding="utf-8")))
        for one in sections
        if (path := out / f"{one.name}.json").exists()
    }
    after = results_page.rewritten(before, tables)
    write_text(page, after)
    changed = results_page.to_read_again(before, after)
    say(
        f"{page}: {len(tables)} tables written"
        + ("; numbers changed beside these verdicts:" if changed else ", none changed")
    )
    for words in changed:
        say(f"  {words}")
    return changed


def say(words: str) -> None:
    """A line of the command's output, at once: a section takes minutes."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
