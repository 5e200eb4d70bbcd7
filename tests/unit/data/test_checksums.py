import pytest

from ecgopt.data.checksums import read_checksums
from ecgopt.data.listing import published_headers
from ecgopt.errors import DataError

# A line of PTB-XL's own list.
HASH = "051aa38ee3f530df1f2dd35ec097439a54befceef18c60d4157da2a5628aefbb"
FORMS = [
    f"{HASH} a/b.hea\n",
    f"{HASH}  a/b.hea\n",
    f"{HASH} *a/b.hea\r\n",
    f"{HASH}\ta/b.hea\n",
    f"{HASH}    a/b.hea  \n",
    f"  {HASH}  a/b.hea\n",
    f"{HASH.upper()}  ./a/b.hea\r",
    f"SHA256 (a/b.hea) = {HASH}\n",
    f"SHA256 (./a/b.hea) = {HASH.upper()}\r\n",
    f"SHA2-256(a/b.hea)= {HASH}\n",
    f"# made by hand\n\n{HASH}  a/b.hea\n",
    f"{HASH}  a/b.hea\n{'0' * 64}  SHA256SUMS.txt\n",
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", FORMS)
def test_lists_of_all_programs_are_read(tmp_path, text, encoding):
    path = tmp_path / "SHA256SUMS.txt"
    path.write_bytes(text.encode(encoding))
    assert read_checksums(path, ".*") == {"a/b.hea": HASH}
    assert published_headers([tmp_path]) == {"b"}


def test_a_name_in_another_encoding_is_one_odd_file_and_no_reason_to_refuse_the_list(tmp_path):
    path = tmp_path / "SHA256SUMS.txt"
    path.write_bytes(f"{HASH}  M\xfcller.hea\n{HASH}  b c(1).hea\n".encode("latin-1"))
    assert list(read_checksums(path, ".*")) == ["M\ufffdller.hea", "b c(1).hea"]


@pytest.mark.parametrize(
    "text",
    [f"{HASH}  a\n{HASH[:30]}", "<html>404</html>", f"{HASH[:32]}  a\n", f"{HASH}{HASH}  a\n"],
)
def test_truncated_lists_and_lists_of_other_hashes_are_refused(tmp_path, text):
    path = tmp_path / "SHA256SUMS.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=r"SHA256SUMS\.txt is no list of SHA-256 checksums"):
        read_checksums(path, ".*")
