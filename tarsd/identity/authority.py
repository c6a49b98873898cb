"""The cluster's certificates: root -> core and lab authorities -> nodes. Pure: bytes and `now` in, bytes out.

Rules
1. All keys are Ed25519; a node's id is the hash of its public key, so nobody can choose another's.
2. A zone's authority may sign nodes only (path length 0).
3. What goes into a certificate comes from the authority: of a request only its public key is taken, after the
   request's own signature has proved that the requester holds the private one.
4. Certificates begin an hour early: that much may a household's clocks differ.

The only file that imports `cryptography.x509` (30 ms): import it where certificates are made, not where they are used.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tarsd.errors import ConfigError, InvalidInput, NotAllowed
from tarsd.identity.folder import Signed
from tarsd.identity.peer import authority_name, authority_named, server_name_of, uri_of
from tarsd.names import NodeId, NodeName, Zone

DAY_S = 24 * 3600.0
# A stolen node key is worth this long at most; a node off for longer must be renewed by a core node.
NODE_DAYS = 30
AUTHORITY_DAYS = 10 * 365
ROOT_DAYS = 20 * 365
EARLY = timedelta(hours=1)

# What cryptography raises for bytes that are nearly a certificate.
_BROKEN = (
    ValueError,
    TypeError,
    IndexError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Authority(NamedTuple):
    """A zone's authority, as its certificate tells it: `generation` counts from 1; `public_key` is 32 raw bytes."""

    zone: Zone
    generation: int
    public_key: bytes
    der: bytes


class NodeCertificate(NamedTuple):
    """A node's certificate (PEM, followed by its authority's) and what it says."""

    chain: bytes
    node_id: NodeId
    not_after: float


def new_key() -> bytes:
    """Return a new private key, PEM."""
    return _pem(Ed25519PrivateKey.generate())


def fingerprint(certificate: bytes) -> bytes:
    """Return the SHA-256 of a PEM certificate; raises `InvalidInput` when it is none."""
    try:
        return hashlib.sha256(x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)).digest()
    except ValueError as error:
        raise InvalidInput("not a certificate") from error


def cluster_of(root: bytes) -> str:
    """Return the short id of the cluster whose root certificate this is."""
    return fingerprint(root).hex()[:16]


def make_root(cluster_name: str, now: float) -> Signed:
    """Return a new cluster's root."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_name),
            x509.NameAttribute(NameOID.COMMON_NAME, "tarsd root"),
        ]
    )
    builder = _begin(name, name, key.public_key(), now, ROOT_DAYS)
    builder = _as_authority(builder, key.public_key(), path_length=1)
    return _sign(builder, key)


def make_authority(root: Signed, zone: Zone, now: float, generation: int = 1) -> Signed:
    """Return a zone's authority, signed by the root; each `generation` replaces the one before."""
    root_certificate = x509.load_pem_x509_certificate(root.certificate)
    root_key = _private(root.key)
    key = Ed25519PrivateKey.generate()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_of(root.certificate)),
            x509.NameAttribute(NameOID.COMMON_NAME, authority_name(zone, generation)),
        ]
    )
    builder = _begin(name, root_certificate.subject, key.public_key(), now, AUTHORITY_DAYS)
    builder = _as_authority(builder, key.public_key(), path_length=0)
    builder = builder.add_extension(_issued_by(root_key.public_key()), critical=False)
    return Signed(_sign(builder, root_key).certificate, _pem(key))


def issue(authority: Signed, public_key: bytes, *, name: NodeName, zone: Zone, now: float) -> NodeCertificate:
    """Return a certificate for a node: `public_key` is 32 raw bytes, as `requested_key` gives them."""
    signer = x509.load_pem_x509_certificate(authority.certificate)
    signer_key = _private(authority.key)
    key = Ed25519PublicKey.from_public_bytes(public_key)
    cluster = str(signer.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)
    node_id = node_id_of(public_key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.DNSName(server_name_of(node_id)), x509.UniformResourceIdentifier(uri_of(cluster, zone, node_id))]
    builder = _begin(subject, signer.subject, key, now, NODE_DAYS)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issued_by(signer_key.public_key()), critical=False)
        .sign(signer_key, None)
    )
    chain = certificate.public_bytes(Encoding.PEM) + authority.certificate
    return NodeCertificate(chain, node_id, certificate.not_valid_after_utc.timestamp())


def read_authority_certificate(certificate: bytes, root: bytes) -> Authority:
    """Return which authority a certificate (PEM or DER) is for; raises `NotAllowed` where `root` did not sign it."""
    try:
        parsed = _load(certificate)
        above = x509.load_pem_x509_certificate(root)
        parsed.verify_directly_issued_by(above)
        key = parsed.public_key()
        constraints = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value
        organization = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        name = str(parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except _BROKEN as error:
        raise NotAllowed("not an authority of this cluster") from error
    if not isinstance(key, Ed25519PublicKey) or not constraints.ca or organization != cluster_of(root):
        raise NotAllowed("not an authority of this cluster")
    zone, generation = authority_named(name)
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Authority(zone, generation, raw, parsed.public_bytes(Encoding.DER))


def sign(key: bytes, statement: bytes) -> bytes:
    """Return the signature (64 bytes) of a private key (PEM) under `statement`."""
    return _private(key).sign(statement)


def is_signed(public_key: bytes, statement: bytes, proof: bytes) -> bool:
    """Whether `proof` is the signature of the owner of this raw public key under `statement`."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(proof, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def node_id_of(public_key: bytes) -> NodeId:
    """Return the id of the node with this raw public key: the first 16 bytes of SHA-256 over its SPKI form."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return NodeId(hashlib.sha256(spki).hexdigest()[:32])


def public_of(key: bytes) -> bytes:
    """Return the raw public key of a private one (PEM)."""
    return _private(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def make_request(key: bytes) -> bytes:
    """Return a certificate signing request (PEM) that proves possession of `key`."""
    return x509.CertificateSigningRequestBuilder(x509.Name([])).sign(_private(key), None).public_bytes(Encoding.PEM)


def requested_key(request: bytes) -> bytes:
    """Return the raw public key that a signing request proves; raises `InvalidInput`."""
    try:
        parsed = x509.load_pem_x509_csr(request)
        valid = parsed.is_signature_valid
        key = parsed.public_key()
    except (ValueError, InvalidSignature) as error:
        raise InvalidInput("not a certificate signing request") from error
    if not valid or not isinstance(key, Ed25519PublicKey):
        raise InvalidInput("the certificate signing request is not validly signed by an Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def subject_of(certificate: bytes) -> tuple[NodeId, float]:
    """Return whose key a node's certificate (PEM) is for, and when it ends; raises `InvalidInput`."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
        key = parsed.public_key()
    except ValueError as error:
        raise InvalidInput("not a certificate") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput("not a node's certificate")
    return node_id_of(key.public_bytes(Encoding.Raw, PublicFormat.Raw)), parsed.not_valid_after_utc.timestamp()


def issuer_of(certificate: bytes) -> int:
    """Return the generation of the authority that signed a node's certificate (PEM); raises `InvalidInput`."""
    try:
        issuer = x509.load_pem_x509_certificate(certificate).issuer
        name = str(issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        return authority_named(name)[1]
    except (ValueError, IndexError, NotAllowed) as error:
        raise InvalidInput("not a node's certificate") from error


def _load(certificate: bytes) -> x509.Certificate:
    if certificate.startswith(b"-----"):
        return x509.load_pem_x509_certificate(certificate)
    return x509.load_der_x509_certificate(certificate)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - EARLY)
        .not_valid_after(start + timedelta(days=days))
    )


def _as_authority(
    builder: x509.CertificateBuilder, key: Ed25519PublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issued_by(key: Ed25519PublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _sign(builder: x509.CertificateBuilder, key: Ed25519PrivateKey) -> Signed:
    return Signed(builder.sign(key, None).public_bytes(Encoding.PEM), _pem(key))


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError("a private key in the identity folder is broken") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("a private key in the identity folder is not Ed25519")
    return key
