import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from ecgopt.files import replacing, sha256_of, write_whole


def test_a_file_is_written_with_its_folders(tmp_path):
    path = write_whole(tmp_path / "a" / "b.txt", b"text")
    assert path.read_bytes() == b"text"


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = write_whole(tmp_path / "a.txt", b"old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_bytes(b"ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = write_whole(tmp_path / "a.txt", b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_reader_meets_one_writers_whole_content(tmp_path):
    path, contents = tmp_path / "a.bin", [bytes([value]) * 10_000 for value in range(4)]

    def write_and_read(value):
        write_whole(path, contents[value % 4])
        return path.read_bytes() in contents

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(write_and_read, range(200)))
    assert list(tmp_path.iterdir()) == [path]


def test_the_hash_is_that_of_the_content(tmp_path):
    path = write_whole(tmp_path / "a.bin", b"content")
    assert sha256_of(path) == hashlib.sha256(b"content").hexdigest()
