"""What an account must be allowed at each service, in the service's own words."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

__all__ = ("least_policy", "permission_for")

_GCS = {
    "put": "storage.objects.create",
    "read": "storage.objects.get",
    "range": "storage.objects.get",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
    "sign": "storage.objects.get",
}
_AZURE = {
    "put": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    "read": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "range": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "list": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "delete": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    "sign": "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
}
_FOLDER = {
    "put": "to write to the folder",
    "read": "to read the files",
    "range": "to read the files",
    "list": "to read the folder",
    "delete": "to write to the folder",
}
_PERMISSIONS: dict[str, dict[str, str]] = {
    "s3": {
        "put": "s3:PutObject",
        "read": "s3:GetObject",
        "range": "s3:GetObject",
        "list": "s3:ListBucket",
        "delete": "s3:DeleteObject",
        "sign": "s3:GetObject",
    },
    "gcs": _GCS,
    "gs": _GCS,
    "azure": _AZURE,
    "abfs": _AZURE,
    "az": _AZURE,
    "file": _FOLDER,
    "sftp": _FOLDER,
    "ftp": {"put": "STOR, MKD, RNFR", "read": "RETR", "range": "REST, RETR", "list": "MLSD", "delete": "DELE"},
    "http": {"put": "PUT", "read": "GET", "range": "GET", "list": "PROPFIND", "delete": "DELETE"},
    "webdav": {"put": "PUT, MKCOL, MOVE", "read": "GET", "range": "GET", "list": "PROPFIND", "delete": "DELETE"},
}


_GCS_POLICY = (
    "On the bucket {bucket!r}: the role roles/storage.objectUser, or a role with "
    f"{', '.join(dict.fromkeys(_GCS.values()))}, storage.multipartUploads.create, storage.multipartUploads.abort and "
    "storage.multipartUploads.listParts. To sign links without a key file, also iam.serviceAccounts.signBlob on the "
    "service account itself"
)
_AZURE_POLICY = (
    "On the container {bucket!r}: the role 'Storage Blob Data Contributor', or a SAS token with the permissions racwdl "
    "(read, add, create, write, delete, list). To sign links, the key of the storage account"
)
_WEBDAV_POLICY = "The account has to be allowed GET, PUT, DELETE, MKCOL, MOVE and PROPFIND below {place!r}"
_POLICIES = {
    **dict.fromkeys(("gcs", "gs"), _GCS_POLICY),
    **dict.fromkeys(("azure", "abfs", "az"), _AZURE_POLICY),
    **dict.fromkeys(("webdav", "http"), _WEBDAV_POLICY),
    "sftp": "The account has to own {place!r} on the server, with mode 0700 or more",
}


def permission_for(service: str, step: str) -> str | None:
    """Return what a step of a probe needs; ``None`` if that is not known."""
    return _PERMISSIONS.get(service, {}).get(step)


def least_policy(service: str, place: str) -> str | None:
    """Return the least that an account has to be allowed.

    Args:
        service: Protocol of the backend.
        place: Its bucket or folder, with the prefix.
    """
    if service == "s3":
        return _s3_policy(*_split(place))
    if service == "file":
        return _folder_policy(place)
    policy = _POLICIES.get(service)
    return policy and policy.format(bucket=_split(place)[0], place=place or "its folder")


def _split(place: str) -> tuple[str, str]:
    bucket, _, folder = place.partition("/")
    return bucket, folder


def _s3_policy(bucket: str, folder: str) -> str:
    inside = f"arn:aws:s3:::{bucket}/{folder}/*" if folder else f"arn:aws:s3:::{bucket}/*"
    # Listing is not limited to the folder: with such a condition S3 answers 403 for a missing object, and not 404.
    statements = [
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            "Resource": inside,
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": f"arn:aws:s3:::{bucket}",
        },
    ]
    policy = msgspec.json.encode({"Version": "2012-10-17", "Statement": statements})
    return msgspec.json.format(policy, indent=2).decode()


def _folder_policy(place: str) -> str:
    user = os.getuid()
    folder = Path(place)
    for there in (folder, *folder.parents):  # the first one that exists
        try:
            status = there.stat()
        except OSError:
            continue
        return (
            f"The user with uid {user} has to read, write and enter {place!r}. Now {str(there)!r} belongs to uid "
            f"{status.st_uid} and gid {status.st_gid}, with mode {status.st_mode & 0o7777:04o}: chown {user} "
            f"{str(there)!r}, or run the application as its owner"
        )
    return f"The user with uid {user} has to read, write and enter {place!r}"
