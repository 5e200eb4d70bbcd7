"""CODE-test: 827 exams of the telehealth network of Minas Gerais with a consensus of experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ecgopt.data.conditioning import MAX_MICROVOLTS
from ecgopt.data.csv_tables import Row, read_rows
from ecgopt.data.hdf5_files import open_dataset
from ecgopt.data.listing import Listing, existing_folders, listing
from ecgopt.data.records import Reading, RecordEntry, RecordFacts, age_of, sex_of
from ecgopt.data.signals import LEADS, LIMB_FROM_I_AND_II, RawSignal, from_millivolts
from ecgopt.errors import DataError, RecordError

TRACINGS = "ecg_tracings.hdf5"
ATTRIBUTES = "attributes.csv"
GOLD_STANDARD = "annotations/gold_standard.csv"
CLASSES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
NORMAL = "normal_ecg"

# The two descriptions that the authors published name the augmented leads in different orders.
_ORDERS = (LEADS, ("I", "II", "III", "aVL", "aVF", "aVR", *LEADS[6:]))
_PROBED_RECORDS, _PROBED_SAMPLES = 32, 4096
MAX_SAMPLES = 1 << 20


@dataclass(frozen=True, slots=True)
class CodeTest:
    """Reads CODE-test in its official layout: tracings, attributes and annotations.

    Tracings are 4096 samples at 400 Hz in millivolts; exams of 7 and 10 s are padded with zeros on
    both sides. An exam without any of the six abnormalities gets the statement `normal_ecg`.

    Source: Ribeiro et al. 2020, doi:10.1038/s41467-020-15432-4; Zenodo 3765780.
    """

    name: str = "code_test"
    sampling_rates_hz: tuple[float, ...] = (400.0,)
    version: int = 1

    def tables(self, folders: Sequence[Path]) -> Sequence[Path]:
        """Return tracings, attributes and gold standard."""
        root = _root(existing_folders(folders, self.name))
        return [root / TRACINGS, root / ATTRIBUTES, root / GOLD_STANDARD]

    def entries(self, folders: Sequence[Path]) -> Listing:
        """Return one record per tracing, named by its row from `code0000` on."""
        root = _root(existing_folders(folders, self.name))
        attributes = read_rows(root / ATTRIBUTES, ("age", "sex"))
        annotations = read_rows(root / GOLD_STANDARD, CLASSES)
        with open_dataset(root / TRACINGS, "tracings", record=self.name) as tracings:
            shape = tracings.shape
        if len(shape) != 3 or shape[2] != len(LEADS) or shape[1] > MAX_SAMPLES:
            raise DataError(f"{root / TRACINGS}: tracings must be (exam, time, 12), but is {shape}")
        if not len(attributes) == len(annotations) == shape[0]:
            raise DataError(
                f"{root}: {shape[0]} tracings, {len(attributes)} rows of attributes and "
                f"{len(annotations)} of annotations must be equally many"
            )
        entries = [
            RecordEntry(
                record=f"code{row:04d}",
                files=(root / TRACINGS,),
                facts=_facts(row, person, flags),
            )
            for row, (person, flags) in enumerate(zip(attributes, annotations, strict=True))
        ]
        return listing(entries, self.name)

    def read(self, entry: RecordEntry) -> Reading:
        """Return the signal and facts of one exam."""
        assert entry.facts is not None
        path = entry.files[0]
        row = int(entry.record.removeprefix("code"))
        with open_dataset(path, "tracings", record=entry.record) as tracings:
            microvolts = from_millivolts(tracings[row].T)
        signal = RawSignal(np.ascontiguousarray(microvolts), lead_order(path), 400.0)
        return Reading(entry.facts, signal)


def _root(folders: Sequence[Path]) -> Path:
    for folder in folders:
        for root in (folder, folder / "data"):
            if (root / TRACINGS).exists():
                return root
    raise DataError(f"code_test: none of the folders holds {TRACINGS}")


def _facts(row: int, person: Row, flags: Row) -> RecordFacts:
    for name in CLASSES:
        if flags[name].strip() not in {"0", "0.0", "1", "1.0"}:
            raise DataError(
                f"{GOLD_STANDARD}: line {flags.line}: {name} must be 0 or 1, but is "
                f"{flags[name][:40]!r}"
            )
    found = {name: 100.0 for name in CLASSES if flags[name].strip() in {"1", "1.0"}}
    return RecordFacts(
        # All 827 exams are of different patients.
        patient=f"code-test-{row}",
        age_years=age_of(person["age"]),
        sex=sex_of(person["sex"]),
        statements=found or {NORMAL: 100.0},
    )


@cache
def lead_order(path: Path) -> tuple[str, ...]:
    """Return the order of the leads, decided by Goldberger's relations in the first exams.

    Raises:
        RecordError: no published order fits.
    """
    with open_dataset(path, "tracings", record=path.stem) as tracings:
        probe = from_millivolts(tracings[:_PROBED_RECORDS, :_PROBED_SAMPLES])
    probe = np.where(np.abs(probe) < MAX_MICROVOLTS, probe, 0.0).reshape(-1, len(LEADS)).T
    misfits = [_goldberger_misfit(probe, order) for order in _ORDERS]
    if min(misfits) > 0.2:
        raise RecordError(path.stem, "the limb leads fit no published lead order", path.name)
    return _ORDERS[int(np.argmin(misfits))]


def _goldberger_misfit(probe: Float64[np.ndarray, "lead time"], order: tuple[str, ...]) -> float:
    """Return how far the augmented leads are from what I and II make of them, 0 to about 1."""
    limb = probe[[order.index(lead) for lead in LEADS[:6]]]
    expected = (LIMB_FROM_I_AND_II @ limb[:2])[3:]
    size = float(np.square(expected).sum())
    return float(np.square(limb[3:] - expected).sum()) / size if size else 0.0
