import json
import zipfile
from dataclasses import replace

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.errors import DataError, UserError
from ecgopt.evidence.bundle import is_bundle, open_bundle, write_bundle
from ecgopt.evidence.merge import gather
from ecgopt.report.results import results
from ecgopt.report.verify import verify_bundle

SMALL = World(replicates=2, final_seeds=2, trials=10)


def bundle_of(world, folder, name="bundle.zip", change=lambda evidence: evidence):
    evidence = change(invent(world, folder / "workspace"))
    content = results(conclude(evidence, folder / "workspace"))
    return write_bundle(evidence, folder / "workspace", folder / name, results=content)


def verified(path):
    with open_bundle(path) as bundle:
        return {found.name: found for found in verify_bundle(bundle)}


def wrong_in(path):
    return {name: found.wrong for name, found in verified(path).items() if found.wrong}


@pytest.mark.parametrize("name", ["bundle.zip", "bundle"])
def test_a_bundle_re_derives_every_number(tmp_path, name):
    found = verified(bundle_of(SMALL, tmp_path, name))
    assert {each.wrong for each in found.values()} == {()}
    assert all(each.n_checked > 0 for each in found.values())


def test_a_bundle_restores_its_evidence(tmp_path):
    path = bundle_of(SMALL, tmp_path)
    with open_bundle(path) as bundle:
        assert bundle.evidence == invent(SMALL, tmp_path / "again")


def test_the_same_evidence_gives_the_same_bytes(tmp_path):
    first = bundle_of(SMALL, tmp_path, "a.zip").read_bytes()
    assert first == bundle_of(SMALL, tmp_path, "b.zip").read_bytes()


def test_an_existing_bundle_is_not_overwritten(tmp_path):
    bundle_of(SMALL, tmp_path)
    with pytest.raises(UserError, match="exists already"):
        bundle_of(SMALL, tmp_path)


def test_nothing_is_left_behind_when_predictions_are_missing(tmp_path):
    evidence = invent(SMALL, tmp_path / "workspace")
    next((tmp_path / "workspace").rglob("*.npz")).unlink()
    with pytest.raises(DataError, match="no such file"):
        write_bundle(evidence, tmp_path / "workspace", tmp_path / "b.zip", results={})
    assert [path.name for path in tmp_path.iterdir()] == ["workspace"]


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_edited_file_is_found_by_its_hash(tmp_path):
    path = bundle_of(SMALL, tmp_path, "bundle")
    edit_json(path / "results.json", lambda content: content["comparison"].update(margin=0.5))
    assert wrong_in(path) == {"files hash to what was recorded": ("results.json",)}


def test_an_added_file_is_found(tmp_path):
    path = bundle_of(SMALL, tmp_path, "bundle")
    (path / "note.txt").write_text("trust me")
    assert wrong_in(path) == {"files hash to what was recorded": ("note.txt",)}


def with_final(change):
    return lambda evidence: replace(
        evidence, finals=(change(evidence.finals[0]), *evidence.finals[1:])
    )


def test_a_score_that_its_predictions_do_not_give_is_found(tmp_path):
    path = bundle_of(
        SMALL,
        tmp_path,
        change=with_final(lambda f: replace(f, metrics={**f.metrics, "macro_auroc": 0.99})),
    )
    (wrong,) = wrong_in(path)["test scores and thresholds follow from the predictions"]
    assert "macro_auroc is 0.99" in wrong


def test_a_threshold_that_does_not_come_from_validation_is_found(tmp_path):
    path = bundle_of(
        SMALL,
        tmp_path,
        change=with_final(lambda f: replace(f, thresholds={**f.thresholds, "MI": 0.1})),
    )
    wrong = wrong_in(path)["test scores and thresholds follow from the predictions"]
    assert any("threshold of MI" in line for line in wrong)


def test_a_final_fit_of_another_trial_than_the_winner_is_found(tmp_path):
    path = bundle_of(SMALL, tmp_path, change=with_final(lambda f: replace(f, trial_number=77)))
    assert "final of trial 77" in wrong_in(path)["final fits are of the winners"][0]


def test_a_result_that_does_not_follow_is_found(tmp_path):
    evidence = invent(SMALL, tmp_path / "workspace")
    content = results(conclude(evidence, tmp_path / "workspace"))
    content["cells"][0]["comparisons"][0]["verdict"] = "fine_tune wins!"
    path = write_bundle(evidence, tmp_path / "workspace", tmp_path / "b.zip", results=content)
    (wrong,) = wrong_in(path)["results follow from trials, final fits and predictions"]
    assert wrong.startswith("cells[0].comparisons[0].verdict")


@pytest.fixture
def beside(tmp_path):
    """Return evidence with audits and learning rates, and the workspace of its predictions."""
    workspace = tmp_path / "workspace"
    return invent(replace(SMALL, beside=True), workspace), workspace


def wrong_beside(evidence, workspace, target):
    content = results(conclude(evidence, workspace))
    return wrong_in(write_bundle(evidence, workspace, target, results=content))


def test_runs_beside_the_budget_are_re_derived(beside, tmp_path):
    evidence, workspace = beside
    assert any(trial.recipe == "audit" for study in evidence.studies for trial in study.trials)
    assert wrong_beside(evidence, workspace, tmp_path / "b.zip") == {}


def test_an_audit_of_a_trial_that_was_not_pruned_is_found(beside, tmp_path):
    evidence, workspace = beside
    study = next(s for s in evidence.studies if any(t.recipe == "audit" for t in s.trials))
    trials = tuple(
        replace(t, number=0, details={"audit_of": 0}) if t.recipe == "audit" else t
        for t in study.trials
    )
    changed = replace(
        evidence,
        studies=tuple(replace(s, trials=trials) if s == study else s for s in evidence.studies),
    )
    wrong = wrong_beside(changed, workspace, tmp_path / "b.zip")
    assert "was audited, but not pruned so" in wrong["runs outside the budget are what they say"][0]


def test_a_learning_rate_that_validation_did_not_choose_is_found(beside, tmp_path):
    evidence, workspace = beside
    finals = tuple(
        replace(f, parameters={**f.parameters, "learning_rate": 0.5})
        if f.role == "learning_rate"
        else f
        for f in evidence.finals
    )
    wrong = wrong_beside(replace(evidence, finals=finals), workspace, tmp_path / "b.zip")
    assert "learning_rate final" in wrong["final fits are of the winners"][0]


def test_a_test_curve_that_ends_elsewhere_than_its_score_is_found(beside, tmp_path):
    evidence, workspace = beside
    finals = tuple(
        replace(f, test_curve=(*f.test_curve[:-1], 0.1)) if f.test_curve else f
        for f in evidence.finals
    )
    wrong = wrong_beside(replace(evidence, finals=finals), workspace, tmp_path / "b.zip")
    assert "runs outside the budget are what they say" in wrong


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.npz", "a/../../b.npz"])
def test_evidence_that_points_outside_the_bundle_is_refused(tmp_path, path):
    bundle = bundle_of(SMALL, tmp_path, "bundle")
    edit_json(
        bundle / "evidence.json", lambda content: content["finals"][0].update(predictions=path)
    )
    with pytest.raises(DataError, match="inside the bundle"), open_bundle(bundle):
        pass


def test_a_zip_that_unpacks_outside_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    with pytest.raises(DataError, match="inside the bundle"), open_bundle(tmp_path / "evil.zip"):
        pass


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_a_file_that_is_no_bundle_is_refused(tmp_path, content):
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(UserError, match="must be a zip file"), open_bundle(tmp_path / "b.zip"):
        pass


def test_a_study_file_is_not_taken_for_a_bundle(tmp_path):
    (tmp_path / "study.toml").write_text("")
    assert not is_bundle(tmp_path / "study.toml")


def merged(tmp_path, *paths):
    from contextlib import ExitStack

    with ExitStack() as stack:
        bundles = [stack.enter_context(open_bundle(path)) for path in paths]
        return gather(bundles, tmp_path / "merged")


def part(tmp_path, name, **world):
    (tmp_path / name).mkdir()
    return bundle_of(replace(SMALL, **world), tmp_path / name)


def test_clusters_that_ran_other_cells_merge_into_one_comparison(tmp_path):
    whole = merged(
        tmp_path,
        part(tmp_path, "a", train_sizes=(200,)),
        part(tmp_path, "b", train_sizes=(800,)),
    )
    assert [cell.n_train for cell in whole.comparison.cells] == [200, 800]
    assert len(conclude(whole, tmp_path / "merged").cells) == 2


def test_clusters_of_another_seed_add_replicates(tmp_path):
    whole = merged(tmp_path, part(tmp_path, "a", seed=0), part(tmp_path, "b", seed=1))
    assert {study.replicate for study in whole.studies} == {0, 1, 2, 3}
    assert whole.comparison.budget.replicates == 4
    assert {check.study for check in whole.checks} <= {study.study for study in whole.studies}
    (found,) = conclude(whole, tmp_path / "merged").cells[0].comparisons
    assert found.n_replicates == 4
    # The first seed's replicates were a look already, and no plan left anything for a second one.
    assert whole.comparison.looks == (2,)
    assert (found.verdict, found.judgement.level) == ("undecided", 0.0)


def test_parts_that_lost_a_replicate_merge_into_an_interim_comparison(tmp_path):
    def lose(evidence):
        kept = tuple(study for study in evidence.studies if study.replicate == 0)
        return replace(
            evidence, studies=kept, finals=tuple(f for f in evidence.finals if f.replicate == 0)
        )

    paths = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        paths.append(bundle_of(replace(SMALL, seed=seed), tmp_path / str(seed), change=lose))
    whole = merged(tmp_path, *paths)
    assert whole.comparison.budget.replicates == 4
    (found,) = conclude(whole, tmp_path / "merged").cells[0].comparisons
    assert found.verdict == "interim"


def test_a_merged_bundle_verifies(tmp_path):
    parts = (part(tmp_path, "a", seed=0, beside=True), part(tmp_path, "b", seed=1, beside=True))
    whole = merged(tmp_path, *parts)
    content = results(conclude(whole, tmp_path / "merged"))
    path = write_bundle(whole, tmp_path / "merged", tmp_path / "whole.zip", results=content)
    assert wrong_in(path) == {}


def test_the_same_bundle_twice_counts_once(tmp_path):
    path = bundle_of(SMALL, tmp_path)
    assert len(merged(tmp_path, path, path).finals) == len(invent(SMALL, tmp_path / "w").finals)


def test_one_study_run_twice_with_different_trials_is_refused(tmp_path):
    first = bundle_of(SMALL, tmp_path, "a.zip")
    second = bundle_of(
        SMALL,
        tmp_path,
        "b.zip",
        change=lambda e: replace(
            e, studies=(replace(e.studies[0], trials=e.studies[0].trials[:-1]), *e.studies[1:])
        ),
    )
    with pytest.raises(UserError, match="different content"):
        merged(tmp_path, first, second)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("margin", 0.02, "margin"), ("name", "other", "name"), ("confidence", 0.9, "confidence")],
)
def test_bundles_of_different_rules_are_refused(tmp_path, field, value, named):
    first = bundle_of(SMALL, tmp_path, "a.zip")
    second = bundle_of(
        SMALL,
        tmp_path,
        "b.zip",
        change=lambda e: replace(e, comparison=replace(e.comparison, **{field: value})),
    )
    with pytest.raises(UserError, match=f"their {named} differs"):
        merged(tmp_path, first, second)
