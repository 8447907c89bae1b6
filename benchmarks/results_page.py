"""A page of prose with tables between markers: a command rewrites the tables, a person the prose.

<!-- table: name -->
...
<!-- /table -->
"""

import re
from collections.abc import Mapping, Sequence

from brainfm.errors import BrainfmError

TABLE = re.compile(r"<!-- table: (?P<name>\w+) -->\n(?P<inside>.*?)<!-- /table -->", re.DOTALL)
VERDICT = re.compile(r"^\*\*Verdict.*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)


def tables(page: str) -> dict[str, str]:
    """What stands between the markers of each name. Raises `BrainfmError` where a marker has no end, or a name stands twice."""
    found = [(one["name"], one["inside"]) for one in TABLE.finditer(page)]
    begun, ended = page.count("<!-- table: "), page.count("<!-- /table -->")
    if not begun == ended == len(found):
        raise BrainfmError(
            f"the page has {begun} beginnings of tables and {ended} ends; each <!-- table: NAME --> needs one <!-- /table -->"
        )
    names = [name for name, _ in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BrainfmError(f"the page has two tables called {twice[0]}; give each a name of its own")
    return dict(found)


def rewritten(page: str, made: Mapping[str, Sequence[str]]) -> str:
    """The page with these tables, and every other letter as it was. Raises `BrainfmError` for a table that has no place."""
    if lacking := sorted(made.keys() - tables(page).keys()):
        raise BrainfmError(f"the page has no place for {lacking[0]}; put <!-- table: {lacking[0]} --> there")

    def put(found: re.Match[str]) -> str:
        if found["name"] not in made:
            return found[0]
        inside = "\n".join(made[found["name"]]).strip()
        return f"<!-- table: {found['name']} -->\n{inside}\n<!-- /table -->"

    return TABLE.sub(put, page)


def to_read_again(before: str, after: str) -> list[str]:
    """What the change of tables leaves to a person: each heading whose numbers changed, with the verdict that stands there."""
    old = tables(before)
    changed = {name for name, inside in tables(after).items() if inside != old.get(name)}
    out = []
    for section in re.split(r"(?m)^(?=## )", after):
        names = [one["name"] for one in TABLE.finditer(section) if one["name"] in changed]
        if names:
            heading = section.partition("\n")[0].lstrip("# ")
            said = VERDICT.search(section)
            words = " ".join(said[0].split()) if said else "no verdict stands there"
            out.append(f"{heading} ({', '.join(names)}): {words}")
    return out
