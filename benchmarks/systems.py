"""Run every published system's tiny recipe end to end, and say of each claim whether it holds here. One command, resumable.

    BRAINFM_DATA=recordings python benchmarks/systems.py                   # all of them, half an hour on two cores
    python benchmarks/systems.py --only du_in barista
    python benchmarks/systems.py --long --only du_in                       # also what takes longer than a few minutes
    python benchmarks/systems.py --limit 2 --out runs/systems-check        # a check: two steps, sets and seeds of each

A file of `brainfm/systems/` names the script that measures a system. OUT keeps what was measured, so a killed command goes on;
OUT belongs to one state of the code and one limit. Tables go between the markers of SYSTEMS.md, the claims beside the system's
file, where `brainfm show --systems` finds them; with --limit both stay in OUT.
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import results_page
from claims import lines
from results import claim as claimed
from results import made, one_thread, options, say
from results_sections import Found, Section

from brainfm.errors import BrainfmError
from brainfm.files import write_json, write_text
from brainfm.jobs.systems import matrix, rows
from brainfm.published import FOLDER, System, names, shown, verdict

PAGE = Path(__file__).resolve().parent / "SYSTEMS.md"
HOUSE = PAGE.parents[1] / "ARCHITECTURE.md"
"""Where the parts × systems table stands."""
LONG_MINUTES, LONG = 45, "_long"
"""Budget of a system's claims that take longer, and what their files end in."""


def main() -> int:
    """Measure what is asked for; 0 only if all of it was measured."""
    arguments = options(__doc__, "systems", f"of {', '.join(names())}")
    arguments.add_argument("--long", action="store_true", help="also claims that take longer")
    asked = arguments.parse_args()
    one_thread()
    began = time.monotonic()
    try:
        sections = chosen(asked.only or names(), asked.long)
        claimed(asked.out, asked.limit, asked.keep)
        lacking = together(sections, asked.out, asked.limit, asked.side_by_side)
        written(asked.only or names(), asked.out, asked.limit)
    except BrainfmError as error:
        say(str(error))
        return 1
    say(
        f"{(time.monotonic() - began) / 60:.1f} min"
        + (f"; not measured: {', '.join(lacking)}" if lacking else "")
    )
    return int(bool(lacking))


def chosen(keys: Sequence[str], long: bool) -> list[Section]:
    """What measures these systems. Raises `BrainfmError` for a name that is none."""
    out = []
    for key in keys:
        system = System.load(key)
        given = {} if system.of is None else {"of": system.of}
        out.append(Section(key, system.benchmark, system.minutes, given))
        if long and has_long(system.benchmark):
            out.append(Section(key + LONG, system.benchmark, LONG_MINUTES, given, function="measured_long"))
    # the longest first, so that all cores end together
    return sorted(out, key=lambda section: -section.minutes)


def has_long(benchmark: str) -> bool:
    """Whether a script has claims that take longer; read, not imported, since an import takes seconds."""
    return "def measured_long(" in (PAGE.parent / f"{benchmark}.py").read_text(encoding="utf-8")


def together(sections: Sequence[Section], out: Path, limit: int | None, side_by_side: int) -> list[str]:
    """Measure sections side by side; the names of those that were not."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
    with ProcessPoolExecutor(side_by_side, mp_context=context) as pool:
        done = list(pool.map(one, sections, [out] * len(sections), [limit] * len(sections)))
    return [section.name for section, there in zip(sections, done, strict=True) if not there]


def one(section: Section, out: Path, limit: int | None) -> bool:
    """Measure one, whatever becomes of the others."""
    try:
        return made(section, out, limit)
    except Exception as error:  # the other systems are to be measured all the same
        say(f"{section.name}: {type(error).__name__}: {error}")
        return False


def written(keys: Sequence[str], out: Path, limit: int | None) -> None:
    """Put what was measured into the page and beside the systems' files, and say a line of each claim."""
    tables = {}
    for key in keys:
        if not (out / f"{key}.json").exists():
            continue
        found = joined(read(out / f"{key}.json"), read(out / f"{key}{LONG}.json"), shown(key))
        tables[key] = lines(found)
        if limit is None:
            write_json(FOLDER / f"{key}.json", found)
        say(f"{System.load(key).name}: {verdict(found['claims'])}")
        for claim in found["claims"]:
            say(f"  {claim['verdict']:>9}  {claim['says']}: {claim['figure']}")
    page = PAGE if limit is None else out / PAGE.name
    write_text(page, results_page.rewritten(PAGE.read_text(encoding="utf-8"), tables))
    if limit is None:
        house = HOUSE.read_text(encoding="utf-8")
        write_text(HOUSE, results_page.rewritten(house, {"systems": matrix(rows())}))


def joined(short: Found, long: Found, before: Found) -> dict[str, Any]:
    """What was measured now; claims that take long, and their table, stay as they were until they are measured again."""
    later = long or {**before, "claims": [claim for claim in before["claims"] if claim.get("long")]}
    claims = [*short["claims"], *({**claim, "long": True} for claim in later["claims"])]
    return {"claims": claims, **({"table": later["table"]} if "table" in later else {})}


def read(path: Path) -> dict[str, Any]:
    """What a script left; nothing where it did not."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


if __name__ == "__main__":
    sys.exit(main())
