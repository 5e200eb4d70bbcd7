from collections import Counter

import pytest

from ecgopt.errors import StudyFileError
from ecgopt.study_file.cells import ALL_RECORDS, expand_cells, expand_studies, studies_of_cell
from ecgopt.study_file.reading import load_spec


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
    with pytest.raises(
        StudyFileError,
        match=r"\(entry 3\): 'scratch' is there twice: delete one; 'scratch_twin' is the A/A",
    ):
        load_spec(study_file(regimes='["scratch", "fine_tune", "scratch"]'))


def test_one_regime_alone_is_no_comparison(study_file):
    with pytest.raises(StudyFileError, match=r"regimes: .* at least 2 entries"):
        load_spec(study_file(regimes='["scratch"]'))


BLOCKS = """
[[cells]]
downstreams = ["{downstream}"]

[[cells]]
train_sizes = {sizes}
"""


def with_blocks(study_file, **names):
    path = study_file()
    blocks = BLOCKS.format(**({"downstream": "down", "sizes": '["all"]'} | names))
    text = path.read_text().replace("train_sizes = [60]", 'train_sizes = [60, "all"]')
    path.write_text(text + blocks)
    return path


def test_blocks_of_cells_select_from_the_grid_and_overlap_once(study_file):
    cells = expand_cells(load_spec(with_blocks(study_file)))
    assert [cell.n_train for cell in cells] == [60, ALL_RECORDS]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            {"downstream": "up"},
            r"\[\[cells\]\] \(entry 1\) downstreams \(entry 1\): 'up' is not .* one of down",
        ),
        (
            {"sizes": "[70]"},
            r"\(entry 2\) train_sizes \(entry 1\): 70 is not in train_sizes: did you mean '60'",
        ),
        ({"sizes": '["most"]'}, "train_sizes"),
    ],
)
def test_a_block_that_names_what_the_study_does_not_have_is_refused(study_file, names, complaint):
    with pytest.raises(StudyFileError, match=complaint):
        load_spec(with_blocks(study_file, **names))


def test_studies_of_all_records_have_a_name_without_a_number(study_file):
    paths = [key.path for key in expand_studies(load_spec(with_blocks(study_file)))]
    assert "down/resnet1d18-w2/all/r0/scratch" in paths
