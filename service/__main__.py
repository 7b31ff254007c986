"""`python -m service`: check everything that can be checked, then serve in the foreground.

`python -m service create-key` makes an API key.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from service.settings import Settings, SettingsError, load_settings


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", help="Address to listen on [TRANSLATE_HOST; default 127.0.0.1].")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="TCP port, 0 for a free one [TRANSLATE_PORT; default 8000]."
)
@click.option(
    "--model",
    help=(
        "Model directory or shipped model; several with commas are an ensemble [TRANSLATE_MODEL; default all shipped "
        "models]."
    ),
)
@click.option("--print-settings", is_flag=True, help="Print every setting with its value and end.")
@click.pass_context
def main(context: click.Context, /, print_settings: bool, **options: Any) -> None:
    """Serve translation models over HTTP, in the foreground, until Ctrl-C.

    All other settings are environment variables; --print-settings lists them.
    """
    if context.invoked_subcommand is not None:
        return
    try:
        settings = load_settings({name: value for name, value in options.items() if value is not None})
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if print_settings:
        click.echo(settings.describe())
        return
    with _metrics_directory():
        # Imported only here: --help needs none of it, and the metrics need the directory.
        from service.library import model_names
        from service.logging import configure_logging
        from service.server import Server
        from translator.ensemble import model_paths

        try:
            for name in model_names(settings):
                for path in model_paths(name):
                    _check_model(path)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        _check_keys(settings)
        configure_logging(settings)
        Server(settings, _listen(settings)).run()


@contextmanager
def _metrics_directory() -> Iterator[None]:
    """A directory in which the workers keep their numbers, for prometheus_client to add up (see service.metrics)."""
    try:
        directory = tempfile.mkdtemp(prefix="translate-metrics-")
    except OSError as error:
        raise click.UsageError(f"no temporary directory can be made ({error.strerror}); set TMPDIR to one") from None
    owner = os.getpid()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    try:
        yield
    finally:
        if os.getpid() == owner:  # and not a worker, which is a fork and ends here, too
            shutil.rmtree(directory, ignore_errors=True)


def _check_model(model: Path) -> None:
    if not model.is_dir():
        raise click.UsageError(
            f"{model}: there is no such model directory; --model takes one, or the name of a shipped model"
        )
    if not (model / "config.json").is_file():
        raise click.UsageError(f"{model}: holds no config.json; is this a model directory?")


def _check_keys(settings: Settings) -> None:
    from service.keys import KeyFileError, read_keys

    if settings.api_keys:
        try:
            read_keys(Path(settings.api_keys))
        except KeyFileError as error:
            raise click.UsageError(str(error)) from None


@main.command("create-key")
@click.argument("name")
@click.option(
    "--file", "path", type=click.Path(path_type=Path, dir_okay=False), help="File of keys [TRANSLATE_API_KEYS]."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["translate", "metrics", "admin"]),
    help="What it is for; may be repeated.  [default: translate]",
)
@click.option("--rate-limit", default="", help="Such as '60/minute;5000/day', in the place of the service's own.")
def make_key(name: str, path: Path | None, scopes: tuple[Any, ...], rate_limit: str) -> None:
    """Make an API key for NAME and print it, once: the file keeps its hash alone.

    A running service takes it at once. To revoke a key, delete its entry in the file.
    """
    from service.keys import KeyFileError, create_key

    path = path or (Path(os.environ["TRANSLATE_API_KEYS"]) if os.environ.get("TRANSLATE_API_KEYS") else None)
    if path is None:
        raise click.UsageError("say which file to keep it in: --file, or the variable TRANSLATE_API_KEYS")
    try:
        click.echo(create_key(path, name, scopes or ("translate",), rate_limit))
    except KeyFileError as error:
        raise click.UsageError(str(error)) from None


def _listen(settings: Settings) -> socket.socket:
    """A socket bound to the address, so that a taken port is known before the model is loaded."""
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        advice = "; stop what listens there or choose another port" if error.errno == errno.EADDRINUSE else ""
        raise click.UsageError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}{advice}"
        ) from None


if __name__ == "__main__":
    main(prog_name="python -m service")
