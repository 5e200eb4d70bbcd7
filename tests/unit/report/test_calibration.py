"""The calibration curve on the page and in results.json."""

import json
from dataclasses import replace

from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.report.page.sections import build_page
from ecgopt.report.results import results

WORLD = World(trials=4, replicates=2, final_seeds=1)


def test_each_arm_has_its_curve_next_to_its_calibration_error(tmp_path):
    conclusions = conclude(invent(WORLD, tmp_path), tmp_path)
    names = [section.name for section in build_page(conclusions).details]
    assert names.index("calibration") == names.index("scores") + 1
    (cell,) = json.loads(json.dumps(results(conclusions)))["cells"]
    for arm in cell["regimes"].values():
        assert len(arm["calibration"]) == 10
        for point in arm["calibration"]:
            assert point["interval"][0] <= point["observed"] <= point["interval"][1]


def test_without_kept_predictions_there_is_no_figure(tmp_path):
    evidence = invent(WORLD, tmp_path)
    bare = replace(
        evidence,
        finals=tuple(
            replace(final, predictions=None, predictions_sha256=None) for final in evidence.finals
        ),
    )
    page = build_page(conclude(bare, tmp_path))
    assert "calibration" not in [section.name for section in page.details]
