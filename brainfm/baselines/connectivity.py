"""How regions go together: correlations between sensors over a window, and ridge (Varoquaux & Craddock 2013)."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from brainfm.baselines import Baseline, Classical, Decoder, Fold, logistic, tuned
from brainfm.baselines.band_power import Ridge
from brainfm.errors import DataError

MOST = 1000
"""Sensors beyond which there are too many pairs: read an atlas's parcels then, or average regions with `parcellate`."""


class Connectivity(Baseline):
    """Correlation of every pair of sensors, shrunken (`nilearn.connectome.ConnectivityMeasure`; Ledoit & Wolf 2004), Fisher's z
    of it, and a linear classifier.

    Windows should last minutes: a correlation over ten volumes is mostly noise.
    """

    classifier: Literal["ridge", "logistic"] = "ridge"

    def build(self, sfreq: float, n_sensors: int, n_classes: int) -> Decoder:
        """Raises `DataError` for one sensor, and for more than can be paired."""
        if not 2 <= n_sensors <= MOST:
            raise DataError(
                f"connectivity pairs 2 to {MOST} sensors, not {n_sensors}; read the parcels of an atlas"
            )

        def features(signal: NDArray[np.float64], domain: NDArray[np.int64]) -> NDArray[np.float64]:
            return correlations(signal)

        def ridge(folds: list[Fold]) -> Any:
            pipeline = make_pipeline(StandardScaler(), Ridge(class_weight="balanced"))
            return tuned(pipeline, folds, ridge__alpha=np.logspace(4, -1, 6))

        return Classical(features, logistic if self.classifier == "logistic" else ridge, n_classes)


def correlations(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(window, pair) Fisher's z of the correlations between sensors of (window, sensor, time)."""
    from nilearn.connectome import ConnectivityMeasure

    measure = ConnectivityMeasure(
        kind="correlation", vectorize=True, discard_diagonal=True, standardize="zscore_sample"
    )
    found = measure.fit_transform([window.T for window in signal])
    return np.asarray(np.arctanh(np.clip(found, -0.999999, 0.999999)))
