"""Which diagnostics a comparison gets."""

from documents import ROOT

from ecgopt.jobs.check import CheckJob
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec


def test_sanity_checks_run_once_per_regime_on_the_most_records():
    spec = load_spec(ROOT / "studies" / "size_ladder.toml")
    checked = [item.payload["study"] for item in CheckJob.items(spec, expand_studies(spec))]
    assert {(study["regime"], study["n_train"]) for study in checked} == {
        ("scratch", 800),
        ("fine_tune", 800),
    }
