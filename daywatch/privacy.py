"""Puts the parts of privacy together from the settings: the key and the map. Knows no record and no command."""

from typing import TYPE_CHECKING

from stream.errors import UsageError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from windowing.pseudonyms import Pseudonyms
    from windowing.redis_identities import RedisIdentities


def pseudonyms_of(settings: "Settings", partitions: int) -> "Pseudonyms":
    """Pseudonyms under the settings' key, for topics of so many partitions.

    Raises:
        UsageError: there is no key.
    """
    from windowing.pseudonyms import Pseudonyms

    if settings.privacy.key is None:
        raise UsageError("privacy.key: missing; give the key that the pseudonyms were made with, or name its file as privacy.key_file")
    return Pseudonyms(settings.privacy.key.get_secret_value().encode(), partitions, machines=settings.privacy.machines)


def identities_of(settings: "Settings") -> "RedisIdentities":
    """The map from pseudonyms to users: on the store's server, unless it has one of its own."""
    from windowing.redis_identities import RedisIdentities

    chosen, store = settings.privacy, settings.store
    options = store.options() if chosen.map_url is None else {}
    if chosen.map_url is not None and chosen.map_url.startswith("rediss") and store.ssl_ca_location is not None:
        options["ssl_ca_certs"] = store.ssl_ca_location
    if chosen.map_username is not None:
        options["username"] = chosen.map_username
    if chosen.map_password is not None:
        options["password"] = chosen.map_password.get_secret_value()
    named = "store." if chosen.map_url is None else "privacy.map_"
    return RedisIdentities(chosen.map_url or store.url, settings.namespace, named, **options)
