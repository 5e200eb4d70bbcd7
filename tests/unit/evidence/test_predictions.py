from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

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
    path, digest = write_predictions(written, tmp_path / "a")
    restored = read_predictions(path, digest)
    assert (restored.labels == written.labels).all()
    assert restored.scores == pytest.approx(written.scores)
    assert restored.patients == written.patients
    assert restored.classes == ("AF",)


def test_predictions_are_named_by_their_hash(tmp_path):
    path, digest = write_predictions(predictions_of([0.1, 0.2]), tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name] == [f"{digest}.npz"]


def test_another_writer_cannot_replace_the_predictions_whose_hash_is_stored(tmp_path):
    path, digest = write_predictions(predictions_of([0.1, 0.2]), tmp_path)
    other, _ = write_predictions(predictions_of([0.1, 0.3]), tmp_path)
    assert other != path
    assert read_predictions(path, digest).scores[1, 0] == pytest.approx(0.2)


def test_two_writers_of_the_same_predictions_do_not_disturb_each_other(tmp_path):
    def write_and_read(_):
        path, digest = write_predictions(predictions_of([0.1, 0.2]), tmp_path)
        return read_predictions(path, digest).patients

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(write_and_read, range(80)))
    assert len(set(found)) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_altered_predictions_are_refused(tmp_path):
    path, digest = write_predictions(predictions_of([0.1, 0.2]), tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="altered"):
        read_predictions(path, digest)


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


def test_subgroups_come_back_and_files_without_them_hold_none(tmp_path):
    plain = predictions_of([0.1, 0.2])
    groups = {"sex": ("female", ""), "age": ("80 and over", "40 to 59")}
    path, digest = write_predictions(replace(plain, subgroups=groups), tmp_path)
    assert read_predictions(path, digest).subgroups == groups
    path, digest = write_predictions(plain, tmp_path)
    assert read_predictions(path, digest).subgroups == {}


def test_subgroups_of_another_number_of_records_are_refused(tmp_path):
    wrong = replace(predictions_of([0.1, 0.2]), subgroups={"sex": ("female",)})
    path, digest = write_predictions(wrong, tmp_path)
    with pytest.raises(DataError, match="2 records, but subgroups of shape"):
        read_predictions(path, digest)
