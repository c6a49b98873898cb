from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.errors import ConfigError, InvalidInput, InviteError
from tarsd.identity import Identity, create_invite, invites, pending
from tarsd.identity import authority as ca
from tarsd.identity.enrol import JoinRequest, admit
from tarsd.identity.token import PREFIX, Token, decode_token
from tarsd.names import Zone

NOW = 1_800_000_000.0

tokens = st.builds(
    Token,
    pin=st.binary(min_size=16, max_size=16),
    secret=st.binary(min_size=16, max_size=16),
    zone=st.sampled_from(Zone),
    expires=st.integers(0, 2**40),
    hints=st.lists(st.text(max_size=40), max_size=8),
)


@given(tokens)
def test_a_token_survives_its_way_through_text(token: Token) -> None:
    text = token.encode()
    assert decode_token(text) == token
    assert decode_token(f"  {text[:20].upper()}\n {text[20:]} ") == token


@given(tokens, st.integers(min_value=len(PREFIX)), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_mistyped_token_is_told_apart(token: Token, place: int, letter: str) -> None:
    text = token.encode()
    place = len(PREFIX) + place % (len(text) - len(PREFIX) - 1)  # the last letter has spare bits
    wrong = text[:place] + letter + text[place + 1 :]
    if wrong != text:
        with pytest.raises(InviteError, match="mistyped"):
            decode_token(wrong)


@given(st.text() | st.text().map(lambda text: PREFIX + text))
def test_any_other_text_is_refused_clearly(text: str) -> None:
    with pytest.raises(InviteError, match=r"not a join token|mistyped|another version"):
        decode_token(text)


def test_the_secret_is_not_kept(pc1: Identity) -> None:
    token = decode_token(create_invite(pc1.data_dir))
    kept = [path.name.encode() + path.read_bytes() for path in (pc1.folder / "invites").iterdir()]
    assert len(kept) == 1
    assert token.secret not in kept[0]
    assert token.secret.hex().encode() not in kept[0]


def test_the_token_pins_the_root(pc1: Identity) -> None:
    token = decode_token(create_invite(pc1.data_dir))
    assert ca.fingerprint((pc1.folder / "root.crt").read_bytes()).startswith(token.pin)


def test_an_invitation_is_good_for_one_use(pc1: Identity) -> None:
    token = decode_token(create_invite(pc1.data_dir, Zone.LAB, now=NOW))
    assert invites.use(pc1.data_dir, token.secret, now=NOW + 1).zone is Zone.LAB
    with pytest.raises(InviteError, match="used already"):
        invites.use(pc1.data_dir, token.secret, now=NOW + 2)


def test_an_expired_invitation_is_refused_as_such(pc1: Identity) -> None:
    token = decode_token(create_invite(pc1.data_dir, expires_s=60, now=NOW))
    with pytest.raises(InviteError, match="expired"):
        invites.use(pc1.data_dir, token.secret, now=NOW + 60)


def test_an_unknown_secret_is_refused_as_such(pc1: Identity) -> None:
    with pytest.raises(InviteError, match="not known here"):
        invites.use(pc1.data_dir, bytes(16), now=NOW)


def test_pending_counts_what_can_still_be_used(pc1: Identity) -> None:
    used = decode_token(create_invite(pc1.data_dir, expires_s=50, now=NOW))
    create_invite(pc1.data_dir, expires_s=200, now=NOW)
    create_invite(pc1.data_dir, expires_s=100, now=NOW)
    invites.use(pc1.data_dir, used.secret, now=NOW)
    assert [invite.expires - NOW for invite in pending(pc1.data_dir, now=NOW)] == [100, 200]
    assert [invite.expires - NOW for invite in pending(pc1.data_dir, now=NOW + 150)] == [200]


def test_old_invitations_are_removed_after_a_day(pc1: Identity) -> None:
    create_invite(pc1.data_dir, expires_s=60, now=NOW)
    pending(pc1.data_dir, now=NOW + 3600)
    assert len(list((pc1.folder / "invites").iterdir())) == 1
    pending(pc1.data_dir, now=NOW + 61 + 24 * 3600)
    assert not list((pc1.folder / "invites").iterdir())


def test_an_invitation_in_the_making_is_left_alone_and_its_leftovers_are_not(pc1: Identity) -> None:
    create_invite(pc1.data_dir)
    half = pc1.folder / "invites" / ".x.open.tmp"
    half.write_bytes(b"{")
    pending(pc1.data_dir)
    assert half.exists()
    pending(pc1.data_dir, now=half.stat().st_mtime + 25 * 3600)
    assert not half.exists()


@pytest.mark.parametrize("expires_s", [0, -1, float("nan"), 8 * 24 * 3600])
def test_an_expiry_out_of_bounds_is_refused(pc1: Identity, expires_s: float) -> None:
    with pytest.raises(InvalidInput, match="expires"):
        create_invite(pc1.data_dir, expires_s=expires_s)


def test_open_invitations_are_bounded(pc1: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invites, "MAX_OPEN", 2)
    create_invite(pc1.data_dir)
    create_invite(pc1.data_dir)
    with pytest.raises(InviteError, match="2 invitations are open"):
        create_invite(pc1.data_dir)


def test_a_lab_node_cannot_invite(add_node) -> None:
    with pytest.raises(InviteError, match="only core nodes"):
        create_invite(add_node("lab1", Zone.LAB).data_dir)


def test_a_core_node_that_joined_can_invite(add_node) -> None:
    pc2 = add_node("pc2")
    assert add_node("pc3", inviter=pc2).cluster == pc2.cluster


def test_a_lab_node_gets_no_authority_keys(add_node) -> None:
    lab = add_node("lab1", Zone.LAB)
    assert sorted(path.name for path in lab.folder.iterdir()) == ["node.crt", "node.json", "node.key", "root.crt"]


def test_nobody_gets_the_root_key(add_node) -> None:
    assert not (add_node("pc2").folder / "root.key").exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "No Name"}, ConfigError),
        ({"request": b"rubbish"}, InvalidInput),
        ({"secret": b"short"}, InvalidInput),
    ],
)
def test_a_wrong_request_does_not_use_the_invitation_up(
    pc1: Identity, change: dict[str, object], error: type[Exception]
) -> None:
    token = decode_token(create_invite(pc1.data_dir))
    good = JoinRequest(token.secret, "pc2", ca.make_request(ca.new_key()))
    with pytest.raises(error):
        admit(pc1.data_dir, msgspec.structs.replace(good, **change))
    assert admit(pc1.data_dir, good).zone is Zone.CORE


def test_a_request_signed_by_another_key_is_refused() -> None:
    request = ca.make_request(ca.new_key())
    lines = request.splitlines()
    lines[-2] = lines[-2][:-8] + b"AAAAAAA="
    with pytest.raises(InvalidInput):
        ca.requested_key(b"\n".join(lines))
