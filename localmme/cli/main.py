"""The command line: one thin function per command."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulator.errors import SetupError
from emulator.hosting.storage_sizes import SINGLE_MODEL_GIB
from emulator.printable import printable, printable_lines, without_colors
from localmme import __version__
from localmme.cli.completion import target_models
from localmme.cli.emulator_options import NAMED, of_an_emulator, where_an_emulator_is

if TYPE_CHECKING:
    from emulator.services.sagemaker.start_requests import StartRequests

# Of serve, those that concern the emulator, not the endpoint.
SERVER_OPTIONS = {
    *("no_endpoint", "host", "port", "s3", "access", "state_dir", "limits", "name", "detach", "until_eof"),
    *("allow_hosts", "allow_origins", "local_code"),
}

NO_LOCAL_CODE = (
    "Others than this machine reach --host {host}, so CreateModel may not run code here: "
    "--local-code lets it, --access says who may do what."
)


class Commands(click.Group):
    """Shows what went wrong as one line, and leaves with exit code 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SetupError as error:
            click.echo(f"Error: {printable_lines(str(error))}", err=True)
            sys.exit(1)
        except BrokenPipeError:  # the reader of a pipe has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="localmme")
def main() -> None:
    """Run SageMaker multi-model endpoints on your own machine."""


# What the list of commands says of each must fit into a line of 80 columns: click cuts what does not.


@main.command(short_help="Stand up a multi-model endpoint, and the AWS around it.")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--models", metavar="DIR|S3URL", help="Folder of model archives: a directory, or s3://BUCKET/PREFIX/.")
@click.option("--image", metavar="IMAGE", help="Docker image to run as the container: a name, a digest or an ECR URI.")
@click.option(
    "--handler",
    metavar="FILE[:NAME]",
    help="Python handler for all models. Without it, each archive carries its own (code/inference.py).",
)
@click.option("--command", metavar="COMMAND", help="A multi-model server to run instead of localmme's own.")
@click.option("--gpus", metavar="all|N", help="GPUs for an image's container.")
@click.option("--no-endpoint", is_flag=True, help="Start without an endpoint: create some through the API.")
@click.option(
    "--s3",
    metavar="DIR",
    help="What S3 serves: each directory in it is a bucket. [default: --models, if local; with --no-endpoint ./s3]",
)
@click.option("--access", metavar="FILE", help="Who may do what, such as access.yaml. [default: anybody everything]")
@click.option("--endpoint-name", default="local", show_default=True, help="The endpoint's name.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any."
)
@click.option(
    "--allow-host",
    "allow_hosts",
    metavar="NAME",
    multiple=True,
    help="A name by which clients reach it, beside localhost and --host; *.NAME: all below it. Repeatable.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    metavar="ORIGIN",
    multiple=True,
    help="Web pages that may call it, such as http://localhost:3000. Repeatable. [default: none]",
)
@click.option(
    "--local-code/--no-local-code",
    default=None,
    help="May CreateModel run images, handlers and commands on this machine? [default: yes, unless others than this "
    "machine reach --host, without --access]",
)
@click.option("--instance-type", metavar="ML.TYPE", help="Its memory and vCPUs are those of the instance.")
@click.option(
    "--instances",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Instances, each with a container and memory of its own.",
)
@click.option("--memory", metavar="SIZE", help="Memory for the container and its models. [default: the machine's]")
@click.option("--storage", metavar="SIZE", help="Size of the storage volume. [default: by the type, else 100GiB]")
@click.option("--max-loaded-models", metavar="N", type=click.IntRange(1), help="Never load more models than that.")
@click.option(
    "--workers-per-model",
    metavar="N",
    type=click.IntRange(1),
    help="Worker processes for each model. [default: 1; with --image or --command, what its server takes]",
)
@click.option("--no-cache", is_flag=True, help="ModelCacheSetting Disabled: unload each model after its invocation.")
@click.option("--reload", is_flag=True, help="Serve a changed archive at once, which SageMaker does not.")
@click.option("--env", "environment", metavar="K=V", multiple=True, help="Environment of the container. Repeatable.")
@click.option("--state-dir", metavar="DIR", help="Where logs and extracted models go.")
@click.option(
    "--limit",
    "limits",
    metavar="NAME=VALUE",
    multiple=True,
    help="Change one of the platform's limits, such as invocation_seconds=5. Repeatable.",
)
@click.option("--name", metavar="NAME", help="By which other commands find it. Its port is then any, unless given.")
@click.option("--detach", is_flag=True, help="Return when it is InService. localmme stop ends it.")
@click.option("--until-eof", is_flag=True, hidden=True, help="End when standard input ends.")
@click.pass_context
def serve(context: click.Context, file: str | None, **options: Any) -> None:
    """Stand up a multi-model endpoint on localhost, and the AWS around it, until Ctrl-C.

    FILE, such as endpoint.yaml, describes what options cannot say: pipelines, variants, several endpoints.
    """
    if options["name"] is not None:
        _place_by_name(context, options)
    if options["detach"]:
        _detach(context, file, options)
        return
    from emulator.archives.model_data_url import is_url
    from emulator.limits import Limits
    from emulator.server.gunicorn_app import ends_within_seconds, serve
    from localmme import state_directories
    from localmme.server_setup import default_s3, set_up_server

    limits = Limits().override(list(options["limits"]))
    _refuse_beside(context, file, options)
    requests = _start_requests(file, options)
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
        until_eof=options["until_eof"],
    )
    if options["local_code"] is None and not settings.local_code:
        click.echo(NO_LOCAL_CODE.format(host=options["host"]), err=True)
    directory = settings.state_directory
    state_directories.tidy(directory)
    with directory.occupied(
        settings.url,
        settings.region,
        ends_within_seconds(limits),
        discard_failed=state_directories.is_known_by_name(directory),
    ):
        serve(settings, requests, limits)


def _refuse_beside(context: click.Context, file: str | None, options: dict[str, Any]) -> None:
    """Raises SetupError for options that describe the endpoint where something else does, or where there is none."""
    if not file and not options["no_endpoint"]:
        return
    beside = sorted(
        option.opts[0]
        for option in context.command.params
        if isinstance(option, click.Option)
        and option.name not in SERVER_OPTIONS
        and context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
    )
    if file and options["no_endpoint"]:
        beside = ["--no-endpoint"]
    if beside:
        why = f"{file} describes the endpoints" if file else "--no-endpoint starts none"
        raise SetupError(f"{why}: {', '.join(beside)} cannot be given beside it.")


def _start_requests(file: str | None, options: dict[str, Any]) -> StartRequests:
    """The requests that create the endpoints to start with.

    Raises SetupError, or UsageError when nothing says which.
    """
    from emulator.services.sagemaker.start_requests import StartRequests

    if file:
        from localmme.endpoint_file import read

        return read(Path(file))
    if options["no_endpoint"]:
        return StartRequests()
    if options["models"] is None:
        raise click.UsageError(
            "Say where the model archives are: --models DIR. Or describe the endpoint in a FILE; or start with "
            "--no-endpoint, and create endpoints through the API."
        )
    from localmme import serve_options as parse

    return parse.start_requests(
        models=options["models"],
        handler=options["handler"],
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
        environment=options["environment"],
    )


def _place_by_name(context: click.Context, options: dict[str, Any]) -> None:
    from localmme import background, state_directories

    if options["state_dir"] is not None:
        raise click.UsageError("--name and --state-dir exclude each other: each says where its files go.")
    options["state_dir"] = str(state_directories.named(options["name"]).path)
    if context.get_parameter_source("port") is not click.core.ParameterSource.COMMANDLINE:
        options["port"] = background.port_of(options["name"], options["host"])


def _detach(context: click.Context, file: str | None, options: dict[str, Any]) -> None:
    from emulator.state_directory import StateDirectory
    from localmme import background, state_directories

    if not options["port"] and options["state_dir"] is None:
        raise click.UsageError("--detach with --port 0 needs a --name, by which to find it again.")
    told_otherwise = {"file", "detach", "name", "port", "state_dir"}
    given = [
        _as_given(option, options[option.name])
        for option in context.command.params
        if option.name not in told_otherwise
        and context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
    ]
    if options["state_dir"] is None:
        directory = state_directories.of_port(options["port"])
    else:
        directory = StateDirectory(Path(options["state_dir"]).expanduser().absolute())
    record = background.detach(background.words_for(given, options["port"], file), directory)
    click.echo(f"{record.name} is InService at {record.url}")


def _as_given(option: click.Parameter, value: Any) -> tuple[str, Any]:
    """An option as it was written: of a pair such as --local-code/--no-local-code, the one that it was."""
    return (option.secondary_opts[0], True) if value is False and option.secondary_opts else (option.opts[0], value)


@main.command(short_help="Invoke a model, and print the answer.")
@click.argument("model", shell_complete=target_models)
@click.option("--data", metavar="@FILE|TEXT|-", required=True, help="The request's body: a file, a text, or stdin.")
@click.option("--content-type", help="Of the request. [default: told from the data]")
@click.option("--accept", help="Content type wanted for the answer.")
@click.option("--output", metavar="FILE", help="Write the answer's body there instead of to stdout.")
@of_an_emulator
def invoke(
    model: str,
    data: str,
    content_type: str | None,
    accept: str | None,
    output: str | None,
    url: str,
    endpoint_name: str,
) -> None:
    """Invoke MODEL (a TargetModel, the archive's path below the models directory) and print the answer."""
    from localmme import emulator_client

    body = emulator_client.read_data(data)
    request = {"Accept": accept} if accept else {}
    request["ContentType"] = content_type or emulator_client.guess_content_type(data, body)
    answer = emulator_client.invoke(url, endpoint_name, model, body, **request)
    if output:
        try:
            Path(output).write_bytes(answer)
        except OSError as error:
            raise SetupError(f"The answer cannot be written to {output}: {error.strerror}.") from None
        return
    if _is_terminal():  # which would obey some of it
        click.echo("\n".join(map(printable, answer.decode("utf-8", "backslashreplace").splitlines())))
        return
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@main.command(short_help="List the models: in S3, on disk, in memory.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@of_an_emulator
def models(as_json: bool, url: str, endpoint_name: str) -> None:
    """List the models: what is in S3, on disk and in memory, and how often each was used."""
    from localmme import emulator_client

    listed = emulator_client.endpoint_state(url, endpoint_name)["models"]
    if as_json:
        click.echo(json.dumps(listed, indent=2))
    else:
        emulator_client.print_models(listed)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@where_an_emulator_is
def state(as_json: bool, url: str) -> None:
    """Show an emulator's endpoints, instances and models."""
    from localmme import emulator_client

    told = emulator_client.state(url)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        emulator_client.print_state(told)


@main.command(short_help="Print what to export for boto3 and the AWS CLI.")
@of_an_emulator
def env(url: str, endpoint_name: str) -> None:
    """Print what to export so that boto3 and the AWS CLI talk to the emulator: eval "$(localmme env)"."""
    from localmme.aws_environment import aws_environment
    from localmme.emulator_client import about

    exports = aws_environment(url, about(url)["region"])
    if exports.warning:
        click.echo(f"Warning: {printable(exports.warning)}", err=True)
    for name, value in exports.variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@main.command(short_help="Make a model archive of a directory, or look into one.")
@click.argument("path", metavar="DIR|ARCHIVE")
@click.option(
    "-o", "--output", metavar="FILE", help="The archive to write. [default: DIR's name and .tar.gz, in this directory]"
)
@click.option("--list", "list_only", is_flag=True, help="Only list what is in an archive, or would be.")
@click.option("--verify", "verify_only", is_flag=True, help="Only tell whether an archive made elsewhere works.")
@click.option("--no-compression", is_flag=True, help="Store files as they are: fast, and the same bytes everywhere.")
@click.option(
    "--storage",
    metavar="SIZE",
    default=f"{SINGLE_MODEL_GIB}GiB",
    show_default=True,
    help="Size of the volume it has to fit onto.",
)
@click.option("--strict", is_flag=True, help="A warning counts as a failure: for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pack(path: str, output: str | None, no_compression: bool, **options: Any) -> None:
    """Make a model archive of what is in DIR, or look into one.

    The same files give the same archive. Exits with 1 if what is in it does not work, with 2 if it could not try.
    """
    from localmme.pack.command import run

    sys.exit(run(path, output, compressed=not no_compression, **options))


@main.command(short_help="List the emulators that run.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def ps(as_json: bool) -> None:
    """List the emulators that run: their names, where they listen, their endpoints."""
    from localmme import background

    running = background.listed()
    if as_json:
        click.echo(json.dumps(running, indent=2))
    else:
        background.print_running(running)


@main.command(short_help="Stop an emulator, and wait until it is gone.")
@click.option("--name", **NAMED)
@click.option("--all", "everything", is_flag=True, help="All that localmme ps lists.")
def stop(name: str | None, everything: bool) -> None:
    """Stop an emulator, and wait until it is gone. Without --name: the only one that runs."""
    from localmme import background, state_directories

    if name is not None and everything:
        raise click.UsageError("--name and --all exclude each other.")
    for record in state_directories.all_living() if everything else [background.find(name)]:
        background.stop(record)
        click.echo(f"{record.name} is stopped")


@main.command(short_help="Print what an emulator and its containers wrote.")
@click.argument("container", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the emulator ends.")
@click.option("--name", **NAMED)
@click.option("--endpoint-name", metavar="NAME", help="Only of this endpoint's containers.")
def logs(container: str | None, follow: bool, name: str | None, endpoint_name: str | None) -> None:
    """Print what an emulator in the background and its containers wrote.

    CONTAINER, the name of a container, an instance or a variant, limits that to its own output. Of an emulator that
    was not detached, only what its containers wrote is shown.
    """
    from localmme import background, state_directories
    from localmme.cli.logs import lines

    directory = state_directories.named(name) if name else background.find(None).directory
    try:
        for line in lines(directory, endpoint_name, container, follow):
            click.echo(printable(without_colors(line)))
    except KeyboardInterrupt:
        return


@main.command(short_help="Print what makes a shell complete localmme.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete localmme: eval "$(localmme completion bash)"."""
    from localmme.cli.completion import script

    click.echo(script(main, shell))


@main.command(short_help="Check a container against the contract it has to keep.")
@click.option("--image", metavar="IMAGE", help="Check a Docker image: a name, a digest or an ECR URI.")
@click.option("--command", metavar="COMMAND", help="Check a server that is started by this command.")
@click.option("--handler", metavar="FILE[:NAME]", help="Check a Python handler, in localmme's own server.")
@click.option("--url", metavar="URL", help="Check a container that runs already, and sees this machine's directories.")
@click.option(
    "--model", "models", metavar="ARCHIVE", multiple=True, help="A model archive that it can load. Repeatable."
)
@click.option("--data", metavar="@FILE|TEXT|-", help="A request that the models answer: a file, a text, or stdin.")
@click.option("--content-type", help="Of the request. [default: told from the data]")
@click.option("--accept", help="Content type wanted for the answer.")
@click.option("--env", "environment", metavar="K=V", multiple=True, help="Environment of the container. Repeatable.")
@click.option(
    "--memory", metavar="SIZE", default="512MiB", show_default=True, help="Memory for the container and its models."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="In which it has to be healthy. [default: 240]",
)
@click.option(
    "--limit", "limits", metavar="NAME=VALUE", multiple=True, help="Change one of the platform's limits. Repeatable."
)
@click.option("--only", metavar="NAME,...", help="Make these checks only.")
@click.option("--fast", is_flag=True, help="Leave out what takes long: a second container, and what fills memory.")
@click.option("--list", "list_only", is_flag=True, help="Say what is checked, and check nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML there as well.")
def check(**options: Any) -> None:
    """Check a container against the contract of multi-model endpoints.

    Exit code 0: no check failed; 1: some did; 2: they could not be made; 128 and a signal's number: it ended them, such
    as 130 after Ctrl-C.
    """
    from localmme.check.command import check

    sys.exit(check(**options))


if __name__ == "__main__":
    main()
