"""What a comparison's data tables give to tuning."""

import numpy as np
import pytest
from ecg_files import adc, write_record
from made_sets import make_own
from scipy.signal import resample_poly

from ecgopt.errors import DataError
from ecgopt.jobs.datasets import PreparedData, prepare_data
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec
from ecgopt.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


def opened(study, workspace):
    spec = load_spec(study)
    folders = prepare_data(spec, workspace, n_processes=1)
    return PreparedData(spec=spec, workspace=workspace, folders=folders)


def test_a_study_reads_ones_own_data_from_its_description(study_file, workspace, tmp_path):
    own = make_own(tmp_path)
    study = study_file()
    study.write_text(
        study.read_text().replace(
            'source = "synthetic"\nlabels = "synthetic"\n'
            'synthetic = { records = 160, seed = 2, population = "B" }\ntest_share = 0.4',
            f'source = "{own}"\nlabels = "{own}"\ntest_share = 0.4',
        )
    )
    data = opened(study, workspace)
    assert data.labels("down").classes == ("AF", "LBBB")
    assert len(data.rows("down")) == 6
    assert 0 < len(data.pool("down")) < 6


def test_flags_that_are_all_0_are_known_and_no_reason_to_drop_a_record(
    study_file, workspace, tmp_path
):
    own = make_own(tmp_path)
    study = study_file()
    study.write_text(
        study.read_text().replace(
            'source = "synthetic"\nlabels = "synthetic"\n'
            'synthetic = { records = 160, seed = 2, population = "B" }',
            f'source = "{own}"\nlabels = "{own}"\nunlabelled = "drop_unstated"',
        )
    )
    data = opened(study, workspace)
    labels = data.prepared("down").labels(data.labels("down"))
    assert (~labels.any(axis=1)).sum() == 2
    assert len(data.rows("down")) == 6


def test_split_counts_the_records_that_are_negative_for_every_class(study_file, workspace):
    study = study_file()
    kept = 'labels = "synthetic"\nunlabelled = "keep"'
    study.write_text(study.read_text().replace('labels = "synthetic"', kept))
    data = opened(study, workspace)
    for row in data.pool("down")[::3]:
        for column in ("statement_codes", "statement_likelihoods"):
            data.prepared("down").records.at[row, column] = []
    for row in data.pool("down")[1::3]:
        data.prepared("down").records.at[row, "statement_codes"] = ["a finding of no class"]
        data.prepared("down").records.at[row, "statement_likelihoods"] = [100.0]
    ((fold,), split) = data.downstream(expand_studies(data.spec)[0])
    labels = np.concatenate([fold.train.labels, fold.validation.labels])
    names = [*fold.train.records, *fold.validation.records]
    table = data.prepared("down").records.set_index("record").loc[names]
    n_unknown = (table["statement_codes"].map(len) == 0).sum()
    assert split["n_without_class"] == (labels.sum(axis=1) == 0).sum() > n_unknown
    assert split["n_without_statement"] == n_unknown > 0


def test_progress_tells_the_writing_of_synthetic_records_from_their_preparation(
    study_file, tmp_path
):
    told = []
    prepare_data(
        load_spec(study_file()),
        Workspace(tmp_path / "ws"),
        n_processes=1,
        on_progress=lambda doing, done, total: told.append(doing) if done == total else None,
    )
    assert told == ["writing up", "preparing up", "writing down", "preparing down"]


def test_both_regimes_of_a_replicate_get_the_same_records(study_file, workspace):
    data = opened(study_file(), workspace)
    ((first,), split), ((second,), other) = (
        data.downstream(key) for key in expand_studies(data.spec)
    )
    assert first.train.records == second.train.records
    assert first.validation.records == second.validation.records
    assert split == other


def test_no_patient_is_in_two_parts_and_validation_comes_out_of_n(study_file, workspace):
    data = opened(study_file(), workspace)
    (tuning,), split = data.downstream(expand_studies(data.spec)[0])
    assert split["n_train"] + split["n_validation"] == 60
    assert not set(tuning.train.patients) & set(tuning.validation.patients)
    sealed = np.setdiff1d(data.rows("down"), data.pool("down"))
    patients = set(data.prepared("down").records["patient"].iloc[sealed])
    assert patients
    assert not patients & {*tuning.train.patients, *tuning.validation.patients}


def test_an_upstream_that_holds_downstream_patients_is_refused(study_file, workspace):
    study = study_file()
    text = study.read_text()
    study.write_text(
        text.replace(
            'synthetic = { records = 120, seed = 1, population = "A" }',
            'synthetic = { records = 160, seed = 2, population = "B" }',
        )
    )
    with pytest.raises(DataError, match="disjoint `patients` intervals"):
        opened(study, workspace).check()


def test_a_study_pads_short_records_and_takes_the_centre_of_long_ones(
    study_file, workspace, tmp_path
):
    own = make_own(tmp_path)
    short, long = adc(3000, seed=8), adc(9000, seed=9)
    write_record(tmp_path / "ecgs" / "ward0", "ecg0", short)
    write_record(tmp_path / "ecgs" / "ward1", "ecg1", long)
    study = study_file()
    study.write_text(
        study.read_text().replace(
            'source = "synthetic"\nlabels = "synthetic"\n'
            'synthetic = { records = 160, seed = 2, population = "B" }',
            f'source = "{own}"\nlabels = "{own}"\nlonger = "centre"\nshorter = "pad"',
        )
    )
    prepared = opened(study, workspace).prepared("down")
    assert len(prepared) == 6
    assert not prepared.signals[0][:, 600:].any()
    expected = resample_poly(long.T.astype(float), 1, 5, axis=1)[:, 400:1400]
    row = list(prepared.records["record"]).index("ward1/ecg1")
    assert np.abs(prepared.signals[row] - expected).max() <= 1


def test_a_record_about_which_nothing_is_stated_is_not_taken_for_negative(study_file, workspace):
    data = opened(study_file(), workspace)
    rows = data.rows("down")
    for column in ("statement_codes", "statement_likelihoods"):
        data.prepared("down").records.at[rows[0], column] = []
    assert list(data.rows("down")) == list(rows[1:])
