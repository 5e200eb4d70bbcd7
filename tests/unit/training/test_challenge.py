import numpy as np
import pytest

from ecgopt.data.labels import label_set
from ecgopt.errors import DataError
from ecgopt.training.challenge import challenge_score, read_weights, weights_for

GEORGIA = ("NORM", "AF", "IAVB", "SB", "LAD", "STach", "TAb", "TInv", "LQT", "PAC")


def test_weights_apply_to_georgia_and_to_the_challenge_itself():
    assert weights_for(label_set("georgia").classes) is not None
    assert len(weights_for(label_set("cinc2020").classes).classes) == 24


@pytest.mark.parametrize("name", ["cpsc2018", "ptbxl_superclass", "code_test"])
def test_weights_do_not_apply_where_a_label_is_not_scored(name):
    assert weights_for(label_set(name).classes) is None


def test_weights_are_symmetric_with_ones_for_right_answers():
    weights = weights_for(GEORGIA).weights
    assert (weights == weights.T).all()
    assert (np.diag(weights) == 1).all()


def test_right_labels_score_one_and_sinus_rhythm_alone_zero():
    weights = weights_for(GEORGIA)
    random = np.random.default_rng(0)
    labels = random.random((50, len(GEORGIA))) < 0.2
    sinus = np.zeros_like(labels)
    sinus[:, 0] = True
    assert challenge_score(labels, labels, weights) == pytest.approx(1.0)
    assert challenge_score(labels, sinus, weights) == pytest.approx(0.0)


def test_a_damaged_weights_file_is_refused(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text(",a,b\na,1,0\n")
    with pytest.raises(DataError, match="same classes"):
        read_weights(path)
