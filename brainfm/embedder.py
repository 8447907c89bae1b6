"""Embedder: a checkpoint as a transformer of scikit-learn, for pipelines and for the benchmarks that are built on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from brainfm.adapters import named
from brainfm.data.preprocess import Step, fit, prepare
from brainfm.data.recording import Recording
from brainfm.data.stacked import Stacked, is_epochs, of_array, of_epochs
from brainfm.errors import DataError
from brainfm.model import BrainFM
from brainfm.pooling import Pool
from brainfm.whose import Person, owned_by, require_met


class Embedder(TransformerMixin, BaseEstimator):
    """Windows in, features (window, feature) out.

    Windows are an array (window, sensor, time), or the same flattened to (window, sensor · time), in `unit`, with `sfreq` in
    hertz and the sensors' `names`; or MNE `Epochs`, which say all that themselves. `checkpoint` is what `brainfm.load` takes,
    or a model. `pool=None` keeps sensors apart where rows of tokens stand for them.

    A model that scales by the whole recording finds it in the epochs' metadata (`subject`, `session`, `run`, as in MOABB). Where
    nothing says which windows are of one recording, the scale is learnt in `fit`, from the training windows alone: what becomes
    of a window then does not depend on those beside it.

    Where contacts, voxels or neurons are known by their owner, `subject`, `session` and `dataset` say whose the windows are, by
    their names in training, as far as no metadata do; a `stranger`'s are taken for average ones. Raises `DataError` for what the
    model can't take, and where it knows other people's sensors and none of these.
    """

    def __init__(
        self,
        checkpoint: Any = "brainfm-tiny",
        *,
        sfreq: float | None = None,
        names: Sequence[str] | None = None,
        modality: str = "eeg",
        unit: str = "V",
        montage: str | None = None,
        pool: Pool | None = None,
        subject: str = "",
        session: str = "",
        dataset: str = "",
        stranger: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.sfreq = sfreq
        self.names = names
        self.modality = modality
        self.unit = unit
        self.montage = montage
        self.pool = pool
        self.subject = subject
        self.session = session
        self.dataset = dataset
        self.stranger = stranger

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the checkpoint, and learn what its preparation learns from training data; `y` is not looked at."""
        where = self.checkpoint
        by_name = isinstance(where, str | Path)
        self.model_: Any = (named(str(where)) or BrainFM.from_pretrained(where)) if by_name else where
        self.model_.require(self.modality)
        stacked = self._stacked(X, reset=True)
        steps: list[Step] = list(self.model_.steps(self.modality))
        asked = steps if stacked.whole else [learnt(step) for step in steps]
        self.steps_ = fit(asked, stacked.recordings, self.modality)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """(window, feature)"""
        check_is_fitted(self)
        stacked = self._stacked(X, reset=False)
        prepared = self._prepared(stacked.recordings)
        apart = bool(self.model_.rows(prepared[0], self.modality))
        pool: Pool = self.pool or ("sensor" if apart else "mean")
        features: NDArray[np.float32] = self.model_.features(prepared, stacked.windows, self.modality, pool)
        return features

    def _prepared(self, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings, prepared, as those of whose they are. Models that others made know nobody's sensors."""
        if not isinstance(self.model_, BrainFM):
            return prepare(recordings, self.steps_, self.modality)
        person = Person(self.subject, self.session, self.stranger, self.dataset, spelt="`{}`")
        mine = [owned_by(one, self.model_, person) for one in recordings]
        prepared = prepare(mine, self.steps_, self.modality)
        for one in prepared:
            require_met(self.model_, one, self.modality, person)
        return prepared

    def _stacked(self, X: Any, reset: bool) -> Stacked:
        """The windows as recordings. Raises `ValueError` for what is no array of finite numbers, as scikit-learn does."""
        if is_epochs(X):
            return of_epochs(X, self.modality, self.montage)
        array = (
            check_array(X, dtype="numeric", ensure_2d=False, allow_nd=True)
            if getattr(X, "ndim", 2) == 3
            else validate_data(self, X, reset=reset, dtype="numeric")
        )
        if self.names is None or self.sfreq is None:
            raise DataError(
                "an array does not say its sampling rate and its sensors; give `sfreq` and `names`, or MNE Epochs"
            )
        if array.ndim == 2 and array.shape[1] % len(self.names):
            raise DataError(f"{array.shape[1]} columns can't be {len(self.names)} sensors of equal length")
        windows = array.reshape(len(array), len(self.names), -1) if array.ndim == 2 else array
        return of_array(windows, self.sfreq, self.names, self.modality, self.unit, self.montage)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def learnt(step: Step) -> Step:
    """A step that measures whole recordings, told to measure the training windows instead; others as they are."""
    if getattr(step, "scope", None) != "recording":
        return step
    return step.model_copy(update={"scope": "training_set"})
