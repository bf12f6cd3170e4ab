"""Options of fusing and uploading that need another one, and names that the Hub can have."""

from __future__ import annotations

from typing import Any

import pytest

from lora_nb.config import ConvertConfig, FuseConfig, UploadConfig, as_yaml, load, parse_flags
from lora_nb.config.flags import flags_of
from lora_nb.config.rules_shipping import is_repository
from lora_nb.errors import LoraError


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--gguf-path x.gguf", "--gguf-path: is for a GGUF file, but none is written. Add --expo"),
        ("--gguf-type f16", "--gguf-type: is for a GGUF file, but none is written. Add --export-"),
        ("--data rows --check-rows 0", "--data: names rows to check on, but check_rows is 0."),
        ("--public", "--public: is about an upload, but nothing is uploaded. Add --upload-repo."),
        ("--dry-run", "--dry-run: is about an upload, but nothing is uploaded. Add --upload-repo."),
        ("--update-repo", "--update-repo: is about an upload, but nothing is uploaded."),
        (f"--trust-sha256 x.py:{'0' * 64}", "agrees to code that is not run. Add --trust-remote"),
        ("--hf-path /my/model", "--hf-path: '/my/model' is no name of a repository on the Hub."),
        ("--upload-repo a/b/c", "--upload-repo: 'a/b/c' is no name of a repository on the Hub."),
    ],
)
def test_options_of_fusing_that_do_nothing(words: str, told: str) -> None:
    with pytest.raises(LoraError) as caught:
        load(FuseConfig, flags=parse_flags(words.split(), flags_of(FuseConfig)).values)
    assert told in str(caught.value)


def test_all_of_them_at_once() -> None:
    with pytest.raises(LoraError, match=r"^3 problems:") as caught:
        load(FuseConfig, flags={"gguf_path": "x", "public": True, "hf_path": "-"})
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    "words",
    [
        "--export-gguf --gguf-path x.gguf --gguf-type q8_0",
        "--hf-path owner/base",
        "--upload-repo me/x --public --update-repo --dry-run",
        "--data rows --check-rows 3",
    ],
)
def test_together_they_are_fine(words: str, tmp_path: Any) -> None:
    config = load(FuseConfig, flags=parse_flags(words.split(), flags_of(FuseConfig)).values)
    file = tmp_path / "config.yaml"
    file.write_text(as_yaml(config))
    assert load(FuseConfig, file=file) == config


def test_an_upload_needs_a_repository() -> None:
    with pytest.raises(LoraError, match=r"upload_repo: is not given. Name the repository: --upl"):
        load(UploadConfig, flags={"path": "x"})
    with pytest.raises(LoraError, match=r"public: is about an upload"):
        load(ConvertConfig, flags={"model": "x", "public": True})


def test_names_of_repositories() -> None:
    for name in ("x", "me/x", "Me_1/x-y.z_0", "gpt2", "a" * 96):
        assert is_repository(name), name
    for name in ("", "/", "a/", "/a", "a/b/c", "-a", "a-", ".a", "a..b", "a--b", "a.git", "a b"):
        assert not is_repository(name), name
    for name in ("a\n", "ä", "a" * 97, "https://huggingface.co/a/b", "../a", "a/../b"):
        assert not is_repository(name), name
