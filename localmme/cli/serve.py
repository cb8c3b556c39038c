"""``localmme serve``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulator.errors import SetupError
from localmme.options import OPTIONS

if TYPE_CHECKING:
    from emulator.services.sagemaker.start_requests import StartRequests

NO_LOCAL_CODE = (
    "Other machines can reach --host {host}, so CreateModel may not run code on this machine. "
    "--local-code allows it; --access limits who may do what."
)
# Options that are not passed on to a detached emulator: it gets its port, and its state directory, by other means.
NOT_PASSED_ON = {"detach", "name", "port", "state_dir", "open_page"}


@click.command(
    params=[click.Argument(["file"], required=False, metavar="[FILE]"), *OPTIONS],
    short_help="Run a multi-model endpoint, and the AWS services around it.",
)
@click.pass_context
def serve(context: click.Context, /, file: str | None, **options: Any) -> None:
    """Run a multi-model endpoint on localhost, and the AWS services around it, until Ctrl-C.

    FILE, such as endpoint.yaml, describes what options cannot: pipelines, variants, several endpoints.
    """
    if options["name"] is not None:
        _place_by_name(context, options)
    if options["detach"]:
        _detach(context, file, options)
        return
    from emulator.archives.model_data_url import is_url
    from emulator.limits import Limits
    from emulator.server import gunicorn_app
    from localmme import state_directories
    from localmme.server_setup import default_s3, set_up_server

    limits = Limits()
    if options["debug"] is not None:
        limits = limits.without_those_of_handlers()
    limits = limits.override(list(options["limits"]))
    _refuse_beside(context, file, options)
    requests = _with_mapped_images(_start_requests(file, options), options["map_images"])
    s3 = options["s3"] or (None if is_url(options["models"] or "") else options["models"])
    if options["no_endpoint"]:
        s3 = s3 or default_s3()
    settings = set_up_server(
        options["host"],
        options["port"],
        options["state_dir"],
        s3,
        options["access"],
        allow_hosts=options["allow_hosts"],
        allow_origins=options["allow_origins"],
        local_code=options["local_code"],
        inherit_env=options["inherit_env"],
        until_eof=options["until_eof"],
        read_through=options["s3_read_through"],
        record=options["record"],
        record_bodies=options["record_bodies"],
        record_size=options["record_size"],
        metrics_models=options["metrics_models"],
        otel=options["otel"],
        show_polls=options["show_polls"],
    )
    if options["local_code"] is None and not settings.local_code:
        click.echo(NO_LOCAL_CODE.format(host=options["host"]), err=True)
    if options["open_page"]:
        from localmme import browser

        settings = replace(settings, when_in_service=browser.show)
    directory = settings.state_directory
    state_directories.tidy(directory)
    with directory.occupied(
        settings.url,
        settings.region,
        gunicorn_app.ends_within_seconds(limits),
        discard_failed=state_directories.is_known_by_name(directory),
    ):
        gunicorn_app.serve(settings, requests, limits)


def _refuse_beside(context: click.Context, file: str | None, options: dict[str, Any]) -> None:
    """Raises SetupError for options that describe the endpoint if FILE describes it, or no endpoint is started."""
    if not file and not options["no_endpoint"] and not options["stub"]:
        return
    beside = sorted(
        option.opts[0]
        for option in OPTIONS
        if option.describes_endpoint
        and context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
    )
    if file or options["stub"]:
        beside += ["--no-endpoint"] if options["no_endpoint"] else []
    if file and options["stub"]:
        beside = ["--stub"]
    if beside:
        why = "--no-endpoint starts no endpoint"
        if describes := file or options["stub"]:
            why = f"{describes} describes the endpoints"
        raise SetupError(f"{why}: {', '.join(beside)} cannot be used with it.")


def _start_requests(file: str | None, options: dict[str, Any]) -> StartRequests:
    """The requests that create the endpoints to start with.

    Raises SetupError when they are invalid, and UsageError when there is neither a FILE nor --models.
    """
    from emulator.services.sagemaker.start_requests import StartRequests

    if file:
        from localmme.endpoint_file import read

        return read(Path(file))
    if options["stub"]:
        from localmme import stub_endpoints

        return stub_endpoints.start_requests(Path(options["stub"]))
    if options["no_endpoint"]:
        return StartRequests()
    if options["models"] is None:
        raise click.UsageError(
            "Say where the model archives are: --models DIR. Or describe the endpoint in a FILE; or start with "
            "--no-endpoint, and create endpoints through the API."
        )
    from localmme import endpoint_options

    return endpoint_options.start_requests(
        models=options["models"],
        unpacked=options["unpacked"],
        handler=options["handler"],
        toolkit=options["toolkit"],
        command=options["command"],
        image=options["image"],
        gpus=options["gpus"],
        instances=options["instances"],
        endpoint_name=options["endpoint_name"],
        instance_type_name=options["instance_type"],
        memory=options["memory"],
        storage=options["storage"],
        max_loaded_models=options["max_loaded_models"],
        workers_per_model=options["workers_per_model"],
        cache=not options["no_cache"],
        reload=options["reload"],
        preload=options["preload"],
        preloading=not options["no_preloading"],
        python=options["python"],
        install_requirements=options["install_requirements"],
        debug=options["debug"],
        environment=options["env"],
    )


def _with_mapped_images(requests: StartRequests, options: Sequence[str]) -> StartRequests:
    """Those of the options go before those of a FILE. Raises SetupError."""
    from emulator.services.sagemaker.mapped_images import MappedImages
    from localmme.options import name_and_value

    mappings = dict(name_and_value("--map-image", text) for text in options)
    try:
        return replace(requests, mapped_images=MappedImages(mappings, Path.cwd()) + requests.mapped_images)
    except SetupError as error:
        raise SetupError(f"--map-image {error}") from None


def _place_by_name(context: click.Context, options: dict[str, Any]) -> None:
    from localmme import background, state_directories

    if options["state_dir"] is not None:
        raise click.UsageError("--name and --state-dir exclude each other: each names the state directory.")
    options["state_dir"] = str(state_directories.named(options["name"]).path)
    if context.get_parameter_source("port") is not click.core.ParameterSource.COMMANDLINE:
        options["port"] = background.port_of(options["name"], options["host"])


def _detach(context: click.Context, file: str | None, options: dict[str, Any]) -> None:
    from emulator.state_directory import StateDirectory
    from localmme import background, state_directories

    if not options["port"] and options["state_dir"] is None:
        raise click.UsageError("--detach with --port 0 needs a --name, so that other commands can find the emulator.")
    typed = [
        word
        for option in OPTIONS
        if option.name not in NOT_PASSED_ON
        and context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        for word in option.words(option.python_value(options[option.name]))
    ]
    words = [*typed, f"--port={options['port']}", *(["--", file] if file else [])]
    if options["state_dir"] is None:
        directory = state_directories.of_port(options["port"])
    else:
        directory = StateDirectory(Path(options["state_dir"]).expanduser().absolute())
    record = background.detach(words, directory)
    click.echo(f"{record.name} is InService at {record.url}")
    if options["open_page"]:
        from localmme import browser

        browser.show(record.url)
