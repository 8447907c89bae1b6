"""How a report looks: its colours in light and dark, a marker for each family of rows, figures as inline SVG.

matplotlib draws with the light palette; `inline_svg` then swaps each palette colour for a CSS variable:
one picture serves light, dark and print.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PALETTE: dict[str, tuple[str, str]] = {
    "paper": ("#fdfcfa", "#15181b"),
    "ink": ("#1d2125", "#e8e6e1"),
    "muted": ("#5b646d", "#9aa4ae"),
    "rule": ("#e2dfd9", "#30363c"),
    "shade": ("#efe6cf", "#3a3424"),
    "alarm": ("#a3261a", "#ff8d7f"),
    "chance": ("#565c62", "#b4bfc9"),
    "shuffled": ("#565c63", "#b4bfca"),
    "untrained": ("#b3850e", "#ebbd1f"),
    "classical": ("#089e5e", "#2ccf86"),
    "scratch": ("#76318d", "#8a66c0"),
    "frozen": ("#0a62d0", "#2f86ff"),
    "lora": ("#e05aa3", "#b3668a"),
    "finetuned": ("#9c3310", "#e2562c"),
    "other": ("#4d545b", "#b9c1c9"),
}
"""CSS variable -> (light, dark). No two entries share a light colour.

In simulated protan, deutan and tritan vision (Machado, Oliveira & Fernandes 2009, severity 1) any two are
at least 20 apart in CIELAB; each family has a marker of its own as well, so colour never stands alone."""

MARKERS = {
    "chance": "M0,-6V6",
    "shuffled": "M-4,-4L4,4M-4,4L4,-4",
    "untrained": "M-5,0a5,5 0 1 0 10,0a5,5 0 1 0 -10,0Z",
    "classical": "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "scratch": "M0,-6.2L6.2,0L0,6.2L-6.2,0Z",
    "frozen": "M-5.4,0a5.4,5.4 0 1 0 10.8,0a5.4,5.4 0 1 0 -10.8,0Z",
    "lora": "M0,-6L5.6,4.4H-5.6Z",
    "finetuned": "M0,-6.2L6.2,0L0,6.2L-6.2,0Z",
    "other": "M0,6L5.6,-4.4H-5.6Z",
}
"""A path in pixels around the score, by family; untrained and scratch (nothing pretrained) are hollow."""

STYLE: Any = {
    "font.size": 9.0,
    "axes.edgecolor": PALETTE["muted"][0],
    "axes.labelcolor": PALETTE["muted"][0],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlecolor": PALETTE["ink"][0],
    "axes.titlesize": 9.5,
    "xtick.color": PALETTE["muted"][0],
    "ytick.color": PALETTE["muted"][0],
    "text.color": PALETTE["ink"][0],
    "text.parse_math": False,  # a sensor may be called "$x"
    "axes.formatter.useoffset": False,
    "path.simplify": True,
    "svg.fonttype": "none",  # real text: it takes the page's font, can be searched and read aloud
    "svg.hashsalt": "brainfm",  # the same numbers give the same bytes
}


@dataclass(frozen=True)
class Picture:
    """An inline SVG and the line below it."""

    svg: Markup
    caption: str = ""


@dataclass(frozen=True)
class Scale:
    """A horizontal axis from the first tick to the last; `at` gives a place in percent of its width."""

    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], room: int = 4) -> "Scale":
        """The round axis that holds every finite value; `room` is about how many intervals it has."""
        finite = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        pad = 0.02 * (high - low) or 0.05
        ticks = MaxNLocator(nbins=room, steps=[1, 2, 2.5, 5, 10]).tick_values(low - pad, high + pad)
        return cls(tuple(round(float(tick), 10) for tick in ticks))

    def share(self, value: float) -> float:
        """Where `value` lies, from 0 (first tick) to 1 (last)."""
        return (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])

    def word(self, tick: float) -> str:
        """A tick as short as it can be said: `0.5`, `−0.05`."""
        return f"{tick:g}".replace("-", "−")

    def at(self, value: float) -> str:
        """The place in percent, with a margin so that a marker at the edge is whole."""
        return f"{4 + 92 * self.share(value):.2f}%"


def colour(name: str) -> str:
    """The light colour of a palette entry, which `inline_svg` turns into its CSS variable."""
    return PALETTE[name][0]


def inline_svg(figure: Figure, alt: str) -> Markup:
    """The figure as SVG to stand inside a page: labelled, in the page's colours, without ids that clash."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    root = ElementTree.fromstring(text[text.index("<svg") :])
    _drop(root, {"metadata", "style"})
    for element in root.iter():
        _adopt(element)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # ElementTree escapes names and labels


def _adopt(element: ElementTree.Element) -> None:
    """Drop namespaces and generated ids, shorten coordinates, name the palette's colours by CSS variable."""
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    if re.fullmatch(r"[A-Za-z0-9]+_\d+", element.get("id", "")):
        del element.attrib["id"]
    if "d" in element.attrib:
        element.set("d", re.sub(r"-?\d+\.\d+", _short, element.attrib["d"]))
    if "style" in element.attrib:
        element.set("style", re.sub(r"#[0-9a-f]{6}", _variable, element.attrib["style"]))


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}"


def _variable(hex_colour: re.Match[str]) -> str:
    for name, (light, _) in PALETTE.items():
        if light == hex_colour[0]:
            return f"var(--{name})"
    return hex_colour[0]


def _drop(root: ElementTree.Element, tags: set[str]) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if (
                child.tag.rpartition("}")[2] in tags
            ):  # matplotlib's style is `* {...}`: it would reach the whole page
                parent.remove(child)
