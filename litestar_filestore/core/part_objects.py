"""Objects put in parts on stores that do not join parts: each part is an object beside the key, joined at the end.

The parts of ``reports/a.pdf`` stand below ``reports/a.pdf.parts/<unfinished object>/``, where listings show them. An
empty object ``begun`` says that the unfinished object is neither finished nor abandoned. Each part has a random name,
which is its receipt: a part that is put again, or late, never changes one that somebody else has put.
"""

from __future__ import annotations

import re
import secrets
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from litestar_filestore.core.keys import check_key
from litestar_filestore.core.sources import AsyncFeed, Meter, iter_blocks_async
from litestar_filestore.core.types import Part, PartLimits, PutOptions
from litestar_filestore.errors import InvalidArgumentError, ObjectChangedError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from litestar_filestore.core.driver import Driver
    from litestar_filestore.core.types import Block, ObjectInfo

__all__ = (
    "PartObjects",
    "begun_key",
    "check_part",
    "check_parts",
    "new_upload",
    "unfinished_key",
    "unknown_upload",
)

_UPLOAD = re.compile(r"[0-9a-f]{32}")
_RECEIPT = re.compile(r"[0-9]+\.[0-9a-f]{16}")
_PART_KEY = re.compile(rf"(.+)\.parts/{_UPLOAD.pattern}/(?:begun|{_RECEIPT.pattern})", re.DOTALL)
_OPTIONS = PutOptions()


def unfinished_key(key: str) -> str | None:
    """Return the key of the unfinished object that the object `key` is a part of; ``None`` if it is none."""
    found = _PART_KEY.fullmatch(key)
    return found[1] if found is not None else None


def unknown_upload() -> ObjectNotFoundError:
    """Return the error for the name of an unfinished object that does not exist."""
    return ObjectNotFoundError("There is no such unfinished object: it has been finished or abandoned; begin again")


def new_upload(path: str) -> str:
    """Make the name of an unfinished object.

    Raises:
        InvalidKeyError: If `path` is so long that no part could stand beside it.
    """
    upload = secrets.token_hex(16)
    check_key(f"{_folder(path, upload)}/{'0' * 26}")
    return upload


def begun_key(path: str, upload: str) -> str:
    """Return the key of the empty object that says that `upload` is neither finished nor abandoned.

    Raises:
        ObjectNotFoundError: If no unfinished object has such a name.
    """
    if _UPLOAD.fullmatch(upload) is None:
        raise unknown_upload()
    return f"{_folder(path, upload)}/begun"


def check_part(number: int, offset: int, limits: PartLimits) -> None:
    """Refuse a part that the store could not take.

    Raises:
        InvalidArgumentError: If the number or the offset is not allowed.
    """
    if number < 1 or (limits.max_parts is not None and number > limits.max_parts):
        raise InvalidArgumentError(
            f"The number of a part must be 1 to {limits.max_parts or 'any number'}, not {number}: use larger parts"
        )
    if offset < 0:
        raise InvalidArgumentError(f"A part cannot begin at byte {offset}: begin the first one at 0")


def check_parts(parts: Sequence[Part], limits: PartLimits) -> list[Part]:
    """Return the parts in their order, if they make up an object.

    Raises:
        InvalidArgumentError: If they leave a gap or overlap, or if a number or size is not allowed.
    """
    ordered = sorted(parts, key=lambda part: part.number)
    end = previous = 0
    for part in ordered:
        check_part(part.number, part.offset, limits)
        if part.number == previous or part.offset != end:
            raise InvalidArgumentError(
                f"Part {part.number} begins at byte {part.offset}, but the parts before it end at {end}: list each "
                "part once, and number them in their order"
            )
        end, previous = part.offset + part.size, part.number
    for part in ordered[:-1]:
        if part.size < limits.min_bytes or (limits.equal_sizes and part.size != ordered[0].size):
            wanted = f"{ordered[0].size} bytes like the first" if limits.equal_sizes else f"{limits.min_bytes} or more"
            raise InvalidArgumentError(f"Part {part.number} has {part.size} bytes, but this store wants {wanted}")
    if limits.equal_sizes and ordered and ordered[-1].size > ordered[0].size:
        raise InvalidArgumentError("The last part is larger than the others, which this store does not allow")
    return ordered


class PartObjects:
    """The operations for parts of `Driver`, made of its other operations."""

    part_limits = PartLimits()

    def __init__(self, driver: Driver) -> None:
        """Use the store of `driver`."""
        self._driver = driver

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Say that there is an unfinished object."""
        del options
        upload = new_upload(path)
        await self._driver.put_async(begun_key(path, upload), iter_blocks_async(b""), _OPTIONS)
        return upload

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Put the part as an object of its own."""
        await self._check(path, upload)
        receipt = f"{number}.{secrets.token_hex(8)}"
        target = f"{_folder(path, upload)}/{receipt}"
        info = await self._driver.put_async(target, blocks, PutOptions(size=size))
        try:
            await self._check(path, upload)
        except ObjectNotFoundError:
            # Finished or abandoned meanwhile, perhaps after all parts were listed for removal: nobody else removes it.
            await self._driver.delete_async([target])
            raise
        return Part(number, offset, info.size, receipt)

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Read the parts one after the other into the object, and remove them."""
        await self._check(path, upload)
        feed = AsyncFeed(self._joined(path, upload, parts), Meter(digest=None))
        try:
            info = await self._driver.put_async(path, feed, options)
        except Exception as error:
            if feed.failure is not None and feed.failure is not error:
                raise feed.failure from None  # the libraries wrap in their own what was wrong with a part
            raise
        await self.abandon_parts_async(path, upload)
        return info

    async def _joined(self, path: str, upload: str, parts: Sequence[Part]) -> AsyncGenerator[Block, None]:
        for part in parts:
            if _RECEIPT.fullmatch(part.receipt) is None:
                raise _missing(part)
            size = 0
            try:
                async with aclosing(self._driver.get_async(f"{_folder(path, upload)}/{part.receipt}", 0, None)) as read:
                    async for block in read:
                        size += len(block)
                        yield block
            except Exception as error:
                if self._is_missing(error):
                    raise _missing(part) from error
                raise
            if size != part.size:
                raise _missing(part)

    def abandon_parts(self, path: str, upload: str) -> None:
        """Remove the parts: first the sign that there is an unfinished object, so that none is added."""
        with suppress(ObjectNotFoundError):
            self._driver.delete([begun_key(path, upload)])
            self._driver.delete([info.key for info in self._driver.list(_folder(path, upload))])

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """`abandon_parts` without blocking the event loop."""
        with suppress(ObjectNotFoundError):
            await self._driver.delete_async([begun_key(path, upload)])
            async with aclosing(self._driver.list_async(_folder(path, upload))) as infos:
                paths = [info.key async for info in infos]
            await self._driver.delete_async(paths)

    async def _check(self, path: str, upload: str) -> None:
        begun = begun_key(path, upload)
        try:
            await self._driver.head_async(begun)
        except Exception as error:
            if self._is_missing(error):
                raise unknown_upload() from error
            raise

    def _is_missing(self, error: Exception) -> bool:
        return isinstance(error, ObjectNotFoundError) or isinstance(self._driver.translate(error), ObjectNotFoundError)


def _missing(part: Part) -> ObjectChangedError:
    return ObjectChangedError(f"Part {part.number} of {part.size} bytes is not in the store: put it again")


def _folder(path: str, upload: str) -> str:
    return f"{path}.parts/{upload}"
