"""Name the region that each sensor lies in, by an atlas: voxels, contacts, whatever has a place in MNI space."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording
from brainfm.data.regions import FETCHED, UNKNOWN, Atlas, fetch_atlas, with_regions
from brainfm.errors import DataError


class AtlasRegions(Step):
    """Labels each sensor by the nearest region within `radius` metres, else "unknown".

    `image` is a label image in MNI space on this machine, `names` its table; or `fetch` names an atlas that nilearn downloads
    into `cache`, and nothing is downloaded without it.
    """

    each_time = True

    image: str = ""
    names: str = ""
    fetch: str = ""
    cache: str = Field(default="", description="a folder for what is fetched; needed with `fetch`")
    radius: float = Field(default=0.005, ge=0)

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` without an atlas, or where the sensors' places are not in MNI space."""
        signal = recording.signal(modality)
        sensors = with_regions(signal.sensors, self.atlas(), self.radius, recording.name)
        counts = Counter(sensors.region)
        note = f"atlas_regions: {len(counts.keys() - {UNKNOWN})} regions, {counts[UNKNOWN]} sensors in none"
        return recording.with_signal(modality, replace(signal, sensors=sensors)).noting(note)

    def atlas(self) -> Atlas:
        """The atlas that the step names."""
        if bool(self.image) == bool(self.fetch):
            raise DataError(
                f"atlas_regions needs an atlas: the file `image:`, or one to `fetch:` ({', '.join(FETCHED)})"
            )
        if self.image:
            return Atlas.load(Path(self.image), Path(self.names) if self.names else None)
        if not self.cache:
            raise DataError("atlas_regions fetches into a folder of your choice: say `cache:`")
        return fetch_atlas(self.fetch, Path(self.cache))
