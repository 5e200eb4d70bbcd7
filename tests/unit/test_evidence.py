import numpy as np
import pytest
from fakes_evidence import World, invent

from ecgopt.errors import DataError, UserError
from ecgopt.evidence.predictions import Predictions, read_predictions, write_predictions
from ecgopt.evidence.records import from_json, to_json


@pytest.fixture
def evidence(tmp_path):
    return invent(World(replicates=1, final_seeds=1, trials=6), tmp_path)


def predictions_of(scores):
    n_records = len(scores)
    return Predictions(
        labels=np.arange(n_records)[:, None] % 2 == 0,
        scores=np.array(scores)[:, None],
        records=tuple(f"r{i}" for i in range(n_records)),
        patients=tuple(f"p{i // 2}" for i in range(n_records)),
        classes=("AF",),
    )


def test_evidence_survives_json_unchanged(evidence):
    assert from_json(to_json(evidence)) == evidence


def test_json_of_evidence_is_reproducible(evidence):
    assert to_json(from_json(to_json(evidence))) == to_json(evidence)


def test_whole_numbers_stay_whole_in_json(evidence):
    restored = from_json(to_json(evidence)).studies[0].trials[0].parameters
    assert isinstance(restored["epochs"], int)
    assert isinstance(restored["learning_rate"], float)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"margin"', '"margn"', "comparison.margin"),
        ('"number": 0', '"number": "none"', "studies.0.trials.0.number"),
        ('"state": "complete"', '"state": "finished"', "studies.0.trials.0.state"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(evidence, old, new, place):
    with pytest.raises(UserError, match=place):
        from_json(to_json(evidence).replace(old, new, 1))


def test_predictions_survive_a_file(tmp_path):
    written = predictions_of([0.25, 0.5, 0.75, 1.0])
    digest = write_predictions(written, tmp_path / "a" / "p.npz")
    restored = read_predictions(tmp_path / "a" / "p.npz", digest)
    assert (restored.labels == written.labels).all()
    assert restored.scores == pytest.approx(written.scores)
    assert restored.patients == written.patients
    assert restored.classes == ("AF",)


def test_no_half_written_predictions_are_left(tmp_path):
    write_predictions(predictions_of([0.1, 0.2]), tmp_path / "p.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_altered_predictions_are_refused(tmp_path):
    digest = write_predictions(predictions_of([0.1, 0.2]), tmp_path / "p.npz")
    write_predictions(predictions_of([0.1, 0.3]), tmp_path / "p.npz")
    with pytest.raises(DataError, match="altered"):
        read_predictions(tmp_path / "p.npz", digest)


def test_missing_predictions_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_predictions(tmp_path / "p.npz")


def test_a_file_that_is_no_predictions_file_is_refused(tmp_path):
    np.savez(tmp_path / "p.npz", something=np.zeros(3))
    with pytest.raises(DataError, match="not a predictions file"):
        read_predictions(tmp_path / "p.npz")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.savez(tmp_path / "p.npz", labels=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="not a predictions file"):
        read_predictions(tmp_path / "p.npz")
