"""Push: a checkpoint with its manifest and a filled-in card to a repository of the Hugging Face Hub."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brainfm.errors import CheckpointError
from brainfm.model import BrainFM
from brainfm.model_card import model_card, read_report


def push(
    checkpoint: str | Path,
    name: str,
    reports: Sequence[Path] = (),
    licence: str | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Upload a checkpoint, loaded whole first, so that nothing damaged is published; what was uploaded, as a mapping.

    Nothing of the folder goes along but the weights (safetensors), the config, the manifest and the card that is made here.
    Raises `CheckpointError` with the Hub's reason where it refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    model = BrainFM.from_pretrained(checkpoint)
    text = model_card(model, name, [read_report(one) for one in reports], licence)
    api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        try:
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=f"Upload {Path(str(checkpoint)).name}",
                allow_patterns=["*.json", "*.safetensors", "README.md"],
            )
        except HFValidationError:
            raise CheckpointError(f"{name} is no name for a repository; write OWNER/NAME") from None
        except (HfHubHTTPError, OSError) as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise CheckpointError(
                f"the Hub did not take {name}: {why}; log in with `hf auth login`"
            ) from None
        files = sorted(path.name for path in Path(folder).iterdir() if path.is_file())
    return {"name": name, "commit": str(getattr(commit, "oid", "")), "files": files}
