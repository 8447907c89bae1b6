"""Licences of data: what a card may say, in SPDX's words, and where each is written down."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """A licence under two names, with its text's address."""

    spdx: str
    hub: str
    """The identifier that Hugging Face's data cards take; "other" where they know none."""
    url: str


def _creative(kind: str, version: str) -> Licence:
    name = f"CC-{kind}-{version}"
    return Licence(name, name.lower(), f"https://creativecommons.org/licenses/{kind.lower()}/{version}/")


KNOWN = {
    one.spdx: one
    for one in (
        Licence("CC0-1.0", "cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        *(_creative(kind, "4.0") for kind in ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND")),
        *(_creative(kind, "3.0") for kind in ("BY", "BY-SA")),
        Licence("ODC-By-1.0", "odc-by", "https://opendatacommons.org/licenses/by/1-0/"),
        Licence("ODbL-1.0", "odbl", "https://opendatacommons.org/licenses/odbl/1-0/"),
        Licence("PDDL-1.0", "pddl", "https://opendatacommons.org/licenses/pddl/1-0/"),
        Licence("MIT", "mit", "https://spdx.org/licenses/MIT.html"),
        Licence("BSD-3-Clause", "bsd-3-clause", "https://spdx.org/licenses/BSD-3-Clause.html"),
        Licence("GPL-3.0-only", "gpl-3.0", "https://spdx.org/licenses/GPL-3.0-only.html"),
        Licence("Apache-2.0", "apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"),
    )
}
"""By SPDX identifier (https://spdx.org/licenses); Hugging Face's from https://huggingface.co/docs/hub/repositories-licenses."""

UNSTATED = ("none", "unknown", "unstated", "fill in")
"""How a card begins to say that nobody gave a licence."""


def licence(text: str) -> Licence | None:
    """The licence that a card's `licence` begins with; None for the owner's own terms and where none is stated."""
    return KNOWN.get(text.partition(",")[0].strip())


def stated(text: str) -> bool:
    """Whether anybody gave a licence or terms at all."""
    return not text.lower().startswith(UNSTATED)
