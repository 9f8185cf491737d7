"""The options of TLS: used where there is TLS, refused where there is none."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsrooms.errors import ConfigurationError
from wsrooms.transports import TlsOptions, certificate_error
from wsrooms.transports.tls import TLS_NAMES

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An authority, a certificate of it with its key, and the key alone."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    leaf = authority.issue_cert("client@localhost")
    paths = {name: str(folder / name) for name in FILES}
    authority.cert_pem.write_to_path(paths["ssl_ca_certs"])
    leaf.private_key_and_cert_chain_pem.write_to_path(paths["ssl_certfile"])
    leaf.private_key_pem.write_to_path(paths["ssl_keyfile"])
    return paths


@settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    given_files=st.sets(st.sampled_from(FILES)),
    reqs=st.sampled_from(["required", "none"]),
    hostname=st.booleans(),
)
def test_no_choice_of_them_is_lost(
    files: dict[str, str], given_files: set[str], reqs: str, hostname: bool
) -> None:
    chosen: dict[str, Any] = {name: files[name] for name in given_files}
    options = TlsOptions(**chosen, ssl_cert_reqs=reqs, ssl_check_hostname=hostname)  # type: ignore[arg-type]  # drawn from what is allowed
    options.check_tls("tls", "tls")
    if options != TlsOptions():
        with pytest.raises(ConfigurationError, match="needs TLS, and plain:// has none"):
            options.check_tls("plain", "tls")
    context = options.ssl_context()
    verified = reqs == "required"
    assert context.verify_mode == (ssl.CERT_REQUIRED if verified else ssl.CERT_NONE)
    assert context.check_hostname is (verified and hostname)
    assert (len(context.get_ca_certs()) == 1) is ("ssl_ca_certs" in given_files)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_told_by_its_option(name: str, tmp_path: Path) -> None:
    missing: dict[str, Any] = {name: str(tmp_path / "missing.pem")}
    with pytest.raises(ConfigurationError, match=f"'{name}' cannot be read: .*missing"):
        TlsOptions(**missing).check_tls("tls", "tls")


def test_all_options_that_need_tls_are_named() -> None:
    own = set(TlsOptions.names()) - set(TlsOptions.__mro__[1].names())  # type: ignore[attr-defined]  # of BrokerOptions
    assert own == set(TLS_NAMES)


def test_a_context_is_not_given_beside_what_it_says_itself() -> None:
    with pytest.raises(ConfigurationError, match="option 'tls' says all that 'ssl_cert_reqs' does"):
        TlsOptions(ssl_cert_reqs="none").check_context(ssl.create_default_context())
    TlsOptions(ssl_cert_reqs="none").check_context(None)
    TlsOptions().check_context(ssl.create_default_context())


def test_what_is_wrong_with_a_certificate_is_found_behind_other_errors() -> None:
    found = ssl.SSLCertVerificationError()
    found.verify_message = "self-signed certificate"
    cause, context = OSError(), OSError()
    cause.__cause__ = found
    context.__context__ = cause
    assert str(certificate_error(context, "there")) == (
        "the certificate of there is not to be trusted: self-signed certificate"
    )
    assert certificate_error(OSError(), "there") is None
