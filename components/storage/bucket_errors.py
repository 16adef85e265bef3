"""What boto3 raises, as one message that says what to do: credentials, bucket, endpoint, anything else. No key is printed."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from components.errors import StorageError

CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
REFUSED = {"401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


@dataclass
class Refusal:
    """The code of the refusal that the caller expected, "" where there was none."""

    code: str = ""


@contextlib.contextmanager
def explained(address: str, *, absent: tuple[str, ...] = ()) -> Iterator[Refusal]:
    """Turn what boto3 raises inside into a StorageError about `address`; the codes of `absent` end the block quietly.

    Raises:
        StorageError: what was wrong, and what to do.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    refusal = Refusal()
    try:
        yield refusal
    except (BotoCoreError, ClientError, Boto3Error) as error:
        code = error_code(error)
        if code not in absent:
            raise StorageError(f"{address}: {_what_to_do(error, code)}") from None
        refusal.code = code


def error_code(error: Exception) -> str:
    """Return the server's code of a refusal ("NoSuchBucket", "404"), or "" where no answer came."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(response := getattr(found, "response", None), dict):
            return str(response.get("Error", {}).get("Code", ""))
        found = found.__cause__ or found.__context__
    return ""


def _what_to_do(error: Exception, code: str) -> str:
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError"):
        return f"no credentials for the object store ({name}); set {CREDENTIALS}"
    if code in REFUSED:
        return f"the object store refuses the credentials or their rights ({code}); check {CREDENTIALS}, and that they may read, write and delete there"
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or mend system.store in params.yaml"
    if code in ("404", "NoSuchKey"):
        return "there is no such object"
    if code:
        return f"the object store refuses ({code}: {str(error)[-200:]})"
    return f"the object store does not answer ({name}: {str(error)[:200]}); check AWS_ENDPOINT_URL_S3 and the network, then run again"
