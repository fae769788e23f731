"""`<filestore-upload>` in Chromium on pages of all kinds: with htmx and React, on a telephone, for everybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.element.conftest import Show, Tus
from tests.element.test_element import a_file, choose, row
from tests.element.tus_app import Fault
from tests.servers import npm

pytestmark = pytest.mark.slow

LONG_NAME = "a-name-that-is-much-longer-than-a-telephone-is-wide-because-somebody-meant-it-well.pdf"

HTMX_FORM = (
    '<form hx-post="/submit" hx-target="#answer" hx-encoding="multipart/form-data">{{{{ csrf_input|safe }}}}'
    '<p><label>Title <input name="title" value="T"></label></p>{}<button>Send</button></form><p id="answer"></p>'
)

REACT_PAGE = """
const {createElement: h, useEffect, useRef, useState} = require('react');
function Form() {
    const upload = useRef(null);
    const [reference, setReference] = useState('nothing');
    useEffect(() => {
        const onDone = event => setReference(event.detail.reference);
        upload.current.addEventListener('filestore:done', onDone);
        return () => upload.current?.removeEventListener('filestore:done', onDone);
    }, []);
    return h('div', null,
        h('filestore-upload', {ref: upload, name: 'file', endpoint: '/uploads', multiple: true, accept: '.pdf'}),
        h('p', {id: 'reference'}, reference));
}
require('react-dom/client').createRoot(document.querySelector('#root')).render(h(Form));
"""


def _show_all_states(page: Page, tus: Tus) -> None:
    """Choose four files: one is uploaded, one is refused, one is paused and one goes up."""
    tus.fail()
    choose(page, a_file("done.pdf"), a_file("refused.txt", content_type="text/plain"))
    expect(row(page, "done.pdf")).to_contain_text("Uploaded")
    tus.fail(Fault("PATCH", keeps=1), Fault("PATCH", keeps=1))
    choose(page, a_file("waiting.pdf"))
    expect(row(page, "waiting.pdf")).to_contain_text("%")
    row(page, "waiting.pdf").get_by_role("button", name="Pause waiting.pdf").click()
    choose(page, a_file(LONG_NAME))
    expect(row(page, LONG_NAME)).to_contain_text("%")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(show: Show, tus: Tus, scheme: str) -> None:
    """Axe finds nothing to complain of, whatever the element shows, on a light page and on a dark one."""
    page = show('multiple required accept=".pdf"')
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    _show_all_states(page, tus)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert found.response["incomplete"] == []


def test_telephone(show: Show, tus: Tus) -> None:
    """On a page that is 360 pixels wide, nothing sticks out."""
    page = show('multiple accept=".pdf"')
    page.set_viewport_size({"width": 360, "height": 640})
    _show_all_states(page, tus)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for button in row(page, LONG_NAME).get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 24, "WCAG 2.2, target size (2.5.8)"


def test_htmx(show: Show, tus: Tus, scripts: Path) -> None:
    """With htmx, the form sends the reference, and waits until there is one."""
    (scripts / "htmx.js").write_bytes(npm.find_package_file("htmx.org/dist/htmx.min.js").read_bytes())
    # htmx writes HTML into the page, and a style of its own.
    policy = "default-src 'self'; style-src 'self' 'unsafe-inline'"
    page = show("required", "/scripts/htmx.js", form=HTMX_FORM, policy=policy)
    page.get_by_role("button", name="Send").click()
    choose(page, a_file())
    expect(row(page)).to_contain_text("Uploaded")
    expect(page.locator("#answer")).to_be_empty()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer")).to_contain_text("title=T")
    expect(page.locator("#answer")).to_contain_text("file=reference-")
    assert page.url.endswith("/page")


def test_react(show: Show, tus: Tus, scripts: Path) -> None:
    """React sets the attributes and hears the events."""
    (scripts / "react.js").write_text(_bundle())
    page = show(form='<div id="root"></div><!--{}--><script src="/scripts/react.js"></script>')
    choose(page, a_file())
    expect(page.locator("#reference")).to_contain_text("reference-")
    assert page.evaluate("document.querySelector('filestore-upload').value.length") == 1


def _bundle() -> str:
    """Return React and the page in one script; React comes as modules of Node.js."""
    names = {
        "react": "react/cjs/react.production.js",
        "scheduler": "scheduler/cjs/scheduler.production.js",
        "react-dom": "react-dom/cjs/react-dom.production.js",
        "react-dom/client": "react-dom/cjs/react-dom-client.production.js",
    }
    modules = ",\n".join(
        f"{name!r}(exports, require) {{ {npm.find_package_file(path).read_text()} }}" for name, path in names.items()
    )
    return f"""
const process = {{env: {{NODE_ENV: 'production'}}}};
const loaded = {{}};
const modules = {{ {modules} }};
const require = name => {{
    if (!loaded[name]) modules[name](loaded[name] = {{}}, require);
    return loaded[name];
}};
{REACT_PAGE}
"""
