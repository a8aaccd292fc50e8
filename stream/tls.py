"""What a port speaks: a TLS handshake, to tell why a connection fails where a client library does not say.

Nothing but the handshake is sent. Knows nothing of what lies behind the port.
"""

import socket
import ssl
from enum import Enum

_PATIENCE_S = 3.0

# OpenSSL's X509_V_ERR_…: not yet valid, expired; another host name, another address
_EXPIRED, _OTHER_NAME = (9, 10), (62, 64)


class Spoken(Enum):
    """What a port speaks, and whether the certificate there is believed."""

    NOTHING = "nobody is there"
    NO_TLS = "no TLS"
    TLS = "TLS"
    OTHER_NAME = "TLS, with a certificate for another name"
    EXPIRED = "TLS, with a certificate that is not valid now"
    UNKNOWN_AUTHORITY = "TLS, with a certificate of an unknown authority"


def spoken_at(host: str, port: int, authority: str | None = None, *, verify: bool = True) -> Spoken:
    """Try a handshake. `authority` is the PEM file of certificates to believe (None: the system's); `verify`: look at the certificate.

    Raises:
        ssl.SSLError: the authority's file cannot be used.
        OSError: it cannot be read.
    """
    context = ssl.create_default_context(cafile=authority if verify else None)
    if not verify:
        # only whether TLS is spoken is asked
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        connection = socket.create_connection((host, port), timeout=_PATIENCE_S)
    except OSError:
        return Spoken.NOTHING
    with connection:
        try:
            with context.wrap_socket(connection, server_hostname=host):
                return Spoken.TLS
        except ssl.SSLCertVerificationError as error:
            return _fault(error.verify_code)
        except ssl.SSLError as error:
            # a server that ends a handshake with an alert speaks TLS
            return Spoken.TLS if "ALERT" in (error.reason or "") else Spoken.NO_TLS
        except OSError:
            return Spoken.NO_TLS


def _fault(code: int) -> Spoken:
    if code in _OTHER_NAME:
        return Spoken.OTHER_NAME
    return Spoken.EXPIRED if code in _EXPIRED else Spoken.UNKNOWN_AUTHORITY


def not_believed(spoken: Spoken, whose: str, address: str, authority: str) -> str:
    """What is wrong with a server's certificate, and the cure; `address` and `authority` name the settings.

    >>> not_believed(Spoken.EXPIRED, "the broker at k:1", "", "")
    'the certificate of the broker at k:1 has expired or is not valid yet; renew it, and see that both clocks are right'
    """
    match spoken:
        case Spoken.OTHER_NAME:
            cure = "use a name that it bears, or have this one added to it"
            return f"{address}: the certificate of {whose} is for another name; {cure}"
        case Spoken.EXPIRED:
            return f"the certificate of {whose} has expired or is not valid yet; renew it, and see that both clocks are right"
        case _:
            where = "is not in there (without the setting: in the system's list)"
            return f"{authority}: the authority that signed the certificate of {whose} {where}; name its PEM file"
