"""Tests over subjects: exact where that can be done by hand, scipy's where it can't, and Holm's correction."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brainfm.significance import Paired, holm, paired_test, stouffer

RNG = 7


def compared(a: np.ndarray, b: np.ndarray) -> Paired:
    return paired_test(a, b, np.random.default_rng(RNG))


@pytest.mark.parametrize("n", [2, 4, 9, 13])
def test_up_to_thirteen_subjects_every_flip_is_made(n: int) -> None:
    gap = np.random.default_rng(n).normal(0.3, 1, n)
    flipped = np.array([np.mean(gap * signs) for signs in product([-1, 1], repeat=n)])
    assert compared(gap, np.zeros(n)).p == pytest.approx(np.mean(flipped >= gap.mean() - 1e-12))


def test_four_subjects_can_not_be_surer_than_one_in_sixteen() -> None:
    found = compared(np.array([0.8, 0.7, 0.9, 0.6]), np.array([0.5, 0.5, 0.5, 0.5]))
    assert found.p == pytest.approx(1 / 16)
    assert found.effect == pytest.approx(0.25 / np.std([0.3, 0.2, 0.4, 0.1], ddof=1))
    assert found.n == 4


def test_between_fourteen_and_nineteen_flips_are_drawn() -> None:
    gap = np.random.default_rng(0).normal(0.3, 1, 16)
    exact = stats.permutation_test(
        (gap,), lambda x, axis: x.mean(axis), permutation_type="samples", alternative="greater",
        n_resamples=np.inf, vectorized=True,
    ).pvalue  # fmt: skip
    assert compared(gap, np.zeros(16)).p == pytest.approx(exact, abs=0.02)
    assert compared(gap, np.zeros(16)) == compared(gap, np.zeros(16))


def test_from_twenty_subjects_on_it_is_wilcoxons() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.2, 1, 24), rng.normal(0, 1, 24)
    assert compared(a, b).p == pytest.approx(stats.wilcoxon(a, b, alternative="greater").pvalue)
    assert compared(a, b).p + compared(b, a).p == pytest.approx(1, abs=0.02)
    assert compared(a, a).p == 0.5 and compared(a, a).effect == 0


def test_worse_is_no_evidence_and_p_stays_inside() -> None:
    worse = compared(np.full(6, 0.4), np.full(6, 0.6))
    assert 0.9 < worse.p < 1 and worse.effect == -np.inf
    assert np.isnan(compared(np.array([0.7]), np.array([0.5])).p)


def test_holm_on_fixed_numbers() -> None:
    """The example of Holm 1979 as R's `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` answers it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.01, np.nan, 0.5])
    assert corrected[0] == pytest.approx(0.02) and np.isnan(corrected[1]) and corrected[2] == 0.5
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_stouffer_weighs_by_the_root_of_subjects() -> None:
    several = [Paired(0.01, 0.8, 4), Paired(0.2, 0.3, 16), Paired(np.nan, np.nan, 1)]
    z = (2 * stats.norm.isf(0.01) + 4 * stats.norm.isf(0.2)) / np.sqrt(4 + 16)
    found = stouffer(several)
    assert found.p == pytest.approx(stats.norm.sf(z))
    assert found.effect == pytest.approx((2 * 0.8 + 4 * 0.3) / 6) and found.n == 20
    assert stouffer(several[:1]).p == 0.01
    assert np.isnan(stouffer([]).p)


def test_nothing_is_found_where_there_is_nothing() -> None:
    """Under the null a one-sided p is below 0.1 in about every tenth study."""
    rng = np.random.default_rng(3)
    found = [compared(rng.normal(size=9), rng.normal(size=9)).p for _ in range(200)]
    assert 0.05 < np.mean(np.array(found) < 0.1) < 0.15


def made_up(dataset: str, n: int) -> pd.DataFrame:
    """Scores of two pipelines on so many subjects, as MOABB keeps them."""
    rng = np.random.default_rng(n)
    scores = {"a": rng.uniform(0.5, 0.9, n), "b": rng.uniform(0.45, 0.85, n)}
    rows = [
        (dataset, name, f"{who:02d}", one) for name, all_ in scores.items() for who, one in enumerate(all_)
    ]
    return pd.DataFrame(rows, columns=["dataset", "pipeline", "subject", "score"])


def scores_of(table: pd.DataFrame, pipeline: str) -> np.ndarray:
    return table[table.pipeline == pipeline].score.to_numpy()


@pytest.mark.parametrize(("n", "within"), [(4, 1e-9), (9, 1e-9), (13, 1e-9), (16, 0.02), (24, 0.003)])
def test_moabb_finds_the_same(n: int, within: float, moabb: Any) -> None:
    """All flips, flips drawn at random, and signed ranks, where MOABB halves a two-sided p: one rank sum more or less."""
    from moabb.analysis import meta_analysis

    table = made_up("one", n)
    theirs = meta_analysis.compute_dataset_statistics(table).set_index(["pipe1", "pipe2"])
    for better, worse in (("a", "b"), ("b", "a")):
        ours = compared(scores_of(table, better), scores_of(table, worse))
        row = theirs.loc[(better, worse)]
        assert ours.p == pytest.approx(row.p, abs=within)
        assert ours.effect == pytest.approx(row.smd) and ours.n == row.nsub


def test_moabb_joins_datasets_as_we_do(moabb: Any) -> None:
    """Named in the order of the alphabet: else MOABB weighs each by the subjects of another."""
    from moabb.analysis import meta_analysis

    tables = [made_up("a", 6), made_up("b", 11), made_up("c", 25)]
    each = meta_analysis.compute_dataset_statistics(pd.concat(tables))
    p, effect = meta_analysis.find_significant_differences(each)
    ours = stouffer([compared(scores_of(one, "a"), scores_of(one, "b")) for one in tables])
    assert ours.p == pytest.approx(p.loc["a", "b"])
    assert ours.effect == pytest.approx(effect.loc["a", "b"]) and ours.n == 42
