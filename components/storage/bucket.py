"""A bucket of an S3 object store, reached through boto3: files in parts, retries, reads that go on where they broke off.

Endpoint and credentials are the usual ones: AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL), AWS_ACCESS_KEY_ID with
AWS_SECRET_ACCESS_KEY, or AWS_PROFILE. Requests are retried by botocore's standard mode (growing waits, at most 20 s);
what breaks in the middle of an answer's body is asked for again from that byte on. Every read is compared with the
SHA-256 it is asked for, so the store's own checksums of answers are not used: servers differ in them for ranges.

A server that honours `If-None-Match: *` refuses to overwrite; not all do, and some ignore it without a word, so a
probe at the first such write asks.
"""

import hashlib
import secrets
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.settings.object_store import ObjectStoreSettings
from components.storage.bucket_errors import explained

MIB = 1 << 20
CHUNK_BYTES = MIB
LONGEST_WAIT_SECONDS = 20.0
MISSING = ("404", "NoSuchKey")
TAKEN = ("412", "PreconditionFailed")
DIGEST = "sha256"  # the key of an object's metadata that holds its digest


class UnsoundObject(StorageError):
    """An object is missing, or the store keeps other bytes than were published."""


class Bucket:
    """The objects below a prefix of one bucket; keys are relative to the prefix."""

    def __init__(self, name: str, prefix: str, settings: ObjectStoreSettings) -> None:
        self.name = name
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.settings = settings

    @property
    def address(self) -> str:
        """Where it is, as settings name it."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def address_of(self, key: str) -> str:
        """Return the address of an object."""
        return f"s3://{self.name}/{self.prefix}{key}"

    def holds(self, key: str, *, size: int | None = None, sha256: str | None = None) -> bool:
        """Say whether there is such an object, with this size in bytes and noted digest where they are given."""
        with explained(self.address, absent=MISSING):
            head = self._client.head_object(Bucket=self.name, Key=self.prefix + key)
            noted = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
            return size in (None, head["ContentLength"]) and sha256 in (None, noted.get(DIGEST))
        return False

    def put_file(self, path: Path, key: str, *, sha256: str) -> None:
        """Store a file under a key, in parts where it is large; one that is there with its size and digest is left alone.

        Raises:
            StorageError: the store refuses, does not answer, or holds another size afterwards.
        """
        from boto3.s3.transfer import TransferConfig

        size = path.stat().st_size
        if self.holds(key, size=size, sha256=sha256):
            return
        part = self.settings.part_mib * MIB
        config = TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=self.settings.connections)
        with explained(self.address):
            self._client.upload_file(str(path), self.name, self.prefix + key, ExtraArgs={"Metadata": {DIGEST: sha256}}, Config=config)
        if not self.holds(key, size=size, sha256=sha256):
            raise StorageError(f"{self.address_of(key)}: the object store took {size} bytes and holds other ones; run again, and look at its log")

    def put_once(self, key: str, content: bytes) -> bool:
        """Store a small object unless the key is taken; return whether this call stored it."""
        if not self.refuses_overwriting and self.holds(key):
            return False
        condition = {"IfNoneMatch": "*"} if self.refuses_overwriting else {}
        with explained(self.address, absent=TAKEN):
            self._client.put_object(Bucket=self.name, Key=self.prefix + key, Body=content, **condition)
            return True
        return False

    def read(self, key: str) -> bytes | None:
        """Return a small object's bytes, or None where there is none."""
        with explained(self.address, absent=MISSING):
            size = int(self._client.head_object(Bucket=self.name, Key=self.prefix + key)["ContentLength"])
            return b"".join(self._chunks(key, size))
        return None

    def get_file(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        """Write an object's bytes to a file, and read it anew once where they are not the expected ones.

        Raises:
            UnsoundObject: the object is missing, or the store keeps other bytes.
            StorageError: the store refuses or does not answer.
        """
        for _ in range(2):
            digest = hashlib.sha256()
            with explained(self.address_of(key), absent=MISSING) as refusal, path.open("wb") as stream:
                for chunk in self._chunks(key, size):
                    digest.update(chunk)
                    stream.write(chunk)
            if refusal.code:
                raise UnsoundObject(f"{self.address_of(key)}: there is no such object")
            if digest.hexdigest() == sha256:
                return
        raise UnsoundObject(f"{self.address_of(key)}: the bytes are not those that were published (damaged)")

    def keys(self, start: str) -> list[str]:
        """Return the keys that begin with `start`."""
        with explained(self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix + start)
            return [item["Key"].removeprefix(self.prefix) for page in pages for item in page.get("Contents", [])]

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        with explained(self.address, absent=MISSING):
            self._client.delete_object(Bucket=self.name, Key=self.prefix + key)

    def credentials_source(self) -> str | None:
        """Return where boto3 finds the credentials ("env", "shared-credentials-file", "iam-role", …), None where it finds none."""
        import boto3

        with explained(self.address):
            found = boto3.session.Session().get_credentials()
            return None if found is None else str(found.method)

    @cached_property
    def refuses_overwriting(self) -> bool:
        """Whether the server honours `If-None-Match: *`: a probe object is written twice, and the second must be refused."""
        key = f".probe-{secrets.token_hex(8)}"
        with explained(self.address):
            self._client.put_object(Bucket=self.name, Key=self.prefix + key, Body=b"1")
        try:
            with explained(self.address, absent=(*TAKEN, "NotImplemented", "501")) as refusal:
                self._client.put_object(Bucket=self.name, Key=self.prefix + key, Body=b"2", IfNoneMatch="*")
            return refusal.code in TAKEN
        finally:
            self.delete(key)

    def _chunks(self, key: str, size: int) -> Iterator[bytes]:
        """Yield an object's bytes, asking again from where an answer broke off.

        Raises:
            StorageError: `attempts` answers in a row brought nothing, or the server cannot answer from a byte on.
        """
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        position, failures, reason = 0, 0, ""
        while position < size:
            if failures:
                time.sleep(min(LONGEST_WAIT_SECONDS, 0.25 * 2.0 ** (failures - 1)))
            before = position
            answer = self._client.get_object(Bucket=self.name, Key=self.prefix + key, Range=f"bytes={position}-")
            if position and "ContentRange" not in answer:
                raise StorageError(f"{self.address_of(key)}: broke off at byte {position}, and the server does not answer from there on; run again")
            try:
                for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                    position += len(chunk)
                    yield chunk
                reason = "the answer is shorter than the object"
            except (BotoCoreError, HTTPError, OSError) as error:
                reason = type(error).__name__
            failures = 1 if position > before else failures + 1
            if position < size and failures >= self.settings.attempts:
                raise StorageError(f"{self.address_of(key)}: {failures} answers in a row broke off at byte {position} of {size} ({reason}); check the network and run again")

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": self.settings.attempts}, connect_timeout=self.settings.connect_seconds,
            read_timeout=self.settings.read_seconds, max_pool_connections=2 * self.settings.connections, response_checksum_validation="when_required",
        )  # fmt: skip
        with explained(self.address):
            return boto3.session.Session().client("s3", config=config)
