"""The folder that holds everything a comparison keeps outside the database."""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ecgopt.files import write_whole

WORKSPACE_VARIABLE = "ECGOPT_WORKSPACE"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of the embedded database, prepared data, checkpoints and artifacts.

    This class names every path below `root`; no other code joins them. Workers on several hosts
    need the same folder (a shared file system).
    """

    root: Path

    def identity(self) -> str:
        """Return the folder's random id, which is made when it is first asked for.

        A folder that is shared shows the same id on every host; another folder shows another.
        """
        path = self.root / "workspace.id"
        if not path.exists():
            new = write_whole(
                self.root / f".workspace-{uuid.uuid4().hex}", uuid.uuid4().hex.encode()
            )
            with suppress(FileExistsError):  # another process was first, and its id holds
                os.link(new, path)
            new.unlink()
        return path.read_text().strip()

    @property
    def sqlite_file(self) -> Path:
        """The embedded database."""
        return self.root / "ecgopt.sqlite3"

    @property
    def raw_data(self) -> Path:
        """Synthetic and downloaded records."""
        return self.root / "data"

    @property
    def prepared_data(self) -> Path:
        """Prepared data sets, one folder each, named by source and fingerprint."""
        return self.root / "prepared"

    @property
    def inputs(self) -> Path:
        """Records as networks with an input of their own see them."""
        return self.root / "inputs"

    @property
    def prefix_cache(self) -> Path:
        """Features of frozen stages, shared by the workers of a host."""
        return self.root / "prefix_cache"

    @property
    def artifacts(self) -> Path:
        """Files that the dashboard offers beside studies, named by the artifact's id."""
        return self.root / "artifacts"

    def pretrained(self, folder: str, key: str) -> Path:
        """Return the file of one finished pre-training; `folder` is the comparison's own."""
        return self.root / "pretrained" / folder / f"{key}.safetensors"

    def run_state(self, folder: str, item_key: str) -> Path:
        """Return the folder of the resumable state of one unfinished work item."""
        return self.root / "running" / folder / item_key.replace("/", "__")

    def predictions(self, folder: str) -> Path:
        """Return the folder of the final fits' predictions, each file named by its SHA-256."""
        return self.root / "predictions" / folder

    def logs(self, comparison: str) -> Path:
        """Return the folder of the workers' log files, by the comparison's name."""
        return self.root / "logs" / comparison

    def own_folders(self, comparison: str, folder: str) -> tuple[Path, ...]:
        """Return the folders that hold files of this comparison and of no other, and its logs."""
        kinds = ("pretrained", "running", "predictions")
        return (*(self.root / kind / folder for kind in kinds), self.logs(comparison))


def chosen_workspace(option: Path | None) -> Workspace:
    """Return the workspace of the option, of ECGOPT_WORKSPACE, or `storage` here."""
    return Workspace(option or Path(os.environ.get(WORKSPACE_VARIABLE, "storage")))
