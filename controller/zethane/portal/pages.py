"""The login page: HTML that works without JavaScript, and its style sheet. All that is filled in is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any

STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif;
  --accent: #1a5fb4; --line: #8886; --soft: #8881; --alarm: #c01c28; --wanting: #b5830b; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
main { box-sizing: border-box; width: min(100%, 26rem); padding: 1.5rem; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: 0 0 1rem; }
a { color: LinkText; }
label { display: block; margin: 0 0 1rem; }
input, button, .button { box-sizing: border-box; display: block; width: 100%; min-height: 2.75rem; font: inherit;
  padding: .6rem .75rem; margin: .25rem 0 0; border: 1px solid GrayText; border-radius: .4rem; }
input[type=hidden] { display: none; }
button, .button { background: var(--accent); border-color: var(--accent); color: #fff; cursor: pointer;
  text-align: center; text-decoration: none; }
button.quiet, .button.quiet { background: transparent; border-color: GrayText; color: CanvasText; }
button.danger { background: transparent; border-color: var(--alarm); color: CanvasText; }
button:disabled { opacity: .6; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
form { margin: 0 0 1rem; }
form.row label { margin: 0; }
form.row button { margin-top: .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: 0 0 1.5rem; }
dt, small, .status, .note { color: GrayText; }
@supports (color: color-mix(in srgb, red, blue)) {
  dt, small, .status, .note { color: color-mix(in srgb, CanvasText 72%, Canvas); }
}
dd { margin: 0; overflow-wrap: anywhere; }
.error, .wanting { border-left: .25rem solid var(--alarm); background: var(--soft); padding: .5rem .75rem;
  margin: 0 0 1rem; }
.wanting { border-color: var(--wanting); }
.wanting ul { list-style: none; margin: 0; padding: 0; }
.wanting li + li { margin-top: .5rem; }
.status { margin: .25rem 0 0; font-size: .9rem; }
.note { font-size: .9rem; }
.or { border-top: 1px solid var(--line); margin-top: 1rem; padding-top: .75rem; }
.cards, .codes { list-style: none; margin: 0 0 1rem; padding: 0; }
.cards > li { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .75rem; margin: 0 0 .5rem;
  overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .4rem 0; }
details { margin: 0 0 .5rem; }
.cards details { margin: 0; }
.codes { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: .4rem 1rem; }
.codes code, .secret code { font-size: 1rem; white-space: nowrap; }
.secret code { white-space: normal; }
.qr { background: #fff; border-radius: .4rem; padding: .25rem; margin: 0 auto 1rem; width: fit-content; }
.qr svg { display: block; max-width: 100%; height: auto; }
"""

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>$title</h1>
$error$content</main>
</body>
</html>
""")

_LOGIN = Template("""\
<form method="post" action="/login">
<input type="hidden" name="token" value="$token">
<label>Name
<input name="user" value="$user" maxlength="63" autocomplete="username" autocapitalize="none" spellcheck="false"
 required autofocus></label>
<label>Password
<input name="secret" type="password" maxlength="1024" autocomplete="current-password" required></label>
<label>Code <small>from your app, or a recovery code, if you have one</small>
<input name="totp" maxlength="32" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false"></label>
<button>Log in</button>
</form>
""")

_SESSION = Template("""\
<dl>
<dt>Name</dt><dd>$name</dd>
<dt>Segment</dt><dd>$segment</dd>
<dt>Proved by</dt><dd>$methods</dd>
<dt>Addresses</dt><dd>$addresses</dd>
<dt>Ends</dt><dd><time datetime="$ends">$ends_text</time></dd>
</dl>
$more<form method="post" action="/logout">
<input type="hidden" name="token" value="$token">
<button class="quiet">Log out</button>
</form>
""")

_METHODS = {"pwd": "password", "otp": "one-time code", "hwk": "passkey", "swk": "passkey", "user": "", "mfa": ""}
"""What people call the methods of RFC 8176 §2; empty where another one says it already."""


def login_page(token: str, error: str = "", user: str = "", more: str = "") -> str:
    """The form to log in with; `error` is why the last attempt failed, `user` the name that it was for.

    `more` is HTML that goes under it.
    """
    return page("Log in to the network", error, _LOGIN.substitute(token=escape(token), user=escape(user)) + more)


def session_page(token: str, session: Mapping[str, Any], error: str = "", more: str = "") -> str:
    """Who is logged in here, and until when; `more` is HTML that goes under that."""
    ends = str(session["ends"])
    content = _SESSION.substitute(
        token=escape(token),
        more=more,
        name=escape(str(session["name"])),
        segment=escape(str(session["segment"])),
        methods=escape(_methods(session["methods"])),
        addresses=escape(", ".join(session["addresses"])),
        ends=escape(ends),
        ends_text=escape(ends[:16].replace("T", " ") + " UTC"),
    )
    return page("You are logged in", error, content)


def _methods(methods: Iterable[Any]) -> str:
    words = (_METHODS.get(method, str(method)) for method in methods)
    return ", ".join(dict.fromkeys(word for word in words if word))


def error_page(error: str) -> str:
    """Nothing but what went wrong."""
    return page("The network login", error, '<p><a href="/">Try again</a></p>\n')


def page(title: str, error: str, content: str) -> str:
    """A whole page; `content` is HTML, the rest is text."""
    shown = f'<p class="error" role="alert">{escape(error)}</p>\n' if error else ""
    return _PAGE.substitute(title=title, error=shown, content=content)
