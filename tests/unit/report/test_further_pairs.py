"""Verdicts on pairs of arms without the reference: `[verdict] pairs`."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World, invent
from statsmodels.stats.multitest import multipletests

from ecgopt.analysis.conclude import conclude
from ecgopt.evidence.consistency import contradictions
from ecgopt.report.page.html import render
from ecgopt.report.page.sections import build_page
from ecgopt.report.paper_table import paper_table
from ecgopt.report.results import results
from ecgopt.report.tables import headline_table, labels_table
from ecgopt.report.terminal import verdict_lines

ARMS = ("scratch", "fine_tune", "linear_probe")
PAIR = ("linear_probe", "fine_tune")
WORLD = World(replicates=3, final_seeds=1, trials=6, train_sizes=(200, 400, 800), regimes=ARMS)


@pytest.fixture(scope="module")
def conclusions(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    evidence = invent(WORLD, workspace)
    return conclude(
        replace(evidence, comparison=replace(evidence.comparison, pairs=(PAIR,))), workspace
    )


def test_a_further_pair_has_a_verdict_in_each_cell(conclusions):
    for cell in conclusions.cells:
        pairs = [(found.reference, found.regime) for found in cell.comparisons]
        assert pairs == [("scratch", "fine_tune"), ("scratch", "linear_probe"), PAIR]
        *_, found = cell.comparisons
        probe, tuned = (cell.arms[name].arm.replicate_scores() for name in PAIR)
        differences = [tuned[replicate] - probe[replicate] for replicate in probe]
        assert found.interval.estimate == pytest.approx(np.mean(differences), abs=1e-12)
        assert {found.winner} <= {None, *PAIR}


def test_p_values_are_corrected_over_all_pairs_and_cells(conclusions):
    found = [each for cell in conclusions.cells for each in cell.comparisons]
    assert len(found) == 9
    raw = [each.judgement.tests.difference for each in found]
    expected = multipletests(raw, method="holm")[1]
    assert [each.judgement.corrected.difference for each in found] == pytest.approx(expected)


def test_every_output_names_both_sides_of_a_further_pair(conclusions):
    stored = json.loads(json.dumps(results(conclusions)))
    assert stored["comparison"]["pairs"] == [list(PAIR)]
    for part in ("comparisons", "published_comparisons"):
        sides = [(each["reference"], each["regime"]) for each in stored["cells"][0][part]]
        assert PAIR in sides
    assert {(each["reference"], each["regime"]) for each in stored["size_ladders"]} >= {PAIR}
    assert {(each["reference"], each["regime"]) for each in stored["pooled"]} >= {PAIR}
    assert {(each["reference"], each["regime"]) for each in stored["labels"]} >= {PAIR}
    for table in (headline_table(conclusions), labels_table(conclusions)):
        rows = list(csv.DictReader(io.StringIO(table.to_csv())))
        assert PAIR in {(row["reference"], row["regime"]) for row in rows}
    name = "fine-tune against linear probe"
    assert any("fine-tune minus linear probe" in line for line in verdict_lines(conclusions))
    assert name in paper_table(conclusions, "md")
    page = build_page(conclusions)
    sections = {section.name: section for section in page.all_sections()}
    (verdicts,) = sections["verdicts"].tables
    assert [row[1] for row in verdicts.rows][:3] == ["fine-tune", "linear probe", name]
    assert "reference" in verdicts.columns
    for table in sections["grounds"].tables:
        assert sum(name in row[0] for row in table.rows) == len(WORLD.train_sizes)
    assert any(name in point for point in sections["size"].points)
    assert name in render(page)


def test_the_pairs_of_the_evidence_must_be_those_of_the_study_file(tmp_path):
    evidence = invent(World(replicates=1, final_seeds=1, trials=3, regimes=ARMS), tmp_path)
    comparison = replace(
        evidence.comparison, pairs=(PAIR,), spec={"verdict": {"pairs": [["scratch", "x"]]}}
    )
    wrong = contradictions(replace(evidence, comparison=comparison), tmp_path)
    (line,) = [each for each in wrong["rules are those of the study file"] if "pairs" in each]
    assert "[['linear_probe', 'fine_tune']]" in line
