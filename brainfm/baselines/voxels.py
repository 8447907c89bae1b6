"""How strongly each voxel answered, and a linear classifier of the pattern: fMRI's baseline (Haxby et al. 2001)."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import softmax
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from brainfm.baselines import Baseline, Decoder, Fold, Unscaled, logistic, tuned
from brainfm.baselines.band_power import Ridge
from brainfm.data.preprocess import Step
from brainfm.data.preprocess.regress_out import RegressOut
from brainfm.errors import DataError


class Voxels(Baseline):
    """The mean of each sensor over the window, the `select` best of them by analysis of variance, a linear classifier.

    Voxels are chosen on the training windows alone: chosen on all windows they make chance look like 0.7 (Kriegeskorte et al.
    2009, "Circular analysis in systems neuroscience"). Drift, and the confounds of `track`, are taken out of every run before,
    which tells nothing of labels.
    """

    classifier: Literal["svm", "logistic", "ridge"] = "svm"
    select: int | None = Field(default=None, ge=1, description="how many voxels; default: all")
    drift: Literal["none", "linear", "cosine"] = "none"
    track: str = Field(default="", description="a track of confounds to take out, too")
    standardise: bool = Field(
        default=False, description="bring every voxel to mean 0 and size 1 within its run"
    )

    def steps(self) -> Sequence[Step]:
        """What is taken out of every run."""
        if self.drift == "none" and not (self.track or self.standardise):
            return ()
        return (RegressOut(drift=self.drift, track=self.track, standardise=self.standardise),)

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Raises `DataError` where more voxels are to be selected than there are."""
        if self.select is not None and self.select > n_sensors:
            raise DataError(f"voxels can't select {self.select} of {n_sensors} sensors; ask for fewer")
        before = [SelectKBest(f_classif, k=self.select)] if self.select else []

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.asarray(signal.mean(axis=2))

        def estimator(folds: list[Fold]) -> Any:
            return pipeline(self.classifier, before, folds)

        return Unscaled(features, estimator, n_classes)


class LinearSVM(SVC):
    """A linear support vector machine with probabilities: the softmax of its decision values keeps their order but is not
    calibrated."""

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(window, class)"""
        values = self.decision_function(features)
        return softmax(np.c_[-values, values] if values.ndim == 1 else values, axis=1)


def pipeline(classifier: str, before: Sequence[Any], folds: list[Fold]) -> Any:
    """Standardised features into the classifier. Of far more voxels than windows any C separates them, so the SVM keeps 1."""
    if classifier == "logistic":
        return logistic(folds, *before)
    if classifier == "ridge":
        steps = make_pipeline(*before, StandardScaler(), Ridge(class_weight="balanced"))
        return tuned(steps, folds, ridge__alpha=np.logspace(4, -1, 6))
    return make_pipeline(*before, StandardScaler(), LinearSVM(kernel="linear", class_weight="balanced"))
