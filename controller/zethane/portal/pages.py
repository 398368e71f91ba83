"""The login page: HTML that works without JavaScript, and its style sheet. All that is filled in is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
main { box-sizing: border-box; width: min(100%, 24rem); padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 1rem; }
label { display: block; margin: 0 0 1rem; }
input, button { box-sizing: border-box; width: 100%; font: inherit; padding: .6rem; margin-top: .25rem;
  border: 1px solid GrayText; border-radius: .4rem; }
button { background: #1a5fb4; border-color: #1a5fb4; color: #fff; cursor: pointer; }
a.button { box-sizing: border-box; display: block; padding: .6rem; text-align: center; color: inherit;
  border: 1px solid GrayText; border-radius: .4rem; text-decoration: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: 0 0 1.5rem; }
dt { color: GrayText; }
dd { margin: 0; overflow-wrap: anywhere; }
small { color: GrayText; }
.error { border-left: .25rem solid #c01c28; padding: .5rem .75rem; margin: 0 0 1rem; }
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
<label>Code <small>from your authenticator app, if you have one</small>
<input name="totp" maxlength="7" inputmode="numeric" pattern="[0-9 ]*" autocomplete="one-time-code"></label>
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
<form method="post" action="/logout">
<input type="hidden" name="token" value="$token">
<button>Log out</button>
</form>
""")

_METHODS = {"pwd": "password", "otp": "one-time code"}


def login_page(token: str, error: str = "", user: str = "", links: str = "") -> str:
    """The form to log in with; `error` is why the last attempt failed, `user` the name that it was for.

    `links` is HTML: other ways to log in.
    """
    return _page("Log in to the network", error, _LOGIN.substitute(token=escape(token), user=escape(user)) + links)


def session_page(token: str, session: Mapping[str, Any], error: str = "") -> str:
    """Who is logged in here, and until when."""
    ends = str(session["ends"])
    content = _SESSION.substitute(
        token=escape(token),
        name=escape(str(session["name"])),
        segment=escape(str(session["segment"])),
        methods=escape(", ".join(_METHODS.get(method, str(method)) for method in session["methods"])),
        addresses=escape(", ".join(session["addresses"])),
        ends=escape(ends),
        ends_text=escape(ends[:16].replace("T", " ") + " UTC"),
    )
    return _page("You are logged in", error, content)


def error_page(error: str) -> str:
    """Nothing but what went wrong."""
    return _page("The network login", error, '<p><a href="/">Try again</a></p>\n')


def _page(title: str, error: str, content: str) -> str:
    shown = f'<p class="error" role="alert">{escape(error)}</p>\n' if error else ""
    return _PAGE.substitute(title=title, error=shown, content=content)
