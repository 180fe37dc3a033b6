"""The server that what measures a site measures it through."""

import gzip
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from web import serve


@pytest.fixture
def address(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page/index.html").write_text("word " * 1000)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with serve(tmp_path) as address:
        yield urlsplit(address)


def ask(address, path, **headers):
    connection = HTTPConnection(address.hostname, address.port)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


def test_text_travels_compressed(address):
    answer, body = ask(address, "/page/?query", Accept_Encoding="br, gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Type"] == "text/html"
    assert len(body) < 200
    assert gzip.decompress(body) == b"word " * 1000


def test_pictures_and_other_clients_get_the_file_as_it_is(address):
    answer, body = ask(address, "/picture.png", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] is None
    assert body == b"\x89PNG"
    assert ask(address, "/page/")[1] == b"word " * 1000


def test_what_is_not_there(address):
    assert ask(address, "/nothing/", Accept_Encoding="gzip")[0].status == 404
    assert ask(address, "/page", Accept_Encoding="gzip")[0].status == 301
