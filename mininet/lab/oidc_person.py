"""A person who signs in at a provider, without a browser: fills in each form until there is none.

`python -m lab.oidc_person login PORTAL PROVIDER` logs the host in that it runs at; `… open URL` goes through the pages
from there on, as for a device's code. Name and password come on standard input. Any certificate is taken: this is no
browser, and what is tested is the controller.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import httpx

MAX_PAGES = 12


class Form(HTMLParser):
    """The first form of a page: where it goes, how, and its fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.method = "get"
        self.fields: dict[str, str] = {}
        self.there = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, or a field of it."""
        values = dict(attrs)
        if tag == "form" and not self.there:
            self.there, self.action = True, values.get("action")
            self.method = (values.get("method") or "get").lower()
        elif tag == "input" and self.there and values.get("name"):
            self.fields[str(values["name"])] = values.get("value") or ""


class Person:
    """Somebody with a name and a password, and the pages that she is shown."""

    def __init__(self, client: httpx.Client, name: str, password: str) -> None:
        self._client = client
        self._known = {"login": name, "password": password}

    def login(self, portal: str, provider: str) -> str:
        """Follow the portal's link to a provider, and come back; the portal's page. Raises RuntimeError."""
        link = re.search(rf'href="(/oidc/{re.escape(provider)}/start[^"]*)"', self._client.get(portal).text)
        if link is None:
            raise RuntimeError(f"the portal has no link to {provider}")
        return self.walk(f"{portal.rstrip('/')}{link[1]}", until=portal)

    def walk(self, url: str, until: str = "\0") -> str:
        """The text of the last page from `url` on, or of the first one at `until`. Raises RuntimeError."""
        page = self._client.get(url)
        for _ in range(MAX_PAGES):
            form = Form(page.text)
            if not form.there or str(page.url).startswith(until):
                if page.is_error:
                    raise RuntimeError(f"status {page.status_code}: {page.text}")
                return page.text
            fields = {key: self._known.get(key, value) for key, value in form.fields.items()}
            target = page.url.join(form.action) if form.action else page.url
            page = self._client.request(form.method.upper(), target, data=fields)
        raise RuntimeError("the provider's pages have no end")


def main() -> None:
    """Read name and password, and go."""
    name, password = sys.stdin.read().splitlines()[:2]
    what, *arguments = sys.argv[1:]
    with httpx.Client(verify=False, follow_redirects=True, timeout=30, trust_env=False) as client:  # noqa: S501
        person = Person(client, name, password)
        print(person.login(*arguments) if what == "login" else person.walk(*arguments))


if __name__ == "__main__":
    main()
