"""Checks of how the study was run: whether every item ended well, and with one set of versions."""

from collections import Counter

from ecgopt.analysis.gates import Gate
from ecgopt.evidence.records import Evidence


def check_run(evidence: Evidence) -> tuple[Gate, ...]:
    """Return the state of every gate about the run."""
    return (_no_item_failed(evidence), _one_version(evidence))


def _no_item_failed(evidence: Evidence) -> Gate:
    failed = [
        f"{item['item']} ({item['cause']}: {_last_line(item['detail'])})"
        for item in evidence.set_aside
    ]
    more = f"; {len(failed) - 1} more" if len(failed) > 1 else ""
    return Gate(
        name="no work item failed",
        state="failed" if failed else "passed",
        finding=f"{failed[0]}{more}; fix the cause, then `ecgopt study retry`"
        if failed
        else "none was set aside",
    )


def _one_version(evidence: Evidence) -> Gate:
    """Compare the versions that trials and final fits were trained with."""
    name = "all trials and final fits were trained with the same versions"
    trials = (trial for study in evidence.studies for trial in study.trials)
    recorded = [str(trial.details.get("software", "")) for trial in trials if trial.n_epochs]
    recorded += [final.software for final in evidence.finals]
    counts = Counter(filter(None, recorded))
    if not counts:
        return Gate(name=name, state="not run", finding="no versions were recorded")
    return Gate(
        name=name,
        state="passed" if len(counts) == 1 else "failed",
        finding="; ".join(f"{software}: {n} runs" for software, n in counts.most_common()),
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no details"])[-1]
