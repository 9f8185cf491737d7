"""Certificates of an authority that exists for one broker."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme  # with what it loads itself half a second on a busy machine: not in a test's loop

if TYPE_CHECKING:
    from pathlib import Path


class Certificates:
    """PEM files in a folder: the authority's, the broker's, and one for a client."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        broker = authority.issue_cert("127.0.0.1", "localhost")
        self.server_certificate, self.server_key = _write(broker, folder, "server")
        client = authority.issue_cert("client@localhost")
        self.client_certificate, self.client_key = _write(client, folder, "client")

    def context(self) -> ssl.SSLContext:
        """What a client needs that trusts the authority, and shows a certificate if asked."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client_certificate, self.client_key)
        return context


def _write(certificate: trustme.LeafCert, folder: Path, name: str) -> tuple[Path, Path]:
    public, private = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.private_key_pem.write_to_path(private)
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(public, append=number > 0)
    return public, private
