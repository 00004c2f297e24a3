import functools
import hashlib
import http.server
import io
import struct
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stdcf.data.sets.kth_sequences import ACTIONS
from stdcf.data.tools.download import KTH_ARCHIVES, Archive, download
from stdcf.errors import UserError


class Site(http.server.ThreadingHTTPServer):
    """Serves `content`; may cut connections after some bytes, and may ignore ranges."""

    content: dict[str, bytes]
    cut_after: int | None = None
    resumes = True
    asked: list[str | None]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        body = self.server.content.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and self.server.resumes else 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = len(body) if self.server.cut_after is None else start + self.server.cut_after
        self.wfile.write(body[start:end])

    def log_message(self, *_: object) -> None:
        pass


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


VIDEO = hashlib.shake_128(b"video").digest(50_000)
ZIP = zipped({"a.avi": VIDEO, "inner/b.avi": b"b", "../../evil.avi": b"e", "/abs.avi": b"f"})


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site(("127.0.0.1", 0), Handler)
    server.content = {"/walking.zip": ZIP, "/list.txt": b"list"}
    server.asked = []
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.server_port}{path}"


def walking(site: Site) -> Archive:
    return Archive("walking", url(site, "/walking.zip"), hashlib.sha1(ZIP).hexdigest())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_archives_are_fetched_checked_and_unpacked_once(site, tmp_path):
    seen = []
    files = [("list.txt", url(site, "/list.txt"))]
    root = tmp_path / "deep" / "kth"
    fetched = download([walking(site)], root, files=files, progress=lambda *step: seen.append(step))
    assert fetched == ["list.txt", "walking"]
    assert names(root) == [".walking.json", "list.txt", "walking"]
    # Members stay in their folder, whatever their names say.
    assert names(root / "walking") == ["a.avi", "abs.avi", "b.avi", "evil.avi"]
    assert names(tmp_path) == ["deep"]
    assert (root / "walking" / "a.avi").read_bytes() == VIDEO
    assert seen[-1] == ("walking.zip", len(ZIP), len(ZIP))
    assert download([walking(site)], root, files=files) == []
    assert len(site.asked) == 2
    (root / "walking" / "b.avi").unlink()
    assert download([walking(site)], root, files=files, keep=True) == ["walking"]
    assert "walking.zip" in names(root)


def test_a_cut_download_goes_on_where_it_stopped(site, tmp_path):
    site.cut_after = 20_000
    download([walking(site)], tmp_path)
    assert site.asked == [None, "bytes=20000-", "bytes=40000-"]
    assert (tmp_path / "walking" / "a.avi").read_bytes() == VIDEO


def test_a_second_command_resumes_the_first(site, tmp_path):
    (tmp_path / "walking.zip.part").write_bytes(ZIP[:1234])
    download([walking(site)], tmp_path)
    assert site.asked == ["bytes=1234-"]


def test_a_complete_part_is_used_and_an_excessive_one_dropped(site, tmp_path):
    (tmp_path / "walking.zip.part").write_bytes(ZIP)
    assert download([walking(site)], tmp_path) == ["walking"]
    (tmp_path / "walking" / "a.avi").unlink()
    (tmp_path / "walking.zip.part").write_bytes(ZIP + b"more")
    assert download([walking(site)], tmp_path) == ["walking"]


def test_a_server_that_does_not_resume_starts_over(site, tmp_path):
    site.resumes = False
    (tmp_path / "walking.zip.part").write_bytes(b"other bytes")
    assert download([walking(site)], tmp_path) == ["walking"]


def test_a_wrong_checksum_is_refused_before_unpacking(site, tmp_path):
    archive = replace(walking(site), sha1="0" * 40)
    with pytest.raises(UserError, match="SHA-1"):
        download([archive], tmp_path)
    assert names(tmp_path) == []


def test_what_the_network_refuses_is_one_line(site, tmp_path):
    with pytest.raises(UserError, match="404"):
        download([replace(walking(site), url=url(site, "/none.zip"))], tmp_path)
    site.cut_after = 0
    with pytest.raises(UserError, match="goes on where it stopped"):
        download([walking(site)], tmp_path)
    with pytest.raises(UserError, match="Cannot download"):
        download([replace(walking(site), url="http://127.0.0.1:1/a.zip")], tmp_path)


def harmed(method: int | None = None, flags: int = 0, data: bytes | None = None) -> bytes:
    """A zip of one compressed file with another method, with flags or with other data."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("a.avi", b"frame" * 100)
        size = content.infolist()[0].compress_size
    found = bytearray(whole.getvalue())
    # Flags and method, in the file's own header and in the directory.
    for start in (6, found.index(b"PK\x01\x02") + 8):
        old_flags, old_method = struct.unpack_from("<HH", found, start)
        new = old_method if method is None else method
        struct.pack_into("<HH", found, start, old_flags | flags, new)
    if data is not None:
        begin = found.index(b"a.avi") + len(b"a.avi")
        found[begin : begin + size] = data * size
    return bytes(found)


@pytest.mark.parametrize(
    "content",
    [harmed(method=99), harmed(flags=1), harmed(data=b"\xff")],
    ids=["unknown method", "encrypted", "damaged"],
)
def test_what_cannot_be_unpacked_is_one_line(site, tmp_path, content):
    site.content["/walking.zip"] = content
    with pytest.raises(UserError, match=r"Cannot unpack .* Delete it and start again"):
        download([replace(walking(site), sha1=hashlib.sha1(content).hexdigest())], tmp_path)


def test_no_zip_and_no_folder_are_refused(site, tmp_path):
    site.content["/walking.zip"] = b"no zip"
    archive = replace(walking(site), sha1=hashlib.sha1(b"no zip").hexdigest())
    with pytest.raises(UserError, match="Cannot unpack"):
        download([archive], tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write"):
        download([archive], tmp_path / "file" / "kth")


def test_the_table_names_kths_six_archives():
    assert sorted(archive.name for archive in KTH_ARCHIVES) == sorted(ACTIONS)
    assert all(len(bytes.fromhex(archive.sha1)) == 20 for archive in KTH_ARCHIVES)
