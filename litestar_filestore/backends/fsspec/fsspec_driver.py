"""The driver for fsspec file systems, and the recipes that make them."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from litestar_filestore.backends.fsspec.fsspec_errors import translate_library_error
from litestar_filestore.backends.fsspec.running import Inline, InLoop
from litestar_filestore.backends.fsspec.stores import store_class_of
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.keys import RESERVED_SEGMENT
from litestar_filestore.core.threads import finish, run_blocking
from litestar_filestore.errors import (
    AccessDeniedError,
    AccessError,
    BackendUnavailableError,
    BucketNotFoundError,
    ConfigurationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence

    from litestar_filestore.backends.fsspec.running import Runner
    from litestar_filestore.backends.fsspec.store import Place, Store
    from litestar_filestore.core.types import (
        Block,
        Capability,
        FormPolicy,
        ObjectInfo,
        Part,
        PartBuffers,
        PartLimits,
        PutOptions,
        SignedAnswer,
        SignedForm,
        SignMethod,
    )
    from litestar_filestore.errors import StorageError

__all__ = ("FSSpecDriver", "Recipe")

_ABSENT = f"{RESERVED_SEGMENT}/absent"
_UNUSABLE = (AccessError, BackendUnavailableError, BucketNotFoundError, ConfigurationError)


_of_parents: list[tuple[int, Store, Runner]] = []
"""File systems that a process has inherited from its parent, kept so that nothing closes them."""


class FSSpecDriver(Driver):
    """Stores objects in an fsspec file system.

    The instance of the file system is made when it is first needed, because some connect when they are made. It is made
    again after a fork, and after its connection was lost.
    """

    name: ClassVar[str] = "fsspec"

    def __init__(self, recipe: Recipe) -> None:
        """Use the file system that `recipe` makes; nothing is opened yet."""
        self.protocol = recipe.protocol
        self.capabilities = recipe.capabilities
        self.part_buffers = recipe.part_buffers
        self.part_limits = recipe.part_limits
        self.recipe = recipe
        """Makes the file system."""
        self._making = threading.Lock()
        self._made: tuple[int, Store, Runner] | None = None
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._counting = threading.Lock()
        self._pid = os.getpid()

    @property
    def fs(self) -> Any:
        """The instance of the file system, made now if there is none."""
        return self._open()[0].fs

    def _ready(self) -> tuple[Store, Runner] | None:
        made = self._made
        if made is None or made[0] != os.getpid() or not made[1].is_usable:
            return None
        return made[1], made[2]

    def _notice_fork(self) -> None:
        # A thread that only the parent has may hold a lock forever.
        if self._pid != os.getpid():
            # Never close here what the parent uses: both share the selector of its event loop, and if the child
            # removes a socket from it, the parent hears nothing from that socket again.
            if self._made is not None:
                _of_parents.append(self._made)
            self._making, self._counting, self._pid = threading.Lock(), threading.Lock(), os.getpid()

    def _open(self) -> tuple[Store, Runner]:
        self._notice_fork()
        ready = self._ready()
        if ready is not None:
            return ready
        with self._making:
            ready = self._ready()
            if ready is None:
                ready = self.recipe.make()
                self._made = (os.getpid(), *ready)
            return ready

    async def _open_async(self) -> tuple[Store, Runner]:
        self._notice_fork()
        with self._counting:
            self._loops.add(asyncio.get_running_loop())
            ready = self._ready()
        return ready if ready is not None else await run_blocking(self._open)

    @property
    def place(self) -> str:
        """Bucket or folder of the file system."""
        return self.recipe.place.root.rstrip("/")

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Send the blocks to a hidden place, and publish them at the end."""
        store, runner = self._open()
        upload = store.upload(path, options)
        try:
            for block in blocks:
                runner.call(upload.write, block)
            info = runner.call(upload.commit)
        except BaseException as error:
            try:
                runner.call(upload.abort)
            except Exception as second:  # noqa: BLE001  # the first error is the cause, the second one its consequence
                error.add_note(f"What was sent could not be removed: {second!r}")
            raise
        return info

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """`put` without blocking the event loop. A cancellation is delivered only after the current step has ended."""
        store, runner = await self._open_async()
        upload = store.upload(path, options)
        try:
            async for block in blocks:
                await finish(runner.call_async(upload.write, block))
            info = await finish(runner.call_async(upload.commit))
        except BaseException as error:
            try:
                await finish(runner.call_async(upload.abort))
            except Exception as second:  # noqa: BLE001  # as above
                error.add_note(f"What was sent could not be removed: {second!r}")
            raise
        return info

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Begin an object that is put in parts."""
        store, runner = await self._open_async()
        return await finish(runner.call_async(store.begin_parts, path, options))

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Send a part, which is gathered in memory: requests need its length, and are repeated when they fail."""
        del size
        store, runner = await self._open_async()
        content = await _gather(blocks)
        return await finish(runner.call_async(store.put_part, path, upload, number, offset, content))

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Make the object of these parts."""
        store, runner = await self._open_async()
        return await finish(runner.call_async(store.finish_parts, path, upload, parts, options))

    def abandon_parts(self, path: str, upload: str) -> None:
        """Remove an unfinished object."""
        store, runner = self._open()
        runner.call(store.abandon_parts, path, upload)

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """Remove an unfinished object."""
        store, runner = await self._open_async()
        await finish(runner.call_async(store.abandon_parts, path, upload))

    async def sign_part_async(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> str:
        """Return a URL to PUT one part."""
        store, runner = await self._open_async()
        return await runner.call_async(store.sign_part, path, upload, number, expires_in=expires_in, size=size)

    async def list_parts_async(self, path: str, upload: str) -> Sequence[Part]:
        """Return the parts that have come."""
        store, runner = await self._open_async()
        return await runner.call_async(store.list_parts, path, upload)

    async def cors_async(self, rules: Sequence[Mapping[str, Any]] | None = None) -> Sequence[Mapping[str, Any]]:
        """Return, and perhaps set, the rules of the bucket for origins."""
        store, runner = await self._open_async()
        return await runner.call_async(store.cors, rules)

    async def sign_form_async(self, path: str, policy: FormPolicy) -> SignedForm:
        """Return a form that puts an object."""
        store, runner = await self._open_async()
        return await runner.call_async(store.sign_form, path, policy)

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Yield the bytes of a range."""
        store, runner = self._open()
        reader = store.reader(path, start, end)
        try:
            while block := runner.call(reader.next):
                yield block
        finally:
            runner.dispose(reader.close)

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a range."""
        store, runner = await self._open_async()
        reader = store.reader(path, start, end)
        try:
            while block := await runner.call_async(reader.next):
                yield block
        finally:
            await finish(runner.call_async(reader.close))

    def head(self, path: str) -> ObjectInfo:
        """Return the store's info about an object."""
        store, runner = self._open()
        return runner.call(store.head, path)

    async def head_async(self, path: str) -> ObjectInfo:
        """Return the store's info about an object."""
        store, runner = await self._open_async()
        return await runner.call_async(store.head, path)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete exactly these objects."""
        store, runner = self._open()
        runner.call(store.delete, paths)

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Delete exactly these objects."""
        store, runner = await self._open_async()
        await runner.call_async(store.delete, paths)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below `prefix`, page by page or folder by folder."""
        store, runner = self._open()
        page = runner.call(store.page, prefix, None)
        yield from page.infos
        while page.rest is not None:
            page = runner.call(store.page, prefix, page.rest)
            yield from page.infos

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """Yield the objects below `prefix`, page by page or folder by folder."""
        store, runner = await self._open_async()
        page = await runner.call_async(store.page, prefix, None)
        for info in page.infos:
            yield info
        while page.rest is not None:
            page = await runner.call_async(store.page, prefix, page.rest)
            for info in page.infos:
                yield info

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy an object; see the store for where its bytes go."""
        store, runner = self._open()
        runner.call(store.copy, source, target, overwrite=overwrite)

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy an object; see the store for where its bytes go."""
        store, runner = await self._open_async()
        await finish(runner.call_async(store.copy, source, target, overwrite=overwrite))

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return the store's signed URL; this sends nothing unless credentials must be fetched."""
        store, runner = self._open()
        return runner.call(store.sign, path, method=method, expires_in=expires_in)

    async def sign_async(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """`sign` without blocking the event loop."""
        store, runner = await self._open_async()
        return await runner.call_async(store.sign, path, method=method, expires_in=expires_in)

    def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Return the store's signed URL that fixes the response headers."""
        store, runner = self._open()
        return runner.call(store.sign_answer, path, answer)

    async def sign_answer_async(self, path: str, answer: SignedAnswer) -> str:
        """`sign_answer` without blocking the event loop."""
        store, runner = await self._open_async()
        return await runner.call_async(store.sign_answer, path, answer)

    def clean(self, older_than: float) -> int:
        """Remove what interrupted puts left behind."""
        store, runner = self._open()
        return runner.call(store.clean, older_than)

    async def clean_async(self, older_than: float) -> int:
        """Remove what interrupted puts left behind."""
        store, runner = await self._open_async()
        return await runner.call_async(store.clean, older_than)

    def start(self) -> None:
        """Make the file system, and check that we have access; see `_says_no`."""
        store, runner = self._open()
        try:
            runner.call(store.head, _ABSENT)
        except Exception as error:
            if isinstance(self.translate(error), AccessDeniedError):
                runner.call(store.delete, [_ABSENT])
            elif self._says_no(error):
                raise

    async def start_async(self) -> None:
        """`start` without blocking the event loop."""
        store, runner = await self._open_async()
        try:
            await runner.call_async(store.head, _ABSENT)
        except Exception as error:
            if isinstance(self.translate(error), AccessDeniedError):
                await runner.call_async(store.delete, [_ABSENT])
            elif self._says_no(error):
                raise

    def _says_no(self, error: Exception) -> bool:
        """Return whether the error for an object that cannot exist means that nothing will work.

        Any kind of file system may be plugged in, so an unknown error does not prevent the start. An account without
        permission to list gets "forbidden" for a missing object; if it may delete that object, all is well.
        """
        return isinstance(self.translate(error), _UNUSABLE)

    def close(self) -> None:
        """Close the connections of the file system, unless the caller made it."""
        ready, self._made = self._ready(), None
        if ready is not None and self.recipe.owns(ready[0].fs):
            ready[1].call(ready[0].close)

    async def close_async(self) -> None:
        """Close the connections of the file system, unless the caller made it or another loop still uses it."""
        with self._counting:
            self._loops.discard(asyncio.get_running_loop())
            if any(not loop.is_closed() for loop in self._loops):
                return
            ready, self._made = self._ready(), None
        if ready is not None and self.recipe.owns(ready[0].fs):
            await finish(ready[1].call_async(ready[0].close))

    def translate(self, error: Exception) -> StorageError | None:
        """Return the error of this package for an exception of fsspec's libraries."""
        return translate_library_error(error) or super().translate(error)


async def _gather(blocks: AsyncIterator[Block]) -> bytes:
    gathered = bytearray()
    async for block in blocks:
        gathered += block
    return bytes(gathered)  # aiohttp warns of other buffers


class Recipe:
    """A file system class and the arguments to make it with."""

    def __init__(
        self, cls: type, args: tuple[Any, ...], options: dict[str, Any], place: Place, given: Any = None
    ) -> None:
        """Prepare to make ``cls(*args, **options)``, or to use `given`, an instance made like that."""
        self.cls = cls
        """The class of the file system."""
        self._args = args
        self._store = store_class_of(cls)
        self._options = self._store.complete_options(options)
        self._given = given if self._store.adopts(options) else None
        self.place = place
        """Where the objects are in the file system."""
        self._pid = os.getpid()

    @property
    def protocol(self) -> str:
        """Name of the service, the first one if there are several."""
        protocol: Any = self._store.protocol or getattr(self.cls, "protocol", "unknown")
        return str(protocol if isinstance(protocol, str) else next(iter(protocol)))

    @property
    def capabilities(self) -> Capability:
        """Abilities of the store with these options."""
        return self._store.capabilities_with(self._options)

    @property
    def part_buffers(self) -> PartBuffers | None:
        """Memory that a put uses."""
        return self._store.part_buffers

    @property
    def part_limits(self) -> PartLimits | None:
        """What the store demands of parts with these options."""
        return self._store.part_limits_with(self._options)

    def owns(self, fs: Any) -> bool:
        """Return whether `fs` was made here and not by the caller."""
        return fs is not self._given

    def make(self) -> tuple[Store, Runner]:
        """Make the store, and the runner of its methods. Blocks, and may connect.

        Raises:
            ConfigurationError: If the class does not accept the options.
        """
        if self._given is not None and self._may_use(self._given):
            made = self._wrap(self._given)
            if made[0].is_usable:
                return made
        return self._wrap(self._build())

    def _wrap(self, fs: Any) -> tuple[Store, Runner]:
        runner = InLoop(fs.loop) if self._store.runner is InLoop else self._store.runner()
        return self._store(fs, self.place), runner

    def _may_use(self, fs: Any) -> bool:
        """Return whether the caller's instance can be used here: a forked process must not use its connections."""
        if self._store.runner is Inline:
            return True
        if os.getpid() != self._pid:
            return False
        return not getattr(fs, "async_impl", False) or (not fs.asynchronous and fs.loop.is_running())

    def _build(self) -> Any:
        # Without these, an asynchronous file system runs in fsspec's own loop.
        options = {name: value for name, value in self._options.items() if name not in {"asynchronous", "loop"}}
        options["skip_instance_cache"] = True
        try:
            return self.cls(*self._args, **options)
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigurationError(f"{self.cls.__name__} cannot be made of these options: {error}") from error
