import random
import zipfile

import pytest
from hostile_files import LIBRARIES, SETS, damaged, made_set, prepare_damaged, refuse_escapes
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgopt.data.checksums import read_checksums
from ecgopt.data.unpack import unpack
from ecgopt.errors import DataError

BOUNDED = settings(max_examples=20)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    made = {}

    def made_once(kind):
        if kind not in made:
            if kind in LIBRARIES:
                pytest.importorskip(LIBRARIES[kind], reason="needs the extra clinic")
            made[kind] = made_set(kind, tmp_path_factory.mktemp("set") / "in")
        return made[kind]

    return made_once


@pytest.mark.parametrize("kind", SETS)
@BOUNDED
@given(seed=st.integers(0, 2**32))
def test_damaged_files_give_records_or_an_error_for_people(sets, tmp_path, kind, seed):
    prepare_damaged(kind, sets(kind), tmp_path / "work", seed)


@BOUNDED
@given(seed=st.integers(0, 2**32))
def test_damaged_lists_and_archives_give_files_or_an_error_for_people(tmp_path, seed):
    rng = random.Random(seed)
    listed = "".join(f"{rng.randbytes(32).hex()} a/{i}.dat\n" for i in range(3))
    (tmp_path / "SHA256SUMS.txt").write_bytes(damaged(listed.encode(), rng))
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("top/a.hea", b"r 12 500 5000\n" * 20)
    archive.write_bytes(damaged(archive.read_bytes(), rng))
    for work in (
        lambda: read_checksums(tmp_path / "SHA256SUMS.txt", ".*"),
        lambda: unpack(archive, tmp_path / "out"),
    ):
        try:
            work()
        except DataError as error:
            refuse_escapes(str(error))
