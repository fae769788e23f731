"""The plugin: wires files into a Litestar application."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import CLIPlugin, InitPlugin, OpenAPISchemaPlugin, ReceiveRoutePlugin
from litestar.routes import HTTPRoute
from sqlalchemy.exc import OperationalError

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.core.threads import end_watched
from litestar_filestore.downloads.handling import DownloadHandlers
from litestar_filestore.element.script import make_script_routes
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.links.routes import make_link_routes
from litestar_filestore.orm.stored_object import FileObjectList
from litestar_filestore.plugin.config import FilestoreConfig
from litestar_filestore.plugin.dependencies import Parts, RawBody, Storages
from litestar_filestore.plugin.keeper import LedgerKeeper, find_databases
from litestar_filestore.plugin.middleware import FilestoreMiddleware, check_backends, check_uploads
from litestar_filestore.plugin.page import teach_templates
from litestar_filestore.plugin.serialization import (
    TYPE_DECODERS,
    TYPE_ENCODERS,
    file_schema,
    is_file_list_type,
    is_file_type,
)
from litestar_filestore.plugin.statuses import (
    ANSWERS,
    answer_exception,
    answer_operational_error,
    answer_storage_error,
    log_wrapped_error,
)
from litestar_filestore.plugin.telling import telling
from litestar_filestore.tracking.idle import watch_sessions
from litestar_filestore.uploads.arrivals import keep_memory_of_messages
from litestar_filestore.uploads.handlers import UploadHandlers
from litestar_filestore.uploads.intake import RequestFiles, UploadSettings
from litestar_filestore.uploads.parts import MultipartStream, parts_provider
from litestar_filestore.uploads.raw import RawUpload, provide_raw_upload
from litestar_filestore.uploads.storing import ApplicationStorer
from litestar_filestore.uploads.watched_files import WatchedFiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from litestar import Litestar
    from litestar._openapi.schema_generation import SchemaCreator  # Litestar passes it to every schema plugin
    from litestar.config.app import AppConfig
    from litestar.openapi.spec import Schema
    from litestar.routes import BaseRoute
    from litestar.typing import FieldDefinition

    from litestar_filestore.ledger.places import Place

__all__ = ("FilestorePlugin", "config_of")

_COMMANDS = "litestar_filestore.cli.commands"
"""The module of the commands, imported only by the command line."""

_NAMES = {
    "FileObject": FileObject,
    "FileObjectList": FileObjectList,
    "MultipartStream": MultipartStream,
    "Parts": Parts,
    "RawBody": RawBody,
    "RawUpload": RawUpload,
    "StorageRegistry": StorageRegistry,
    "Storages": Storages,
}


def _check_config(config: object) -> None:
    if not isinstance(config, FilestoreConfig):
        raise ConfigurationError(
            f"FilestorePlugin takes a FilestoreConfig, not {type(config).__name__}: "
            "write FilestorePlugin(FilestoreConfig(backends=[...]))"
        )


class FilestorePlugin(InitPlugin, ReceiveRoutePlugin, OpenAPISchemaPlugin, CLIPlugin):
    """Opens the backends with the application, and lets it return files and answer storage errors.

    It leaves alone whatever the application configures itself.
    """

    __slots__ = ("_config", "_downloads", "_keepers", "_settings", "_uploads")

    def __init__(self, config: FilestoreConfig) -> None:
        """Set up the plugin with `config`.

        Raises:
            ConfigurationError: If `config` is something else, such as the backends.
        """
        _check_config(config)
        self._config = config
        self._downloads = DownloadHandlers()
        self._keepers: dict[Litestar, LedgerKeeper] = {}
        self._settings = UploadSettings(
            registry=config.registry,
            backends=config.backends,
            limits=config.limits,
            rules=tuple(config.rules),
            detector=config.detector,
        )
        self._uploads = UploadHandlers(self._settings, answer_exception)

    @property
    def config(self) -> FilestoreConfig:
        """The configuration."""
        return self._config

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the plugin to the application that is being built.

        Raises:
            ConfigurationError: If the application has another one.
        """
        config = self._config
        if any(isinstance(each, FilestorePlugin) and each is not self for each in app_config.plugins):
            raise ConfigurationError(
                "The application has two FilestorePlugins, and uploads would not know whose limits and backends are "
                "meant: give one plugin all backends, FilestoreConfig(backends=[..., ...])"
            )
        watch_sessions()
        given: Any = app_config  # some of its types are incomplete in Litestar
        storer = ApplicationStorer()
        # First in, last out: backends are open for as long as the user's lifespans and the database engines run.
        app_config.lifespan = [partial(self._lifespan, storer), *given.lifespan]
        # Hooks run after all lifespans have been entered, so the databases are ready.
        app_config.on_startup += [self._check_backends, partial(self._start_ledger, storer)]
        app_config.middleware.insert(
            0,
            FilestoreMiddleware(
                storer,
                self._settings,
                config.downloads,
                build=config.url_builder,
                links=config.signer,
                expected=config.backends,
                new_files=WatchedFiles if config.watchers else RequestFiles,
            ),
        )
        self._downloads.configure(app_config)
        if config.signer is not None:
            app_config.route_handlers.extend(make_link_routes(config.signer))
        if config.upload_element_path is not None:
            app_config.route_handlers.extend(make_script_routes(config.upload_element_path))
            # Not before the start: a plugin that comes later may configure the templates.
            app_config.on_startup.append(teach_templates)
        app_config.state.setdefault(config.registry_state_key, config.registry)
        app_config.dependencies.setdefault(
            config.registry_dependency_key, Provide(config.provide_registry, sync_to_thread=False)
        )
        app_config.dependencies.setdefault(config.parts_dependency_key, parts_provider(config.limits))
        app_config.dependencies.setdefault(config.raw_upload_dependency_key, Provide(provide_raw_upload))
        app_config.signature_namespace = {**_NAMES, **app_config.signature_namespace}
        app_config.type_encoders = {**TYPE_ENCODERS, **(app_config.type_encoders or {})}
        app_config.type_decoders = [*(app_config.type_decoders or ()), *TYPE_DECODERS]
        # For files inside of forms Litestar asks the class before these, and leaves there what a handler of another
        # application of the process decodes files with.
        setattr(FileObject, "_decoder", None)  # noqa: B010  # of Litestar, which has no public name for it
        if config.set_default_exception_handlers:
            defaults: dict[Any, Any] = dict.fromkeys(ANSWERS, answer_storage_error)
            defaults[OperationalError] = answer_operational_error
            app_config.exception_handlers = {**defaults, **given.exception_handlers}
            given.after_exception.append(log_wrapped_error)
        return app_config

    @asynccontextmanager
    async def _lifespan(self, storer: ApplicationStorer, app: Litestar) -> AsyncGenerator[None]:
        _check_loop()
        keep_memory_of_messages()
        storer.has_started = True
        async with end_watched(), self._config.lifespan(app):
            self._config.limits.budget.is_for_one_store = len(self._config.registry.registered_backends()) == 1
            try:
                with self._config.registry.kept_by(storer), telling(app, self._config):
                    yield
            finally:
                # Before the backends close. It has its own connections, so the engines may be disposed already.
                if (keeper := self._keepers.pop(app, None)) is not None:
                    await keeper.stop()

    def _check_backends(self, app: Litestar) -> None:
        check_backends(app, self._config.registry)

    async def _start_ledger(self, storer: ApplicationStorer, app: Litestar) -> None:
        ledger = self._config.ledger
        if ledger is None:
            return
        keeper = self._keepers[app] = LedgerKeeper(ledger, self._config.registry, find_databases(ledger, app.plugins))

        def found(places: Sequence[Place], look_again: Callable[[], None] | None) -> None:
            storer.open(places, look_again=look_again)
            if look_again is None:  # otherwise it is not known which of them belong to one place
                check_uploads(app, storer, self._config.backends)

        await keeper.start(found)

    def receive_route(self, route: BaseRoute) -> None:
        """Prepare the handlers of a route that take uploads or send files.

        Raises:
            ImproperlyConfiguredException: If the form of a handler cannot be read, it is not clear where its files go,
                or files that it sends would be cached.
        """
        has_forms = False
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                has_forms |= self._uploads.prepare(handler)
                self._downloads.prepare(handler)
        if has_forms and isinstance(route, HTTPRoute) and hasattr(route, "route_handler_map"):
            # Litestar 2 has read the forms before, and would look at them for each request as it found them then.
            route.route_handler_map.clear()
            route.create_handler_map()

    def on_cli_init(self, cli: Any) -> None:
        """Add the command group ``storages``."""
        # By its name, and only now: the commands are in a layer above the plugin, and need click and rich, which are
        # optional in Litestar 3.
        cli.add_command(import_module(_COMMANDS).storages_group)

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Return whether a field is a file, a list of files, or the body of a handler that takes uploads."""
        annotation = field_definition.annotation
        return is_file_type(annotation) or is_file_list_type(annotation) or self._uploads.takes(field_definition)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Return the schema of a file in responses, or of a form in requests."""
        if self._uploads.takes(field_definition):
            return self._uploads.schema(field_definition, schema_creator, self)
        return file_schema(field_definition, schema_creator)


def config_of(app: Litestar) -> FilestoreConfig:
    """Return the configuration of an application's plugin.

    Raises:
        ConfigurationError: If it has none.
    """
    for plugin in app.plugins:
        if isinstance(plugin, FilestorePlugin):
            return plugin.config
    raise ConfigurationError("The application has no FilestorePlugin: add it to Litestar(plugins=[...])")


def _check_loop() -> None:
    """Make sure that asyncio runs the application.

    Raises:
        ConfigurationError: If another library does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise ConfigurationError(
            "litestar-filestore needs asyncio, as SQLAlchemy does, and this server runs another event loop, such as "
            "trio's: choose asyncio or uvloop, for example 'hypercorn --worker-class asyncio'"
        ) from error
