from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given
from hypothesis import strategies as st

from tidemark.webhooks.signing import keys_of, new_secret, signed_headers


def test_the_signature_is_that_of_the_specifications_example() -> None:
    keys = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330.9, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(min_size=24, max_size=64), st.text("abc123_", min_size=1), st.integers(0, 2**40), st.binary())
def test_other_code_finds_every_signature_right(key: bytes, identity: str, at: int, body: bytes) -> None:
    headers = signed_headers([key], identity, float(at), body)
    signer = hmac.HMAC(key, hashes.SHA256())
    signer.update(f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body)
    version, signature = headers["webhook-signature"].split(",")
    assert version == "v1"
    signer.verify(base64.b64decode(signature))


def test_two_secrets_sign_both_while_one_takes_the_others_place() -> None:
    old, new = new_secret(), new_secret()
    together = signed_headers(keys_of(f"{new}\n{old}\n"), "id", 1.0, b"{}")["webhook-signature"]
    assert together.split(" ") == [
        signed_headers(keys_of(each), "id", 1.0, b"{}")["webhook-signature"] for each in (new, old)
    ]


def test_a_new_secret_is_another_one_each_time_and_is_taken() -> None:
    made = {new_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(len(keys_of(each)[0]) == 32 for each in made)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds 0 secrets"),
        ("hunter2", "begins with whsec_"),
        ("whsec_hunter2!", "no Base64"),
        ("whsec_aHVudGVyMg==", "has 7 bytes; a secret has 24 to 64"),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "has 65 bytes"),
        (" ".join(["whsec_" + "A" * 32] * 6), "holds 6 secrets"),
    ],
)
def test_what_is_no_secret_is_refused_without_telling_it(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        keys_of(text)
    assert "hunter2" not in str(raised.value)
    assert "aHVudGVyMg" not in str(raised.value)
