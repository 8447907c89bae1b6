"""The report: everything given appears, escaped, whole or not at all, and a browser draws every picture."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from brainfm import pictures
from brainfm import report as report_module
from brainfm.errors import BrainfmError
from brainfm.palette import PALETTE, Scale
from brainfm.pictures import explained
from brainfm.report import (
    Losses,
    MaskMap,
    Reconstruction,
    Report,
    Texts,
    TokenMap,
    to_html,
    to_json,
    write_report,
)
from brainfm.scores import (
    FEWEST,
    Aside,
    Difference,
    Point,
    Row,
    Scores,
    family,
    interval_bar,
    overall,
    plain,
    table,
    verdict,
)

HOSTILE = '<script>alert("x")</script>'
NAMES = (
    "chance",
    "shuffled",
    "untrained",
    "classical:csp_lda",
    "classical:tangent_space",
    "scratch",
    "frozen",
    "lora",
    "finetuned",
)


def scores(gap: tuple[float, float, float] = (0.11, 0.07, 0.15), **changes: Any) -> Scores:
    rows = [
        Row(name, 0.5 + 0.03 * i, 0.45 + 0.03 * i, 0.55 + 0.03 * i, 240 + i, 3)
        for i, name in enumerate(NAMES)
    ]
    rows[0] = Row("chance", 0.5)
    made = Scores(
        card="two_fingers",
        split="CrossSubject: each subject is held out in turn",
        held_out=["S01", "S07"],
        metric="balanced accuracy",
        chance=0.5,
        rows=rows,
        differences=[Difference("frozen", "untrained", *gap, 240, 3)],
        unit="2 held-out subjects",
        contamination="Pretraining saw none of these recordings",
        per_group={"S01": {"frozen": 0.61, "untrained": 0.57}, "S07": {"frozen": 0.83, "untrained": 0.52}},
    )
    return replace(made, **changes)


def losses(steps: int = 50) -> Losses:
    return Losses(
        [
            {
                "step": i,
                "loss": 3 / i,
                "patches": 2 / i,
                "statistics": 1 / i,
                "gradient_norm": 1.0,
                "learning_rate": 1e-3,
            }
            for i in range(1, steps + 1)
        ]
    )


def reconstruction(rng: np.random.Generator, sensors: int = 6, times: int = 400) -> Reconstruction:
    signal = rng.normal(size=(sensors, times)).cumsum(axis=1)
    hidden = np.zeros(signal.shape, bool)
    hidden[:, times // 4 : times // 2] = True
    error = rng.normal(size=signal.shape) * np.arange(sensors)[:, None]
    names = [f"sensor {i}" for i in range(sensors)]
    return Reconstruction(np.arange(times) / 100, names, signal, signal + error, hidden, "V")


def mask_map(rng: np.random.Generator, sensors: int = 6, patches: int = 10) -> MaskMap:
    position = rng.normal(size=(sensors, 3))
    position *= 0.09 / np.linalg.norm(position, axis=1, keepdims=True)
    names = [f"sensor {i}" for i in range(sensors)]
    return MaskMap(names, position, rng.random((sensors, patches)) < 0.5, 0.2)


@pytest.fixture
def whole() -> Report:
    rng = np.random.default_rng(0)
    sections = [scores(), losses(), reconstruction(rng), mask_map(rng), Texts({"Recipe": "size: tiny"})]
    return Report(
        "Two fingers", sections, date="2026-01-02", seed=17, versions={"torch": "9.8.7"}, recipe_hash="c0ffee"
    )


def test_everything_given_appears(whole: Report) -> None:
    page = to_html(whole)
    words = [
        "Two fingers",
        "2026-01-02",
        "17",
        "9.8.7",
        "c0ffee",
        "size: tiny",
        "S01; S07",
        "240",
        "log scale",
    ]
    words += ["CrossSubject: each subject", "2 held-out subjects", "Pretraining saw none", "chance 0.50"]
    words += [
        "Frozen features beat the untrained network by 0.11 [0.07, 0.15] balanced accuracy",
        "frozen − untrained",
    ]
    words += ["patches", "statistics", "Learning rate", "R² 1.00", "sensor 3", "hidden share of the window"]
    assert [word for word in words if word not in page] == []
    for name in NAMES:
        assert f'class="mark {family(name)}"' in page


def test_only_what_is_given_appears() -> None:
    page = to_html(Report("Bare", [scores(differences=(), per_group={}, contamination="", unit="")]))
    absent = [
        "Paired difference",
        "Each subject",
        "Contamination",
        "Intervals",
        "Seed",
        "Versions",
        "Reconstruction",
    ]
    assert [word for word in absent if f">{word}" in page] == []


def test_the_page_stands_alone(whole: Report) -> None:
    page = to_html(whole)
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"|url\((?!#)[^)]*\)|@import|<script", page) == []
    assert page.count("<style") == 1  # a picture's own style would reach the whole page
    used = set(re.findall(r"var\(--([a-z]+)\)", page))
    assert used <= PALETTE.keys()
    # Every palette colour in a picture became a variable, or dark mode would keep the light one.
    body = page.partition("</style>")[2]
    assert [light for light, _ in PALETTE.values() if light in body] == []


def test_text_is_escaped_everywhere(whole: Report) -> None:
    rng = np.random.default_rng(1)
    sensor, mask = reconstruction(rng), mask_map(rng)
    sections = [
        scores(card=HOSTILE, split=HOSTILE, held_out=[HOSTILE], per_group={HOSTILE: {"frozen": 0.6}}),
        Losses([{"step": 1, "loss": 2.0, HOSTILE: 1.0}, {"step": 2, "loss": 1.0, HOSTILE: 0.5}]),
        replace(sensor, names=[HOSTILE + r"$\nosuch$"] * 6, unit=HOSTILE),
        replace(mask, names=[HOSTILE] * 6),
        Texts({HOSTILE: HOSTILE}),
    ]
    page = to_html(replace(whole, title=HOSTILE, sections=sections, versions={HOSTILE: HOSTILE}))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 15
    assert r"$\nosuch$" in page


def test_json_holds_the_table(whole: Report, tmp_path: Path) -> None:
    write_report(whole, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["scores"][0]
    given = scores()
    assert [row["name"] for row in found["rows"]] == list(NAMES)
    for row, expected in zip(found["rows"][1:], given.rows[1:], strict=True):
        assert row == vars(expected)
    assert found["rows"][0]["low"] is None  # chance has no interval
    assert found["differences"] == [{"name": "frozen − untrained", **plain(vars(given.differences[0]))}]
    assert found["held_out"] == ["S01", "S07"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for row in found["rows"]:
        assert f'<td class="score">{row["score"]:.2f}</td>' in page


def test_json_sums_up_the_pictures(whole: Report) -> None:
    found = to_json(whole)
    assert found["losses"] == [
        {"title": "", "steps": 50, "last_step": 50.0, "first_loss": 3.0, "last_loss": 0.06, "not_finite": 0}
    ]
    assert found["reconstructions"][0]["explained"]["sensor 0"] == 1.0
    assert set(found["masks"][0]["hidden_share"]) == {f"sensor {i}" for i in range(6)}


def test_the_same_report_gives_the_same_bytes(whole: Report) -> None:
    assert to_html(whole) == to_html(whole)


def test_a_large_report_stays_small() -> None:
    rng = np.random.default_rng(2)
    sections = [
        scores(per_group={f"S{i:03}": dict.fromkeys(NAMES, 0.6) for i in range(100)}),
        losses(20_000),
        reconstruction(rng, sensors=256, times=30_000),
        mask_map(rng, sensors=256, patches=300),
    ]
    assert len(to_html(Report("Large", sections)).encode()) < 500_000


def test_a_failure_leaves_the_old_report(
    whole: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(whole, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"report.html", "report.json"}
    write = Path.write_text

    def fail_at_the_page(path: Path, text: str, encoding: str) -> int:
        write(path, text[: len(text) // 2], encoding=encoding)
        if "html" in path.name:
            raise OSError("no space left on device")
        return len(text)

    monkeypatch.setattr(Path, "write_text", fail_at_the_page)
    with pytest.raises(OSError, match="no space"):
        write_report(replace(whole, title="Other"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failure_while_drawing_writes_nothing(
    whole: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no picture")

    monkeypatch.setattr(report_module.pictures, "mask_image", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        write_report(whole, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ((0.11, 0.07, 0.15), "Frozen features beat the untrained network by 0.11 [0.07, 0.15]"),
        ((-0.08, -0.12, -0.01), "Frozen features fall below the untrained network by 0.08 [−0.12, −0.01]"),
        (
            (0.02, -0.03, 0.06),
            "Frozen features can't be told from the untrained network: +0.02 [−0.03, 0.06]",
        ),
    ],
)
def test_the_verdict_says_which_side_of_zero(gap: tuple[float, float, float], words: str) -> None:
    sentence = verdict(scores(gap))
    assert sentence.startswith(words)
    assert (
        "the best classical baseline (tangent space) scores 0.62, frozen features 0.68, LoRA fine-tuning 0.71, fine-tuning 0.74; "
        "chance is 0.50." in sentence
    )


@pytest.mark.parametrize("units", [2, 4, 5])
def test_the_verdict_of_few_subjects_takes_no_side(units: int) -> None:
    found = scores((0.11, 0.07, 0.15))
    found = replace(found, differences=[replace(one, units=units) for one in found.differences])
    said = verdict(found)
    if units < FEWEST:
        assert said.startswith(
            f"Frozen features can't be told from the untrained network by {units} subjects, who are too few: +0.11 [0.07, 0.15]"
        )
        assert "beat" not in said
    else:
        assert said.startswith("Frozen features beat the untrained network by 0.11")


def test_the_verdict_names_contamination_and_counts_many() -> None:
    assert "Pretraining saw some" in verdict(scores(contaminated=True))
    gaps = {"a": (0.1, 0.05, 0.2), "b": (-0.1, -0.2, -0.05), "c": (0.1, -0.05, 0.2)}
    many = [scores(gap, card=card) for card, gap in gaps.items()]
    assert "in 1 of 3 evaluations, fall below it in 1, and can't be told from it in 1" in overall(many)
    assert overall([*many, many[0]]) == overall(many), "a card that is shown twice counts once"
    assert overall([many[0], many[0]]) == verdict(many[0])
    assert "Frozen features reach 0.68 [0.63, 0.73]" in verdict(scores(differences=()))


def test_a_contaminated_score_is_marked() -> None:
    assert 'class="alarm"' in to_html(Report("Seen", [scores(contaminated=True)]))
    assert 'class="alarm"' not in to_html(Report("Unseen", [scores()]))


def test_the_terminal_prints_the_rows() -> None:
    printed = table(scores())
    for row in scores().rows:
        line = next(line for line in printed.splitlines() if line.startswith(row.name))
        assert f"{row.score:.2f}" in line
        assert "●" in line
    assert "S01; S07" in printed
    assert "frozen − untrained" in printed


def test_the_interval_bar_is_in_proportion() -> None:
    assert interval_bar(Row("frozen", 0.5, 0.3, 0.7), 0.0, (0.0, 1.0), width=11) == "┊  ├─●─┤"
    assert interval_bar(Row("frozen", float("nan")), 0.5, (0.0, 1.0), width=11) == "     ┊"


def test_the_axis_holds_every_value() -> None:
    scale = Scale.over([0.5, 0.63, float("nan"), 0.81])
    assert scale.ticks[0] < 0.5 < 0.81 < scale.ticks[-1]
    assert 0 < scale.share(0.5) < scale.share(0.81) < 1
    assert len(Scale.over([0.5]).ticks) > 1


def test_reconstruction_shows_the_worst_as_well_as_the_best() -> None:
    shown = reconstruction(np.random.default_rng(3), sensors=40)
    quality = explained(shown.signal, shown.prediction, shown.hidden)
    assert quality[shown.shown[0]] == quality.max()
    assert quality[shown.shown[-1]] == quality.min()
    assert len(shown.shown) == 4


def test_nothing_hidden_is_no_score() -> None:
    signal = np.ones((2, 5))
    assert np.isnan(explained(signal, signal, np.zeros((2, 5), bool))).all()


def test_a_loss_that_was_not_finite_is_said() -> None:
    rows = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 0.5}]
    assert "1 of 3 steps had no finite loss" in to_html(Report("Gap", [Losses(rows)]))


def test_unlocated_sensors_are_counted() -> None:
    mask = mask_map(np.random.default_rng(4))
    some, none = mask.position.copy(), np.full_like(mask.position, np.nan)
    some[:2] = np.nan
    assert "2 sensors without a known place" in to_html(Report("Some", [replace(mask, position=some)]))
    assert "hidden share" not in to_html(Report("None", [replace(mask, position=none)]))


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(BrainfmError, match="two_fingers have no rows"):
        scores(rows=[])
    with pytest.raises(BrainfmError, match="no steps"):
        Losses([])
    with pytest.raises(BrainfmError, match=r"prediction has shape .*not \(sensor, time\)"):
        replace(reconstruction(rng), prediction=np.zeros((6, 3)))
    with pytest.raises(BrainfmError, match="the mask of 6 sensors"):
        replace(mask_map(rng), position=np.zeros((5, 3)))


def test_plain_makes_null_of_what_json_lacks() -> None:
    found = plain({"a": np.float32("nan"), "b": [np.int64(3), float("inf")], "c": (True, "x")})
    assert json.dumps(found, allow_nan=False) == '{"a": null, "b": [3, null], "c": [true, "x"]}'


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(one => one.open = true);
  const seen = [...document.querySelectorAll("body img, body svg:not(svg svg)")].map(one => {
    const box = one.getBoundingClientRect();
    const empty = one.tagName === "IMG" ? !one.naturalWidth : !one.childElementCount;
    return {empty: empty || !box.width || !box.height, named: !!(one.getAttribute("aria-label") || one.alt
      || one.getAttribute("aria-hidden") || one.closest("[aria-hidden]")), figure: !!one.closest("figure")};
  });
  const wide = document.documentElement.scrollWidth > innerWidth;
  document.documentElement.dataset.probe = JSON.stringify({seen, wide});
});
</script>"""


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    headless = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--v=0",
        "--no-first-run",
        *quiet,
    ]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [str(CHROMIUM), *headless, profile, *options, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: the report is not opened in a browser"
)
def test_a_browser_draws_every_picture_without_complaint(whole: Report, tmp_path: Path) -> None:
    page = write_report(whole, tmp_path)
    errors = [line for line in browse(page).stderr.splitlines() if "CONSOLE" in line]
    assert errors == []
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy = tmp_path / "probed.html"
    copy.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    found = re.search(r'data-probe="([^"]*)"', browse(copy, "--window-size=500,900").stdout)
    assert found is not None
    probe = json.loads(found[1].replace("&quot;", '"'))
    assert sum(one["figure"] for one in probe["seen"]) == 3 + 4 + 2
    assert len(probe["seen"]) > 3 + 4 + 2 + len(NAMES)
    assert [one for one in probe["seen"] if one["empty"] or not one["named"]] == []
    assert not probe["wide"]


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: the report is not opened in a browser"
)
def test_the_browser_check_sees_a_fault(tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text(
        "<script>missing()</script><img src='data:image/png;base64,AAAA'>" + PROBE, encoding="utf-8"
    )
    found = browse(page)
    assert "missing is not defined" in found.stderr
    assert "&quot;empty&quot;:true" in found.stdout


def test_tokens_that_say_alike_have_like_colours() -> None:
    rng = np.random.default_rng(0)
    embedding = np.concatenate([rng.normal(0, 0.01, (20, 16)), rng.normal(0, 0.01, (20, 16)) + np.eye(16)[3]])
    hue = pictures.hues(embedding)
    assert hue.shape == (40, 3) and hue.min() >= 0 and hue.max() <= 1
    apart = abs(hue[:20, 0].mean() - hue[20:, 0].mean())
    assert apart > 0.8 and max(hue[:20, 0].std(), hue[20:, 0].std()) < 0.1
    assert pictures.hues(np.ones((5, 16))).shape == (5, 3)  # tokens that all say the same have a colour too


def test_a_part_of_the_loss_that_begins_later_is_drawn() -> None:
    """Steps of several instruments have other parts: the first line of the log does not know them all."""
    rows = [
        {"step": 1, "loss": 2.0, "patches": 1.0},
        {"step": 2, "loss": 3.0, "patches": 1.0, "sources": 0.9},
    ]
    assert Losses(rows).part_names == ["patches", "sources"]


def token_map(regular: bool) -> TokenMap:
    """Four sensors, three rows of five tokens."""
    row = np.repeat(np.arange(3), 5)
    time = np.tile(np.arange(5) + 0.5, 3)
    counts = np.random.default_rng(0).poisson(0.5, (4, 50)).astype(float)
    embedding = np.random.default_rng(1).normal(size=(15, 8))
    return TokenMap(5.0, "abcd", counts, "xyz", time, row, embedding, regular, "A window")


@pytest.mark.parametrize("regular", [True, False])
def test_a_window_is_drawn_beside_its_tokens(regular: bool) -> None:
    report = Report("t", [token_map(regular)])
    page, (numbers,) = to_html(report), to_json(report)["tokens"]
    assert "What was recorded" in page and "Its tokens, encoded" in page
    assert numbers == {"title": "A window", "sensors": 4, "rows": 3, "tokens": 15}


def test_a_token_map_that_does_not_fit_is_refused() -> None:
    fine = token_map(True)
    with pytest.raises(BrainfmError, match="the picture of 15 tokens of 4 sensors"):
        replace(fine, time=fine.time[:3])


def test_tests_curves_and_asides_are_on_the_page_and_in_the_numbers() -> None:
    """What lies beside the main table: p and effect, a learning curve with its picture, clean rows, verdicts."""
    made = scores(
        differences=[Difference("frozen", "untrained", 0.11, 0.07, 0.15, 240, 3, 0.0312, 0.0624, 1.37, 5)],
        curve=[
            Point(n, Row(name, 0.5 + n / 50, 0.4, 0.9, 200, 3))
            for n in (1, 5)
            for name in ("frozen", "untrained")
        ],
        asides={
            "nuisance": Aside(
                "Nuisances alone", [Row("nuisance:mains hum", 0.61, 0.5, 0.7)], "kappa", 0.0, "No brain."
            )
        },
        exposure={"two_fingers/S01": "clean", "two_fingers/S07": "seen without labels"},
    )
    page, numbers = to_html(Report("Worth", [made])), to_json(Report("Worth", [made]))
    words = ["0.062", "+1.37", "5 windows per class", "1 window per class", "labelled windows per class"]
    words += [
        "Nuisances alone",
        "No brain.",
        "mains hum",
        "Kappa",
        "1 clean, 1 seen without labels",
        "sign flips",
    ]
    assert [word for word in words if word not in page] == []
    (found,) = numbers["scores"]
    assert found["differences"][0]["p_holm"] == 0.0624 and found["differences"][0]["units"] == 5
    assert found["curve"][0]["windows_per_class"] == 1 and found["curve"][0]["name"] == "frozen"
    assert found["asides"]["nuisance"]["rows"][0]["score"] == 0.61
    assert found["exposure"]["two_fingers/S01"] == "clean"
    text = table(made)
    for word in (
        "0.062",
        "+1.37",
        "5 labelled windows per class",
        "Nuisances alone (kappa)",
        "1 clean, 1 seen",
    ):
        assert word in text, word


def test_a_hostile_name_of_a_recording_or_a_row_stays_text() -> None:
    made = scores(
        exposure={HOSTILE: "clean"},
        asides={"x": Aside(HOSTILE, [Row(HOSTILE, 0.5)], "accuracy", 0.5, HOSTILE)},
    )
    assert HOSTILE not in to_html(Report("Hostile", [made]))


def test_several_cards_are_put_together_by_stouffer() -> None:
    several = [
        scores(
            card=name, differences=[Difference("frozen", "untrained", 0.1, 0.05, 0.2, 10, 1, p, p, 0.8, n)]
        )
        for name, p, n in (("a", 0.04, 4), ("b", 0.1, 9))
    ]
    numbers = to_json(Report("Both", several))
    z = (2 * norm.isf(0.04) + 3 * norm.isf(0.1)) / np.sqrt(13)
    assert numbers["together"]["p"] == pytest.approx(norm.sf(z)) and numbers["together"]["n"] == 13
    assert "Over all of them p = 0.021" in overall(several) and "Stouffer" in overall(several)
