"""A user's TOML file is read strictly, and all its errors are told in plain words."""

import copy
import datetime
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import toml_reference
from pydantic import ValidationError
from pydantic_core._pydantic_core import list_all_errors

from ecgopt.data.sources.own_files import OwnFile
from ecgopt.errors import DataError, StudyFileError
from ecgopt.study_file.reading import expand_folder, load_spec
from ecgopt.study_file.spec import MOST_TRIALS, StudySpec
from ecgopt.toml_errors import _LIMITS, _TYPES, FORMS, MAX_DEPTH, OTHER, checked, read_toml

STUDY = {
    "name": "full",
    "question": "Does it help?",
    "seed": 3,
    "regimes": ["scratch", "fine_tune", "svm_probe", "layer_decay", "rival"],
    "arms": {"rival": {"start": "linear_probe", "model": "inception1d-w4-two", "upstream": "ours"}},
    "upstreams": ["big", "ours"],
    "downstreams": ["small"],
    "train_sizes": [60, "all"],
    "validation_share": 0.25,
    "validation_folds": 2,
    "data": {
        "big": {
            "source": "ptbxl", "labels": "ptbxl_superclass", "unlabelled": "drop",
            "folders": ["raw"], "patients": [0.0, 0.5], "test_folds": [9, 10], "broken": "drop",
        },
        "small": {
            "source": "synthetic", "labels": "synthetic", "test_share": 0.5,
            "synthetic": {
                "records": 200, "seed": 1, "population": "B", "sampling_rate_hz": 250,
                "noise": 1.5, "severity": 0.9,
            },
        },
    },
    "upstream": {
        "ours": {"data": "big", "checkpoint": "weights.pt", "names": {"conv1": "stem.first.conv"}},
        "big": {"objective": "age"},
    },
    "inputs": {
        "two": {
            "rate_hz": 250, "seconds": 5.0, "leads": ["I", "II"], "filters_at": "source",
            "filters": [
                {"kind": "band_pass", "hz": [0.5, 40.0], "order": 2},
                {"kind": "notch", "hz": 50.0, "quality": 20.0},
                {"kind": "median_baseline", "seconds": [0.2, 0.6]},
            ],
            "scaling": "z_score_lead", "longer": "centre", "shorter": "refuse",
        },
    },
    "models": [
        {"name": "resnet1d18", "width": 8, "head": "pooled", "input": "two"},
        {"name": "inception1d", "width": 4, "input": "two"},
    ],
    "cells": [
        {
            "upstreams": ["big"], "downstreams": ["small"],
            "models": ["resnet1d18-w8-pooled-two"], "train_sizes": ["all"],
        },
    ],
    "space": {
        "shared": {
            "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
            "epochs": {"low": 5, "high": 100},
            "optimizer": {"choices": ["adam", "sgd"]},
        },
        "fine_tune": {"frozen_stages": {"low": 0, "high": 5}},
        "svm_probe": {"svm_c": {"low": 0.01, "high": 10.0, "log": True}},
        "layer_decay": {"layer_decay": {"low": 0.3, "high": 1.0}},
    },
    "recipe": {"batch_size": 32, "schedule": "constant", "clip_norm": 2.0},
    "published": {"epochs": 50, "final_fits": False},
    "pretrain": {
        "objective": "multi_label", "epochs": 10, "validation_share": 0.2, "learning_rate": 0.01,
        "tuning": {"trials": 3, "space": {"learning_rate": {"low": 1e-4, "high": 0.1}}},
    },
    "budget": {"trials": 12, "final_seeds": 2, "replicates": 3, "trial_seconds": 60.0},
    "pruning": {"enabled": False, "warmup_steps": 2, "startup_trials": 3, "min_trials": 5},
    "sampler": {"name": "random", "startup_trials": 4},
    "verdict": {"margin": 0.02, "confidence": 0.9},
    "diagnostics": {
        "shuffled_labels": False, "rerun": False, "audit": 2, "learning_rates": 3,
        "test_curve": True,
    },
    "notify": {"command": ["mail", "me"], "webhook": "$HOOK", "on": ["failed"]},
    "track": {"tensorboard": "boards", "mlflow": "sqlite:///mlflow.db"},
    "workers": {
        "lease_seconds": 30.0, "stall_seconds": 600.0, "checkpoint_seconds": 5.0,
        "max_failures": 2,
    },
}  # fmt: skip
OWN = {
    "name": "clinic",
    "records": "ecgs",
    "table": "findings.csv",
    "columns": {
        "record": "file", "patient": "person", "age": "years", "sex": "sex", "fold": "fold",
    },
    "statements": {"column": "icd", "separator": "|"},
    "classes": {"AF": ["I48"], "LBBB": ["I44.7"]},
}  # fmt: skip

NOTHING = object()
WRONG = (
    True, 0, -1, 8.9, 1e300, float("inf"), float("-inf"), float("nan"), 10**18, 16**4000,
    "6", "", "x y", "z" * 2000, [], [1], ["a"] * 3000, [[]], {}, {"a": 1}, {"a": {"b": [{}]}},
    datetime.date(2026, 1, 2), NOTHING,
)  # fmt: skip
"""What stands in place of a value, one at a time; NOTHING leaves its key out."""


def toml(value: object) -> str:
    """Return a value as TOML, tables inline."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value)
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{json.dumps(k)} = {toml(v)}' for k, v in value.items())} }}"
        case int() if value > 10**100:
            return hex(value)
    return str(value)


def document(content) -> str:
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in content.items())


def places(value: object, place=()) -> Iterator[tuple[int | str, ...]]:
    """Yield every key and every entry of a list below `value`."""
    if isinstance(value, dict | list):
        for name, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*place, name)
            yield from places(below, (*place, name))


def replaced(content, place, value):
    changed = copy.deepcopy(content)
    table = changed
    for name in place[:-1]:
        table = table[name]
    if value is NOTHING:
        del table[place[-1]]
    else:
        table[place[-1]] = value
    return changed


def refusals(tmp_path, text, *, model=StudySpec, failure=StudyFileError) -> list[str]:
    """Return the lines by which a file is refused, without its path; none if it is accepted."""
    path = tmp_path / "study.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        read_toml(path, model, failure)
    except failure as error:
        lines = str(error).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]
    return []


def validator_sentences() -> re.Pattern[str]:
    """Match the fixed parts of every message that the validator can give."""
    templates = [error["message_template_python"] for error in list_all_errors()]
    templates += ["Value error", "validation error", "Input should", "For further information"]
    parts = {max(re.split(r"\{\w+\}", template), key=len).strip() for template in templates}
    return re.compile("|".join(re.escape(part) for part in parts if len(part) > 7))


def test_the_full_examples_are_valid_and_name_every_table(tmp_path):
    assert refusals(tmp_path, document(STUDY)) == []
    assert refusals(tmp_path, document(OWN), model=OwnFile, failure=DataError) == []
    tables = {table.path.split(".")[0] for table in toml_reference.tables(StudySpec)}
    assert tables - {""} <= STUDY.keys()


def error_types(model, content) -> set[str]:
    try:
        model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        return {found["type"] for found in error.errors()}
    except ValueError:  # a number too long for JSON, which is refused before
        pass
    return set()


def test_no_error_speaks_the_validators_words_and_every_type_has_its_own():
    sentences, seen = validator_sentences(), set()
    for model, content in ((StudySpec, STUDY), (OwnFile, OWN)):
        for place, value in itertools.product(places(content), WRONG):
            changed = replaced(content, place, value)
            found, lines = checked(changed, model)
            seen |= error_types(model, changed)
            assert (found is None) == bool(lines)
            assert not lines or any(str(place[0]) in line for line in lines), lines
            for line in lines:
                assert line.isprintable(), line
                assert not sentences.search(line), line
                assert OTHER not in line, line
    known = {"extra_forbidden", "missing", "string_pattern_mismatch", "value_error"}
    assert seen == {*_TYPES, *_LIMITS, *known}


def test_every_form_of_text_has_words():
    schemas = json.dumps([StudySpec.model_json_schema(), OwnFile.model_json_schema()])
    patterns = {
        json.loads(found) for found in re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', schemas)
    }
    assert patterns == FORMS.keys()


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "true", '"1"', "1e30", "-1000000"])
def test_no_number_may_be_endless_text_or_out_of_bounds(tmp_path, value):
    for content, model, failure in ((STUDY, StudySpec, StudyFileError), (OWN, OwnFile, DataError)):
        for place in places(content):
            found = content
            for name in place:
                found = found[name]
            if isinstance(found, bool) or not isinstance(found, int | float):
                continue
            mark = "__mark__"
            text = document(replaced(content, place, mark)).replace(f'"{mark}"', value)
            assert refusals(tmp_path, text, model=model, failure=failure), (place, value)


def test_a_fraction_is_refused_where_a_whole_number_is_meant(tmp_path):
    for place in places(STUDY):
        found = STUDY
        for name in place:
            found = found[name]
        if type(found) is int and "layer_decay" not in place and place[-1] != "low":
            (line, *_) = refusals(tmp_path, document(replaced(STUDY, place, 8.9))) or [""]
            assert "whole number" in line, (place, line)


@pytest.mark.parametrize("name", [*STUDY, *STUDY["budget"], *STUDY["data"]["small"]])
def test_a_misspelt_key_or_table_is_named_with_the_one_that_is_meant(tmp_path, name):
    misspelt = name[:-2] + name[-1] + name[-2] if name[-1] != name[-2] else name + "x"
    text = document(STUDY).replace(json.dumps(name) + " =", json.dumps(misspelt) + " =")
    lines = refusals(tmp_path, text)
    told = [line for line in lines if f"{misspelt}: unknown" in line]
    assert told, lines
    assert all(line.endswith(f"did you mean {name!r}?") for line in told), told
    assert not [line for line in lines if "missing" in line], lines


def test_a_key_in_the_wrong_table_is_sent_to_the_right_one(tmp_path):
    content = copy.deepcopy(STUDY)
    content["budget"]["seed"] = 1
    content["lease_seconds"] = 2.0
    content["workers"]["width"] = 3
    assert refusals(tmp_path, document(content)) == [
        "[budget] seed: unknown key: it belongs before the first table or in [data.NAME.synthetic]",
        "[workers] width: unknown key: it belongs in [[models]]",
        "lease_seconds: unknown key: it belongs in [workers]",
    ]


def test_all_errors_are_told_together(tmp_path):
    content = copy.deepcopy(STUDY)
    del content["name"], content["verdict"]
    content["budget"] |= {"trials": True, "replicats": 3}
    content["models"][0]["width"] = 0
    content["train_sizes"] = [60, "most", 2026.5, datetime.date(2026, 1, 2)]
    content["data"]["small"]["source"] = "synthetik"
    del content["data"]["big"]["folders"]
    assert set(refusals(tmp_path, document(content))) == {
        "name: this key is missing: add it",
        "[budget] trials: must be a whole number, but is true",
        "[budget] replicats: unknown key: did you mean 'replicates'?",
        "[[models]] (entry 1) width: must be at least 1, but is 0",
        "train_sizes (entry 2): must be a whole number or 'all', but is 'most'",
        "train_sizes (entry 3): must be a whole number or 'all', but is 2026.5",
        "train_sizes (entry 4): dates and times have no meaning here: write '2026-01-02' in quotes",
        "[data.small] source: data source 'synthetik' is not known: did you mean 'synthetic'?",
        "[data.small.synthetic]: source is 'synthetik', not 'synthetic': delete this table",
        "[data.small] folders: must name at least one folder of raw records: add it",
        "[data.big] folders: must name at least one folder of raw records: add it",
    }


BOUNDS = {"low": 0.1, "high": 0.2}


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("regimes 1", "fine_tun",
         "regimes (entry 2): start 'fine_tun' is not known: did you mean 'fine_tune'?"),
        ("regimes 1", "published", "regimes (entry 2): 'published' is a recipe and not a regime"),
        ("models 0 name", "resnet1d19",
         "[[models]] (entry 1) name: network 'resnet1d19' is not known: did you mean 'resnet1d1"),
        ("models 0 head", "flatten", "[[models]] (entry 1) head: model 'resnet1d18' has heads"),
        ("models 0 name", "nowhere:net",
         "[[models]] (entry 1) name: network 'nowhere:net': the module"),
        ("sampler name", "tpee",
         "[sampler] name: sampler 'tpee' is not known: did you mean 'tpe'?"),
        ("data big labels", "ptbxl", "[data.big] labels: label set 'ptbxl' is not known"),
        ("data big folders", ["$DATA/a", "$5/b"],
         "[data.big] folders (entry 2): must be a path, with variables as $NAME"),
        ("data big patients", [0.5, 0.5], "[data.big] patients: the first must be less"),
        ("data big patients", [0.5], "[data.big] patients (entry 2): this entry is missing"),
        ("data big test_share", 0.5, "[data.big] test_share: give test_folds or test_share"),
        ("data b-!", {}, "[data.'b-!']: must be letters, digits"),
        ("upstreams 0", "bigg",
         "upstreams (entry 1): there is no table [data.bigg]: did you mean 'big'?"),
        ("cells 0 upstreams 0", "bigg", "[[cells]] (entry 1) upstreams (entry 1)"),
        ("cells 0 models 0", "resnet1d18", "did you mean 'resnet1d18-w8-pooled-two'?"),
        ("space fine_tuning", {}, "[space.fine_tuning]: must be 'shared' or one of the regimes"),
        ("space shared learning_rat", BOUNDS, "did you mean 'learning_rate'?"),
        ("space fine_tune dropout", BOUNDS, "move dropout to [space.shared]"),
        ("space shared frozen_stages", {"low": 0, "high": 5}, "delete one of the two"),
        ("space fine_tune frozen_stages high", 6, "high must be at most 5, the network's"),
        ("space shared epochs low", 5.5, "epochs must be a whole number, but is 5.5"),
        ("space shared epochs high", 40, "epochs = 50 is outside 5..40"),
        ("space shared learning_rate high", 5.0, "must be from 1e-08 to 1, but is 5.0"),
        ("space shared learning_rate low", 0.0, "low: must be greater than 0 where log"),
        ("space shared optimizer choices", ["adam", "adamv"], "must be one of adamw, adam"),
        ("space layer_decay", {}, "[space.layer_decay.layer_decay]: 'layer_decay' needs a range"),
        ("pretrain tuning space svm_c", BOUNDS, "must be a key of [recipe]"),
        ("upstream ours objective", "age", "[upstream.ours] objective: a checkpoint is already"),
        ("upstream ours names", {"a": 1}, "[upstream.ours.names] a: must be text in quotes"),
        ("upstream theirs", {}, "[upstream.theirs]: 'theirs' is not listed in upstreams"),
        ("budget trials", 100_000, f"at most {MOST_TRIALS:,} are possible"),
        ("train_sizes", ["all", {"a": "\x1b[31m"}],
         "train_sizes (entry 2): must be a whole number or 'all', but is a table"),
        ("a\nb", 1, "'a\\nb': unknown key"),
    ],
)  # fmt: skip
def test_an_error_names_its_key_and_the_remedy(tmp_path, place, value, line):
    names = [int(name) if name.isdigit() else name for name in place.split(" ")]
    content = replaced(STUDY, names, value)
    if place == "budget trials":
        content["budget"]["replicates"] = 1000
    assert any(line in found for found in refusals(tmp_path, document(content)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name = '\xff'", "must be text in UTF-8, but byte 8"),
        (document(STUDY).encode("utf-16"), "must be text in UTF-8, but byte 0"),
        (b"name = '\0'", "must be valid TOML"),
        (b"name = ", "must be valid TOML"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested more than"),
        (b"a = " + b"[" * 150 + b"]" * 150, "nested more than"),
        (b"a = " + b"{b=" * 150 + b"1" + b"}" * 150, "nested more than"),
        (b".".join([b"a"] * 5000) + b" = 1", "nested more than"),
        (b"a = 1" + b"0" * 5000, "below 2^63"),
        (b"a = 0x1" + b"0" * 5000, "below 2^63"),
    ],
)
def test_what_is_no_toml_is_refused_in_one_line(tmp_path, content, reason):
    (line,) = [line for line in refusals(tmp_path, content) if reason in line]
    assert len(line) < 200


def test_a_list_full_of_errors_shows_the_first_and_counts_the_others(tmp_path):
    lines = refusals(tmp_path, document(STUDY | {"train_sizes": [0] * 100}))
    assert lines[0] == "train_sizes (entry 1): must be at least 1 or 'all', but is 0"
    assert lines[-1] == "and 70 more errors"
    assert len(lines) == 31


def test_a_usual_depth_is_not_refused(tmp_path):
    deep = b"a = " + b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2)
    assert not [line for line in refusals(tmp_path, deep) if "nested" in line]


def test_an_empty_file_lacks_its_required_keys(tmp_path):
    assert refusals(tmp_path, b"") == [
        "name: this key is missing: add it",
        "downstreams: this key is missing: add it",
        "train_sizes: this key is missing: add it",
        "[data]: this table is missing: add it",
        "[space]: this table is missing: add it",
        "[budget]: this table is missing: add it",
    ]


def test_a_byte_order_mark_and_line_ends_of_windows_are_accepted(tmp_path):
    text = document(STUDY).replace("\n", "\r\n")
    assert refusals(tmp_path, b"\xef\xbb\xbf" + text.encode()) == []


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StudyFileError, match="Is a directory: give the path"):
        load_spec(tmp_path)
    with pytest.raises(StudyFileError, match="No such file or directory: give the path"):
        load_spec(tmp_path / "absent.toml")


def test_folders_have_their_variables_filled_in_and_an_unset_one_is_named(monkeypatch):
    monkeypatch.setenv("HOSPITAL", "/srv/ecg")
    monkeypatch.delenv("ECGOPT_DATA", raising=False)
    assert expand_folder("${HOSPITAL}/a$$b") == Path("/srv/ecg/a$b")
    with pytest.raises(StudyFileError, match=r"'\$ECGOPT_DATA/x': .* ECGOPT_DATA is not set"):
        expand_folder("$ECGOPT_DATA/x")


def test_the_shipped_study_files_are_valid():
    for path in (Path(__file__).parents[3] / "studies").glob("*.toml"):
        assert load_spec(path).name == path.stem


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("macro_auprc", None),
        ("macro_auprv", "did you mean 'macro_auprc'"),
        ("calibration_error", "cannot decide"),
        ("challenge", "have no challenge score"),
    ],
)
def test_the_metric_of_the_verdict_is_one_that_can_decide(metric, said):
    study = copy.deepcopy(STUDY)
    study["verdict"]["metric"] = metric
    study["data"]["small"]["labels"] = "ptbxl_superclass"
    if said is None:
        spec = StudySpec.model_validate(study)
        assert spec.scientific_content()["verdict"]["metric"] == metric
    else:
        with pytest.raises(ValidationError, match=said):
            StudySpec.model_validate(study)
