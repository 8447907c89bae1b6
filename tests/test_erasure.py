"""Erasure: nothing linear is left of the concept, the rest is, and no more is changed than must be."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from brainfm.erasure import Eraser


def data(n: int, width: int, concepts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlated features with a concept in several directions and a label in one that leans on the concept's."""
    rng = np.random.default_rng([n, width, concepts])
    concept, label = rng.integers(concepts, size=n), rng.integers(2, size=n)
    mixed = rng.normal(size=(n, width)) @ (np.eye(width) + 0.3 * rng.normal(size=(width, width)))
    told = 2.0 * rng.normal(size=(concepts, width))[concept]
    return (mixed + told + np.outer(label, 3 * rng.normal(size=width))).astype(np.float32), concept, label


@pytest.mark.parametrize(("n", "width", "concepts"), [(400, 12, 2), (400, 12, 5), (60, 200, 4)])
def test_nothing_linear_is_left_of_the_concept(n: int, width: int, concepts: int) -> None:
    features, concept, label = data(n, width, concepts)
    erased = Eraser.fit(features, concept)(features)
    one_hot = np.eye(concepts)[concept]
    covariance = (erased - erased.mean(axis=0)).T @ (one_hot - one_hot.mean(axis=0)) / n
    before = (features - features.mean(axis=0)).T @ (one_hot - one_hot.mean(axis=0)) / n
    assert np.abs(covariance).max() < 1e-4 * np.abs(before).max()
    told = LogisticRegression(max_iter=2000, C=1.0).fit(erased, concept)
    constant = np.bincount(concept) / n
    np.testing.assert_allclose(told.predict_proba(erased), np.tile(constant, (n, 1)), atol=0.02)
    assert LogisticRegression(max_iter=2000).fit(features, concept).score(features, concept) > 0.9
    assert LogisticRegression(max_iter=2000).fit(erased, label).score(erased, label) > 0.9, "the label stays"


def test_less_is_changed_than_by_leaving_out_the_directions_that_covary() -> None:
    features, concept, _ = data(400, 12, 3)
    centred = features - features.mean(axis=0)
    axes = np.linalg.qr(centred.T @ (np.eye(3)[concept] - np.eye(3)[concept].mean(axis=0)))[0][:, :2]
    projected = features - centred @ axes @ axes.T
    least = np.square(Eraser.fit(features, concept)(features) - features).sum()
    assert 0 < least < 0.999 * np.square(projected - features).sum()


def test_one_concept_alone_and_constant_features_change_nothing() -> None:
    features, _, _ = data(50, 6, 2)
    np.testing.assert_allclose(Eraser.fit(features, np.zeros(50, int))(features), features, atol=1e-5)
    flat = np.hstack([features, np.ones((50, 2), np.float32)])
    erased = Eraser.fit(flat, np.arange(50) % 2)(flat)
    assert np.isfinite(erased).all() and (erased[:, -2:] == 1).all()


def test_what_was_not_fitted_is_changed_by_the_same_map() -> None:
    features, concept, _ = data(200, 8, 2)
    eraser = Eraser.fit(features[:100], concept[:100])
    np.testing.assert_allclose(eraser(features)[100:], eraser(features[100:]), atol=1e-5)
