"""The one kind of error a user sees: what is wrong, where, and what to do, in one sentence."""


class BrainfmError(Exception):
    """Something asked for or given can't be used. `str(error)` is the sentence that the command line prints."""


class DataError(BrainfmError):
    """A recording, a file or a data card."""


class RecipeError(BrainfmError):
    """A recipe, or a part that it names."""


class CheckpointError(BrainfmError):
    """A checkpoint that is incomplete, foreign or not what it says."""
