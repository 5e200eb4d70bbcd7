"""A real study that adds replicates by itself, also through interruptions."""

import pytest
from tiny_study import tiny_study

import ecgopt
from ecgopt.comparison import extension
from ecgopt.database.comparisons import extensions_of
from ecgopt.planning import continuation


@pytest.fixture
def comparison(tmp_path):
    study = tmp_path / "study.toml"
    verdict = '[verdict]\nuntil = "decided"\nmost = 4\nmargin = 0.0\n'
    study.write_text(tiny_study(replicates=2, trials=2) + verdict)
    return ecgopt.open(study, workspace=tmp_path / "ws")


def looks_of(comparison):
    with comparison._begun() as begun:
        made = extensions_of(begun.database, begun.spec.name)
    return [(each.before.replicates, each.after.replicates) for each in made]


def test_a_run_looks_until_all_is_spent_and_an_interruption_takes_no_look_twice(
    comparison, monkeypatch
):
    """The first run dies between a look and its extension, the second right after an extension."""
    real_extend, real_look = extension.extend, continuation.next_look
    looked = []

    def note(spec, *arguments):
        looked.append(spec.budget.replicates)
        return real_look(spec, *arguments)

    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(continuation, "next_look", note)
    monkeypatch.setattr(extension, "extend", die)
    with pytest.raises(KeyboardInterrupt):
        comparison.run(workers=2)
    assert (looked, looks_of(comparison)) == ([2], [])

    def extend_and_die(*arguments, **named):
        real_extend(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(extension, "extend", extend_and_die)
    with pytest.raises(KeyboardInterrupt):
        comparison.run(workers=2)
    assert (looked, looks_of(comparison)) == ([2, 2], [(2, 3)])

    monkeypatch.setattr(extension, "extend", real_extend)
    said = []
    comparison.run(workers=2, on_look=said.append)
    with comparison.concluded() as (conclusions, _):
        found = conclusions.cells[0].comparisons[0]
        evidence = conclusions.evidence
    n_extensions = len(looks_of(comparison))
    assert looks_of(comparison) == [(2, 3), (3, 4)][:n_extensions]
    assert evidence.comparison.looks == (2, 3)[:n_extensions]
    assert len(said) == n_extensions - 1
    is_decided = found.judgement.decided_at is not None
    assert is_decided or found.n_replicates == 4
    assert found.n_planned == found.n_replicates == len({s.replicate for s in evidence.studies})

    comparison.run(workers=2)
    assert len(looks_of(comparison)) == n_extensions
