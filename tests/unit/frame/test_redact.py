"""Which texts are secrets, and what is left of them."""

from __future__ import annotations

import pytest

from lora_nb.errors import LoraError, listed
from lora_nb.redact import MARK, has_secret, is_secret_name, redacted, secrets_of

HF = "hf_" + "aB3" * 11 + "x"

SECRETS = [
    HF,
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "sk-ant-api03-abcdefghijklmnop_qrst",
    "github_pat_11ABCDEFG0123456789_abcdefghijk",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "glpat-abcdefghijklmnopqrst",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "xoxb-123456789012-abcdefghijkl",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "see {}.", "'{}'", "a/{}/b", "x={}&y=1", '{{"k": "{}"}}'])
def test_tokens_are_known_by_their_looks(secret: str, around: str) -> None:
    text = around.format(secret)
    assert has_secret(text)
    assert secret not in redacted(text)
    assert redacted(text) == around.format(MARK)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("password: hunter2", f"password: {MARK}"),
        ("PASSWORD=hunter2 and more", f"PASSWORD={MARK} and more"),
        ("{'token': 'abc', 'x': 1}", f"{{'token': '{MARK}', 'x': 1}}"),
        ('"api_key": "a b c"', f'"api_key": "{MARK}"'),
        ("hf_token = abcd", f"hf_token = {MARK}"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", f"AWS_SECRET_ACCESS_KEY={MARK}"),
        ("https://me:pa55@host/x", f"https://{MARK}@host/x"),
    ],
)
def test_what_stands_behind_such_names(text: str, wanted: str) -> None:
    assert redacted(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "eos_token: <|im_end|>",
        "extra_eos_token: '<|xyz|>' is no token of this model.",
        "max_tokens: 100, tokens: 12",
        "step 3 of 5: 12 tokens",
        "pad_token_id: 0",
        "token: null",
        "runs/20260101-120000-demo",
        "https://huggingface.co/me/model",
        "see http://127.0.0.1:8888/lab and me@example.org",
        "hf_dataset: {path: x}",
        "model-00001-of-00002.safetensors",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redacted(text) == text


def test_values_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "just-a-plain-word")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    assert redacted("it is just-a-plain-word, abc") == f"it is {MARK}, abc"
    assert has_secret("just-a-plain-word")


KEY = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4\n\nMIIE+x/y=\n-----END RSA PRIVATE KEY-----"


def test_private_keys_are_taken_out_whole() -> None:
    assert redacted(f"a\n{KEY}\nb") == f"a\n{MARK}\nb"
    assert "PRIVATE" not in redacted("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("secret", SECRETS)
def test_the_lines_of_secrets(secret: str) -> None:
    found = list(secrets_of(f"one\ntwo {secret}\nthree\n\n{secret} {secret}\n"))
    assert [line for line, _ in found] == [2, 5]
    assert all(what.endswith(("token", "key")) and secret not in what for _, what in found)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (KEY, "private key"),
        ("aws_secret_access_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "value of aws_secret_access_key"),
        ('{"api_key": "0123456789abcdef0123"}', "value of api_key"),
        ("https://me:pa55@host/x", "password in an address"),
        ("it is known-value here", "secret of this machine"),
    ],
)
def test_kinds_of_secrets(text: str, what: str) -> None:
    assert list(secrets_of(text, ["known-value"])) == [(1, what)]


@pytest.mark.parametrize(
    "text",
    [
        "The password: hunter2, a token: <|im_end|>",
        '{"token": "tokenizer-of-a-model", "password": 12345}',
        '{"://":1129,"ic":292,"user@":7}',
        "eos_token: abcdefgh12345678",
        "api_key: ${OPENAI_API_KEY}",
    ],
)
def test_texts_about_secrets_hold_none(text: str) -> None:
    assert list(secrets_of(text)) == []


def test_names() -> None:
    for name in ("token", "hf_token", "use_auth_token", "API_KEY", "api-key", "password", "secret"):
        assert is_secret_name(name), name
    for name in ("eos_token", "max_tokens", "tokens", "key", "keys", "extra_eos_token", "seed"):
        assert not is_secret_name(name), name


def test_errors_hold_no_secrets() -> None:
    assert str(LoraError(f"no {HF}")) == f"no {MARK}"
    assert HF not in str(listed([f"a {HF}", f"b {HF}"]))
    assert LoraError(f"no {HF}")._render_traceback_() == [f"LoraError: no {MARK}"]
