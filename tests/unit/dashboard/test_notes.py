"""What stands in the notes of studies in the dashboard."""

import pytest

from ecgopt.dashboard import notes
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec


@pytest.fixture
def spec(study_file):
    return load_spec(study_file())


@pytest.fixture
def arms(spec):
    return dict(enumerate(expand_studies(spec), start=1))


def note(spec, key, question="Does it help?"):
    return notes.study_note(spec, key, question, trials=[], finals=[])


def test_a_note_says_which_cell_and_arm_it_is_and_what_is_searched(spec, arms):
    text = note(spec, arms[2]).replace("\u00a0", " ")
    assert "| cell | up → down, resnet1d18-w2, n = 60 |" in text
    assert "| regime | fine-tune |" in text
    assert "learning_rate 0.001..0.03 log" in text
    assert "| budget used | 0 of 4 trials" in text
    assert "not opened" in text


def test_a_training_size_stays_on_one_line(spec, arms):
    assert "n\u00a0=\u00a060" in note(spec, arms[1])


def test_a_question_cannot_break_the_note(spec, arms):
    text = note(spec, arms[1], question="one | two\n\n# three")
    assert text.splitlines()[0] == r"**one \| two # three**"


def test_rivals_are_linked_by_the_name_of_their_arm_and_to_the_comparison(arms):
    assert notes.rival_links(1, {2: arms[2]}, {3: "up"}) == (
        "- rival: [fine-tune from up](/dashboard/studies/2), "
        "[compare](/dashboard/compare-studies?ids=1,2)\n"
        "- score against time: [all arms, upstream up](/dashboard/studies/3)\n"
    )


def test_a_trade_off_study_names_its_sources(arms):
    text = notes.trade_off_note(arms)
    assert "- [scratch](/dashboard/studies/1)\n" in text
    assert "- [fine-tune from up](/dashboard/studies/2)\n" in text


def test_what_people_wrote_is_kept_when_the_rest_is_written_anew():
    first = notes.with_own_notes("old facts\n", "")
    assert first.endswith(f"{notes.OWN_NOTES}\n")
    second = notes.with_own_notes("new facts\n", f"{first}look at trial 3")
    assert second == f"new facts\n\n{notes.OWN_NOTES}\nlook at trial 3"
