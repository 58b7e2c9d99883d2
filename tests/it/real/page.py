"""The status page in Chromium; its arguments are a node's address for HTTP and, if one is lost, the lost
node's address. With RATELIMIT_TEST_PICTURES=DIR it leaves pictures there."""

import os
import sys
import time
import urllib.error
import urllib.request

from playwright.sync_api import sync_playwright

# A busy machine may stand still for a while.
PATIENCE_MS = 60_000
PHONE = {"width": 390, "height": 844}
NARROWEST = {"width": 320, "height": 568}
DESK = {"width": 1280, "height": 900}

# The ratio of WCAG 2 between two colours as the browser computes them.
CONTRAST = """([ink, paper]) => {
  const light = colour => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map(it => it / 255);
    const [r, g, b] = parts.map(it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.createElement("span");
  document.body.append(probe);
  const shown = name => { probe.style.color = `var(${name})`; return light(getComputedStyle(probe).color); };
  const [low, high] = [shown(ink), shown(paper)].sort((a, b) => a - b);
  probe.remove();
  return (high + 0.05) / (low + 0.05);
}"""


def expect(holds, what):
    if not holds:
        sys.exit(f"the page: {what}")


def wait(page, expression, what):
    """Looks again and again: the page's own policy forbids what Playwright does to watch it."""
    given_up = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression):
        if time.monotonic() > given_up:
            sys.exit(f"the page never came to this: {what}\n{page.inner_text('body')}")
        page.wait_for_timeout(20)


def picture(page, name):
    place = os.environ.get("RATELIMIT_TEST_PICTURES")
    if place:
        page.screenshot(path=f"{place}/{name}.png", full_page=True)


def ask(address, path):
    try:
        urllib.request.urlopen(f"http://{address}{path}", timeout=60).read()
    except urllib.error.HTTPError:
        pass


def has_its_ring(page):
    wait(page, "document.getElementById('line').textContent === 'live'", "it is live")
    wait(
        page,
        "document.getElementById('moves').textContent === 'every slot is where it should be'",
        "the cluster has settled",
    )
    # At once, since each event draws it anew.
    arcs = "[...document.querySelectorAll('#arcs path')].map(it => getComputedStyle(it).fill)"
    fills = set(page.evaluate(arcs))
    expect(len(fills) == 3, f"the ring has a colour for each of three nodes, not {fills}")
    size = page.locator("#arcs").bounding_box()
    expect(size["width"] > 150 and size["height"] > 150, f"the ring is seen: {size}")
    wait(page, "document.getElementById('alive').textContent === '3'", "three nodes are alive")
    expect(page.locator("#nodes tr").count() == 3, "the table has three nodes")
    expect(page.inner_text("#alert") == "", "nothing is alarming")


def shows_what_is_limited(page, address):
    """The most limited policy comes first, with its share, without a reload."""
    # A node counts what it decides, so that some keys must be its own: one in three is.
    for n in range(120):
        ask(address, f"/v1/check/few?key=k-{n % 30}")
        ask(address, f"/v1/check/many?key=k-{n}")
    wait(
        page,
        """() => {
          const row = document.querySelector("#policies tr");
          const cells = row ? [...row.children].map(it => it.textContent) : [];
          return cells[0] === "few" && cells[3] === "50.0 %";
        }""",
        "the policy `few` stands first, with its denied share",
    )


def fits(page, size):
    page.set_viewport_size(size)
    wide = page.evaluate("document.documentElement.scrollWidth")
    expect(wide <= size["width"], f"at {size['width']} pixels it is {wide} wide")
    small = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(it => it.childElementCount === 0 && it.textContent.trim()"
        " && it.checkVisibility() && !it.closest('svg') && parseFloat(getComputedStyle(it).fontSize) < 12).length"
    )
    expect(small == 0, f"{small} texts are too small at {size['width']} pixels")


def has_contrast(page, scheme):
    page.emulate_media(color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(int(part) for part in ground[4:-1].split(", ")) < 3 * 64
    expect(dark == (scheme == "dark"), f"the ground is {ground} in the {scheme} scheme")
    for paper in ("--ground", "--card"):
        for ink in ("--text", "--dim", "--good", "--warn", "--bad", "--mark"):
            ratio = page.evaluate(CONTRAST, [ink, paper])
            expect(ratio >= 4.5, f"{scheme}: {ink} on {paper} has a contrast of {ratio:.2f}")


def goes_by_keyboard(page):
    page.set_viewport_size(NARROWEST)
    focused = "document.activeElement.getAttribute('aria-labelledby')"
    page.evaluate("document.activeElement.blur()")
    for name in ("h-nodes", "h-policies", "h-moves"):
        page.keyboard.press("Tab")
        expect(page.evaluate(focused) == name, f"the focus is at {page.evaluate(focused)}, not {name}")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        expect(style == "solid" and float(outline[:-2]) >= 2, f"the focus is seen: {outline} {style}")
        if name == "h-nodes":
            page.keyboard.press("ArrowRight")
            wait(page, "document.activeElement.scrollLeft > 0", "the table moves by keyboard")
    # What is live does not take the focus away: the next event has been drawn.
    page.evaluate("last = null")
    wait(page, "last !== null", "the next event")
    expect(page.evaluate(focused) == "h-moves", "the focus stays")


def main():
    address, *lost = sys.argv[1:]
    wrong = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium-headless-shell", args=["--no-sandbox"]
        )
        page = chromium.new_page(viewport=DESK)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.goto(f"http://{address}/", wait_until="load", timeout=PATIENCE_MS)
        if lost:
            said = f"Down: {lost[0]}."
            alert = "document.getElementById('alert').textContent"
            wait(page, f"{alert}.includes('{said}')", "the lost node is told")
            wait(page, "document.getElementById('alive').textContent === '2'", "two are alive")
            picture(page, "lost")
        else:
            has_its_ring(page)
            shows_what_is_limited(page, address)
            picture(page, "desk")
            for size in (PHONE, NARROWEST):
                fits(page, size)
                picture(page, f"phone-{size['width']}")
            for scheme in ("light", "dark"):
                has_contrast(page, scheme)
            picture(page, "dark")
            goes_by_keyboard(page)
        chromium.close()
    expect(not wrong, f"the console says {wrong}")
    print("all is as expected")


main()
