"""A user's own checkpoint as an upstream, read for one model."""

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import Checkpoint, body_tensors
from ecgopt.models.foreign import load_foreign
from ecgopt.models.registry import build_model
from ecgopt.study_file.cells import expand_cells
from ecgopt.study_file.reading import expand_folder
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import ModelTable

OBJECTIVE = "own checkpoint"


def own_weights(spec: StudySpec, upstream: str, model: ModelTable) -> Checkpoint | None:
    """Return the weights that `[upstream.NAME]` names, fitted to `model`; None if it names none.

    Raises:
        CheckpointError: they cannot be read or do not fit the model.
    """
    section = spec.upstream.get(upstream)
    if section is None or section.checkpoint is None:
        return None
    # The head alone depends on labels, and with a flattened head on samples; it is not read.
    network = build_model(model.spec(), n_labels=1, seed=0)
    try:
        found = load_foreign(expand_folder(section.checkpoint), network, section.name_table)
        body_tensors(network, found)
    except CheckpointError as error:
        raise CheckpointError(f"[upstream.{upstream}] for {model.label}: {error}") from error
    return found


def check_own_weights(spec: StudySpec) -> None:
    """Read every checkpoint for every model that would start from it.

    Raises:
        CheckpointError: one cannot be read or does not fit.
    """
    for upstream, model in dict.fromkeys(
        (cell.upstream, cell.model) for cell in expand_cells(spec)
    ):
        own_weights(spec, upstream, model)
