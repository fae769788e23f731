"""The library in a real browser, on Ceph: files go from the page into the bucket, across origins."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.example_app.conftest import Choose, card, slow_line, stored
from tests.example_app.example import Example, serve_on_cloud
from tests.example_app.test_page import PROGRAM
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.slow

CONTENT = random.Random(5).randbytes(17_000_000)
"""Three parts."""


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, postgres_server: PostgresServer
) -> Iterator[Example]:
    """What ``make run-s3`` serves."""
    with serve_on_cloud(tmp_path_factory.mktemp("example-direct"), s3_server, postgres_server) as running:
        yield running


@pytest.fixture
def parts(page: Page, example: Example) -> list[int]:
    """The numbers of the parts that the page has sent, each of them to the bucket."""
    numbers: list[int] = []

    def note(sent: Request) -> None:
        assert sent.method != "PATCH"
        if sent.method == "PUT":
            assert not sent.url.startswith(example.url)
            assert "X-Amz-Signature" in sent.url
            (number,) = re.findall("partNumber=([0-9]+)", sent.url)
            numbers.append(int(number))

    page.on("request", note)
    return numbers


def test_upload_goes_on_after_a_broken_connection(
    page: Page, choose: Choose, example: Example, parts: list[int]
) -> None:
    """Offline in the middle and back: the missing parts go up without a hand, and the others not again."""

    def break_second(route: Route, request: Request) -> None:
        if request.method == "PUT" and len(set(parts)) == 2 and len(parts) == 2:
            page.context.set_offline(offline=True)
            route.abort("connectionreset")
            return
        route.continue_()

    page.route("**partNumber=**", break_second)
    choose({"train.bin": CONTENT})
    expect(page.locator("#upload li")).to_contain_text("Trying again")
    page.context.set_offline(offline=False)
    expect(card(page, "train.bin")).to_contain_text("17 MB")
    first, *others = parts
    assert [number - first for number in others] == [1, 1, 2]
    assert stored(example) == [hashlib.sha256(CONTENT).digest()]


def test_upload_goes_on_after_a_reload(page: Page, choose: Choose, example: Example, parts: list[int]) -> None:
    """The page was closed in the middle; whoever chooses the file again sends only the parts that are missing."""
    slow_line(page, 8_000_000)
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        choose({"tunnel.bin": CONTENT})
    page.reload()
    before = parts[:]
    choose({"tunnel.bin": CONTENT})
    expect(card(page, "tunnel.bin")).to_be_visible()
    assert before[0] not in parts[len(before) :]
    assert stored(example) == [hashlib.sha256(CONTENT).digest()]


def test_small_and_empty_files(page: Page, choose: Choose, example: Example, parts: list[int]) -> None:
    """Several files go one after the other; one of no bytes has no parts."""
    choose({"small.txt": b"x", "empty.txt": b""})
    for name in ("small.txt", "empty.txt"):
        expect(card(page, name)).to_be_visible()
    assert len(parts) == 1
    assert len(example.keys) == 2


def test_refused_file_says_why(page: Page, choose: Choose, example: Example, parts: list[int]) -> None:
    """What the application finds in the bucket at the end is refused with its reason, and deleted there."""
    choose({"holiday.jpg": PROGRAM})
    expect(page.locator("#upload [part=error]")).to_contain_text("Programs are not kept here")
    with example.client() as client:
        client.post("/operations/sweep").raise_for_status()
    example.wait_until_only(set())
    assert len(parts) == 1


def test_running_upload_can_be_cancelled(page: Page, choose: Choose, example: Example, parts: list[int]) -> None:
    """An upload that is given up leaves nothing: neither an object nor parts that are paid for."""
    slow_line(page, 4_000_000)
    with page.expect_request(lambda sent: sent.method == "PUT"):
        choose({"slow.bin": CONTENT})
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Remove slow.bin").click()
    expect(page.locator("#upload li")).to_have_count(0)
    example.wait_until_only(set())
