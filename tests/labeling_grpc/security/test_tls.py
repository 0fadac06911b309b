from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from labeling import pipeline

from labeling_grpc.client import LabelingClient, UnreachableError
from labeling_grpc.options import Options
from labeling_grpc.security.tls import Certificates
from labeling_grpc.server import serve
from support import wait_until
from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings


def certificate(folder: Path, name: str) -> Certificates:
    """A key and a certificate for this machine that signs itself, and so is its own authority."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    cert.write_bytes(signed.public_bytes(Encoding.PEM))
    return Certificates(cert, key, None)


def trusting(whom: Certificates) -> Certificates:
    return Certificates(None, None, whom.certificate)


def answers(address: str, tls: Certificates) -> bool:
    with LabelingClient(address, "ada", tls=tls, patience=0, timeout=3) as client:
        try:
            return client.stats().pipeline == "pay"
        except UnreachableError:
            return False


def answers_in_time(address: str, tls: Certificates) -> None:
    """On a machine under load a handshake may take longer than one try has."""
    wait_until(lambda: answers(address, tls), "a caller that should be answered is not")


def test_a_changed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    old, new, served = (certificate(tmp_path, name) for name in ("old", "new", "served"))

    def put(which: Certificates) -> None:
        for source, target in ((which.certificate, served.certificate), (which.key, served.key)):
            assert source is not None
            assert target is not None
            target.write_bytes(source.read_bytes())

    put(old)
    settings = Settings(state_dir=tmp_path / "state").at("127.0.0.1:9")
    with serve(pipeline("pay"), settings, options=Options(tls=served)) as server:
        answers_in_time(server.address, trusting(old))
        assert not answers(server.address, trusting(new))
        put(new)
        answers_in_time(server.address, trusting(new))
        assert not answers(server.address, trusting(old))
        assert served.key is not None
        served.key.write_text("half written")
        answers_in_time(server.address, trusting(new))


def test_a_caller_without_a_certificate_is_refused_where_one_is_asked_for(tmp_path: Path) -> None:
    ours, theirs, other = (certificate(tmp_path, name) for name in ("ours", "theirs", "other"))
    tls = Certificates(ours.certificate, ours.key, theirs.certificate)
    settings = Settings(state_dir=tmp_path / "state").at("127.0.0.1:9")
    with serve(pipeline("pay"), settings, options=Options(tls=tls)) as server:
        answers_in_time(server.address, Certificates(theirs.certificate, theirs.key, ours.certificate))
        assert not answers(server.address, trusting(ours))
        assert not answers(server.address, Certificates(other.certificate, other.key, ours.certificate))


def test_wrong_files_are_named(tmp_path: Path) -> None:
    one, two = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    with pytest.raises(ConfigError, match=r"one\.crt"):
        Certificates(one.certificate, two.key, None).of_server()
    with pytest.raises(ConfigError, match="nothing"):
        Certificates(tmp_path / "nothing", one.key, None).of_server()
    with pytest.raises(ConfigError, match="go together"):
        Certificates.from_environment({"TIDEMARK_LABELING_TLS_CERT": "a"})
    with pytest.raises(ConfigError, match="needs a certificate"):
        trusting(one).of_server()
