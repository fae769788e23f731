"""A configuration that cannot work is refused when it is written, and the plugin carries it."""

from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from litestar_filestore import FilestoreConfig, FilestorePlugin, LocalBackend, storages
from litestar_filestore.errors import ConfigurationError


def test_registry_is_the_process_wide_one() -> None:
    """Columns look in `storages`, so that is the default."""
    assert FilestoreConfig().registry is storages


def test_two_backends_of_one_key_are_refused(tmp_path: Path) -> None:
    """One of them would be lost in the registry."""
    with pytest.raises(ConfigurationError, match="backend='a'"):
        FilestoreConfig([LocalBackend("a", tmp_path / "1"), LocalBackend("a", tmp_path / "2")])


def test_backend_given_twice_is_started_once(tmp_path: Path) -> None:
    """The same backend twice is the same backend."""
    backend = LocalBackend("a", tmp_path)
    assert list(FilestoreConfig([backend, backend]).backends) == [backend]


@pytest.mark.parametrize("backends", ["documents", None, {"a": 1}, 7])
def test_backends_that_are_no_list_are_refused(backends: Any) -> None:
    """A name or a mapping in place of the list is an error with a name, not one of the loop over it."""
    with pytest.raises(ConfigurationError, match="list of backends"):
        FilestoreConfig(backends)


def test_single_backend_is_refused(tmp_path: Path) -> None:
    """So is a backend without the list around it."""
    backends: Any = LocalBackend("a", tmp_path)
    with pytest.raises(ConfigurationError, match="list of backends, even for one"):
        FilestoreConfig(backends)


def test_list_of_something_else_is_refused() -> None:
    """A URL is no backend."""
    backends: Any = ["s3://bucket"]
    with pytest.raises(ConfigurationError, match="holds str"):
        FilestoreConfig(backends)


def test_list_that_changes_later_changes_nothing(tmp_path: Path) -> None:
    """What was checked is what is used."""
    backends = [LocalBackend("a", tmp_path)]
    config = FilestoreConfig(backends)
    backends.clear()
    assert [each.key for each in config.backends] == ["a"]


@pytest.mark.parametrize("key", ["", "two words", "request", "data", "state"])
def test_dependency_key_that_no_argument_can_have_is_refused(key: str) -> None:
    """A name that is no identifier, or that Litestar fills itself, would never reach a handler."""
    with pytest.raises(ConfigurationError, match="registry_dependency_key"):
        FilestoreConfig(registry_dependency_key=key)


def test_empty_state_key_is_refused() -> None:
    """The state has names."""
    with pytest.raises(ConfigurationError, match="registry_state_key"):
        FilestoreConfig(registry_state_key="")


def test_plugin_shows_its_configuration() -> None:
    """Commands and other plugins find the configuration at the plugin."""
    config = FilestoreConfig()
    app = Litestar(plugins=[FilestorePlugin(config=config)])
    assert app.plugins.get(FilestorePlugin).config is config


def test_plugin_can_be_hashed() -> None:
    """Litestar keeps plugins in a set."""
    plugins = [FilestorePlugin(FilestoreConfig()) for _ in range(2)]
    assert len(frozenset(plugins)) == 2


@pytest.mark.parametrize("given", [["backend"], "documents", None, LocalBackend("a", "/var/lib/app")], ids=type)
def test_plugin_without_a_configuration(given: Any) -> None:
    """Backends in the place of the configuration are an error that shows how both are written."""
    message = rf"takes a FilestoreConfig, not {type(given).__name__}: write .*\(FilestoreConfig\(backends=\[...\]\)\)"
    with pytest.raises(ConfigurationError, match=message):
        FilestorePlugin(given)


def test_two_plugins_in_one_application(tmp_path: Path) -> None:
    """Nobody could say whose limits and links are meant, so it is an error that names the way."""
    plugins = [FilestorePlugin(FilestoreConfig([LocalBackend(key, tmp_path / key)])) for key in "ab"]
    with pytest.raises(ConfigurationError, match=r"two FilestorePlugins, .*: give one plugin all backends"):
        Litestar([], plugins=plugins)
