"""A card in the words of others: Hugging Face's dataset card, and Croissant's JSON-LD."""

import json
import mimetypes
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal

from brainfm.data.cards import DataCard
from brainfm.data.download import RemoteFile
from brainfm.data.fetchers.url import Url
from brainfm.data.licences import licence, stated

Format = Literal["huggingface", "croissant"]

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""Croissant 1.0's own, from https://docs.mlcommons.org/croissant/docs/croissant-spec.html, appendix 1."""

SEMANTIC = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
"""Versions of three numbers, the only ones that Croissant takes: DANDI's have a date in them."""
TYPES = {".fif": "application/octet-stream", ".edf": "application/x-edf", ".nwb": "application/x-hdf5"}


def export(card: DataCard, form: Format) -> str:
    """The text of a card in another format."""
    if form == "huggingface":
        return huggingface(card)
    return json.dumps(croissant(card), indent=1, ensure_ascii=False) + "\n"


def huggingface(card: DataCard) -> str:
    """A README.md for a dataset repository: their front matter, then the facts and the card's prose.

    Fields by https://huggingface.co/docs/hub/datasets-cards.
    """
    known = licence(card.licence)
    matter: dict[str, Any] = {"pretty_name": card.title, "license": known.hub if known else "other"}
    if known is None:
        matter |= {"license_name": named(card), "license_link": where(card)}
    matter["tags"] = tags(card)
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in matter.items()]
    facts = [f"| {name} | {value} |" for name, value in told(card)]
    table = ["| | |", "|---|---|", *facts, ""]
    return "\n".join(["---", *lines, "---", "", *table, card.prose, "", *grounds(card)]) + "\n"


def named(card: DataCard) -> str:
    """A short name for terms that have no identifier."""
    return "owner-terms" if stated(card.licence) else "none-stated"


def where(card: DataCard) -> str:
    """Where the terms are, or who can tell them."""
    return (card.access.ask if card.access else None) or card.source


def tags(card: DataCard) -> list[str]:
    """What the Hub's search should find it under."""
    gate = [f"access:{card.access.kind}"] if card.access else []
    species = [card.species.lower().replace(" ", "-")] if card.species else []
    return ["neuroscience", "brain", card.modality, *species, *gate]


def told(card: DataCard) -> Iterator[tuple[str, str]]:
    """Every fact that the card states, under its name."""
    yield "modality", card.modality
    for name in ("licence", "consent", "use", "species", "device", "reference", "unit", "paradigm"):
        if value := getattr(card, name):
            yield name, str(value)
    if card.access:
        yield "access", card.access.kind + (f", ask at {card.access.ask}" if card.access.ask else "")
    for name, value in (card.facts.model_dump(exclude_unset=True) if card.facts else {}).items():
        if value not in (None, {}):
            yield (
                name,
                ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value),
            )
    for one in card.overlaps:
        yield f"shares {one.what} with {one.other}", one.why
    yield "source", card.source
    yield "citation", card.citation


def grounds(card: DataCard) -> list[str]:
    """Who says so, one line for each group of facts."""
    if not card.verified:
        return []
    lines = [
        f"- {', '.join(group.facts)}: {group.by}{f', {group.source}' if group.source else ''}"
        for group in card.verified
    ]
    return ["## Where the facts come from", "", *lines]


def croissant(card: DataCard) -> dict[str, Any]:
    """The card as Croissant 1.0, by https://docs.mlcommons.org/croissant/docs/croissant-spec.html.

    The files where the card knows them by hash, else the repository that holds them, else no distribution: what can't
    be pointed to with a checksum is not claimed.
    """
    known = licence(card.licence)
    described = f"{card.title}. {card.paradigm or ''}".strip()
    out: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.name,
        "description": described,
        "license": known.url if known else card.licence,
        "url": card.source if card.source.startswith("http") else f"urn:brainfm:{card.name}",
        "citeAs": card.citation,
        "keywords": tags(card),
        "isAccessibleForFree": card.access is None
        or card.access.kind in ("open", "registration", "agreement"),
    }
    if SEMANTIC.fullmatch(version := getattr(card.fetch, "version", None) or ""):
        out["version"] = version
    if card.consent:
        out["dataCollection"] = card.consent
    if card.use:
        out["usageInfo"] = card.use
    files = card.fetch.files if isinstance(card.fetch, Url) else []
    if files:
        out["distribution"] = [file_object(file) for file in files]
        out["recordSet"] = [listing(files)]
    elif card.fetch is not None and card.fetch.address:
        out["distribution"], out["recordSet"] = repository(card.fetch.address)
    return out


def file_object(file: RemoteFile) -> dict[str, Any]:
    """One file with the hash that it is known by."""
    checked = {"sha256": file.sha256} if file.sha256 else {"md5": file.md5}
    size = {} if file.bytes is None else {"contentSize": f"{file.bytes} B"}
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": PurePosixPath(file.path).name,
        "contentUrl": file.url,
        "encodingFormat": media_type(file.path),
        **size,
        **checked,
    }


def media_type(path: str) -> str:
    """What kind of file that is, in the words of the web."""
    suffix = PurePosixPath(path).suffix.lower()
    return TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def listing(files: list[RemoteFile]) -> dict[str, Any]:
    """The table of files: whose each is."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"files/{name}",
            "name": f"files/{name}",
            "description": words,
            "dataType": "sc:Text",
        }
        for name, words in (("path", "Inside the dataset's folder."), ("subject", "Whose recording it is."))
    ]
    rows = [{"files/path": file.path, "files/subject": file.subject or ""} for file in files]
    return {
        "@type": "cr:RecordSet",
        "@id": "files",
        "name": "files",
        "key": {"@id": "files/path"},
        "field": fields,
        "data": rows,
    }


def repository(address: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A git repository and the files in it, with their names as the one thing known of each."""
    held = {
        "@type": "cr:FileObject",
        "@id": "repository",
        "name": "repository",
        "contentUrl": address,
        "encodingFormat": "git+https",
        # a repository has no hash of its own; Croissant's own examples point to the issue that says so
        "sha256": "https://github.com/mlcommons/croissant/issues/80",
    }
    inside = {
        "@type": "cr:FileSet",
        "@id": "recordings",
        "name": "recordings",
        "containedIn": {"@id": "repository"},
        "encodingFormat": "application/octet-stream",
        "includes": "sub-*/**",
    }
    field = {
        "@type": "cr:Field",
        "@id": "files/path",
        "name": "files/path",
        "description": "Inside the repository.",
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": "recordings"}, "extract": {"fileProperty": "fullpath"}},
    }
    return [held, inside], [{"@type": "cr:RecordSet", "@id": "files", "name": "files", "field": [field]}]
