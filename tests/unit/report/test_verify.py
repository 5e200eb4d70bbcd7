"""Bundles whose forger hashed everything again and wrote results that follow from what he changed.

Each row is one kind of forgery, or of accident, with the check that refuses it. What is consistent
in itself is not found; the last test lists it.
"""

from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World

from ecgopt.analysis.conclude import conclude
from ecgopt.evidence.bundle import open_bundle, write_bundle
from ecgopt.evidence.predictions import read_predictions, write_predictions
from ecgopt.evidence.rescore import scores_of
from ecgopt.report.results import results
from ecgopt.report.verify import verify_bundle
from ecgopt.training.metrics import best_thresholds, macro_auroc

WORLD = World(replicates=2, gain=1.5, run_spread=0.02, n_patients=300)


def refused(evidence, workspace, tmp_path):
    """Return the checks that refuse the bundle of a thorough forger."""
    content = results(conclude(evidence, workspace))
    path = write_bundle(evidence, workspace, tmp_path / "b.zip", results=content)
    with open_bundle(path) as bundle:
        return {found.name: found.wrong for found in verify_bundle(bundle) if found.wrong}


def with_predictions(final, workspace, change, part="predictions"):
    """Return the final with changed predictions, and all scores that follow from them."""
    stored = getattr(final, part), getattr(final, f"{part}_sha256")
    changed = change(read_predictions(workspace / stored[0], stored[1]))
    path, digest = write_predictions(changed, workspace / "predictions" / "forged")
    final = replace(final, **{part: str(path.relative_to(workspace)), f"{part}_sha256": digest})
    if part == "validation_predictions":
        found = best_thresholds(changed.labels, changed.scores.astype(np.float32))
        final = replace(
            final, thresholds=dict(zip(changed.classes, map(float, found), strict=True))
        )
    test = read_predictions(workspace / final.predictions, final.predictions_sha256)
    aurocs = macro_auroc(test.labels, test.scores).per_label
    return replace(
        final,
        metrics=scores_of(test, final.thresholds),
        per_label=dict(zip(test.classes, map(float, aurocs), strict=True)),
        test_curve=(),
    )


def rows(predictions, keep):
    return replace(
        predictions,
        labels=predictions.labels[keep],
        scores=predictions.scores[keep],
        records=tuple(predictions.records[i] for i in keep),
        patients=tuple(predictions.patients[i] for i in keep),
    )


def flip_labels(predictions):
    labels = predictions.labels.copy()
    labels[:10, 0] = ~labels[:10, 0]
    return replace(predictions, labels=labels)


def first_final(change, part="predictions", only=lambda final: True):
    """Change the predictions of the first matching tuned final."""

    def forge(evidence, workspace):
        index = next(i for i, f in enumerate(evidence.finals) if f.role == "tuned" and only(f))
        forged = with_predictions(evidence.finals[index], workspace, change, part)
        finals = (*evidence.finals[:index], forged, *evidence.finals[index + 1 :])
        return replace(evidence, finals=finals)

    return forge


def finals(change):
    return lambda evidence, workspace: replace(
        evidence, finals=tuple(found for f in evidence.finals if (found := change(f)) is not None)
    )


def studies(change):
    return lambda evidence, workspace: replace(
        evidence, studies=tuple(found for s in evidence.studies if (found := change(s)) is not None)
    )


def comparison(**changes):
    return lambda evidence, workspace: replace(
        evidence, comparison=replace(evidence.comparison, **changes)
    )


def of_scratch(change):
    return lambda item: change(item) if item.regime == "scratch" else item


def winner_beyond_range(evidence, workspace):
    """Let every winner have trained for longer than any trial could."""

    def longer(trials):
        return tuple(
            replace(t, parameters={**t.parameters, "epochs": 4000}) if t.recipe == "tuned" else t
            for t in trials
        )

    return replace(
        evidence,
        studies=tuple(replace(s, trials=longer(s.trials)) for s in evidence.studies),
        finals=tuple(
            replace(f, parameters={**f.parameters, "epochs": 4000}) if f.role == "tuned" else f
            for f in evidence.finals
        ),
    )


def without_replicate(evidence, workspace):
    return replace(
        evidence,
        studies=tuple(s for s in evidence.studies if s.replicate != 1),
        finals=tuple(f for f in evidence.finals if f.replicate != 1),
        openings=tuple(o for o in evidence.openings if "/r1/" not in o.study),
    )


def best_seed_twice(evidence, workspace):
    """Let the better of two seeds of fine-tuning stand for both."""
    best = {
        (f.study, f.role): f
        for f in sorted(evidence.finals, key=lambda f: f.metrics["macro_auroc"])
        if f.regime == "fine_tune" and f.role == "tuned"
    }
    return replace(
        evidence,
        finals=tuple(
            replace(best[f.study, f.role], seed_index=f.seed_index, seed=f.seed)
            if (f.study, f.role) in best
            else f
            for f in evidence.finals
        ),
    )


def exchanged_arms(evidence, workspace):
    other = {"scratch": "fine_tune", "fine_tune": "scratch"}
    upstream = {"scratch": "georgia", "fine_tune": None}

    def exchange(item):
        return replace(item, regime=other[item.regime], upstream=upstream[item.regime])

    return replace(
        evidence,
        studies=tuple(map(exchange, evidence.studies)),
        finals=tuple(map(exchange, evidence.finals)),
    )


def raised_score(study):
    best = max((t for t in study.trials if t.state == "complete"), key=lambda t: t.value)
    return replace(
        study,
        trials=tuple(replace(t, value=t.value + 0.05) if t is best else t for t in study.trials),
    )


FORGERIES = {
    "labels flipped in one fit": (first_final(flip_labels), "one truth"),
    "labels of validation flipped": (
        first_final(flip_labels, "validation_predictions"), "one truth",
    ),
    "a patient's name changed": (
        first_final(lambda p: replace(p, patients=("someone", *p.patients[1:]))), "one truth",
    ),
    "a test record counted twice": (
        first_final(lambda p: rows(p, [*range(len(p.records)), 5])), "one truth",
    ),
    "hard records left out of one fit": (
        first_final(lambda p: rows(p, range(30, len(p.records)))), "one truth",
    ),
    "validation patients that are test patients": (
        first_final(
            lambda p: replace(p, patients=tuple(name.replace("validation", "test")
                                                for name in p.patients)),
            "validation_predictions",
        ),
        "one truth",
    ),
    "labels renamed": (
        first_final(lambda p: replace(p, classes=("NORM", "MI", "STTC", "HYP"))), "one truth",
    ),
    "validation of another study": (
        first_final(lambda p: rows(p, range(50, 300)), "validation_predictions"), "one truth",
    ),
    "the better seed in place of both": (best_seed_twice, "there twice"),
    "a final fit twice": (
        lambda e, w: replace(e, finals=(*e.finals, e.finals[0])), "there twice",
    ),
    "a study twice": (
        lambda e, w: replace(e, studies=(*e.studies, e.studies[0])), "there twice",
    ),
    "seeds exchanged": (
        finals(lambda f: replace(f, seed_index=1 - f.seed_index)
               if f.regime == "fine_tune" else f),
        "seeds follow",
    ),
    "another seed": (finals(of_scratch(lambda f: replace(f, seed=f.seed + 1))), "seeds follow"),
    "another seed of the study": (
        lambda e, w: replace(e, comparison=replace(
            e.comparison, spec={**e.comparison.spec, "seed": 7})),
        "seeds follow",
    ),
    "a winner beyond the range": (winner_beyond_range, "within the ranges"),
    "wider ranges than the study file's": (
        lambda e, w: replace(e, comparison=replace(
            e.comparison,
            spec={**e.comparison.spec, "space": {"shared": {"epochs": {"low": 3, "high": 9}}}})),
        "rules are those",
    ),
    "another margin": (comparison(margin=0.3), "rules are those"),
    "another confidence": (comparison(confidence=0.8), "rules are those"),
    "another metric": (comparison(metric="macro_auprc"), "rules are those"),
    "rare labels left out after the fact": (comparison(least_positives=90), "rules are those"),
    "more replicates planned afterwards": (comparison(most_replicates=9), "rules are those"),
    "arms in another order": (comparison(regimes=("fine_tune", "scratch")), "rules are those"),
    "an extension erased": (
        lambda e, w: replace(e, comparison=replace(e.comparison, spec={
            **e.comparison.spec, "budget": {"trials": 6, "final_seeds": 2, "replicates": 2}})),
        "rules are those",
    ),
    "a replicate dropped": (without_replicate, "no sanity gate fails"),
    "a seed dropped": (
        finals(lambda f: None if f.regime == "scratch" and f.seed_index == 1 else f),
        "no sanity gate fails",
    ),
    "an arm without its pre-training": (
        lambda e, w: replace(e, pretrainings=()), "belong to their studies",
    ),
    "a final fit of another replicate": (
        finals(of_scratch(lambda f: replace(f, replicate=1 - f.replicate))),
        "belong to their studies",
    ),
    "a study without its trials' end": (
        studies(of_scratch(lambda s: replace(s, trials=s.trials[:5]))), "no sanity gate fails",
    ),
    "arms exchanged": (exchanged_arms, "named after their arms"),
    "a winner's validation score raised": (studies(raised_score), "trials are what they say"),
    "a split of its own for one arm": (
        studies(of_scratch(lambda s: replace(s, split={**s.split, "fingerprint": "other"}))),
        "share their subsets",
    ),
    "openings hidden": (
        lambda e, w: replace(e, openings=e.openings[1:]), "no sanity gate fails",
    ),
}  # fmt: skip


def test_an_honest_bundle_is_not_refused(evidence, workspace, tmp_path):
    assert refused(evidence, workspace, tmp_path) == {}


@pytest.mark.parametrize("name", ["macro_auprc", "brier"])
def test_an_honest_verdict_by_another_metric_is_not_refused(name, evidence, workspace, tmp_path):
    stated = evidence.comparison.spec
    spec = {**stated, "verdict": {**stated["verdict"], "metric": name}}
    changed = replace(evidence, comparison=replace(evidence.comparison, metric=name, spec=spec))
    assert refused(changed, workspace, tmp_path) == {}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_that_contradicts_itself_is_refused(kind, evidence, workspace, tmp_path):
    forge, check = FORGERIES[kind]
    found = refused(forge(evidence, workspace), workspace, tmp_path)
    assert any(check in name for name in found), found


def test_what_every_fit_agrees_on_is_believed(evidence, workspace, tmp_path):
    """Labels that are flipped in all fits alike are consistent: only an anchor outside helps."""
    forged = replace(
        evidence,
        finals=tuple(with_predictions(f, workspace, flip_labels) for f in evidence.finals),
    )
    assert refused(forged, workspace, tmp_path) == {}
