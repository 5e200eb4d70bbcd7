import dataclasses
import hashlib
import io
import os
import random
import re
import stat
import zipfile

import pytest
from ecg_files import adc, write_record
from file_server import file_server
from made_sets import make_code_test

from ecgopt.data import download
from ecgopt.data.checksums import read_checksums
from ecgopt.data.download import FetchSettings, fetch
from ecgopt.data.errata import served_hashes
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.sources.catalog import Download, dataset_info
from ecgopt.errors import DataError

GEORGIA = dataset_info("georgia")


@pytest.fixture
def server(tmp_path):
    """Serve four Georgia records and a file of another set, with their checksums."""
    for number in range(4):
        write_record(tmp_path / "made", f"E{number:05d}", adc(5000, seed=number), suffix=".mat")
    with file_server() as running:
        for path in sorted((tmp_path / "made").iterdir()):
            running.files[f"training/georgia/g1/{path.name}"] = path.read_bytes()
        running.files["training/ptb/g1/S0001.mat"] = b"another set"
        running.add_checksums()
        yield running


def fetch_from(server, folder, info=GEORGIA, **options):
    archive = options.pop("archive", False)
    connections = options.pop("connections", 3)
    accept = frozenset(options.pop("accept", ()))
    settings = FetchSettings(
        mirrors=(server.address,), archive=archive, connections=connections, accept=accept
    )
    return fetch(info, folder, settings, sleep=lambda _: None, **options)


def test_fetched_files_are_those_of_the_set_and_can_be_prepared(server, tmp_path):
    progress = fetch_from(server, tmp_path / "got")
    got = sorted(path.name for path in (tmp_path / "got").rglob("*.mat"))
    assert got == [f"E{number:05d}.mat" for number in range(4)]
    assert (progress.files_done, progress.files_total) == (9, 9)
    prepared = prepare("georgia", [tmp_path / "got"], tmp_path / "out", PrepareSettings())
    assert len(prepared) == 4


def test_second_fetch_receives_the_list_alone(server, tmp_path):
    fetch_from(server, tmp_path / "got")
    server.requests.clear()
    fetch_from(server, tmp_path / "got")
    assert server.requests == [("SHA256SUMS.txt", None)]


def test_broken_connections_are_resumed_where_they_broke(server, tmp_path):
    server.cut_after = 30_000
    fetch_from(server, tmp_path / "got")
    resumed = [int(wanted[6:-1]) for _, wanted in server.requests if wanted]
    assert min(resumed) > 20_000
    # Only the chunks in which a connection broke were sent twice.
    wanted = sum(len(data) for name, data in server.files.items() if "ptb" not in name)
    assert server.bytes_sent <= wanted + len(resumed) * 8192


def test_server_without_ranges_sends_whole_files_again(server, tmp_path):
    server.ranges = False
    server.cut_after, server.cuts_left = 60_000, 5
    fetch_from(server, tmp_path / "got", connections=1)
    for path in (tmp_path / "got").rglob("*.mat"):
        assert path.read_bytes() == server.files[f"training/georgia/g1/{path.name}"]


def test_connection_that_brings_nothing_is_given_up_with_one_line(server, tmp_path):
    server.cut_after = 0
    with pytest.raises(DataError, match="the connection broke 6 times; run fetch again") as caught:
        fetch_from(server, tmp_path / "got")
    assert "\n" not in str(caught.value)


def test_interrupted_fetch_goes_on_with_its_partial_files(server, tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.bytes_received > 150_000:
            raise Stop

    server.cut_after = 50_000
    with pytest.raises(Stop):
        fetch_from(server, tmp_path / "got", on_change=stop, connections=1)
    first = server.bytes_sent
    fetch_from(server, tmp_path / "got", connections=1)
    assert len(list((tmp_path / "got").rglob("*.mat"))) == 4
    total = sum(len(data) for name, data in server.files.items() if "ptb" not in name)
    assert server.bytes_sent - first < total - 100_000


def test_wrong_bytes_are_fetched_once_more(server, tmp_path):
    name = "training/georgia/g1/E00002.mat"
    server.corrupt[name] = 1
    fetch_from(server, tmp_path / "got")
    assert (tmp_path / "got" / name).read_bytes() == server.files[name]


def test_wrong_bytes_that_stay_wrong_fail_alone_and_are_not_kept(server, tmp_path):
    name = "training/georgia/g1/E00002.mat"
    server.corrupt[name] = 100
    done = fetch_from(server, tmp_path / "got")
    assert list(done.failed) == [name]
    assert "the SHA-256 is not the published" in done.failed[name]
    assert not (tmp_path / "got" / name).exists()
    assert (done.files_done, done.files_total) == (8, 9)


def test_accepted_file_is_kept_as_it_is_served(server, tmp_path):
    name = "training/georgia/g1/E00002.mat"
    server.corrupt[name] = 100
    done = fetch_from(server, tmp_path / "got", accept=[name])
    assert (done.failed, list(done.accepted)) == ({}, [name])
    assert (tmp_path / "got" / name).exists()


def test_known_fault_of_the_server_is_accepted_and_named(tmp_path):
    info = dataclasses.replace(
        dataset_info("ningbo"), download=Download(base="http://x/", include="training/ningbo/.*")
    )
    served, path = b"served", "training/ningbo/g3/JS13118.mat"
    with file_server() as server, pytest.MonkeyPatch.context() as patch:
        found = hashlib.sha256(served).hexdigest()
        patch.setattr(download, "served_hashes", lambda _: {path: found})
        server.files[path] = served
        server.files["SHA256SUMS.txt"] = (
            f"{'de' * 32} {path}\n{'00' * 32} training/ningbo/.DS_Store\n".encode()
        )
        done = fetch_from(server, tmp_path, info)
        server.requests.clear()
        fetch_from(server, tmp_path, info)
    assert done.failed == {}
    assert sorted(done.accepted) == ["training/ningbo/.DS_Store", path]
    assert all("a known fault of the data set" in reason for reason in done.accepted.values())
    assert path not in [name for name, _ in server.requests]


def test_hash_that_all_servers_have_for_js13118_is_known():
    assert served_hashes("ningbo") == {
        "training/ningbo/g3/JS13118.mat":
        "bbd5fe831ad2ce60dc62588a9f8eeccc2ea37564cf0bfb4d7a8d49c6a9eafdfd"
    }  # fmt: skip


def test_damaged_file_on_disk_is_fetched_again(server, tmp_path):
    fetch_from(server, tmp_path / "got")
    name = "training/georgia/g1/E00001.mat"
    (tmp_path / "got" / name).write_bytes(b"damaged")
    fetch_from(server, tmp_path / "got")
    assert (tmp_path / "got" / name).read_bytes() == server.files[name]


def test_server_that_is_busy_is_asked_again(server, tmp_path):
    server.status["training/georgia/g1/E00000.mat"] = [503, 429, 500]
    fetch_from(server, tmp_path / "got")
    assert (tmp_path / "got/training/georgia/g1/E00000.mat").exists()


def test_missing_file_is_named_with_the_status_and_stops_no_other(server, tmp_path):
    name = "training/georgia/g1/E00003.hea"
    del server.files[name]
    done = fetch_from(server, tmp_path / "got")
    assert list(done.failed) == [name]
    assert "404 Not Found" in done.failed[name]
    assert len([path for path in (tmp_path / "got/training").rglob("*") if path.is_file()]) == 7
    assert fetch_from(server, tmp_path / "got", accept=[name]).failed == {}


def test_address_from_which_nothing_comes_is_given_up(server, tmp_path):
    sums = "".join(f"{'0' * 64} training/georgia/g9/E{i:05d}.mat\n" for i in range(100))
    server.files = {"SHA256SUMS.txt": sums.encode()}
    with pytest.raises(DataError, match=r"20 files failed in a row, the last one: .*404 Not Found"):
        fetch_from(server, tmp_path / "got")
    assert len(server.requests) < 60


def test_second_mirror_serves_what_the_first_does_not(server, tmp_path):
    name = "training/georgia/g1/E00003.hea"
    with file_server() as first:
        first.files = {path: data for path, data in server.files.items() if path != name}
        settings = FetchSettings(mirrors=(first.address, server.address), connections=2)
        done = fetch(GEORGIA, tmp_path / "got", settings, sleep=lambda _: None)
    assert done.failed == {}
    assert [path for path, _ in server.requests] == [name]


def test_local_copy_is_checked_like_a_server(server, tmp_path):
    copy = tmp_path / "copy"
    for name, data in server.files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    (copy / "training/georgia/g1/E00001.mat").write_bytes(b"damaged")
    done = fetch(GEORGIA, tmp_path / "got", FetchSettings(local_copy=copy))
    assert list(done.failed) == ["training/georgia/g1/E00001.mat"]
    assert done.files_done == 8
    assert server.requests == []


def test_local_zip_file_is_unpacked_and_stays(server, tmp_path):
    serve_archive(server)
    local = tmp_path / "challenge.zip"
    local.write_bytes(server.files["georgia.zip"])
    done = fetch(GEORGIA, tmp_path / "got", FetchSettings(local_copy=local))
    assert done.failed == {}
    assert local.exists()
    assert not (tmp_path / "got/training/ptb").exists()


# The first lines of PTB-XL's SHA256SUMS.txt, then the two forms that `sha256sum` writes.
PTBXL_SUMS = b"""\
9a78e7f22742dde9f66ae235ec793ba2212019dc4d0ced75c4da09ced0b35fb2 LICENSE.txt
cd9bf4e6445c5e022605857c4d6f90c90ff0e62df847da52efaebe94de786156 ptbxl_database.csv
308012fb657e1eea29a86902a8576e2e173594bd16f11ec1f45c7445cec97572 records100/00000/00001_lr.dat
051aa38ee3f530df1f2dd35ec097439a54befceef18c60d4157da2a5628aefbb records100/00000/00001_lr.hea
"""


@pytest.mark.parametrize("between", [b" ", b"  ", b" *", b"\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_list_of_checksums_is_read_in_all_published_forms(tmp_path, between, end):
    path = tmp_path / "SHA256SUMS.txt"
    path.write_bytes(end.join(line.replace(b" ", between) for line in PTBXL_SUMS.splitlines()))
    found = read_checksums(path, r"records100/.*")
    assert list(found) == ["records100/00000/00001_lr.dat", "records100/00000/00001_lr.hea"]
    assert found["records100/00000/00001_lr.hea"].startswith("051aa38e")


def test_ptbxl_at_100_hz_leaves_the_500_hz_files_at_their_publisher():
    include = dataset_info("ptbxl").download.include
    assert re.fullmatch(include, "records100/00000/00001_lr.dat")
    assert not re.fullmatch(include, "records500/00000/00001_hr.dat")


def test_mirror_without_the_list_is_named(server, tmp_path):
    del server.files["SHA256SUMS.txt"]
    with pytest.raises(DataError, match=r"SHA256SUMS\.txt: 404 Not Found"):
        fetch_from(server, tmp_path / "got")


def test_server_that_is_not_there_is_a_data_error(tmp_path):
    settings = FetchSettings(mirrors=("http://127.0.0.1:9",), connections=1)
    with pytest.raises(DataError, match="the connection broke 6 times"):
        fetch(GEORGIA, tmp_path / "got", settings, sleep=lambda _: None)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "training/georgia/../../../evil"])
def test_list_that_names_a_file_outside_is_refused(server, tmp_path, name):
    server.files["SHA256SUMS.txt"] += b"%s %s\n" % (b"0" * 64, name.encode())
    with pytest.raises(DataError, match="a file outside its folder"):
        fetch_from(server, tmp_path / "a" / "b" / "c")


@pytest.mark.parametrize("data", [b"<html>Sign in</html>", b"\xff\xfe\x00", b"00  short hash\n"])
def test_list_that_is_none_is_refused(server, tmp_path, data):
    server.files["SHA256SUMS.txt"] = data
    with pytest.raises(DataError, match=r"SHA256SUMS\.txt is no list of SHA-256 checksums"):
        fetch_from(server, tmp_path / "got")


def test_list_of_another_set_is_refused(server, tmp_path):
    server.files["SHA256SUMS.txt"] = b"0" * 64 + b" training/ptb/g1/S0001.mat\n"
    with pytest.raises(DataError, match="lists no file of this data set"):
        fetch_from(server, tmp_path / "got")


def test_two_fetches_in_one_folder_are_refused(server, tmp_path):
    def fetch_inside(progress):
        with pytest.raises(DataError, match="another fetch is at work"):
            fetch_from(server, tmp_path / "got")

    fetch_from(server, tmp_path / "got", on_change=fetch_inside)


def test_folder_without_permission_is_a_data_error(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot fetch to .*file/got"):
        fetch_from(server, tmp_path / "file" / "got")


def test_set_that_needs_a_visit_says_where(tmp_path):
    with pytest.raises(DataError, match=r"sph cannot be fetched without a visit: get it from http"):
        fetch(dataset_info("sph"), tmp_path, FetchSettings())


@pytest.mark.parametrize("mirror", ["file:///etc", "ftp://x/", "physionet.org"])
def test_mirror_must_be_http(mirror):
    with pytest.raises(DataError, match="mirror must begin with http:// or https://"):
        FetchSettings(mirrors=(mirror,))


# Archives


def zipped(files: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return buffer.getvalue()


ARCHIVED = dataclasses.replace(
    GEORGIA,
    download=Download(base="http://x/", include="training/georgia/.*", archive="http://x/all.zip"),
)


def serve_archive(server) -> None:
    top = "challenge-2021-1.0.3/"
    server.files["georgia.zip"] = zipped({top + name: data for name, data in server.files.items()})


def test_archive_is_unpacked_and_verified(server, tmp_path):
    serve_archive(server)
    server.cut_after = 100_000
    fetch_from(server, tmp_path / "got", ARCHIVED, archive=True)
    assert len(list((tmp_path / "got" / "training" / "georgia").rglob("*.mat"))) == 4
    assert not list((tmp_path / "got").rglob("*.zip"))
    server.requests.clear()
    fetch_from(server, tmp_path / "got", ARCHIVED, archive=True)
    assert server.requests == []


def test_archive_whose_files_fail_their_checksums_is_kept_until_they_are_right(server, tmp_path):
    name, right = "training/georgia/g1/E00001.mat", dict(server.files)
    server.files[name] += b"more"
    serve_archive(server)
    done = fetch_from(server, tmp_path / "got", ARCHIVED, archive=True)
    assert list(done.failed) == [name]
    assert (tmp_path / "got/.parts/archive.zip").exists()
    server.files = right
    server.requests.clear()
    assert fetch_from(server, tmp_path / "got", ARCHIVED).failed == {}
    assert [path for path, _ in server.requests] == ["SHA256SUMS.txt", name]
    assert not (tmp_path / "got/.parts/archive.zip").exists()


def test_damaged_archive_is_fetched_again(server, tmp_path):
    serve_archive(server)
    whole = server.files["georgia.zip"]
    server.files["georgia.zip"] = whole[: len(whole) // 2]
    with pytest.raises(DataError, match="damaged archive"):
        fetch_from(server, tmp_path / "got", ARCHIVED, archive=True)
    server.files["georgia.zip"] = whole
    assert fetch_from(server, tmp_path / "got", ARCHIVED, archive=True).failed == {}


def test_unpacked_files_that_went_missing_are_fetched_again(tmp_path):
    with file_server() as server:
        server.files["data.zip"] = zipped({"data/attributes.csv": b"age,sex\n"})
        fetch_from(server, tmp_path, dataset_info("code_test"))
        (tmp_path / "data/attributes.csv").unlink()
        fetch_from(server, tmp_path, dataset_info("code_test"))
    assert (tmp_path / "data/attributes.csv").exists()


def test_set_without_an_archive_says_so(server, tmp_path):
    with pytest.raises(DataError, match="leave out --archive"):
        fetch_from(server, tmp_path / "got", archive=True)


def test_single_archive_without_checksums_is_fetched_once(tmp_path):
    made = make_code_test(tmp_path / "made")
    files = {
        path.relative_to(made).as_posix(): path.read_bytes()
        for path in made.rglob("*")
        if path.is_file()
    }
    with file_server() as server:
        server.files["data.zip"] = zipped(files)
        server.cut_after = 50_000
        info = dataset_info("code_test")
        fetch_from(server, tmp_path / "got", info)
        n_requests = len(server.requests)
        fetch_from(server, tmp_path / "got", info)
        assert len(server.requests) == n_requests
    prepared = prepare("code_test", [tmp_path / "got"], tmp_path / "out", PrepareSettings())
    assert len(prepared) == 8


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_archive_member_outside_the_target_is_refused_before_anything_is_written(tmp_path, name):
    with file_server() as server:
        server.files["data.zip"] = zipped({"data/attributes.csv": b"age,sex\n", name: b"evil"})
        with pytest.raises(DataError, match="a file outside its folder; not unpacked"):
            fetch_from(server, tmp_path / "a" / "b", dataset_info("code_test"))
    assert not list(tmp_path.rglob("*evil*"))
    assert not list(tmp_path.rglob("attributes.csv"))


def test_archive_with_a_link_is_refused(tmp_path):
    with file_server() as server:
        server.files["data.zip"] = zipped({"a": b"a"}, links={"data": "/etc"})
        with pytest.raises(DataError, match="holds the link data"):
            fetch_from(server, tmp_path, dataset_info("code_test"))


def test_archive_that_grows_without_measure_is_refused(tmp_path):
    with file_server() as server:
        server.files["data.zip"] = zipped({"data/zeros": bytes(300 << 20)})
        with pytest.raises(DataError, match=r"grows from \d+ to \d+ bytes; not unpacked"):
            fetch_from(server, tmp_path, dataset_info("code_test"))


@pytest.mark.parametrize("damage", ["cut", "flip", "none"])
def test_damaged_archive_is_refused(tmp_path, damage):
    noise = random.Random(0).randbytes(20_000)
    data = bytearray(zipped({"data/attributes.csv": noise}))
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[5000] ^= 255
    else:
        data = bytearray(os.urandom(100))
    with file_server() as server:
        server.files["data.zip"] = bytes(data)
        with pytest.raises(DataError, match=r"data\.zip is a damaged archive"):
            fetch_from(server, tmp_path, dataset_info("code_test"))
