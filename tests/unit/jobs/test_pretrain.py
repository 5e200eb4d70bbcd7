"""Upstreams in a study file: objectives, the user's own weights, and a tuned pre-training."""

import json

import numpy as np
import pytest
import torch
from sqlalchemy import update
from tiny_study import begin

from ecgopt.database.comparisons import stored_comparison
from ecgopt.database.tables import comparison
from ecgopt.errors import CheckpointError, StudyFileError, StudyMismatch
from ecgopt.jobs.pretrain_trial import pretraining_parameters
from ecgopt.jobs.registry import work_items
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.study_file.cells import expand_cells, expand_studies
from ecgopt.study_file.reading import load_spec

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

VARIANTS = """
[upstream.permuted]
data = "up"
objective = "label_permuted"

[upstream.ages]
data = "up"
objective = "age"
"""
TUNING = """
[pretrain.tuning]
trials = 5
space.learning_rate = { low = 1e-4, high = 1e-2, log = true }
space.epochs = { low = 2, high = 9 }
"""


def study_with(study_file, more, upstreams='["up"]', **names):
    path = study_file()
    text = path.read_text().replace('upstreams = ["up"]', f"upstreams = {upstreams}")
    path.write_text(text + more.format(**names) if names else text + more)
    return path


def test_two_upstreams_may_differ_in_the_objective_alone(study_file):
    spec = load_spec(study_with(study_file, VARIANTS, '["up", "permuted", "ages"]'))
    assert [cell.upstream for cell in expand_cells(spec)] == ["up", "permuted", "ages"]
    assert [spec.upstream_objective(name) for name in spec.upstreams] == [
        "multi_label",
        "label_permuted",
        "age",
    ]
    assert spec.data_names() == ("up", "down")


def test_an_upstream_on_the_downstreams_own_data_is_never_paired_with_it(study_file):
    more = '[upstream.same]\ndata = "down"\nobjective = "masked_signal"\n'
    spec = load_spec(study_with(study_file, more, '["up", "same"]'))
    assert [cell.upstream for cell in expand_cells(spec)] == ["up"]


@pytest.mark.parametrize(
    ("more", "upstreams", "complaint"),
    [
        (
            VARIANTS,
            '["up"]',
            r"\[upstream.permuted\]: 'permuted' is not listed in upstreams: add it",
        ),
        ("", '["up", "nowhere"]', r"no table \[data.nowhere\]"),
        ('[upstream.up]\nobjective = "sex"\n', '["up"]', r"\[upstream.up\] objective"),
        (
            '[upstream.up]\nnames = "ecgopt"\n',
            '["up"]',
            r"\[upstream.up\] names: belongs to a checkpoint, but none is given",
        ),
        (
            '[upstream.up]\ncheckpoint = "w.pt"\nobjective = "age"\n',
            '["up"]',
            r"\[upstream.up\] objective: a checkpoint is already trained: delete one",
        ),
        (
            "[pretrain.tuning]\ntrials = 3\nspace.frozen_stages = { low = 0, high = 1 }\n",
            '["up"]',
            r"\[pretrain.tuning.space.frozen_stages\]: must be a key of \[recipe\]: choose one of",
        ),
    ],
)
def test_a_mistake_in_an_upstream_is_one_clear_line(study_file, more, upstreams, complaint):
    with pytest.raises(StudyFileError, match=complaint):
        load_spec(study_with(study_file, more, upstreams))


def test_ages_are_the_only_label_of_an_upstream_that_predicts_them(study_file, tmp_path):
    study = study_with(study_file, VARIANTS, '["up", "permuted", "ages"]')
    data = begin(study, tmp_path / "ws").data
    ages, labels = data.upstream("ages"), data.upstream("up")
    assert ages.train.classes == ("age_years",)
    assert ages.train.records == labels.train.records
    known = ages.train.labels[np.isfinite(ages.train.labels)]
    assert known.size
    assert (known >= 0).all()
    assert (known <= 120).all()


def own_weights_study(study_file, weights, *, width=2, names="ecgopt"):
    model = build_model(ModelSpec(width=width), n_labels=7, seed=5)
    torch.save(model.state_dict(), weights)
    more = f'[upstream.mine]\ncheckpoint = "{weights}"\nnames = "{names}"\n'
    return study_with(study_file, more, '["mine"]')


def test_own_weights_of_unknown_records_need_no_upstream_data(study_file, tmp_path):
    opened = begin(own_weights_study(study_file, tmp_path / "w.pt"), tmp_path / "ws")
    assert opened.spec.data_names() == ("down",)
    (item,) = (
        i for i in work_items(opened.spec, expand_studies(opened.spec)) if i.kind == "pretrain"
    )
    assert item.key == "pretrain/mine-resnet1d18-w2"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"width": 4}, r"\[upstream.mine\] for resnet1d18-w2: .* instead of"),
        ({"names": "torchvision"}, r"\[upstream.mine\] for resnet1d18-w2: "),
    ],
)
def test_own_weights_that_do_not_fit_are_refused_before_any_work(
    study_file, tmp_path, change, complaint
):
    study = own_weights_study(study_file, tmp_path / "w.pt", **change)
    if change == {"names": "torchvision"}:
        torch.save({"conv1.weight": torch.zeros(2, 12, 7)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=complaint):
        begin(study, tmp_path / "ws")


def test_a_tuned_pretraining_waits_for_its_trials_and_is_itself_waited_for(study_file):
    spec = load_spec(study_with(study_file, TUNING))
    items = work_items(spec, expand_studies(spec))
    trials = [item for item in items if item.kind == "pretrain_trial"]
    (chosen,) = (item for item in items if item.kind == "pretrain")
    assert len(trials) == 5
    assert {item.group for item in trials} == {chosen.needs}
    fine_tunings = [i for i in items if i.kind == "trial" and "fine_tune" in i.key]
    assert {item.needs for item in fine_tunings} == {chosen.group}


def test_the_first_pretraining_trial_is_the_recipe_itself_and_the_others_lie_in_range(study_file):
    spec = load_spec(study_with(study_file, TUNING))
    first, *others = (pretraining_parameters(spec, "up-m", number) for number in range(5))
    assert first == {}
    assert all(1e-4 <= found["learning_rate"] <= 1e-2 for found in others)
    assert all(2 <= found["epochs"] <= 9 for found in others)
    assert len({found["learning_rate"] for found in others}) == 4
    assert pretraining_parameters(spec, "up-m", 3) == others[2]


def test_a_study_stored_before_a_key_existed_goes_on_with_the_keys_default(study_file, tmp_path):
    study = study_file()
    opened = begin(study, tmp_path / "ws")
    content = stored_comparison(opened.database, "tiny").content
    assert {"cells", "upstream"} <= content.keys()
    forget(opened.database, content, ("cells", "upstream"))
    begin(study, tmp_path / "ws")
    changed = study_with(study_file, VARIANTS, '["up", "permuted", "ages"]')
    with pytest.raises(StudyMismatch, match="upstreams"):
        begin(changed, tmp_path / "ws")


def forget(database, content, keys):
    older = {key: value for key, value in content.items() if key not in keys}
    del older["pretrain"]["objective"]
    with database.transaction() as connection:
        connection.execute(update(comparison).values(content=json.dumps(older)))


def test_replicates_start_from_the_pretraining_runs_in_turn(study_file):
    path = study_file(replicates=3)
    spec = load_spec(study_with_runs(path, 2))
    items = work_items(spec, expand_studies(spec))
    made = [item for item in items if item.kind == "pretrain"]
    (label,) = {study.model.label for study in expand_studies(spec)}
    assert [item.key for item in made] == [f"pretrain/up-{label}", f"pretrain/up-{label}-run1"]
    needed = {
        study.replicate: study.pretraining for study in expand_studies(spec) if study.upstream
    }
    assert needed == {0: f"up-{label}", 1: f"up-{label}-run1", 2: f"up-{label}"}
    groups = {item.group for item in made}
    assert {item.needs for item in items if item.kind == "trial" and item.needs} == groups


def test_an_own_checkpoint_is_a_single_run(study_file):
    text = '[upstream.up]\ncheckpoint = "weights.safetensors"\n'
    path = study_with_runs(study_file(replicates=3), 3)
    path.write_text(path.read_text().replace("[data.up]", f"{text}[data.up]", 1))
    spec = load_spec(path)
    assert {study.pretraining_run for study in expand_studies(spec)} == {0}


def study_with_runs(path, runs):
    text = path.read_text()
    assert "[pretrain]\n" in text
    path.write_text(text.replace("[pretrain]\n", f"[pretrain]\nruns = {runs}\n"))
    return path
