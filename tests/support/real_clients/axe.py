"""axe-core, which finds what keeps people with disabilities from using a page: installed by npm, run in Chromium."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tests.support.real_servers.npm import NodePackages

if TYPE_CHECKING:
    from playwright.sync_api import Page

PACKAGES = NodePackages("axe", {"axe-core": "4.14.1"})
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (rules) => {
  const found = await axe.run(document, {runOnly: rules, resultTypes: ["violations"]});
  return found.violations.flatMap(({id, impact, nodes}) =>
    nodes.map((node) => [impact, id, node.target.join(" "), node.failureSummary]));
}"""


@functools.cache
def _source() -> str:
    return (PACKAGES.modules() / "axe-core" / "axe.min.js").read_text()


def found_in(page: Page, *impacts: str) -> list[tuple[str, str, str, str]]:
    """What is wrong with the page as it is now: impact, rule, element, and how to mend it; only of these impacts.

    Raises NotProvisioned when axe-core is not there.
    """
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(_source())
    return [tuple(each) for each in page.evaluate(RUN, RULES) if not impacts or each[0] in impacts]
