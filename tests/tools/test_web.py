import gzip
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from agentlm.agent.tool import ToolContext, ToolError
from agentlm.errors import OperatorError
from agentlm.tools.confinement.network import Reach
from agentlm.tools.confinement.worker import Worker, WorkerStopped
from agentlm.tools.settings import ToolSettings
from agentlm.tools.web.body import read_body
from agentlm.tools.web.build_index import main as build_index
from agentlm.tools.web.charset import decoded, forced
from agentlm.tools.web.index import Index
from agentlm.tools.web.index import build_index as write_index
from agentlm.tools.web.page import split_pages
from agentlm.tools.web.robots import allowed, parse_robots
from agentlm.tools.web.tools import FetchArgs, SearchArgs, WebFetch, WebSearch, open_web

MakeSettings = Callable[..., ToolSettings]
PATH = os.pathsep.join(sys.path)
CONTEXT = ToolContext("traj_1", "me")
PARAGRAPH = "A paragraph of an article that is long enough to be taken for one. " * 5
ARTICLE = f"""<html><head><title>On tools</title><script>alert("no")</script></head><body>
<nav><a href="/a">Home</a></nav><article><h1>On tools</h1><p>{PARAGRAPH}</p>
<p>See <a href="/more">more</a>. {PARAGRAPH}</p><table><tr><td>one</td><td>two</td></tr></table>
</article></body></html>"""


@pytest.fixture
async def fetch(make_settings: MakeSettings, httpserver: HTTPServer) -> AsyncIterator[WebFetch]:
    httpserver.expect_request("/robots.txt").respond_with_data("", status=404)
    settings = make_settings(
        web_private=("127.0.0.1/32",), web_ports=(httpserver.port,), web_page_mb=1
    )
    (tool,) = await open_web(settings)
    assert isinstance(tool, WebFetch)
    yield tool
    await tool.close()


async def get(tool: WebFetch, url: str, page: int = 1) -> str:
    return await tool.run(FetchArgs(url=url, page=page), CONTEXT)


async def test_html_becomes_readable_markdown(fetch: WebFetch, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/page").respond_with_data(ARTICLE, content_type="text/html")
    text = await get(fetch, httpserver.url_for("/page"))
    assert "# On tools" in text
    assert "A paragraph of an article" in text
    assert "/more" in text
    assert "alert" not in text


async def test_json_and_plain_text_are_shown_as_they_are(
    fetch: WebFetch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/data").respond_with_json({"name": "café"})
    httpserver.expect_request("/text").respond_with_data(b"caf\xe9\x07", content_type="text/plain")
    assert '"name": "café"' in await get(fetch, httpserver.url_for("/data"))
    assert "caf\ufffd" in await get(fetch, httpserver.url_for("/text"))


CHARSETS = {
    "windows-1251": "Страница на русском языке, которую прочтут. ",
    "koi8-r": "Страница на русском языке, которую прочтут. ",
    "shift_jis": "これは長い日本語の文章です。①は丸い。",
    "euc-jp": "これは長い日本語の文章です。",
    "iso-2022-jp": "これは長い日本語の文章です。",
    "gbk": "这是一个很长的中文页面。",
    "gb2312": "这是一个很长的中文页面。朱镕基",
    "big5": "這是一個很長的中文頁面。",
    "euc-kr": "이것은 긴 한국어 페이지입니다. ",
    "windows-1252": "Ein schöner Satz „mit“ Anführung – ja. ",
}
WRITTEN = {"shift_jis": "cp932", "gb2312": "gbk"}
"""What pages are really written in that are called so."""
READING_CONFINED = """
import sys
from agentlm.tools.web.extract_worker import load_late_imports, markdown

load_late_imports()
forbidden = ("open", "import", "os.listdir")

def forbid(event, _arguments):
    if event in forbidden:
        raise PermissionError("the Python of root's home can't be read")

pages = [(text * 60, name, written) for text, name, written in %r]
sys.addaudithook(forbid)
for text, name, written in pages:
    head = f"<html><head><meta charset={name}><title>x</title></head><body><p>"
    html = head.encode() + text.encode(written) + b"</p></body></html>"
    sys.stdout.buffer.write(f"{name} {text[:12] in markdown(html)}\\n".encode())
    bare = b"<html><body><p>" + text.encode(written) + b"</p></body></html>"
    markdown(bare)
"""


def test_every_charset_is_read_though_no_file_can_be_opened_any_more() -> None:
    pages = [(text, name, WRITTEN.get(name, name)) for name, text in CHARSETS.items()]
    program = [sys.executable, "-c", READING_CONFINED % (pages,)]
    ran = subprocess.run(program, capture_output=True, text=True, env={"PYTHONPATH": PATH})
    assert ran.stdout.split() == [word for name in CHARSETS for word in (name, "True")], ran.stderr


@pytest.mark.parametrize("charset", CHARSETS)
async def test_the_charset_of_header_or_page_is_honoured(
    fetch: WebFetch, httpserver: HTTPServer, charset: str
) -> None:
    sentence = CHARSETS[charset]
    text = (sentence * 60).encode(WRITTEN.get(charset, charset))
    named = f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">'.encode()
    declared = b'<?xml version="1.0" encoding="%s"?>' % charset.encode()
    pages = {
        "/header": (f"text/html; charset={charset}", b"<html><body><p>%s</p></body></html>"),
        "/page": ("text/html", b"<html><head>" + named + b"</head><body><p>%s</p></body></html>"),
        "/wrong": (
            "text/html; charset=utf-8",
            b"<html><head>" + named + b"</head><body><p>%s</p></body></html>",
        ),
        "/xhtml": (
            "application/xhtml+xml",
            declared + b"<html><head/><body><p>%s</p></body></html>",
        ),
        "/text": (f"text/plain; charset={charset}", b"%s"),
        "/xml": (
            "text/xml",
            declared + b"<a>%s</a>",
        ),
    }
    for path, (kind, page) in pages.items():
        if charset == "iso-2022-jp" and path == "/wrong":
            continue  # it is UTF-8 as well
        httpserver.expect_request(path).respond_with_data(page % text, content_type=kind)
        assert sentence.strip() in await get(fetch, httpserver.url_for(path)), path


@pytest.mark.parametrize("charset", ["punycode", "unicode_escape", "hex", "idna", "no-such", "\0"])
def test_a_charset_that_no_page_has_is_not_used(charset: str) -> None:
    assert decoded(b"plain \\u0041", charset) == "plain \\u0041"
    assert forced(b"caf\xe9", charset) == "caf\ufffd"


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_says_more_than_the_header(mark: str) -> None:
    assert decoded("<p>héllo".encode(mark), "windows-1251", markup=True) == "<p>héllo"


async def test_a_document_holds_nothing_that_is_the_extractors(
    fetch: WebFetch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/page").respond_with_data(ARTICLE, content_type="text/html")
    text = await get(fetch, httpserver.url_for("/page"))
    assert text.partition("\n\n")[2].startswith("# On tools\n\nA paragraph")
    for word in ("fingerprint", "sitename", "---", "title:"):
        assert word not in text


@pytest.mark.parametrize(
    "kind",
    [
        "application/yaml",
        "application/x-yaml",
        "application/vnd.oai.openapi+yaml",
        "application/x-ndjson",
        "application/jsonl",
        "application/json-seq",
        "application/toml",
        "application/sql",
        "application/javascript",
        "application/x-sh",
        "application/n-triples",
        "image/svg+xml",
        "application/octet-stream",
        "message/rfc822",
    ],
)
async def test_what_is_text_is_shown_whatever_it_is_called(
    fetch: WebFetch, httpserver: HTTPServer, kind: str
) -> None:
    httpserver.expect_request("/x").respond_with_data('{"é": 1}\n{"b": 2}', content_type=kind)
    assert '{"é": 1}\n{"b": 2}' in await get(fetch, httpserver.url_for("/x"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/octet-stream", b"\x89PNG\0\0"),
        ("application/octet-stream", b"\xf9\xfe\xfd" * 9),
        ("application/zip", b"PK"),
        ("image/png", b"x"),
    ],
)
async def test_what_is_no_text_is_not_shown(
    fetch: WebFetch, httpserver: HTTPServer, kind: str, body: bytes
) -> None:
    httpserver.expect_request("/x").respond_with_data(body, content_type=kind)
    with pytest.raises(ToolError, match="which is not text"):
        await get(fetch, httpserver.url_for("/x"))


MEMBERS = (
    gzip.compress(b"first ", mtime=0)
    + gzip.compress(b"second ", mtime=0)
    + gzip.compress(b"", mtime=0)
    + b"\0\0"
)


@pytest.mark.parametrize(
    ("packed", "text", "missing"),
    [
        (MEMBERS, b"first second ", False),
        (gzip.compress(b"x" * 9999, mtime=0)[:-9], b"x" * 9999, True),
        (
            gzip.compress(b"first ", mtime=0) + gzip.compress(b"second ", mtime=0)[:12],
            b"first second ",
            True,
        ),
        (gzip.compress(b"first", mtime=0)[:5], b"", True),
        (zlib.compress(b"first ")[:-3], b"first ", True),
        (zlib.compress(b"first "), b"first ", False),
        (b"", b"", False),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 99_999])
async def test_packed_bodies_are_whole_or_said_not_to_be(
    packed: bytes, text: bytes, missing: bool, size: int
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), size):
            yield packed[start : start + size]

    body, reason = await read_body(chunks(), "gzip", 100_000)
    assert body == text[: len(body)]
    assert missing or body == text
    assert bool(reason) is missing


async def test_members_without_end_are_read_up_to_the_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield gzip.compress(b"x" * 100, mtime=0) * 10

    assert await read_body(chunks(), "gzip", 2050) == (
        b"x" * 2050,
        "the document is longer than is read",
    )


async def test_an_incomplete_page_says_so(fetch: WebFetch, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x").respond_with_data(
        gzip.compress(b"a beginning", mtime=0)[:-4],
        content_type="text/plain",
        headers={"content-encoding": "gzip"},
    )
    text = await get(fetch, httpserver.url_for("/x"))
    assert text.endswith("a beginning\n\n[the document ends too early: it came incomplete]")


async def test_a_page_that_ends_the_extractor_late_takes_no_other_with_it(
    fetch: WebFetch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/1").respond_with_data(ARTICLE, content_type="text/html")
    httpserver.expect_request("/2").respond_with_data(ARTICLE, content_type="text/html")
    await get(fetch, httpserver.url_for("/1"))
    process = fetch._extractor._worker._process
    assert process
    process.kill()  # as if of what the first page left behind
    assert "# On tools" in await get(fetch, httpserver.url_for("/2"))


async def test_a_worker_that_ends_of_each_question_is_given_up() -> None:
    worker = Worker("agentlm.tools.web.extract_worker")
    for _ in range(2):
        with pytest.raises(WorkerStopped):
            await worker.ask(b"no JSON\n<p>", 10)
    assert await worker.ask(b"{}\n<html><body><p>well</p></body></html>", 10) == b"well"
    await worker.close()


async def test_a_long_document_comes_in_pages_and_is_fetched_once(
    fetch: WebFetch, httpserver: HTTPServer
) -> None:
    words = " ".join(str(number) for number in range(4000))
    httpserver.expect_oneshot_request("/long").respond_with_data(words, content_type="text/plain")
    url = httpserver.url_for("/long")
    first = await get(fetch, url)
    assert "[page 1 of 4; the next one is page 2]" in first
    assert " 3999" in await get(fetch, url, page=4)
    with pytest.raises(ToolError, match="there is no page 5"):
        await get(fetch, url, page=5)


async def test_redirects_are_followed_but_not_for_ever(
    fetch: WebFetch, httpserver: HTTPServer
) -> None:
    def redirect(to: str) -> Response:
        return Response(status=302, headers={"location": to})

    httpserver.expect_request("/from").respond_with_response(redirect("/to"))
    httpserver.expect_request("/to").respond_with_data("arrived", content_type="text/plain")
    httpserver.expect_request("/loop").respond_with_response(redirect("/loop"))
    assert "arrived" in await get(fetch, httpserver.url_for("/from"))
    with pytest.raises(ToolError, match="more than 5 redirects"):
        await get(fetch, httpserver.url_for("/loop"))


async def test_what_is_no_text_is_named(fetch: WebFetch, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x.pdf").respond_with_data(b"%PDF", content_type="application/pdf")
    httpserver.expect_request("/gone").respond_with_data("", status=410)
    with pytest.raises(ToolError, match=r"application/pdf \(4 bytes\)"):
        await get(fetch, httpserver.url_for("/x.pdf"))
    with pytest.raises(ToolError, match="410 GONE"):
        await get(fetch, httpserver.url_for("/gone"))


async def test_robots_txt_is_honoured_unless_told_otherwise(
    fetch: WebFetch, httpserver: HTTPServer, make_settings: MakeSettings
) -> None:
    httpserver.clear()
    httpserver.expect_request("/robots.txt").respond_with_data("User-agent: *\nDisallow: /private")
    httpserver.expect_request("/private").respond_with_data("secret", content_type="text/plain")
    url = httpserver.url_for("/private")
    with pytest.raises(ToolError, match="does not want /private to be read by programs"):
        await get(fetch, url)
    port, private = (httpserver.port,), ("127.0.0.1/32",)
    rude = WebFetch(make_settings(web_private=private, web_ports=port, web_robots=False))
    assert "secret" in await get(rude, url)
    await rude.close()


def test_robots_rules_by_the_longest_match() -> None:
    text = """
    User-agent: other
    Disallow: /
    User-agent: agentlm
    User-agent: third
    Disallow: /a  # comment
    Allow: /a/public
    Disallow: /*.pdf$
    """
    rules = parse_robots(text, "AgentLM")
    assert not allowed(rules, "/a/x")
    assert allowed(rules, "/a/public/x")
    assert not allowed(rules, "/b/c.pdf")
    assert allowed(rules, "/b/c.pdf?x")
    assert allowed(parse_robots("", "AgentLM"), "/")


async def test_cookies_are_not_kept(fetch: WebFetch, httpserver: HTTPServer) -> None:
    seen = []

    def answer(request: Request) -> Response:
        seen.append(dict(request.cookies))
        return Response("x", content_type="text/plain", headers={"set-cookie": "id=1"})

    httpserver.expect_request("/1").respond_with_handler(answer)
    httpserver.expect_request("/2").respond_with_handler(answer)
    await get(fetch, httpserver.url_for("/1"))
    await get(fetch, httpserver.url_for("/2"))
    assert seen == [{}, {}]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_decompression_bomb_is_read_up_to_the_limit(
    fetch: WebFetch, httpserver: HTTPServer, encoding: str
) -> None:
    packed = (gzip if encoding == "gzip" else zlib).compress(b"bomb " * 20_000_000)
    httpserver.expect_request("/bomb").respond_with_data(
        packed, content_type="text/plain", headers={"content-encoding": encoding}
    )
    assert "bomb" in await get(fetch, httpserver.url_for("/bomb"))
    last = await get(fetch, httpserver.url_for("/bomb"), page=175)
    assert "longer than is read" in last


async def test_layers_of_packing_are_refused(fetch: WebFetch, httpserver: HTTPServer) -> None:
    for number, encoding in enumerate(("gzip, gzip", "br", "zstd")):
        httpserver.expect_request(f"/{number}").respond_with_data(
            b"x", content_type="text/plain", headers={"content-encoding": encoding}
        )
        with pytest.raises(ToolError, match="packed as"):
            await get(fetch, httpserver.url_for(f"/{number}"))


@pytest.mark.parametrize(
    "html", ["<div>" * 150_000, "<a " + "x=1 " * 200_000, "<table><tr><td>" * 50_000]
)
async def test_html_bombs_do_not_stop_the_next_page(
    fetch: WebFetch, httpserver: HTTPServer, html: str
) -> None:
    httpserver.expect_request("/bomb").respond_with_data(html, content_type="text/html")
    httpserver.expect_request("/page").respond_with_data(ARTICLE, content_type="text/html")
    with suppress(ToolError):
        await get(fetch, httpserver.url_for("/bomb"))
    assert "# On tools" in await get(fetch, httpserver.url_for("/page"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "not an http or https address"),
        ("gopher://example.org/", "not an http or https address"),
        ("http://", "not an http"),
        ("http://user:password@example.org/", "user name or password"),
        ("http://example.org:22/", "port 22"),
        ("http://exa mple.org/", "not an address|hosts that are fetched"),
        ("https://sub.forbidden.example/", "list of hosts that are not fetched"),
        ("https://elsewhere.example/", "not on the list of hosts that are fetched"),
        ("https://" + "a" * 2000 + ".example/", "not an address|resolved|hosts that are fetched"),
        ("https://xn--a.example/", "not on the list of hosts"),
        ("https://xn--a.forbidden.example/", "list of hosts that are not fetched"),
        ("https://verboten-ü.example/", "list of hosts that are not fetched"),
        ("https://XN--VERBOTEN--Y9A.example./", "list of hosts that are not fetched"),
        ("https://spelt-ü.example/", "list of hosts that are not fetched"),
    ],
)
async def test_an_address_that_is_not_fetched_says_why(
    make_settings: MakeSettings, url: str, why: str
) -> None:
    allow = ("example.org", "forbidden.example")
    deny = ("forbidden.example", "Verboten-ü.example", "xn--spelt--8ya.example")
    fetch = WebFetch(make_settings(web_allow=allow, web_deny=deny))
    with pytest.raises(ToolError, match=why):
        await get(fetch, url)
    await fetch.close()


def test_only_public_addresses_are_in_reach() -> None:
    reach = Reach(["10.1.0.0/16"])
    for address in ("1.1.1.1", "2606:4700::1111", "10.1.2.3"):
        assert reach.allows(address), address
    for address in ("10.2.0.1", "64:ff9b::7f00:1", "::ffff:8.8.8.8", "2002:7f00:1::", "fe80::1%lo"):
        assert not reach.allows(address), address


def test_pages_break_between_paragraphs_and_lose_nothing() -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "word " * 30 for number in range(50))
    pages = split_pages(text, 1000)
    assert all(len(page) <= 1000 for page in pages)
    assert " ".join(" ".join(pages).split()) == " ".join(text.split())
    assert all(page.startswith("Paragraph") for page in pages)


async def test_an_offline_index_is_searched_and_read(
    make_settings: MakeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bees.md").write_text("# Bees\n\nHoney bees dance to tell of flowers.")
    (tmp_path / "docs" / "ants.html").write_text(ARTICLE.replace("tools", "ants"))
    build_in_thread(tmp_path)
    assert "2 pages" in capsys.readouterr().out
    fetch, search = await open_web(make_settings(web_search=str(tmp_path / "index.db")))
    assert isinstance(search, WebSearch)
    assert isinstance(fetch, WebFetch)
    found = await search.run(SearchArgs(query='dancing "bees" OR ('), CONTEXT)
    assert found.startswith("1. Bees\n   https://docs.example/bees.md\n   ")
    assert "tell of flowers" in await get(fetch, "https://docs.example/bees.md")
    assert await search.run(SearchArgs(query="zebra"), CONTEXT) == "(nothing found)"
    await search.close()
    await fetch.close()


def build_in_thread(folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    arguments = [str(folder / "index.db"), str(folder / "docs"), "--url", "https://docs.example/"]
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(build_index, arguments).result() == 0


async def test_searxng_answers_and_its_failure_is_told(
    make_settings: MakeSettings, httpserver: HTTPServer
) -> None:
    hit = {"title": "Bees", "url": "https://bees.example/", "content": "All\nabout bees."}
    httpserver.expect_oneshot_request(
        "/search", query_string={"q": "bees", "format": "json"}
    ).respond_with_json({"results": [hit]})
    _, search = await open_web(make_settings(web_search=httpserver.url_for("/")))
    assert isinstance(search, WebSearch)
    found = await search.run(SearchArgs(query="bees"), CONTEXT)
    assert found == "1. Bees\n   https://bees.example/\n   All about bees."
    with pytest.raises(ToolError, match="the search service failed"):
        await search.run(SearchArgs(query="ants"), CONTEXT)
    httpserver.expect_request("/search").respond_with_data(json.dumps({"results": 3}))
    with pytest.raises(ToolError, match="the search service failed"):
        await search.run(SearchArgs(query="wasps"), CONTEXT)
    await search.close()


async def test_a_search_backend_that_is_none_is_the_operators_error(
    make_settings: MakeSettings,
) -> None:
    with pytest.raises(OperatorError, match="neither a URL nor an existing index"):
        await open_web(make_settings(web_search="/nowhere.db"))


def test_an_index_that_two_build_at_once_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "pages.index"

    def pages(name: str, meanwhile: Callable[[], object]) -> Iterator[tuple[str, str, str]]:
        for number in range(3):
            yield f"http://{name}/{number}", name, "words"
            meanwhile()

    with ThreadPoolExecutor(1) as thread:
        seconds: list[Future[int]] = []

        def begin_the_second() -> None:
            if not seconds:
                seconds.append(thread.submit(write_index, path, pages("second", lambda: None)))
            time.sleep(0.05)

        assert write_index(path, pages("first", begin_the_second)) == 3
        assert seconds[0].result() == 3

    index = Index(path)
    assert [index.text(f"http://second/{number}") for number in range(3)] == ["words"] * 3
    index.close()
