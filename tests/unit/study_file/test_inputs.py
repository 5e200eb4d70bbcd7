"""`[inputs.NAME]` in a study file."""

import pytest

from ecgopt.data.inputs import InputForm
from ecgopt.errors import StudyFileError
from ecgopt.study_file.reading import load_spec

EIGHT = """
[inputs.eight]
rate_hz = 250
seconds = 4.0
leads = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
filters = [{ kind = "band_pass", hz = [0.5, 40.0] }]
scaling = "z_score_record"
"""


@pytest.fixture
def read(study_file):
    def load(extra="", *, model=""):
        study = study_file()
        text = study.read_text().replace("width = 2\n", f"width = 2\n{model}\n", 1)
        study.write_text(text + extra)
        return load_spec(study)

    return load


def test_without_inputs_records_are_stored_and_seen_as_ever(read):
    spec = read()
    assert spec.input_form(spec.models[0]) is None
    assert spec.stored_form() == InputForm()


def test_a_model_names_its_input_and_its_label_shows_it(read):
    spec = read(EIGHT, model='input = "eight"')
    (model,) = spec.models
    assert model.label == "resnet1d18-w2-eight"
    assert spec.input_form(model).rate_hz == 250
    assert len(spec.input_form(model).leads) == 8


def test_records_are_stored_at_the_highest_rate_and_the_greatest_length(read):
    second = '[[models]]\nname = "resnet1d18"\nwidth = 4'
    spec = read(EIGHT, model=f'input = "eight"\n{second}')
    assert spec.stored_form() == InputForm(rate_hz=250, seconds=10.0)
    assert spec.input_form(spec.models[1]) == InputForm()


@pytest.mark.parametrize(
    ("extra", "model", "message"),
    [
        (EIGHT, "", r"\[inputs.eight\].*no \[\[models\]\] has input = 'eight'"),
        (EIGHT, 'input = "eigth"', r"there is no \[inputs.eigth\]: did you mean 'eight'"),
        (
            EIGHT + "crop_seconds = 2.0",
            'input = "eight"',
            r"\[inputs.eight\] crop_seconds: crops are not trained on yet",
        ),
        (
            EIGHT.replace("V6", "V7"),
            'input = "eight"',
            r"\[inputs.eight\] leads: must be different ones of I, II",
        ),
        (
            EIGHT.replace("40.0", "130.0"),
            'input = "eight"',
            r"needs a rate above 260 Hz, but has 250 Hz",
        ),
    ],
)
def test_faults_are_answered_with_table_key_and_remedy(read, extra, model, message):
    with pytest.raises(StudyFileError, match=message):
        read(extra, model=model)


def test_an_input_beyond_a_networks_own_limits_is_refused(read):
    short = EIGHT.replace("seconds = 4.0", "seconds = 0.2")
    with pytest.raises(StudyFileError, match=r"needs at least 75 samples per lead, but got 50"):
        read(short, model='input = "eight"\n[[models]]\nname = "st_mem"\ninput = "eight"')


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('card = "st_mem"', "belongs to a checkpoint, but none is given"),
        ('checkpoint = "w.pt"\ngolden = "p.st"', "belongs to a card, but none is given"),
        (
            'checkpoint = "w.pt"\ncard = "st_mem"\nnames = "torchvision"',
            "the card names the tensors: delete one of the two",
        ),
    ],
)
def test_a_card_belongs_to_a_checkpoint_and_replaces_a_name_table(read, keys, message):
    with pytest.raises(StudyFileError, match=message):
        read(f"[upstream.up]\n{keys}\n")
