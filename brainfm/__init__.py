"""brainfm: pretrain, fine-tune and honestly evaluate foundation models of brain recordings.

The front door: a dozen names, each imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainfm.data.cards import DataCard as DataCard
    from brainfm.data.contract import Contract as Contract
    from brainfm.data.reading import from_array as from_array
    from brainfm.data.reading import read as read
    from brainfm.data.recording import Events as Events
    from brainfm.data.recording import Recording as Recording
    from brainfm.data.recording import Sensors as Sensors
    from brainfm.data.recording import Signal as Signal
    from brainfm.embedder import Embedder as Embedder
    from brainfm.event_model import EventModel as EventModel
    from brainfm.foreign_model import foreign as foreign
    from brainfm.generation import generate as generate
    from brainfm.jobs.finetune import finetune as finetune
    from brainfm.jobs.predict import predict as predict
    from brainfm.jobs.pretrain import pretrain as pretrain
    from brainfm.jobs.probe import probe as probe
    from brainfm.jobs.reconstruct import reconstruct as reconstruct
    from brainfm.model import BrainFM as BrainFM
    from brainfm.model import load as load
    from brainfm.recipe import FinetuneRecipe as FinetuneRecipe
    from brainfm.recipe import PretrainRecipe as PretrainRecipe
    from brainfm.wiring import connectivity as connectivity

_WHERE = {
    "BrainFM": "brainfm.model",
    "Contract": "brainfm.data.contract",
    "DataCard": "brainfm.data.cards",
    "Embedder": "brainfm.embedder",
    "EventModel": "brainfm.event_model",
    "Events": "brainfm.data.recording",
    "FinetuneRecipe": "brainfm.recipe",
    "PretrainRecipe": "brainfm.recipe",
    "Recording": "brainfm.data.recording",
    "Sensors": "brainfm.data.recording",
    "Signal": "brainfm.data.recording",
    "connectivity": "brainfm.wiring",
    "finetune": "brainfm.jobs.finetune",
    "foreign": "brainfm.foreign_model",
    "from_array": "brainfm.data.reading",
    "generate": "brainfm.generation",
    "load": "brainfm.model",
    "predict": "brainfm.jobs.predict",
    "pretrain": "brainfm.jobs.pretrain",
    "probe": "brainfm.jobs.probe",
    "read": "brainfm.data.reading",
    "reconstruct": "brainfm.jobs.reconstruct",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"brainfm has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
