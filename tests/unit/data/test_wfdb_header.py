import string

import pytest
from ecg_files import real
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgopt.data.wfdb_header import MAX_HEADER_BYTES, parse_header, read_header
from ecgopt.errors import RecordError

PLAIN = b"""A0001 2 500 7500 12-May-2020 12:33:59
A0001.mat 16+24 1000/mV 16 0 28 -1716 0 I
A0001.mat 16+24 1000(3)/uV 16 0 7 2029 0 avr
#Age: 74
# Sex: Male
"""


def parse(data: bytes):
    return parse_header(data, record="A0001")


def test_record_line_gives_rate_and_length_whatever_follows():
    header = parse(PLAIN)
    assert (header.sampling_rate_hz, header.n_samples) == (500.0, 7500)


def test_signal_line_gives_all_that_decoding_needs():
    signal = parse(PLAIN).signals[1]
    assert (signal.file_name, signal.format, signal.byte_offset) == ("A0001.mat", 16, 24)
    assert (signal.gain_per_unit, signal.baseline, signal.microvolts_per_unit) == (1000.0, 3, 1.0)
    assert (signal.checksum, signal.lead) == (2029, "aVR")


def test_negative_checksum_is_taken_modulo_16_bits():
    assert parse(PLAIN).signals[0].checksum == -1716 & 0xFFFF


def test_comments_are_kept_with_and_without_a_blank():
    assert parse(PLAIN).comments == ("Age: 74", "Sex: Male")


@pytest.mark.parametrize("unit", ["mV", "mv", "MV"])
def test_millivolts_are_read_in_any_case(unit):
    header = parse(b"x 1 100 5\nx.dat 16 200/%s 16 0 0 0 0 I\n" % unit.encode())
    assert header.signals[0].microvolts_per_unit == 1000.0


def test_missing_fields_take_the_defaults_of_the_format():
    header = parse(b"x 1\nx.dat 16\n")
    signal = header.signals[0]
    assert (header.sampling_rate_hz, header.n_samples) == (250.0, None)
    assert (signal.gain_per_unit, signal.baseline, signal.checksum) == (200.0, 0, None)


def test_gain_zero_means_uncalibrated():
    assert parse(b"x 1 100 5\nx.dat 16 0/mV\n").signals[0].gain_per_unit == 200.0


def test_baseline_defaults_to_the_zero_of_the_converter():
    assert parse(b"x 1 100 5\nx.dat 16 200/mV 16 7 0 0 0 I\n").signals[0].baseline == 7


def test_latin_1_comment_is_read():
    assert parse(b"x 1 100 5\nx.dat 16\n#Hx: M\xfcller\n").comments == ("Hx: Müller",)


def test_mark_of_utf_8_before_a_comment_is_no_line():
    data = b"\xef\xbb\xbf# made by hand\nx 1 100 5\nx.dat 16\n"
    assert parse(data).comments == ("made by hand",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "header is empty"),
        ("x 1 500 5\nx.dat 16\n".encode("utf-16"), "header is UTF-16 text: store it as UTF-8"),
        (b"# only a comment\n", "header is empty"),
        (b"x\n", "lacks the number of signals"),
        (b"x/3 12 500\n", "multi-segment"),
        (b"x 0 500\n", "no signal"),
        (b"x -3 500\n", "number of signals must lie in"),
        (b"x 99999999999999999999 500\n", "number of signals must lie in"),
        (b"x 12 500 5000\n", "announces 12 signals but describes 0"),
        (b"x 1 0 5\nx.dat 16\n", "sampling rate"),
        (b"x 1 -500 5\nx.dat 16\n", "sampling rate"),
        (b"x 1 nan 5\nx.dat 16\n", "sampling rate"),
        (b"x 1 1e99 5\nx.dat 16\n", "sampling rate"),
        (b"x 1 500 -5000\nx.dat 16\n", "number of samples must lie in"),
        (b"x 1 500 5e3\nx.dat 16\n", "number of samples must lie in"),
        (b"x 1 500 999999999999\nx.dat 16\n", "number of samples must lie in"),
        (b"x 1 500 5\nx.dat\n", "lacks the format"),
        (b"my ecg 1 500 5\nx.dat 16\n", "names the record with a blank"),
        (b"x 1 500 5\nx.dat sixteen\n", "unknown format"),
        (b"x 1 500 5\nx.dat 999\n", "unknown format"),
        (b"x 1 500 5\nx.dat 16 mV\n", "gain must be a number"),
        (b"x 1 500 5\nx.dat 16 nan/mV\n", "gain must be a number"),
        (b"ge_median/x 1 500 5\nx.dat 16\n", "names the record with a path; name the file alone"),
        (b"x 1 500 5\nx.dat 16 1000/mV 16 zero\n", "lacks an integer where one is needed"),
        (b"x 1 500 5\n../../x.dat 16\n", "only a plain name"),
        (b"x 1 500 5\n/etc/passwd 16\n", "only a plain name"),
        (b"x 1 500 5\n..\\x.dat 16\n", "only a plain name"),
        (b"x 1 500 5\ns3://bucket/x.dat 16\n", "only a plain name"),
        (b"x 1 500 5\n.. 16\n", "only a plain name"),
    ],
)
def test_bad_header_is_refused_with_its_reason(data, reason):
    with pytest.raises(RecordError, match=reason):
        parse(data)


def test_huge_header_file_is_not_read_whole(tmp_path):
    path = tmp_path / "x.hea"
    path.write_bytes(b"#" * (MAX_HEADER_BYTES + 2))
    with pytest.raises(RecordError, match="larger than"):
        read_header(path)


def test_missing_header_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"its header cannot be read: No such file .*absent\.hea"):
        read_header(tmp_path / "absent.hea")


def test_georgia_header_that_wfdb_refuses_is_read():
    header = read_header(real("cinc2021_deeppsp", "E07502.hea"))
    assert (header.record, header.n_samples, len(header.signals)) == ("E07502", 5000, 12)


@settings(max_examples=400)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_header_or_a_record_error(data):
    accept_or_refuse(data)


FIELDS = "x 12 500 5000 x.dat 16 16+24 212 16x2:3+4 1000/mV 1000(0)/mV -1 0 nan inf 1e400 ../x"
TOKENS = st.sampled_from([*FIELDS.split(), "٣", "²", "+-3", "#", "/", "\x00", "9" * 30, ""])
LINES = st.lists(TOKENS, max_size=10).map(" ".join)


@settings(max_examples=600)
@given(st.lists(LINES, max_size=6).map("\n".join))
def test_any_mix_of_header_fields_gives_a_header_or_a_record_error(text):
    accept_or_refuse(text.encode())


@given(st.text(string.printable, max_size=60))
def test_accepted_file_names_never_leave_the_folder(name):
    try:
        header = parse(f"x 1 500 5\n{name} 16 1000/mV 16 0 0 0 0 I".encode())
    except RecordError:
        return
    for signal in header.signals:
        assert "/" not in signal.file_name
        assert signal.file_name not in {"", ".", ".."}


def accept_or_refuse(data: bytes) -> None:
    try:
        header = parse(data)
    except RecordError:
        return
    assert 0 < header.sampling_rate_hz <= 100_000
    assert 1 <= len(header.signals) <= 256
    assert all("/" not in signal.file_name for signal in header.signals)
