"""The pictures of a report, drawn from plain arrays. Nothing here touches pyplot's global state."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from brainfm.palette import STYLE, Picture, colour, inline_svg

POINTS = 600
"""Points a line keeps at most: a picture is about 440 pixels wide."""


def losses(
    step: NDArray[np.float64],
    curves: Mapping[str, NDArray[np.float64]],
    learning_rate: NDArray[np.float64] | None = None,
) -> list[Picture]:
    """One picture each for the loss, its parts (unweighted) and the learning rate; arrays of shape (step,).

    `curves["loss"]` is the total. Thin lines are the steps, thick lines the running median.
    """
    parts = {name: values for name, values in curves.items() if name != "loss"}
    pictures = [_curves("Loss", step, {"loss": curves["loss"]})]
    if parts:
        pictures.append(_curves("Parts of the loss, unweighted", step, parts))
    if learning_rate is not None:
        pictures.append(_learning_rate(step, learning_rate))
    return pictures


def reconstruction(
    seconds: NDArray[np.float64],
    name: str,
    signal: NDArray[np.float64],
    prediction: NDArray[np.float64],
    hidden: NDArray[np.bool_],
    unit: str = "",
) -> Picture:
    """One sensor, all (time,): its signal, what was hidden (shaded), and the prediction there."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=1.7, width=4.2)
        for start, stop in _runs(hidden):
            axes.axvspan(seconds[start], seconds[min(stop, len(seconds) - 1)], color=colour("shade"), lw=0)
        axes.plot(*_thin(seconds, signal), color=colour("muted"), lw=0.8)
        axes.plot(*_thin(seconds, np.where(hidden, prediction, np.nan)), color=colour("frozen"), lw=1.5)
        axes.margins(x=0)
        axes.set_title(_quality(name, signal, prediction, hidden))
        axes.set_xlabel("seconds")
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(EngFormatter(unit=unit, sep=" " if unit else ""))
        share = f"{100 * hidden.mean():.0f} % of the window hidden"
        return Picture(inline_svg(figure, f"Sensor {name}: signal and prediction, {share}"))


def explained(
    signal: NDArray[np.float64], prediction: NDArray[np.float64], hidden: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """R² of each sensor over its hidden samples: (sensor, time) -> (sensor,), NaN where nothing was hidden.

    The reference is the sensor's mean over the same samples: 0 is no better than a flat line, 1 is perfect.
    """
    count = hidden.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(hidden, signal, 0).sum(axis=1, keepdims=True) / count
        error = np.where(hidden, (signal - prediction) ** 2, 0).sum(axis=1)
        spread = np.where(hidden, (signal - mean) ** 2, 0).sum(axis=1)
        return np.asarray(np.where(spread > 0, 1 - error / spread, np.nan))


def sensor_map(
    names: Sequence[str], position: NDArray[np.float64], share: NDArray[np.float64], head: bool = True
) -> Picture:
    """The head from above, nose up, each sensor coloured by the share of the window in which it was hidden.

    `position` is (sensor, 3) in metres (x right, y front, z up), NaN where unknown; `share` is (sensor,).
    `head=False` draws no outline: for a frame that is not a human head's.
    """
    known = np.isfinite(position).all(axis=1)
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=4.0)
        axes.set_aspect("equal")
        axes.axis("off")
        if head:
            _outline(axes, position[known])
        order = np.argsort(position[known, 2])  # what is higher on the head lies on top
        x, y = 100 * position[known][order, :2].T
        size = float(np.clip(4200 / max(len(x), 1), 12, 95))
        dots = axes.scatter(x, y, c=share[known][order], s=size, vmin=0, vmax=1, cmap="viridis")
        dots.set(edgecolors=colour("ink"), linewidths=0.6)
        if known.sum() <= 40:
            _label(axes, [names[row] for row in np.flatnonzero(known)[order]], x, y)
        bar = figure.colorbar(dots, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02, aspect=32)
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25", "50", "75", "100 %"])
        bar.set_label("hidden share of the window")
        alt = f"Head from above with {known.sum()} sensors, coloured by how much of the window was hidden"
        return Picture(inline_svg(figure, alt), _unlocated(int((~known).sum())))


def mask_image(
    names: Sequence[str],
    position: NDArray[np.float64],
    hidden: NDArray[np.bool_],
    patch_seconds: float | None = None,
) -> Picture:
    """Which patches were hidden, (sensor, patch): rows from front to back, sensors without a place last."""
    order = np.lexsort((position[:, 0], -position[:, 1]))
    width = hidden.shape[1] * (patch_seconds or 1)
    # A raster keeps its colours, so these read on light and on dark.
    rgba = np.where(hidden[order, :, None], (*to_rgb("#2f86c4"), 1), (*to_rgb("#808890"), 0.13))
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=4.0)
        axes.imshow(rgba, aspect="auto", interpolation="none", extent=(0, width, len(names) - 0.5, -0.5))
        every = -(-len(names) // 24)
        rows = range(0, len(names), every)
        axes.set_yticks(list(rows), labels=[names[order[row]] for row in rows], fontsize=7.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("seconds" if patch_seconds else "patch")
        axes.spines[["left", "bottom"]].set_visible(False)
        alt = f"Mask of {len(names)} sensors by {hidden.shape[1]} patches, {100 * hidden.mean():.0f} % hidden"
        caption = f"{100 * hidden.mean():.0f} % of the patches hidden (filled)"
        caption += ". Sensors from front to back" if np.isfinite(position).any() else ""
        return Picture(inline_svg(figure, alt), caption + (f", one in {every} named." if every > 1 else "."))


def signal_image(seconds: float, names: Sequence[str], signal: NDArray[np.float64], events: bool) -> Picture:
    """A window as it was recorded: (sensor, time) as an image, or one mark for every event that it counts."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=3.2)
        if events:
            row, time = np.nonzero(signal)
            at = (time + 0.5) * seconds / signal.shape[1]
            axes.scatter(at, row, marker="|", s=14, lw=0.7, color=colour("ink"), rasterized=True)
            axes.set(xlim=(0, seconds), ylim=(len(names) - 0.5, -0.5))
        else:
            scale = float(np.percentile(np.abs(signal), 98)) or 1.0
            image = signal[:, _columns(signal.shape[1])]
            extent = (0, seconds, len(names) - 0.5, -0.5)
            counts = bool((signal >= 0).all())
            look: dict[str, Any] = (
                {"cmap": "Greys", "vmin": 0} if counts else {"cmap": "RdBu_r", "vmin": -scale}
            )
            axes.imshow(image, aspect="auto", vmax=scale, extent=extent, **look)
        _rows(axes, names)
        axes.set_title("What was recorded")
        alt = f"A window of {len(names)} sensors and {seconds:g} seconds"
        return Picture(inline_svg(figure, alt), f"{len(names)} sensors, {seconds:g} s.")


def token_image(
    seconds: float,
    names: Sequence[str],
    time: NDArray[np.float64],
    row: NDArray[np.int64],
    hue: NDArray[np.float64],
    regular: bool,
) -> Picture:
    """The tokens of the same window, each where it belongs in time and row, in colours `hue` (token, 3) from 0 to 1."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=3.2)
        if regular:
            grid = hue[np.lexsort((time, row))].reshape(len(names), -1, 3)
            extent = (0, seconds, len(names) - 0.5, -0.5)
            axes.imshow(grid, aspect="auto", interpolation="none", extent=extent)
        else:
            axes.scatter(time, row, c=hue, s=9, lw=0, rasterized=True)
            axes.set(xlim=(0, seconds), ylim=(len(names) - 0.5, -0.5))
        _rows(axes, names)
        axes.set_title("Its tokens, encoded")
        count = f"{len(time)} tokens"
        return Picture(
            inline_svg(figure, f"{count} in {len(names)} rows, like ones in like colours"),
            f"{count} in {len(names)} rows: what the encoder says alike has like colours (three principal components).",
        )


def hues(embedding: NDArray[np.float64]) -> NDArray[np.float64]:
    """(token, width) -> (token, 3) from 0 to 1: the first three principal components, each stretched over its range."""
    centred = embedding - embedding.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:3]
    axes *= np.sign(axes.sum(axis=1, keepdims=True)) + (axes.sum(axis=1, keepdims=True) == 0)
    values = np.pad(centred @ axes.T, ((0, 0), (0, 3 - len(axes))))
    low, high = np.percentile(values, [2, 98], axis=0)
    return np.asarray(((values - low) / np.maximum(high - low, 1e-12)).clip(0, 1))


def comparison(
    x: NDArray[np.float64], lines: Mapping[str, NDArray[np.float64]], x_label: str, y_label: str
) -> Picture:
    """Two or more lines over the same few values of x, (x,) each, up to 1."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=2.8)
        hues_ = ("frozen", "classical", "finetuned", "other")
        for hue, marker, (name, values) in zip(hues_, "osD^", lines.items(), strict=False):
            axes.plot(x, values, color=colour(hue), marker=marker, ms=4.5, lw=1.5, label=name)
        axes.set_xticks(x)
        axes.set_ylim(top=1)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.legend(frameon=False)
        ends = ", ".join(f"{name} from {values[0]:.2f} to {values[-1]:.2f}" for name, values in lines.items())
        return Picture(inline_svg(figure, f"{y_label} against {x_label}: {ends}"))


def learning_curve(
    counts: Sequence[int],
    lines: Mapping[str, NDArray[np.float64]],
    hues: Mapping[str, str],
    chance: float,
    y_label: str,
) -> Picture:
    """Scores against labelled windows per class: each line (count, 3) is score, low and high; `hues` are palette entries."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=2.8)
        axes.axhline(chance, color=colour("muted"), lw=1, ls=(0, (2, 3)))
        for (name, values), marker in zip(lines.items(), "osD^vP*X" * len(lines), strict=False):
            score, low, high = values.T
            hue = colour(hues[name])
            axes.fill_between(counts, low, high, color=hue, alpha=0.13, lw=0)
            axes.plot(counts, score, color=hue, marker=marker, ms=4.5, lw=1.5, label=name.replace("_", " "))
        axes.set_xscale("log")
        axes.set_xticks(list(counts), labels=[str(count) for count in counts])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="labelled windows per class", ylabel=y_label)
        axes.legend(frameon=False, fontsize=8.5)
        ends = ", ".join(f"{name} from {_ends(values[:, 0])}" for name, values in lines.items())
        return Picture(
            inline_svg(figure, f"{y_label} against labelled windows per class: {ends}"),
            "Bands are 95 % intervals; the dashed line is chance.",
        )


def _columns(times: int) -> NDArray[np.int64]:
    """At most `POINTS` columns of an image, evenly spaced."""
    return np.linspace(0, times - 1, min(times, POINTS)).round().astype(np.int64)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of an image, as many as can be read."""
    every = -(-len(names) // 20)
    rows = range(0, len(names), every)
    axes.set_yticks(list(rows), labels=[names[row] for row in rows], fontsize=7.0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds")
    axes.spines[["left", "bottom"]].set_visible(False)


def _panel(height: float, width: float = 4.6) -> tuple[Figure, Axes]:
    """Inches as if at 96 pixels: the page shows it about that large, so 9 points stay readable on a phone."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _curves(title: str, step: NDArray[np.float64], curves: Mapping[str, NDArray[np.float64]]) -> Picture:
    hues = ("frozen", "finetuned", "classical", "lora", "scratch", "untrained", "other")
    span = max(1, len(step) // 40)
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=2.3, width=3.3)
        for hue, (name, values) in zip((hues * len(curves))[: len(curves)], curves.items(), strict=True):
            axes.plot(*_thin(step, values), color=colour(hue), lw=0.6, alpha=0.35)
            axes.plot(*_thin(step, _running_median(values, span)), color=colour(hue), lw=1.6, label=name)
        _log_where_it_helps(axes, np.concatenate(list(curves.values())))
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.margins(x=0.01)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=8.5)
        first_last = ", ".join(f"{name} from {_ends(values)}" for name, values in curves.items())
        return Picture(
            inline_svg(figure, f"{title} over {len(step)} steps: {first_last}"),
            f"Thick: running median of {span} steps." if span > 1 else "",
        )


def _learning_rate(step: NDArray[np.float64], values: NDArray[np.float64]) -> Picture:
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(height=2.3, width=3.3)
        axes.plot(*_thin(step, values), color=colour("other"), lw=1.4)
        axes.set_title("Learning rate")
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return Picture(
            inline_svg(figure, f"Learning rate over {len(step)} steps, at most {np.nanmax(values):g}")
        )


def _ends(values: NDArray[np.float64]) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite[0]:.3g} to {finite[-1]:.3g}" if len(finite) else "nothing finite"


def _log_where_it_helps(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic axis for positive values that span more than a factor of four."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() <= 0 or finite.max() < 4 * finite.min():
        return
    axes.set_yscale("log")
    wide = finite.max() > 100 * finite.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("log scale")


def _running_median(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    import pandas as pd

    return np.asarray(pd.Series(values).rolling(span, center=True, min_periods=1).median(), dtype=np.float64)


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `POINTS` points that keep every peak: the lowest and highest of each bin, and gaps (NaN)."""
    if len(x) <= POINTS:
        return x, y
    keep = set[int]()
    for rows in np.array_split(np.arange(len(x)), POINTS // 3):
        finite = rows[np.isfinite(y[rows])]
        keep |= set(rows[~np.isfinite(y[rows])][:1])
        keep |= {int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])} if len(finite) else set()
    order = sorted(keep)
    return x[order], y[order]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The stretches of True as (first, after the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _quality(
    name: str, signal: NDArray[np.float64], prediction: NDArray[np.float64], hidden: NDArray[np.bool_]
) -> str:
    score = explained(signal[None], prediction[None], hidden[None])[0]
    words = f"{score:.2f}".replace("-", "−")
    return f"{name} · R² {words} where hidden" if np.isfinite(score) else name


def _outline(axes: Axes, position: NDArray[np.float64]) -> None:
    """Head, nose and ears in centimetres, around the sensors and never smaller than an adult's."""
    y = 100 * position[:, 1] if len(position) else np.zeros(1)
    middle = (y.max() + y.min()) / 2 if np.ptp(y) > 12 else -1.5
    width, length = 7.8, 9.4
    if len(position):  # around the outermost sensor in every direction
        x = 100 * position[:, 0]
        grow = max(1.0, 1.06 * float(np.hypot(x / width, (y - middle) / length).max()))
        width, length = grow * width, grow * length
    line: dict[str, Any] = {"color": colour("muted"), "lw": 1.1, "zorder": 0}
    axes.plot([-1.3, 0, 1.3], middle + length * np.array([0.985, 1.13, 0.985]), **line)
    for side in (-1, 1):
        ear = Ellipse((side * width, middle), 1.5, 4.2, fill=False, ec=colour("muted"), lw=1.1, zorder=-1)
        axes.add_patch(ear)
    skull = Ellipse(
        (0, middle), 2 * width, 2 * length, fc=colour("paper"), ec=colour("muted"), lw=1.1, zorder=0
    )
    axes.add_patch(skull)
    axes.set_xlim(-width - 1, width + 1)
    axes.set_ylim(middle - length - 0.4, middle + 1.15 * length)


def _label(axes: Axes, names: Sequence[str], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    place: dict[str, Any] = {"xytext": (0, -6), "textcoords": "offset points", "ha": "center", "va": "top"}
    for name, left, bottom in zip(names, x, y, strict=True):
        axes.annotate(name, (left, bottom), fontsize=7, **place)


def _unlocated(count: int) -> str:
    if not count:
        return "Seen from above, nose up."
    return f"Seen from above, nose up. {count} sensor{'s' * (count > 1)} without a known place not drawn."
