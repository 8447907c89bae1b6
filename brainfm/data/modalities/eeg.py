"""EEG: potentials on the scalp."""

from brainfm.data.modalities import Modality

EEG = Modality(
    name="eeg",
    words="scalp EEG",
    unit="V",
    plausible=(1e-7, 1e-3),
    typical=1e-5,
    flat=1e-9,
    montage="standard_1005",
    sfreq=256.0,
    simulate=lambda: None,
)  # type: ignore
