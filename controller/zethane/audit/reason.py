"""Why something was refused or ended: the closed lists of reasons that the decision log uses.

docs/reasons.md says the same for people; a test holds the two against each other.
"""

from __future__ import annotations

from enum import Enum


class DenyReason(str, Enum):
    """One reason. The value is the word in the log."""

    # who and where
    UNAUTHENTICATED = "unauthenticated"
    UNKNOWN_DESTINATION = "unknown-destination"
    SESSION_ENDED = "session-ended"
    ADDRESS_NOT_BOUND = "address-not-bound"
    ADDRESS_IN_USE = "address-in-use"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    MAC_LIMIT = "mac-limit"
    VLAN_NOT_ALLOWED = "vlan-not-allowed"
    EXTERNAL_SPOOF = "external-spoof"
    # policy
    NO_RULE = "no-rule"
    DENY_RULE = "deny-rule"
    CONDITION_NOT_MET = "condition-not-met"
    NO_LONGER_ALLOWED = "no-longer-allowed"
    # flows
    NO_FLOW = "no-flow"
    UNRELATED_ERROR = "unrelated-error"
    SWITCH_AWAY = "switch-away"
    WRONG_SWITCH = "wrong-switch"
    # frames
    MALFORMED = "malformed"
    FRAGMENT = "fragment"
    IP_OPTIONS = "ip-options"
    EXTENSION_HEADER = "extension-header"
    MULTICAST = "multicast"
    # neighbours and routers
    NEIGHBOUR_SPOOF = "neighbour-spoof"
    ROUTER_SPOOF = "router-spoof"
    # DHCP
    ROGUE_SERVER = "rogue-server"
    DHCP_SPOOF = "dhcp-spoof"
    # IEEE 802.1X
    EAPOL_INVALID = "eapol-invalid"
    EAPOL_SPOOF = "eapol-spoof"
    # fabric
    LLDP_ON_EDGE = "lldp-on-edge"
    LLDP_FORGED = "lldp-forged"
    LLDP_UNEXPECTED = "lldp-unexpected"
    # bounds
    QUOTA = "quota"
    TABLE_FULL = "table-full"
    QUEUE_FULL = "queue-full"


class SessionEvent(str, Enum):
    """What happened to a session."""

    STARTED = "started"
    REAUTHENTICATED = "reauthenticated"
    ADDRESS_CLAIMED = "address-claimed"
    ADDRESS_BOUND = "address-bound"
    ADDRESS_RELEASED = "address-released"
    JOINED = "joined"
    LEFT = "left"
    CHANGED = "changed"
    # ends
    LOGOUT = "logout"
    EXPIRED = "expired"
    REVOKED = "revoked"
    MOVED = "moved"
    REPLACED = "replaced"
    PORT_DOWN = "port-down"
    LEASE_ENDED = "lease-ended"
    NO_SEGMENT = "no-segment"
    NO_PORT = "no-port"
    CONFLICT = "conflict"
    MAC_LIMIT = "mac-limit"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    VLAN_NOT_ALLOWED = "vlan-not-allowed"
    IDLE = "idle"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    DISCONNECTED = "disconnected"
    SIGNALLED = "signalled"
    CREDENTIAL_REVOKED = "credential-revoked"
    NOT_RENEWED = "not-renewed"
    DETACHED = "detached"
    # none began
    LOGIN_REFUSED = "login-refused"


class LoginRefusal(str, Enum):
    """Why a login was refused. The client learns none of the first six."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    WRONG_SECRET = "wrong-secret"  # noqa: S105  # a word of the log
    WRONG_CODE = "wrong-code"
    CODE_USED = "code-used"
    CHANGED = "changed"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    NOT_ANSWERED = "not-answered"
    INVALID_ANSWER = "invalid-answer"
    INVALID_TOKEN = "invalid-token"  # noqa: S105
    INVALID_CERTIFICATE = "invalid-certificate"
    WRONG_PASSKEY = "wrong-passkey"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    TOO_MANY_ATTEMPTS_PORT = "too-many-attempts-port"
    TOO_MANY_ATTEMPTS_ATTACHMENT = "too-many-attempts-attachment"
    TOO_MANY_ATTEMPTS_PORT_ACCOUNT = "too-many-attempts-port-account"
    TOO_MANY_ATTEMPTS_ACCOUNT = "too-many-attempts-account"
    BUSY = "busy"
    ADDRESS_IN_USE = "address-in-use"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    MAC_LIMIT = "mac-limit"
    VLAN_NOT_ALLOWED = "vlan-not-allowed"
    NO_SESSION = "no-session"
    CAPACITY = "capacity"


class FactorEvent(str, Enum):
    """What happened to somebody's second factors."""

    ADDED = "added"
    RENAMED = "renamed"
    REMOVED = "removed"
    USED = "used"
    RESET = "reset"
