from collections import Counter

import pytest

from ecgopt.errors import StudyFileError
from ecgopt.tuning.cells import expand_cells, expand_studies, studies_of_cell
from ecgopt.tuning.study_file import load_spec


def test_every_cell_has_one_study_per_regime_the_reference_first(study_file):
    spec = load_spec(study_file(regimes='["scratch", "scratch_twin", "fine_tune"]'))
    (cell,) = expand_cells(spec)
    found = studies_of_cell(spec, cell, replicate=0)
    assert [key.regime for key in found] == ["scratch", "scratch_twin", "fine_tune"]
    assert [key.upstream for key in found] == [None, None, "up"]


def test_every_study_is_listed_once(study_file):
    spec = load_spec(study_file(regimes='["scratch", "scratch_twin", "fine_tune"]'))
    counts = Counter(key.path for key in expand_studies(spec))
    assert len(counts) == 3
    assert set(counts.values()) == {1}


def test_a_regime_given_twice_is_refused(study_file):
    with pytest.raises(StudyFileError, match="'scratch' twice; 'scratch_twin' is the A/A"):
        load_spec(study_file(regimes='["scratch", "fine_tune", "scratch"]'))


def test_one_regime_alone_is_no_comparison(study_file):
    with pytest.raises(StudyFileError, match=r"regimes: .* at least 2"):
        load_spec(study_file(regimes='["scratch"]'))
