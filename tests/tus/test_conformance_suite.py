"""What the public conformance suite of tus asks of a server, as a table of our own.

The suite is sagikazarmark/tus-conformance-tests. Left out are ``checksum-trailer``, because ASGI delivers no trailers,
and ``concatenation-unfinished``; neither is advertised. Its timeouts are tested with the limits of uploads.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.tus.conftest import OFFSET_TYPE, Serve
from tests.tus.exchanges import Case, play, read_cases
from tests.tus.tus_app import PATH

HELLO_SHA1 = "sha1 zzg+0MbO7yD80aIGKsC1h0Dxib8="  # of "Hello, tus!"

OPTIONS = r"""
# cp-opt-001: the versions
OPTIONS base => 200 | Tus-Version: 1\.0\.0(,.*)?
# cp-opt-002: nobody has to know the version to ask for it
OPTIONS base | -Tus-Resumable => 200 | Tus-Version: .+
# cp-opt-003: the best version comes first
OPTIONS base => 200 | Tus-Version: 1\.0\.0
# cp-opt-004: the extensions, without spaces
OPTIONS base => 200 | Tus-Extension: [a-z-]+(,[a-z-]+)*
# cp-opt-005: the largest size
OPTIONS base => 200 | Tus-Max-Size: [0-9]+
# an unknown version does not matter to OPTIONS, which itself names none
OPTIONS base | Tus-Resumable: 0.2.2 => 200 | Tus-Version: 1\.0\.0 | !Tus-Resumable
"""

HEAD = r"""
# cp-head-001: the offset
POST base | Upload-Length: 100 => 201 | Location > url
HEAD {url} => 200 | Upload-Offset: [0-9]+
# cp-head-002: the length
POST base | Upload-Length: 100 => 201 | Location > url
HEAD {url} => 200 | Upload-Length: 100
# cp-head-003: the version is needed
POST base | Upload-Length: 100 => 201 | Location > url
HEAD {url} | -Tus-Resumable => 412
# cp-head-004: no cache keeps it
POST base | Upload-Length: 100 => 201 | Location > url
HEAD {url} => 200 | Cache-Control: .*no-store.*
# cp-head-005: an unknown upload
HEAD {base}/0123456789abcdef0123456789abcdef => 404 | !Upload-Offset
# cp-head-006: the version comes back
POST base | Upload-Length: 100 => 201 | Location > url
HEAD {url} => 200 | Tus-Resumable: 1\.0\.0
# cp-head-007: a new upload is at 0
POST base | Upload-Length: 100 => 201 | Location > url
HEAD {url} => 200 | Upload-Offset: 0
"""

PATCH = r"""
# cp-patch-001: the version is needed
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | -Tus-Resumable < Hello, tus! => 412
# cp-patch-002: a content type is needed
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 < Hello, tus! => 415
# cp-patch-003: another content type
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: application/octet-stream < Hello, tus! => 415
# cp-patch-004: an offset is needed
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Content-Type: {type} < Hello, tus! => 400
# cp-patch-005: another offset
POST base | Upload-Length: 100 => 201 | Location > url
PATCH {url} | Upload-Offset: 50 | Content-Type: {type} < Hello, tus! => 409
# cp-patch-006, 007, 009: bytes that are taken
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 204 | Upload-Offset: 11 | Tus-Resumable: 1\.0\.0
# cp-patch-008: an unknown upload
PATCH {base}/0123456789abcdef0123456789abcdef | Upload-Offset: 0 | Content-Type: {type} < Hello => 404 | !Upload-Offset
# cp-patch-010: more than there is
POST base | Upload-Length: 5 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 413
HEAD {url} => 200 | Upload-Offset: 0
# offsets that lie
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: -1 | Content-Type: {type} < Hello, tus! => 400
PATCH {url} | Upload-Offset: 0x0 | Content-Type: {type} < Hello, tus! => 400
PATCH {url} | Upload-Offset: 99999999999999999999 | Content-Type: {type} < Hello, tus! => 400
PATCH {url} | Upload-Offset: 12 | Content-Type: {type} < Hello, tus! => 409 | Upload-Offset: 0
# a method in a header
POST base | Upload-Length: 11 => 201 | Location > url
POST {url} | X-HTTP-Method-Override: PATCH | Upload-Offset: 0 | Content-Type: {type} < Hello => 204 | Upload-Offset: 5
POST {url} | X-HTTP-Method-Override: GET => 405
POST {url} | X-HTTP-Method-Override: DELETE => 204
HEAD {url} => 404
"""

VERSIONS_AND_ERRORS = r"""
# cp-ver-001, 002: another version
POST base | Tus-Resumable: 9.9.9 | Upload-Length: 100 => 412 | Tus-Version: .*1\.0\.0.* | Tus-Resumable: 1\.0\.0
# cp-ver-003: this version
POST base | Upload-Length: 100 => 201
# cp-err-001, 002: an error says what is wrong
POST base => 400 | Content-Type: application/json.*
POST base | Upload-Length: many => 400 | Tus-Resumable: 1\.0\.0
# a refused stranger gets the version as well
POST base | X-User: stranger | Upload-Length: 100 => 401 | Tus-Resumable: 1\.0\.0
"""

CREATION = r"""
# ext-create-001, 002, 009: a URL
POST base | Upload-Length: 100 => 201 | Location: https?://.+ | Location > url
HEAD {url} => 200
# ext-create-003: the version is needed
POST base | Upload-Length: 100 | -Tus-Resumable => 412
# ext-create-004, 010, opt-meta-006: metadata come back as they were sent
POST base | Upload-Length: 100 | Upload-Metadata: a dGVzdC50eHQ=,b dGV4dC9wbGFpbg== => 201 | Location > url
HEAD {url} => 200 | Upload-Metadata: a dGVzdC50eHQ=,b dGV4dC9wbGFpbg==
# ext-create-005, opt-meta-005: names in metadata
POST base | Upload-Length: 100 | Upload-Metadata: , => 400
POST base | Upload-Length: 100 | Upload-Metadata: nämé dGVzdA== => 400
# ext-create-006, opt-meta-001: values in metadata
POST base | Upload-Length: 100 | Upload-Metadata: filename not!base64 => 400
# opt-meta-002: a name twice
POST base | Upload-Length: 100 | Upload-Metadata: a dGVzdA==,a dGVzdA== => 400
# opt-meta-003: empty values
POST base | Upload-Length: 100 | Upload-Metadata: empty,other  => 201
# tuspy: an empty header
POST base | Upload-Length: 100 | Upload-Metadata: => 201
# ext-create-007, opt-store-003: too large
POST base | Upload-Length: 999999999999999999 => 413
# a length that is none
POST base | Upload-Length: -1 => 400
POST base | Upload-Length: 99999999999999999999 => 400
# opt-url-001, 002, opt-conc-003: each creation has a URL of its own
POST base | Upload-Length: 100 => 201 | Location: https?://[^/]+/.+/[0-9a-f]{32} | Location > one
POST base | Upload-Length: 100 => 201 | Location: (?!{one}).+
# opt-url-003: scripts of other origins see the headers
POST base | Upload-Length: 100 => 201 | Access-Control-Expose-Headers: .*Location.*Upload-Offset.*
# scn-basic-001, opt-comp-002, 003: in one go
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 204 | Upload-Offset: 11 | Filestore-Reference: .+
HEAD {url} => 200 | Upload-Offset: 11 | Upload-Length: 11 | Filestore-Reference: .+
# scn-basic-002, 003, scn-resume-002, 004, opt-partial-001 to 003: in pieces
POST base | Upload-Length: 40 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < 10*A => 204 | Upload-Offset: 10 | !Filestore-Reference
HEAD {url} => 200 | Upload-Offset: 10 | !Filestore-Reference
PATCH {url} | Upload-Offset: 10 | Content-Type: {type} < 10*B => 204 | Upload-Offset: 20
HEAD {url} => 200 | Upload-Offset: 20
PATCH {url} | Upload-Offset: 20 | Content-Type: {type} < 19*C => 204 | Upload-Offset: 39
HEAD {url} => 200 | Upload-Offset: 39
PATCH {url} | Upload-Offset: 39 | Content-Type: {type} < 1*D => 204 | Upload-Offset: 40 | Filestore-Reference: .+
# scn-resume-003: the last byte
POST base | Upload-Length: 100 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < 99*A => 204 | Upload-Offset: 99
HEAD {url} => 200 | Upload-Offset: 99
PATCH {url} | Upload-Offset: 99 | Content-Type: {type} < 1*A => 204 | Upload-Offset: 100
# scn-resume-001: nothing has come
POST base | Upload-Length: 11 => 201 | Location > url
HEAD {url} => 200 | Upload-Offset: 0
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 204
# ext-create-008, scn-basic-004: an empty file is complete at once
POST base | Upload-Length: 0 => 201 | Location > url | Filestore-Reference: .+
HEAD {url} => 200 | Upload-Offset: 0 | Upload-Length: 0 | Filestore-Reference: .+
# scn-error-001, opt-err-002: a wrong offset is told
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 5 | Content-Type: {type} < , tus! => 409 | Upload-Offset: 0
HEAD {url} => 200 | Upload-Offset: 0
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 204
# opt-comp-001: more bytes for a complete upload
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 204
PATCH {url} | Upload-Offset: 11 | Content-Type: {type} < more => 409 | Upload-Offset: 11
# a lost answer is asked for again
PATCH {base}/00000000000000000000000000000000 | Upload-Offset: 0 | Content-Type: {type} => 404
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello, tus! => 204
PATCH {url} | Upload-Offset: 11 | Content-Type: {type} < => 204 | Filestore-Reference: .+
# opt-conc-001, 002: one after the other
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello => 204 | Upload-Offset: 5
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello => 409 | Upload-Offset: 5
# opt-store-002: the length stays
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Upload-Length: 12 | Content-Type: {type} < Hello => 400
HEAD {url} => 200 | Upload-Length: 11 | Upload-Offset: 0
"""

DEFERRED = r"""
# ext-defer-001, 002: no length yet
POST base | Upload-Defer-Length: 1 => 201 | Location > url
HEAD {url} => 200 | !Upload-Length | Upload-Defer-Length: 1 | Upload-Offset: 0
# ext-defer-003: the length comes with bytes
POST base | Upload-Defer-Length: 1 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Upload-Length: 11 | Content-Type: {type} < Hello => 204 | Upload-Offset: 5
HEAD {url} => 200 | Upload-Length: 11 | !Upload-Defer-Length
PATCH {url} | Upload-Offset: 5 | Content-Type: {type} < , tus! => 204 | Upload-Offset: 11 | Filestore-Reference: .+
# ext-defer-004: and does not change
POST base | Upload-Defer-Length: 1 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Upload-Length: 11 | Content-Type: {type} < Hello => 204
PATCH {url} | Upload-Offset: 5 | Upload-Length: 20 | Content-Type: {type} < , tus! => 400
# ext-defer-005: both, and neither
POST base | Upload-Length: 100 | Upload-Defer-Length: 1 => 400
POST base => 400
# another value
POST base | Upload-Defer-Length: 2 => 400
# the length comes last, with nothing else
POST base | Upload-Defer-Length: 1 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello => 204 | Upload-Offset: 5
PATCH {url} | Upload-Offset: 5 | Upload-Length: 4 | Content-Type: {type} < => 400
PATCH {url} | Upload-Offset: 5 | Upload-Length: 5 | Content-Type: {type} < => 204 | Filestore-Reference: .+
"""

WITH_UPLOAD = r"""
# ext-cwu-001, 003, 004: the first bytes with the creation
POST base | Upload-Length: 100 | Content-Type: {type} < Hello => 201 | Upload-Offset: 5 | Location > url
HEAD {url} => 200 | Upload-Offset: 5
# ext-cwu-002: of another type
POST base | Upload-Length: 11 | Content-Type: text/plain < Hello, tus! => 415
# ext-cwu-005: all of them
POST base | Upload-Length: 11 | Content-Type: {type} < Hello, tus! => 201 | Upload-Offset: 11 | Filestore-Reference: .+
# more than there is
POST base | Upload-Length: 5 | Content-Type: {type} < Hello, tus! => 413
# none, although they were announced
POST base | Upload-Length: 5 | Content-Type: {type} < => 201 | Upload-Offset: 0
# opt-csum-003: with a checksum
POST base | Upload-Length: 11 | Content-Type: {type} | Upload-Checksum: {sha} < Hello, tus! => 201 | Upload-Offset: 11
POST base | Upload-Length: 11 | Content-Type: {type} | Upload-Checksum: {sha} < Hello, tux! => 460
"""

CHECKSUM = r"""
# ext-csum-001, 002: the algorithms
OPTIONS base => 200 | Tus-Checksum-Algorithm: sha1(,[a-z0-9]+)*
# ext-csum-003: a checksum that matches
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: {sha} < Hello, tus! => 204 | Upload-Offset: 11
# ext-csum-004, 005, 008, scn-error-002: one that does not, and once more
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: {sha} < Hello, tux! => 460
HEAD {url} => 200 | Upload-Offset: 0
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: {sha} < Hello, tus! => 204 | Upload-Offset: 11
# ext-csum-006: an unknown algorithm
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: crc7 AAAA < Hello, tus! => 400
# ext-csum-007, opt-csum-002: another form
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: sha1 < Hello, tus! => 400
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: sha1:abc < Hello, tus! => 400
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: sha1 !!!! < Hello, tus! => 400
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: sha1 AAAA < Hello, tus! => 400
# opt-csum-001: of no bytes
POST base | Upload-Length: 11 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} | Upload-Checksum: {empty} < => 204 | Upload-Offset: 0
"""

TERMINATION = r"""
# ext-term-001, 003: gone
POST base | Upload-Length: 100 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello => 204
DELETE {url} => 204
HEAD {url} => 404,410
PATCH {url} | Upload-Offset: 5 | Content-Type: {type} < , tus! => 404,410
# ext-term-002: the version is needed
POST base | Upload-Length: 100 => 201 | Location > url
DELETE {url} | -Tus-Resumable => 412
# ext-term-004: an unknown upload
DELETE {base}/0123456789abcdef0123456789abcdef => 404
# ext-term-005: a complete upload
POST base | Upload-Length: 5 | Content-Type: {type} < Hello => 201 | Location > url
DELETE {url} => 204
HEAD {url} => 404,410
"""

CONCATENATION = r"""
# ext-concat-001, 009: a partial upload
POST base | Upload-Length: 5 | Upload-Concat: partial => 201 | Location > url
HEAD {url} => 200 | Upload-Concat: partial
# ext-concat-002, 004, 005, 006, 010, scn-concat-001, 002: partial uploads become one
POST base | Upload-Length: 5 | Upload-Concat: partial => 201 | Location > one
POST base | Upload-Length: 6 | Upload-Concat: partial => 201 | Location > two
PATCH {two} | Upload-Offset: 0 | Content-Type: {type} < , tus! => 204 | Upload-Offset: 6 | !Filestore-Reference
PATCH {one} | Upload-Offset: 0 | Content-Type: {type} < Hello => 204 | Upload-Offset: 5 | !Filestore-Reference
POST base | Upload-Concat: final;{one} {two} => 201 | Location > url | Filestore-Reference: .+
HEAD {url} => 200 | Upload-Offset: 11 | Upload-Length: 11 | Upload-Concat: final;{one} {two} | Filestore-Reference: .+
PATCH {url} | Upload-Offset: 11 | Content-Type: {type} < more => 403
HEAD {one} => 200 | Upload-Offset: 5 | Upload-Concat: partial | !Filestore-Reference
# one partial upload twice
POST base | Upload-Length: 2 | Upload-Concat: partial | Content-Type: {type} < ab => 201 | Location > one
POST base | Upload-Concat: final;{one} {one} => 201 | Location > url
HEAD {url} => 200 | Upload-Length: 4
# ext-concat-003: a final upload has no length
POST base | Upload-Length: 2 | Upload-Concat: partial | Content-Type: {type} < ab => 201 | Location > one
POST base | Upload-Length: 2 | Upload-Concat: final;{one} => 400
# ext-concat-007: parts that are not complete
POST base | Upload-Length: 5 | Upload-Concat: partial => 201 | Location > one
POST base | Upload-Concat: final;{one} => 400
# ext-concat-008: parts that do not exist
POST base | Upload-Concat: final;{base}/0123456789abcdef0123456789abcdef => 400
# foreign URLs, paths and nothing
POST base | Upload-Concat: final;https://example.com/secret => 400
POST base | Upload-Concat: final;file:///etc/passwd => 400
POST base | Upload-Concat: final;{base}/../../../etc/passwd => 400
POST base | Upload-Concat: final;http://[::1 => 400
POST base | Upload-Concat: final; => 400
POST base | Upload-Concat: whole => 400
# an upload that is no part
POST base | Upload-Length: 2 | Content-Type: {type} < ab => 201 | Location > one
POST base | Upload-Concat: final;{one} => 400
"""

EXPIRATION = r"""
# ext-expire-001, 003: with the creation
POST base | Upload-Length: 100 => 201 | Upload-Expires: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT
# ext-expire-002, opt-exp-001, 003: with each part
POST base | Upload-Length: 100 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello => 204 | Upload-Expires: .+ GMT
HEAD {url} => 200 | Upload-Expires: .+ GMT
# opt-exp-002: what is complete does not expire for its client
POST base | Upload-Length: 5 => 201 | Location > url
PATCH {url} | Upload-Offset: 0 | Content-Type: {type} < Hello => 204 | !Upload-Expires
HEAD {url} => 200 | !Upload-Expires
"""

TABLES = (
    OPTIONS,
    HEAD,
    PATCH,
    VERSIONS_AND_ERRORS,
    CREATION,
    DEFERRED,
    WITH_UPLOAD,
    CHECKSUM,
    TERMINATION,
    CONCATENATION,
    EXPIRATION,
)


def cases() -> list[Case]:
    """Return all cases."""
    given = {"{type}": OFFSET_TYPE, "{sha}": HELLO_SHA1, "{empty}": "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="}
    tables = "\n".join(TABLES)
    for name, value in given.items():
        tables = tables.replace(name, value)
    return list(read_cases(tables))


def test_suite(serve: Serve, subtests: pytest.Subtests) -> None:
    """Every case of the table gets the answers that the suite wants."""
    site = serve(max_open_per_owner=None)
    for case in cases():
        with subtests.test(case.name):
            play(case, cast("Any", site.client), PATH, site.headers)  # it has more than is asked for
