from ecgopt.cli.data_output import LineAMinute


def test_progress_without_a_terminal_is_a_line_a_minute(capsys):
    now = [0.0]
    progress = LineAMinute("preparing clinic", lambda: now[0])
    for done, time in ((1, 10.0), (2, 61.0), (3, 62.0), (2000, 122.0)):
        now[0] = time
        progress(done, 20_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["preparing clinic: 2 of 20,000", "preparing clinic: 2,000 of 20,000"]
