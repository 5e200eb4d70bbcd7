"""A user's TOML file is read strictly, and all its errors are told in plain words."""

import re
from pathlib import Path

import pytest

from ecgopt.errors import StudyFileError
from ecgopt.study_file.reading import load_spec

VALID = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))[0].read_text("utf-8")
VALIDATOR_WORDS = ("validation", "Input", "should", "Field", "tuple", "Tuple", "valid ")


def refusal(tmp_path, content):
    path = tmp_path / "study.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyFileError) as caught:
        load_spec(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


@pytest.mark.parametrize("value", ["true", '"6"', "8.9", "inf", "nan", "0", "[]", "99999999999"])
def test_a_count_must_be_a_whole_number_within_limits(tmp_path, value):
    (line,) = refusal(tmp_path, re.sub(r"(?m)^trials = \d+", f"trials = {value}", VALID))
    assert line.startswith("[budget] trials: the value must be ")
    assert not any(word in line for word in VALIDATOR_WORDS)


def test_a_misspelt_table_is_named_once_with_the_one_that_is_missing(tmp_path):
    lines = refusal(tmp_path, VALID.replace("[budget]", "[buget]"))
    assert lines == ["buget: unknown key: did you mean 'budget'?"]


def test_all_errors_are_told_together(tmp_path):
    text = VALID.replace("[budget]", "[budget]\nreplicats = 3", 1)
    lines = refusal(tmp_path, re.sub(r"(?m)^trials = \d+", "trials = true", text))
    assert lines == [
        "[budget] replicats: unknown key: did you mean 'replicates'?",
        "[budget] trials: the value must be a whole number, but is true",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name = '\xff'", "must be text in UTF-8, but byte 8"),
        (b"name = '\0'", "must be valid TOML"),
        (b"name = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"name = ", "must be valid TOML"),
    ],
)
def test_what_is_no_toml_is_refused_in_one_line(tmp_path, content, reason):
    (line,) = refusal(tmp_path, content)
    assert reason in line


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID.encode())
    assert load_spec(path).name


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StudyFileError, match="Is a directory: give the path"):
        load_spec(tmp_path)
    with pytest.raises(StudyFileError, match="No such file or directory: give the path"):
        load_spec(tmp_path / "absent.toml")
