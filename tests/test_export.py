"""Cards in the words of others: Hugging Face's front matter, Croissant's JSON-LD."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from ruamel.yaml import YAML

from brainfm.data.cards import DataCard, list_cards
from brainfm.data.export import croissant, export
from brainfm.data.licences import KNOWN, licence, stated

CARDS = list_cards()
HUB = frozenset(
    ("apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "cc0-1.0", "odc-by", "odbl", "pddl", "other", "unknown")
    + ("cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0")
    + ("cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0")
)
"""Of https://huggingface.co/docs/hub/repositories-licenses, those that data carry."""


def front(text: str) -> dict[str, Any]:
    """The YAML of a dataset card, as any reader of YAML takes it."""
    start, matter, _ = text.split("---\n", 2)
    assert start == ""
    found = YAML(typ="safe", pure=True).load(matter)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", CARDS)
def test_a_dataset_card_carries_licence_facts_and_sources(name: str) -> None:
    card = DataCard.load(name)
    text = export(card, "huggingface")
    matter = front(text)
    assert matter["license"] in HUB and matter["pretty_name"] == card.title
    assert (matter["license"] == "other") == ("license_name" in matter) == ("license_link" in matter)
    assert card.modality in matter["tags"] and "neuroscience" in matter["tags"]
    assert card.prose in text and card.citation in text
    for group in card.verified:
        assert group.source is None or group.source in text
    for overlap in card.overlaps:
        assert f"shares {overlap.what} with {overlap.other}" in text


def test_licences_that_nobody_stated_are_not_made_up() -> None:
    assert licence("CC0-1.0") is KNOWN["CC0-1.0"] and licence("MIT, of the repository") is KNOWN["MIT"]
    assert licence("own terms") is None and stated("own terms, https://x")
    assert not any(map(stated, ("none stated, local evaluation only", "unknown, see https://x", "FILL IN")))
    assert front(export(DataCard.load("eeg_bci2_selfpaced"), "huggingface"))["license_name"] == "none-stated"
    nsd = front(export(DataCard.load("fmri_nsd"), "huggingface"))
    assert nsd["license"] == "other" and nsd["license_link"].startswith("https://")


def nodes(of: Any, kind: str) -> list[dict[str, Any]]:
    """Every node of a type, wherever it is nested."""
    inner = of.values() if isinstance(of, dict) else of if isinstance(of, list) else []
    here = [of] if isinstance(of, dict) and of.get("@type") == kind else []
    return here + [node for one in inner for node in nodes(one, kind)]


@pytest.mark.parametrize("name", CARDS)
def test_croissant_has_what_its_specification_asks(name: str) -> None:
    """Version 1.0: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, required properties."""
    card = DataCard.load(name)
    made = json.loads(export(card, "croissant"))
    assert made["@type"] == "sc:Dataset" and made["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert made["@context"]["cr"] == "http://mlcommons.org/croissant/"
    for key in ("name", "description", "license", "url", "citeAs"):
        assert made[key], key
    for file in nodes(made, "cr:FileObject"):
        assert file["contentUrl"].startswith(("https://", "http://")) and "/" in file["encodingFormat"] + "/"
        assert ("sha256" in file) != ("md5" in file), "a file is known by one hash"
    ids = [node["@id"] for kind in ("cr:FileObject", "cr:FileSet", "cr:Field") for node in nodes(made, kind)]
    assert len(ids) == len(set(ids))
    for field in nodes(made, "cr:Field"):
        assert "source" not in field or field["source"]["fileSet"]["@id"] in ids


def test_known_files_are_in_croissant_with_their_hashes() -> None:
    card = DataCard.load("meg_mne_sample")
    made = croissant(card)
    assert card.fetch is not None
    said = {(file["@id"], file.get("sha256") or file.get("md5")) for file in made["distribution"]}
    files = card.fetch.model_dump()["files"]
    assert said == {(file["path"], file["sha256"] or file["md5"]) for file in files} and len(said) == len(
        files
    )
    rows = made["recordSet"][0]["data"]
    assert [row["files/path"] for row in rows] == [file["path"] for file in files]
    assert {row["files/subject"] for row in rows} == {"01"}


def test_what_can_not_be_pointed_to_is_not_claimed() -> None:
    assert "distribution" not in croissant(DataCard.load("eeg_tueg"))
    (repository, inside) = croissant(DataCard.load("ieeg_podcast"))["distribution"]
    assert repository["contentUrl"] == "https://github.com/OpenNeuroDatasets/ds005574"
    assert inside["containedIn"] == {"@id": repository["@id"]}
    assert croissant(DataCard.load("ieeg_podcast"))["version"] == "1.0.2"
    assert "version" not in croissant(DataCard.load("ieeg_ajile12")), "0.220127.0436 is not of three numbers"


def test_the_command_writes_or_prints(tmp_path: Path) -> None:
    out = tmp_path / "croissant.json"
    result = tiny.brainfm("data", "export", "eeg_hbn_r1", "--as", "croissant", "--out", out)
    assert result.code == 0 and result.out.strip() == str(out)
    assert json.loads(out.read_text(encoding="utf-8"))["name"] == "eeg_hbn_r1"
    printed = tiny.brainfm("data", "export", "eeg_hbn_r1", "--as", "huggingface")
    assert printed.out == export(DataCard.load("eeg_hbn_r1"), "huggingface")
    whole = tiny.brainfm("data", "export", "eeg_hbn_r1", "--as", "croissant", "--json").json
    assert json.loads(whole["text"])["license"] == KNOWN["CC-BY-SA-4.0"].url
    assert tiny.brainfm("data", "export", "eeg_hbn_r1", "--as", "datalad").code != 0


def test_the_list_can_be_narrowed() -> None:
    def names(*words: str) -> list[str]:
        return [card["name"] for card in tiny.brainfm("data", "list", *words, "--json").json["cards"]]

    meg = names("--modality", "meg")
    assert "meg_things" in meg and all(DataCard.load(name).modality == "meg" for name in meg)
    gated = names("--access", "agreement")
    assert {"fmri_nsd", "meg_mous"} <= set(gated)
    assert names("--modality", "meg", "--access", "agreement") == [name for name in meg if name in gated]
    assert "'emg' is not known" in tiny.only_sentence(tiny.brainfm("data", "list", "--modality", "emg"))
    said = tiny.only_sentence(tiny.brainfm("data", "list", "--access", "closed"))
    assert "access 'closed' is not known" in said


def test_a_catalogue_card_is_checked_by_its_sources(tmp_path: Path) -> None:
    result = tiny.brainfm("data", "check", "fmri_nsd", "--json")
    assert result.code == 0 and result.json == {"card": "fmri_nsd", "ok": True, "problems": [], "counted": {}}
    assert "every fact of the card has a source" in tiny.brainfm("data", "check", "fmri_nsd").out
    text = (tiny.ROOT / "data_cards" / "fmri_nsd.md").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.md"
    wrong.write_text(text.replace("  subjects: 8\n", "  subjects: 8\n  hours: 300.0\n", 1), encoding="utf-8")
    result = tiny.brainfm("data", "check", wrong, "--json")
    assert result.code == 1 and [one["field"] for one in result.json["problems"]] == ["facts.hours"]
