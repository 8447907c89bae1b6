"""The pictures of a codec: signal and spectrum beside what its codes say, rate and distortion, how often codes occur, words."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from brainfm.codebook import Usage, correlations, spectral_errors, spectrum
from brainfm.palette import STYLE, Picture, colour, inline_svg

POINTS = 600
"""Samples of a row that are drawn: more than a picture has pixels says nothing."""


def reconstruction(name: str, held: NDArray[np.float64], told: NDArray[np.float64], sfreq: float) -> Picture:
    """One row over a window, (time,) twice: its signal and its amplitude spectrum side by side."""
    r, error = correlations(held[None], told[None])[0], spectral_errors(held[None], told[None])[0]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.9), layout="constrained")
        signal, spectra = figure.subplots(1, 2, width_ratios=(3, 2))
        seconds = np.arange(len(held)) / sfreq
        for values, hue, width in ((held, "muted", 0.9), (told, "frozen", 1.2)):
            signal.plot(seconds[:POINTS], values[:POINTS], color=colour(hue), lw=width)
            amplitude = spectrum(values[None])[0]
            hertz = np.arange(1, len(amplitude) + 1) * sfreq / len(values)
            spectra.plot(hertz, np.maximum(amplitude, 1e-3 * amplitude.max()), color=colour(hue), lw=width)
        signal.set_title(f"{name} · r {r:.2f}" if np.isfinite(r) else f"{name} · constant")
        signal.set_xlabel("seconds")
        signal.margins(x=0)
        spectra.set_title(f"spectral error {error:.2f}" if np.isfinite(error) else "no spectrum")
        spectra.set_xlabel("hertz")
        logarithmic(spectra)
        spectra.margins(x=0)
        return Picture(inline_svg(figure, f"{name}: signal and spectrum, and what the codes say of them"))


def amplitudes(
    name: str, held: NDArray[np.float64], told: NDArray[np.float64], seconds: float, sfreq: float
) -> Picture:
    """One row whose patches' amplitude spectra are coded, (patch · frequency,) twice; a patch lasts `seconds`.

    Its most changing frequency over the window, and the spectrum's mean over the patches, side by side.
    """
    r = correlations(held[None], told[None])[0]
    both = [values.reshape(-1, round(seconds * sfreq) // 2 + 1) for values in (held, told)]
    most = int(both[0].std(axis=0).argmax())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.9), layout="constrained")
        course, spectra = figure.subplots(1, 2, width_ratios=(3, 2))
        for values, hue, width in zip(both, ("muted", "frozen"), (0.9, 1.2), strict=True):
            course.plot(
                (np.arange(len(values)) + 0.5) * seconds, values[:, most], color=colour(hue), lw=width
            )
            hertz = np.arange(values.shape[1]) / seconds
            spectra.plot(hertz, values.mean(axis=0), color=colour(hue), lw=width)
        course.set_title(f"{name} · {most / seconds:g} Hz · r {r:.2f} over all frequencies")
        course.set_xlabel("seconds")
        spectra.set_xlabel("hertz")
        for axes in (course, spectra):
            axes.margins(x=0)
        return Picture(
            inline_svg(figure, f"{name}: amplitudes over the window, and what the codes say of them")
        )


def waveforms(
    words: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]], sfreq: float, title: str
) -> Picture:
    """The mean stretch of signal where each word occurs, (time,), and how far single ones lie from it, (time,)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.8), layout="constrained")
        row = figure.subplots(1, max(1, len(words)), sharey=True, squeeze=False)[0]
        for axes, (name, middle, spread) in zip(row, words, strict=False):
            seconds = np.arange(len(middle)) / sfreq
            for edge in (middle - spread, middle + spread):
                axes.plot(seconds, edge, color=colour("rule"), lw=0.8)
            axes.plot(seconds, middle, color=colour("frozen"), lw=1.2)
            axes.set_title(name)
            axes.set_xlabel("seconds")
            axes.margins(x=0)
        return Picture(inline_svg(figure, f"{title}: mean waveforms of its most telling words"), title)


def rate_distortion(points: Sequence[Mapping[str, float]]) -> Picture:
    """`bits_per_second` against `correlation` and `spectral_error`, one point for each size or depth."""
    rate = [one["bits_per_second"] for one in points]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 2.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, key, title in (
            (left, "correlation", "Correlation (1 is perfect)"),
            (right, "spectral_error", "Spectral error (0 is perfect)"),
        ):
            axes.plot(rate, [one[key] for one in points], color=colour("frozen"), marker="o", ms=4, lw=1.4)
            axes.set_title(title)
            axes.set_xlabel("bits per second and sensor")
            axes.margins(0.08)
        return Picture(
            inline_svg(
                figure, f"What {len(points)} rates from {rate[0]:.1f} to {rate[-1]:.1f} bits/s leave out"
            )
        )


def usage(counts: Sequence[NDArray[np.int64]]) -> Picture:
    """How often each code of each quantizer occurred, most frequent first."""
    hues = ("frozen", "finetuned", "classical", "lora", "scratch", "untrained", "other")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.3), layout="constrained")
        axes = figure.subplots()
        for number, one in enumerate(counts):
            share = np.sort(one)[::-1] / max(1, one.sum())
            used = share[share > 0]
            label = f"quantizer {number + 1}" if len(counts) > 1 else "codes"
            axes.plot(
                np.arange(1, len(used) + 1), used, color=colour(hues[number % len(hues)]), lw=1.5, label=label
            )
            axes.axhline(1 / len(one), color=colour("rule"), lw=1)
        logarithmic(axes)
        axes.set_xlim(0, max(len(one) for one in counts) + 1)
        axes.set_xlabel("code, most frequent first")
        axes.set_ylabel("share of the tokens")
        if len(counts) > 1:
            axes.legend(frameon=False, fontsize=8.5)
        dead = sum(Usage.of(one).dead for one in counts)
        caption = f"{dead} codes never occurred; the line is where all would be equally frequent."
        return Picture(inline_svg(figure, f"How often codes occur, {dead} never"), caption)


def logarithmic(axes: Axes) -> None:
    """A logarithmic axis whose numbers are plain words: the page draws no formulas."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
