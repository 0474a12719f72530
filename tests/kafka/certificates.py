"""Certificates for a broker on the loopback, drawn anew for each run."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(name, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _key():
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_certificates(folder):
    """Write ``ca.pem`` and the broker's ``keystore.pem``; return their paths."""
    ca_key, key = _key(), _key()
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca = _certificate(
        "test ca",
        ca_key,
        "test ca",
        ca_key,
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage, True),
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    own = _certificate(
        "broker",
        key,
        "test ca",
        ca_key,
        (x509.SubjectAlternativeName([address]), False),
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    ca_file, keystore = folder / "ca.pem", folder / "keystore.pem"
    ca_file.write_bytes(_pem(ca))
    keystore.write_bytes(secret + _pem(own) + _pem(ca))
    return ca_file, keystore
