"""Audits, learning rates, sanity checks and test curves through real processes."""

import json

import optuna
import pytest
from processes import ecgopt
from tiny_study import tiny_study

from ecgopt.evidence.audit_choice import choose_for_audit
from ecgopt.evidence.records import from_json

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

DIAGNOSTICS = """
[verdict]
least_positives = 2

[diagnostics]
audit = 1
learning_rates = 2
test_curve = true
"""


def run(study, folder, *options):
    done = ecgopt(
        "run",
        study,
        "--workers",
        2,
        "--workspace",
        folder / "ws",
        "--out",
        folder / "out",
        *options,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "out/results.json").read_text())


def evidence_of(study, folder, name="bundle"):
    done = ecgopt("export", study, folder / name, "--workspace", folder / "ws")
    assert done.returncode == 0, done.stderr
    return from_json((folder / name / "evidence.json").read_bytes())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run one study with every diagnostic, once; return its file, its folder and its evidence."""
    folder = tmp_path_factory.mktemp("diagnostics")
    study = folder / "study.toml"
    study.write_text(tiny_study(trials=12, epochs_high=12, published_epochs=3) + DIAGNOSTICS)
    results = run(study, folder)
    return study, folder, evidence_of(study, folder), results


def trials_of(evidence, recipe):
    return {
        study.study: [trial for trial in study.trials if trial.recipe == recipe]
        for study in evidence.studies
    }


def test_the_best_pruned_trial_of_each_study_is_trained_to_its_end(finished):
    _, _, evidence, _ = finished
    audits = trials_of(evidence, "audit")
    assert any(audits.values()), "no trial of the study was pruned"
    for study in evidence.studies:
        (wanted,) = choose_for_audit(study.trials, 1) or [None]
        (audit,) = audits[study.study] or [None]
        assert (wanted is None) == (audit is None)
        if audit is not None:
            assert audit.details["audit_of"] == wanted.number
            assert audit.n_epochs == wanted.parameters["epochs"] > wanted.n_epochs
            # It began again from the trial's seed, so it repeats all that was reported.
            assert {step: audit.reports[step] for step in wanted.reports} == wanted.reports


def test_optuna_counts_the_budget_and_knows_of_nothing_beside_it(finished):
    _, folder, evidence, _ = finished
    for study in evidence.studies:
        stored = optuna.load_study(
            study_name=f"tiny/{study.study}", storage=f"sqlite:///{folder}/ws/ecgopt.sqlite3"
        )
        assert len(stored.trials) == 12


def test_the_published_recipe_is_tried_at_other_learning_rates_and_the_best_is_tested(finished):
    _, _, evidence, _ = finished
    for study, extras in trials_of(evidence, "extra").items():
        assert [trial.number for trial in extras] == [1, 2]
        (final,) = [f for f in evidence.finals if (f.study, f.role) == (study, "learning_rate")]
        (published,) = trials_of(evidence, "published")[study]
        best = max([published, *extras], key=lambda trial: trial.value)
        assert final.parameters["learning_rate"] == best.parameters["learning_rate"]
        assert final.parameters["epochs"] == published.parameters["epochs"]


def test_the_published_recipe_has_a_test_score_after_each_epoch_and_no_other_has(finished):
    _, _, evidence, _ = finished
    for final in evidence.finals:
        expected = 3 if final.role == "published" else 0
        assert len(final.test_curve) == expected
        if expected:
            assert final.test_curve[-1] == pytest.approx(final.metrics["macro_auroc"], abs=1e-12)


def test_one_opening_serves_a_whole_test_curve(finished):
    _, _, evidence, _ = finished
    assert len(evidence.openings) == len(evidence.finals)


def test_the_sanity_gates_pass(finished):
    *_, results = finished
    states = {gate["name"]: gate["state"] for gate in results["gates"]}
    assert states["shuffled labels give 0.5"] == "passed"
    assert states["a repeated trial gives the same score"] == "passed"
    assert states["every study spent exactly its budget"] == "passed"
    assert states["the sealed test was scored once per winner"] == "passed"


def test_a_repeated_trial_is_equal_to_the_last_bit(finished):
    _, _, evidence, _ = finished
    reruns = [check for check in evidence.checks if check.name == "rerun"]
    assert len(reruns) == 2
    assert all(first == again for first, again in (check.values for check in reruns))


def test_the_waterfall_has_all_its_steps(finished):
    *_, results = finished
    (steps,) = results["cells"][0]["waterfall"].values()
    assert [step["name"] for step in steps] == [
        "published recipe, best test epoch",
        "published recipe, last epoch",
        "epoch chosen on validation",
        "own learning rate",
        "all tuned",
    ]


def test_all_of_it_is_charged_beside_the_budget(finished):
    _, _, evidence, results = finished
    for regime, arm in results["cells"][0]["regimes"].items():
        (study,) = [study for study in evidence.studies if study.regime == regime]
        beside = sum(t.n_epochs for t in study.trials if t.recipe in ("audit", "extra"))
        beside += sum(c.n_epochs for c in evidence.checks if c.study == study.study)
        beside += sum(
            f.n_epochs for f in evidence.finals if f.study == study.study and f.role != "tuned"
        )
        assert arm["cost"]["beside_budget"]["epochs"] == beside > 0
        budget = [t for t in study.trials if t.recipe in ("tuned", "published")]
        assert arm["cost"]["tuning"]["epochs"] == sum(t.n_epochs for t in budget)


def test_verify_re_derives_what_was_run_beside_the_budget(finished):
    _, folder, _, _ = finished
    done = ecgopt("verify", folder / "bundle")
    assert "ok   runs outside the budget are what they say" in done.stdout
    # A study this small learns nothing, so that its gates fail; every number must follow.
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert [line[:26] for line in failed] == ["FAIL no sanity gate fails:"]


def test_a_finished_study_can_be_audited_later_and_keeps_its_answer(study_file, tmp_path):
    study = study_file(trials=12, epochs_high=12, published_epochs=3)
    before = run(study, tmp_path)
    assert not any(trials_of(evidence_of(study, tmp_path), "audit").values())
    after = run(study, tmp_path, "--audit", 2)
    evidence = evidence_of(study, tmp_path, "audited")
    assert any(trials_of(evidence, "audit").values())
    assert after["cells"][0]["comparisons"] == before["cells"][0]["comparisons"]
    for regime, arm in after["cells"][0]["regimes"].items():
        earlier = before["cells"][0]["regimes"][regime]
        assert arm["replicates"][0]["winner"] == earlier["replicates"][0]["winner"]
        assert arm["counts"] == earlier["counts"]
