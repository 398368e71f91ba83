"""Pages about second factors, and the parts of other pages that ask for one. All that is filled in is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

import segno

from zethane.document.duration import duration_text
from zethane.identity.factor import MAX_FACTOR_NAME, RECOVERY_CODES
from zethane.portal.pages import page

SCRIPT = '<script src="/passkeys.js" defer></script>\n'

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Whether passkeys work on the page that is shown; `url` is where they do, empty if that is nowhere."""

    here: bool
    url: str = ""


_PASSKEY = Template("""\
<form method="post" action="$action" data-passkey="$do" data-options="$options" hidden>
<input type="hidden" name="token" value="$token">
<input type="hidden" name="answer">
$fields<button class="$style">$label</button>
<p role="status" class="status"></p>
</form>
""")

_CODE = Template("""\
<form method="post" action="/prove" class="row">
<input type="hidden" name="token" value="$token">
<input type="hidden" name="back" value="$back">
<label for="code">Code <small>from your app, or a recovery code</small></label>
<input id="code" name="code" maxlength="32" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false"
 required>
<button>Prove it</button>
</form>
""")

_BUTTON = Template("""\
<form method="post" action="$action">
<input type="hidden" name="token" value="$token">
$fields<button class="$style">$label</button>
</form>
""")

_PASSWORD = Template("""\
<form method="post" action="/factors/password">
<input type="hidden" name="token" value="$token">
<input type="hidden" name="user" value="$user" autocomplete="username">
<label>Password
<input name="secret" type="password" maxlength="1024" autocomplete="current-password" required></label>
<button>Go on</button>
</form>
""")

_TOTP = Template("""\
<p>Scan this with your authenticator app, or type the secret into it.</p>
<div class="qr" role="img" aria-label="QR code with the secret">$qr</div>
<p class="secret"><code>$secret</code></p>
<p><a href="$uri">Open it in an app on this device</a></p>
<form method="post" action="/factors/totp/confirm">
<input type="hidden" name="token" value="$token">
<label>Code <small>that the app shows now</small>
<input name="code" maxlength="7" inputmode="numeric" pattern="[0-9 ]*" autocomplete="one-time-code" required
 autofocus></label>
<button>Confirm</button>
</form>
<p><a href="/factors">Back, without it</a></p>
""")

_RENAME = Template("""\
<form method="post" action="/factors/rename" class="inline">
<input type="hidden" name="token" value="$token">
<input type="hidden" name="factor" value="$factor">
<label>New name
<input name="name" value="$name" maxlength="$longest" required></label>
<button class="quiet">Rename</button>
</form>
""")


def login_extra(token: str, place: Place) -> str:
    """What the login page has for passkeys."""
    if not place.here:
        return _elsewhere(place) if place.url else ""
    form = _PASSKEY.substitute(
        action="/passkeys/login",
        do="get",
        options="/passkeys/login-options",
        token=escape(token),
        fields="",
        style="quiet",
        label="Log in with a passkey",
    )
    return f'<div class="or">\n{form}</div>\n{SCRIPT}'


def session_extra(token: str, factors: View | None, wanting: Sequence[View], place: Place) -> str:
    """What the page of a session has: what it lacks, and how to prove it. `factors` is None for who has none here."""
    told = "".join(f"<li>{escape(_lack(one))}</li>\n" for one in wanting)
    content = f'<section class="wanting" aria-label="What you lack">\n<ul>\n{told}</ul>\n</section>\n' if told else ""
    if factors is None:
        return content
    if _has_any(factors):
        proving = prove_forms(token, factors, place, "/")
        content += proving if told else f"<details>\n<summary>Prove a second factor</summary>\n{proving}</details>\n"
    elif told:
        content += "<p>You have no second factor yet.</p>\n"
    label = "Your second factors" if _has_any(factors) else "Add a second factor"
    return f'{content}<p><a class="button quiet" href="/factors">{label}</a></p>\n'


_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_LENGTH = re.compile(r"\b([0-9]+)([smhd])\b")
_FACTOR = "a second factor"
_LEVEL = "a proof of assurance level "
_LEVELS = {"2": _FACTOR, "3": "a passkey that stays on one device"}


def _lack(one: View) -> str:
    """`To reach 10.0.0.31 (tcp/445) you need a second factor not older than 15 minutes.`"""
    within = one.get("within")
    fresh = f"{_FACTOR} not older than {duration_text(within)}" if within else _FACTOR
    plain = [fresh if need == _FACTOR else _level(str(need)) for need in one["needs"]]
    needs = [_LENGTH.sub(_length, need) for need in plain]
    return f"To reach {one['destination']} ({one['service']}) you need {_listed(needs)}."


def _level(need: str) -> str:
    """What proves an assurance level (SP 800-63B), in words that people know."""
    return _LEVELS.get(need.removeprefix(_LEVEL), need) if need.startswith(_LEVEL) else need


def _length(found: re.Match[str]) -> str:
    unit = _UNITS[found[2]]
    return f"{found[1]} {unit}{'' if found[1] == '1' else 's'}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(words)) or "more"


def _has_any(factors: View) -> bool:
    return bool(factors["factors"] or factors["in_file"] or factors["recovery_codes"])


def prove_forms(token: str, factors: View, place: Place, back: str) -> str:
    """Forms for a second factor, by what the user has; afterwards the browser goes `back`."""
    content = ""
    if any(one["kind"] == "passkey" for one in factors["factors"]):
        field = f'<input type="hidden" name="back" value="{escape(back)}">\n'
        content += _passkey(token, "/prove", "get", "/passkeys/prove-options", "Use your passkey", place, field)
    if factors["in_file"] or factors["recovery_codes"] or any(one["kind"] == "totp" for one in factors["factors"]):
        content += _CODE.substitute(token=escape(token), back=escape(back))
    return content


def factors_page(token: str, factors: View, place: Place, error: str = "") -> str:
    """All second factors of a user, and how to change them."""
    if factors["needs"] == "factor":
        ask = "<p>To change anything here, prove a second factor that you have.</p>\n"
        content = _list(token, factors, changeable=False) + ask + prove_forms(token, factors, place, "/factors")
    elif factors["needs"] == "password":
        ask = "<p>To add your first second factor, give your password again.</p>\n"
        content = ask + _PASSWORD.substitute(token=escape(token), user=escape(str(factors["user"])))
    else:
        content = _list(token, factors, changeable=True) + _additions(token, factors, place)
    return page("Your second factors", error, content + '<p><a href="/">Back to your session</a></p>\n')


def _list(token: str, factors: View, *, changeable: bool) -> str:
    items = [_item(token, one, changeable) for one in factors["factors"]]
    if factors["in_file"]:
        items.append(_card("Authenticator app", "set up by your administrator"))
    if factors["recovery_codes"]:
        items.append(_card("Recovery codes", f"{factors['recovery_codes']} left"))
    if not items:
        return "<p>You have none yet.</p>\n"
    return f'<ul class="cards">\n{"".join(items)}</ul>\n'


def _item(token: str, one: View, changeable: bool) -> str:
    if one["kind"] == "passkey":
        title, facts = str(one["name"]), ["passkey", "synced" if one["synced"] else "on one device"]
        if not one["alone"]:
            facts.append("with a password only")
        facts.append(f"used {_day(one['used'])}" if one["used"] else "not used yet")
    else:
        title, facts = "Authenticator app", [f"since {_day(one['created'])}"]
    forms = ""
    if changeable:
        field = f'<input type="hidden" name="factor" value="{escape(str(one["factor"]))}">\n'
        named = f"passkey “{title}”" if one["kind"] == "passkey" else "the authenticator app"
        remove = _button(token, "/factors/remove", f"Remove {named}", field, "danger")
        rename = ""
        if one["kind"] == "passkey":
            names = {"factor": escape(str(one["factor"])), "name": escape(title), "longest": MAX_FACTOR_NAME}
            rename = _RENAME.substitute(token=escape(token), **names)
        forms = f"<details>\n<summary>Change</summary>\n{rename}{remove}</details>\n"
    return _card(title, " · ".join(facts), forms)


def _card(title: str, text: str, more: str = "") -> str:
    return f"<li><strong>{escape(title)}</strong><br><small>{escape(text)}</small>\n{more}</li>\n"


def _additions(token: str, factors: View, place: Place) -> str:
    name = (
        f'<label>Name <small>to tell it from others</small>\n<input name="name" value="Passkey" '
        f'maxlength="{MAX_FACTOR_NAME}" required></label>\n'
    )
    replaced = any(one["kind"] == "totp" for one in factors["factors"])
    app = "Replace the authenticator app" if replaced else "Add an authenticator app"
    codes = "New recovery codes" if factors["recovery_codes"] else "Get recovery codes"
    note = "The old ones stop working. " if factors["recovery_codes"] else ""
    return (
        "<h2>Passkey</h2>\n"
        + _passkey(token, "/factors/passkey", "create", "/passkeys/enrol-options", "Add a passkey", place, name)
        + "<h2>Authenticator app</h2>\n"
        + _button(token, "/factors/totp", app)
        + "<h2>Recovery codes</h2>\n"
        + f"<p>{RECOVERY_CODES} codes for the day when you have nothing else at hand; each works once. {note}</p>\n"
        + _button(token, "/factors/recovery", codes)
    )


def _passkey(token: str, action: str, do: str, options: str, label: str, place: Place, fields: str) -> str:
    """A form for a passkey, or why there can be none here."""
    if not place.here:
        return _elsewhere(place)
    form = _PASSKEY.substitute(
        action=action, do=do, options=options, token=escape(token), fields=fields, style="", label=escape(label)
    )
    unable = '<p class="note" hidden data-without-passkeys>This browser cannot use passkeys here.</p>\n'
    none = '<noscript><p class="note">Passkeys need JavaScript.</p></noscript>\n'
    return form + unable + none + SCRIPT


def _elsewhere(place: Place) -> str:
    if place.url:
        link = f'<a href="{escape(place.url)}">{escape(place.url.removesuffix("/"))}</a>'
        return f'<p class="note">Passkeys work at {link} only.</p>\n'
    return '<p class="note">Passkeys do not work here: the portal has no name, or no HTTPS.</p>\n'


def _button(token: str, action: str, label: str, fields: str = "", style: str = "quiet") -> str:
    return _BUTTON.substitute(action=action, token=escape(token), fields=fields, style=style, label=escape(label))


def totp_page(token: str, secret: str, uri: str, error: str = "") -> str:
    """A new secret, as a QR code and as text, and the form for its first code."""
    drawing = segno.make(uri, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff")
    grouped = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    content = _TOTP.substitute(token=escape(token), qr=drawing, secret=escape(grouped), uri=escape(uri))
    return page("Add an authenticator app", error, content)


def recovery_page(codes: Iterable[str]) -> str:
    """New recovery codes: the only time that anybody sees them."""
    listed = "".join(f"<li><code>{escape(code)}</code></li>\n" for code in codes)
    told = "<p>Write these down, or print them. Each works once in the place of a code. They are not shown again.</p>\n"
    done = '<p><a class="button" href="/factors">I have them</a></p>\n'
    return page("Your recovery codes", "", f'{told}<ul class="codes">\n{listed}</ul>\n{done}')


def _day(moment: Any) -> str:
    return str(moment)[:10]
