"""Open an object store with what the environment says of credentials, region and endpoint.

The only place that reads these variables, beside the stores' own clients:

    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, …   read by the client
    AWS_REGION, AWS_DEFAULT_REGION; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
    GOOGLE_APPLICATION_CREDENTIALS, …                                             read by the client
    AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_ACCOUNT; AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN; AZURE_CLIENT_ID, …
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from engine.errors import ConfigError
from engine.remote import retries
from engine.remote.address import split


def open_store(url: str) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` of an address, and the path in it. Nothing is asked of the store yet.

    Raises:
        ConfigError: The environment does not say which account is meant.
    """
    scheme, path = split(url)
    if scheme == "s3":
        return _s3(os.environ), path
    if scheme == "gs":
        return _gcs(), path
    return _azure(url, os.environ), path


def _s3(environment: Mapping[str, str]) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    limits = retries.LIMITS
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        connect_timeout=limits.connect,
        request_timeout=limits.request,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
        # Writes come back when they are done, and a name is taken only by the whole object.
        background_writes=False,
    )


def _gcs() -> Any:
    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem(retry_time_limit=timedelta(seconds=retries.LIMITS.connect))


def _azure(url: str, environment: Mapping[str, str]) -> Any:
    from pyarrow.fs import AzureFileSystem

    account = environment.get("AZURE_STORAGE_ACCOUNT_NAME") or environment.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise ConfigError(
            f"{url}: expected the name of the storage account in AZURE_STORAGE_ACCOUNT_NAME, and it is not set",
            code="remote-account",
            hint="Set it beside the credentials; docs/object-stores.md lists the variables.",
        )
    key, token = environment.get("AZURE_STORAGE_KEY"), environment.get("AZURE_STORAGE_SAS_TOKEN")
    return AzureFileSystem(account, account_key=key or None, sas_token=None if key else token or None)
