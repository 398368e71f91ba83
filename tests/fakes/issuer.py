"""An issuer of signed tokens: it has keys of its own, publishes them on loopback, and signs whatever is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.registry import HeaderParameter

PrivateKey = RSAKey | ECKey | OKPKey


class _Registry(jws.JWSRegistry):
    """Signs by every algorithm, good or not."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


SIGNING = _Registry({"b64": HeaderParameter("b64", "bool")}, strict_check_header=False)


class Issuer:
    """Signs with `key`; `published` is what its JWK Set says, `asked` counts how often that was read."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key: PrivateKey = ECKey.generate_key("P-256", {"kid": "key-1"})
        self.asked = 0
        self.status = 200
        self.documents: dict[str, Any] = {}
        self.publish(self.key)

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/jwks.json"

    def publish(self, *keys: PrivateKey) -> None:
        self.documents["/jwks.json"] = {"keys": [key.as_dict(private=False) for key in keys]}

    def rotate(self, kid: str, *, publish: bool = True) -> None:
        """Sign with a new key from now on."""
        self.key = ECKey.generate_key("P-256", {"kid": kid})
        if publish:
            self.publish(self.key)

    def sign(self, claims: Mapping[str, Any] | bytes, typ: str = "JWT", **header: Any) -> str:
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        protected = {"alg": "ES256", "typ": typ, "kid": self.key.kid} | header
        used = {name: value for name, value in protected.items() if value is not None}
        return jws.serialize_compact(used, payload, self.key, registry=SIGNING)

    def set(self, event: str, content: Mapping[str, Any], **claims: Any) -> str:
        """A Security Event Token with one event; claims that are None are left out."""
        now = int(time.time())
        body = {
            "iss": self.url,
            "aud": "https://zethane.example",
            "iat": now,
            "jti": f"jti-{time.time_ns()}",
            "events": {event: dict(content)},
        }
        typ = claims.pop("typ", "secevent+jwt")
        body = {name: value for name, value in (body | claims).items() if value is not None}
        return self.sign(body, typ=typ)


@contextmanager
def issuer() -> Iterator[Issuer]:
    """An issuer that answers on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked += 1
            document = made.documents.get(self.path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(made.status if document is not None else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what they expect."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Issuer(server.server_address[1])
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
