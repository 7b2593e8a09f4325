"""TLS between driver, scheduler and workers. Dask runs what it is sent: an open port is a shell for who finds it."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from urllib.parse import urlsplit

from distributed import Client, Security

from hqdata.settings import ConfigError
from pipelines.clusters.choice import ClusterChoice

__all__ = ["is_exposed", "security_of", "warn_if_exposed"]

logger = logging.getLogger(__name__)


def security_of(choice: ClusterChoice) -> Security | None:
    """Return the TLS files of a choice for every role; None where it names none and Dask's own settings hold.

    Raises:
        ConfigError: if certificate and key cannot be read or do not belong together.
    """
    if choice.tls_ca_file is None:
        return None
    certificate = str(choice.tls_cert)
    key = str(choice.tls_key or choice.tls_cert)
    _require_pair(certificate, key)
    return Security(
        require_encryption=True,
        tls_ca_file=str(choice.tls_ca_file),
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def _require_pair(certificate: str, key: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigError(
            f"--tls-cert {certificate} and --tls-key {key} are not a certificate and its key in PEM: {error}"
        ) from error


def warn_if_exposed(client: Client) -> None:
    """Log a warning where other machines reach the scheduler without TLS."""
    address = client.scheduler_info(n_workers=0)["address"]
    if is_exposed(address):
        logger.warning(
            "the scheduler at %s takes commands from whoever reaches it: no TLS; give --tls-ca-file, --tls-cert and"
            " --tls-key (docs/clusters.md), or keep the network closed",
            address,
        )


def is_exposed(address: str) -> bool:
    """Return whether another machine could reach the address unencrypted.

    >>> is_exposed("tcp://10.0.0.1:8786"), is_exposed("tls://10.0.0.1:8786"), is_exposed("tcp://127.0.0.1:8786")
    (True, False, False)
    """
    if address.startswith(("tls://", "wss://", "inproc://")):
        return False
    host = str(urlsplit(address).hostname)
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
