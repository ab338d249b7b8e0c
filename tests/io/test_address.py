"""Addresses: what is one, what is said of it, and which names in stores are no file's here."""

from __future__ import annotations

from pathlib import Path

import pytest

from translate.io import address as module
from translate.io.address import Facts, StorageError, address_of, in_words, open_address, unsafe


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/a.png", "s3://bucket/a.png"),
        ("zip://*.png::s3://bucket/a.zip", "zip://*.png::s3://bucket/a.zip"),
        ("zip::s3://bucket/a.zip", "zip::s3://bucket/a.zip"),
        (Path("s3://bucket/a.png"), "s3://bucket/a.png"),
        ("C://pictures", None),
        ("C:\\pictures", None),
        ("/pictures/a.png", None),
        ("a::b.png", None),
        ("s3:/bucket", None),
        (Path("a:b/c.png"), None),
    ],
)
def test_what_is_an_address(given: str | Path, address: str | None) -> None:
    assert address_of(given) == address


def test_users_passwords_and_queries_are_left_out_of_what_is_said() -> None:
    text = "cannot open https://me:secret@host/a.png?token=abc&x=1 'https://host/b?k=v' s3://b/c"
    said = module.without_secrets(text)
    assert said == "cannot open https://host/a.png 'https://host/b' s3://b/c"


@pytest.mark.parametrize(
    ("address", "folder", "pattern"),
    [
        ("s3://bucket/photos/**/*.png", "s3://bucket/photos", "**/*.png"),
        ("zip://*.png::s3://bucket/a.zip", "zip://::s3://bucket/a.zip", "*.png"),
        ("zip://a/b*/c.png::/x/a.zip", "zip://a::/x/a.zip", "b*/c.png"),
    ],
)
def test_patterns_are_split_before_their_wildcards(address: str, folder: str, pattern: str) -> None:
    assert module.is_pattern(address)
    assert module.split_pattern(address) == (folder, pattern)


def test_a_query_is_no_pattern_and_stays_with_the_name() -> None:
    address = "https://host/a/b.png?path=/x/*.png"
    assert not module.is_pattern(address)
    assert module.split_name(address) == ("https://host/a", "b.png?path=/x/*.png")


@pytest.mark.parametrize(
    ("folder", "joined"),
    [
        ("s3://bucket", "s3://bucket/a.png"),
        ("s3://bucket/b/", "s3://bucket/b/a.png"),
        ("memory://", "memory://a.png"),
        ("zip://::s3://bucket/a.zip", "zip://a.png::s3://bucket/a.zip"),
    ],
)
def test_names_are_joined_to_folders(folder: str, joined: str) -> None:
    assert module.join(folder, "a.png") == joined


@pytest.mark.parametrize(
    "path", ["../a.png", "a/../../b.png", "/etc/a.png", "a//b.png", "./a", "a\\b.png", "a\nb", "\0"]
)
def test_names_that_are_no_files_here_are_found(path: str) -> None:
    assert unsafe(path)


@pytest.mark.parametrize("path", ["a.png", "ünï 図/b c.png", "..a/b..png", "a" * 1000])
def test_other_names_are_let_through(path: str) -> None:
    assert unsafe(path) is None


class NoCredentialsError(Exception):
    pass


class EndpointConnectionError(Exception):
    pass


class AnswerError(Exception):
    status = 403


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError("x"), "no such file, folder or bucket"),
        (PermissionError("x"), "access denied; check the credentials"),
        (NoCredentialsError("x"), "no credentials, or expired ones"),
        (EndpointConnectionError("x"), "does not answer; check the network and the endpoint"),
        (caused(FileNotFoundError("x"), EndpointConnectionError("y")), "does not answer"),
        (caused(FileNotFoundError("x"), AnswerError("y")), "access denied"),
        (RuntimeError("at https://me:pw@h/a?t=1\n failed"), "at https://h/a failed"),
        (KeyError(), "KeyError"),
    ],
)
def test_what_goes_wrong_is_one_line_with_the_address(error: Exception, said: str) -> None:
    with pytest.raises(StorageError) as caught, in_words("s3://me:pw@bucket/a?t=1"):
        raise error
    assert str(caught.value).startswith(f"s3://bucket/a: {said}")
    assert "\n" not in str(caught.value)


def test_a_full_disk_of_this_machine_stays_one() -> None:
    with pytest.raises(OSError, match="No space") as caught, in_words("s3://bucket/a"):
        raise OSError(28, "No space left on device")
    assert not isinstance(caught.value, StorageError)


def test_unknown_schemes_and_missing_packages_are_said() -> None:
    with pytest.raises(StorageError, match="nonsense:// is none of the schemes"):
        open_address("nonsense://a/b")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(StorageError, match=r"s3://b: needs pip install 'introshift\[s3\]'"):
        open_address("s3://b")
    with pytest.raises(StorageError, match="needs another package .Install s3fs"):
        open_address("sftp://b")


def test_versions_are_content_hashes_before_times() -> None:
    info = {"size": 3, "LastModified": "today", "ETag": '"abc"', "type": "file"}
    assert Facts.of(info) == Facts(3, '"abc"')
    assert Facts.of({"size": None}) == Facts(None, None)
