import xml.etree.ElementTree as ET

import numpy as np
import pytest
from ecg_files import adc, real, write_record

from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.signals import LEADS
from ecgopt.data.sources.catalog import source
from ecgopt.errors import DataError, UserError
from ecgopt.report.ecg_paper import EcgPage, draw_ecg_page, save_ecg_page
from ecgopt.report.record_pages import prepared_page, raw_page


def page(**changes):
    signal = adc(5000).T.astype(float)
    fields = {"microvolts": signal, "sampling_rate_hz": 500.0, "title": "set  r1"} | changes
    return EcgPage(**fields)


def test_every_lead_is_named_and_lead_ii_twice():
    texts = [text.get_text() for text in draw_ecg_page(page()).axes[0].texts]
    assert sorted(texts) == sorted([*LEADS, "II"])


def test_paper_has_true_size():
    figure = draw_ecg_page(page())
    axes = figure.axes[0]
    width_mm = figure.get_size_inches()[0] * 25.4
    assert np.ptp(axes.get_xlim()) == pytest.approx(width_mm)
    box = axes.get_position()
    height_mm = figure.get_size_inches()[1] * 25.4 * box.height
    assert np.ptp(axes.get_ylim()) == pytest.approx(height_mm)


def test_one_millivolt_is_ten_millimetres():
    step = np.zeros((12, 5000))
    step[:, 600:700] = 1000.0
    axes = draw_ecg_page(page(microvolts=step)).axes[0]
    drawn = next(line for line in axes.lines if len(line.get_ydata()) == 1250)
    assert np.ptp(drawn.get_ydata()) == pytest.approx(10.0)
    assert np.diff(drawn.get_xdata()[[0, 500]])[0] == pytest.approx(25.0)


def test_giant_waves_are_drawn_at_half_scale():
    assert page(microvolts=adc(5000).T * 50.0).mm_per_mv == 5.0


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_picture_is_written_whole(tmp_path, suffix):
    path = tmp_path / f"r{suffix}"
    save_ecg_page(page(), path)
    assert path.stat().st_size > 5000
    assert list(tmp_path.iterdir()) == [path]


def test_svg_is_well_formed_and_equal_for_equal_records(tmp_path):
    hostile = page(title='<script>alert("x")</script> $x^2$ & more')
    for name in ("a.svg", "b.svg"):
        save_ecg_page(hostile, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    words = "".join(root.itertext())
    assert "$x^2$" in words


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"must be \.svg, \.png or \.pdf, but is 'r\.exe'"):
        save_ecg_page(page(), tmp_path / "r.exe")


def test_folder_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        save_ecg_page(page(), tmp_path / "taken" / "r.png")


def test_raw_and_prepared_record_give_the_same_words(tmp_path):
    folder = real("cinc2021_deeppsp")
    raw = raw_page(source("georgia"), [folder], "E07502")
    prepared = prepare("georgia", [folder], tmp_path, PrepareSettings())
    stored = prepared_page(prepared, "E07502")
    assert raw.subtitle == stored.subtitle == "male, 65 years    STach (427084000)"
    assert (raw.sampling_rate_hz, stored.sampling_rate_hz) == (500.0, 100.0)


def test_record_that_was_left_out_says_why(tmp_path):
    write_record(tmp_path / "in", "A1", adc(5000))
    write_record(tmp_path / "in", "A2", adc(50))
    prepared = prepare("cinc", [tmp_path / "in"], tmp_path / "out", PrepareSettings())
    with pytest.raises(DataError, match=r"record A2 was left out of cinc-.*: shorter than 10 s"):
        prepared_page(prepared, "A2")
    with pytest.raises(DataError, match="has no record 'A3'; its records are A1"):
        prepared_page(prepared, "A3")


def test_record_without_all_leads_cannot_be_drawn():
    with pytest.raises(DataError, match=r"cannot be drawn: it lacks \d+ of 12 leads \(III"):
        raw_page(source("cinc"), [real("quirks", "two_leads")], "HR06000")
