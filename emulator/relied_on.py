"""The undocumented parts of other libraries on which the emulator relies. They may change in any version.

An override of a method that the library no longer calls would silently do nothing. So a module that uses such parts
looks for them first, mostly when it is imported, and fails with an error that names the missing ones. This imports
nothing: the libraries have been imported by then. The tests of the modules show what the parts do; setup.cfg bounds the
versions.
"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from types import FunctionType

from emulator.errors import SetupError


@dataclass(frozen=True)
class Parts:
    """Some parts of one class or module of a library."""

    library: str  # as pip knows it
    owner: str  # MODULE, or MODULE:CLASS
    names: str  # of functions, methods and attributes
    why: str  # to do what
    users: tuple[str, ...]  # the modules that use them


RELIED_ON = (
    # The server: emulator/server
    Parts(
        *("gunicorn", "gunicorn.arbiter:Arbiter"),
        "init_signals spawn_worker handle_term handle_hup handle_ttin handle_ttou handle_usr2 handle_winch",
        "have one worker, whatever signals its master gets",
        ("emulator.server.gunicorn_app",),
    ),
    Parts(
        *("gunicorn", "gunicorn.arbiter:Arbiter"),
        "stop LISTENERS WORKERS cfg kill_workers reap_workers wait_for_signals",
        "end as soon as its worker has ended",
        ("emulator.server.gunicorn_app",),
    ),
    Parts(
        *("gunicorn", "gunicorn.sock"),
        "close_sockets",
        "end as soon as its worker has ended",
        ("emulator.server.gunicorn_app",),
    ),
    Parts(
        *("gunicorn", "gunicorn.arbiter:Arbiter"),
        "WORKER_BOOT_ERROR",
        "end when an endpoint cannot be created",
        ("emulator.server.worker",),
    ),
    Parts(
        *("gunicorn", "gunicorn.workers.base:Worker"),
        "init_process init_signals run SIGNALS wsgi sockets ppid age",
        "run one event loop, which knows its master and whether it takes a killed worker's place",
        ("emulator.server.worker",),
    ),
    Parts(
        *("gunicorn", "gunicorn.sock:BaseSocket"),
        "sock",
        "listen at the sockets that gunicorn has opened",
        ("emulator.server.worker",),
    ),
    Parts(
        *("uvicorn", "uvicorn.server:ServerState"),
        "tasks connections default_headers",
        "answer the requests that are under way when it ends",
        ("emulator.server.worker",),
    ),
    Parts(
        *("uvicorn", "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"),
        "connection_made connection_lost data_received eof_received shutdown on_message_begin on_url on_header "
        "on_headers_complete on_body on_message_complete on_response_complete timeout_keep_alive_handler",
        "refuse what is not HTTP when it is its turn",
        ("emulator.server.connection",),
    ),
    Parts(
        *("uvicorn", "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"),
        "app cycle pipeline parser headers url scope flow transport loop expect_100_continue timeout_keep_alive "
        "timeout_keep_alive_task tasks server server_state _start_asgi_task",
        "refuse what is not HTTP when it is its turn, and answer plain invocations",
        ("emulator.server.connection",),
    ),
    Parts(
        *("uvicorn", "uvicorn.protocols.http.httptools_impl"),
        "STATUS_LINE",
        "answer plain invocations",
        ("emulator.server.connection",),
    ),
    Parts(
        *("uvicorn", "uvicorn.protocols.http.httptools_impl:RequestResponseCycle"),
        "more_body message_event disconnected response_started response_complete keep_alive",
        "answer a request whose body breaks off",
        ("emulator.server.connection",),
    ),
    Parts(
        *("uvicorn", "uvicorn.protocols.http.flow_control:FlowControl"),
        "resume_reading write_paused",
        "read on after a refusal, so that it is not lost",
        ("emulator.server.connection",),
    ),
    Parts(
        *("httptools", "httptools:HttpRequestParser"),
        "set_dangerous_leniencies should_upgrade",
        "pass over a request to switch to another protocol",
        ("emulator.server.connection",),
    ),
    # moto's services: emulator/services/moto_services
    Parts(
        *("moto", "moto.core.base_backend:AccountSpecificBackend"),
        "regions backend",
        "have regions of any name, and a CloudWatch of its own",
        ("emulator.services.moto_services.backends", "emulator.services.moto_services.cloudwatch"),
    ),
    Parts(
        *("moto", "moto.core.base_backend:AccountSpecificBackend"),
        "get_session",
        "have moto read none of the user's AWS configuration",
        ("emulator.services.moto_services.aws_data",),
    ),
    Parts(
        *("moto", "moto.core.utils"),
        "Session",
        "have moto read none of the user's AWS configuration",
        ("emulator.services.moto_services.aws_data",),
    ),
    Parts(
        *("moto", "moto.core.responses:BaseResponse"),
        "access_key_regex",
        "make a caller a session of the execution role",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.iam.models:IAMBackend"),
        "access_keys users create_user create_role attach_role_policy",
        "know the execution role and the users of an access file",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.iam.models:AccessKey"),
        "access_key_id",
        "know the execution role and the users of an access file",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.sts.models:STSBackend"),
        "assumed_roles get_assumed_role_from_access_key",
        "make a caller a session of the execution role",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.logs.models:LogsBackend"),
        "groups ensure_log_group ensure_log_stream",
        "have containers' lines in CloudWatch Logs",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.logs.models:LogStream"),
        "events put_log_events",
        "have containers' lines in CloudWatch Logs",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.ecr.models:Repository"),
        "images",
        "have the engine's images in ECR",
        ("emulator.services.moto_services.backends",),
    ),
    Parts(
        *("moto", "moto.ecr.models:Image"),
        "image_tags image_pushed_at",
        "have the engine's images in ECR",
        ("emulator.services.moto_services.ecr",),
    ),
    Parts(
        *("moto", "moto.ecr.responses:ECRResponse"),
        "get_authorization_token",
        "give ECR's tokens a time to expire that is not past",
        ("emulator.services.moto_services.ecr",),
    ),
    Parts(
        *("moto", "moto.cloudwatch.models:CloudWatchBackend"),
        "aws_metric_data get_all_metrics get_filtered_metrics get_metric_statistics get_metric_data region_name",
        "have SageMaker's metrics in CloudWatch",
        ("emulator.services.moto_services.cloudwatch",),
    ),
    Parts(
        *("moto", "moto.applicationautoscaling.responses:ApplicationAutoScalingResponse"),
        "describe_scaling_policies register_scalable_target _validate_params applicationautoscaling_backend",
        "answer for scaling activities, names of policies and tags, which moto leaves out",
        ("emulator.services.moto_services.autoscaling",),
    ),
    Parts(
        *("moto", "moto.applicationautoscaling.models:ApplicationAutoscalingBackend"),
        "targets policies scheduled_actions",
        "forget the scalable targets of endpoints that are gone",
        ("emulator.services.moto_services.autoscaling",),
    ),
    Parts(
        *("moto", "moto.applicationautoscaling.responses"),
        "_build_policy",
        "answer for policies by their names",
        ("emulator.services.moto_services.autoscaling",),
    ),
    # The Docker Engine: emulator/containers/docker
    Parts(
        *("docker", "docker.api.client:APIClient"),
        "base_url api_version timeout create_container_from_config trust_env",
        "create containers, and read their output as it comes",
        ("emulator.containers.docker.discovery",),
    ),
    Parts(
        *("docker", "docker.context.config"),
        "get_current_context_name",
        "find the engine as the docker command does",
        ("emulator.containers.docker.discovery",),
    ),
    Parts(
        *("urllib3", "urllib3.response:HTTPResponse"),
        "_fp",
        "read a container's output as it comes, over a socket, TLS and ssh alike",
        ("emulator.containers.docker.log_stream",),
    ),
    # The clients' side: localmme
    Parts(
        *("botocore", "botocore.session:Session"),
        "SESSION_VARIABLES",
        "make clients on which no setting of the user's has an effect",
        ("localmme.boto3_session",),
    ),
    Parts(
        *("botocore", "botocore.plugin"),
        "get_botocore_plugins load_client_plugins",
        "have the SageMaker SDKs' calls to STS come to the emulator",
        ("localmme.client_configuration.localmme_sts",),  # which looks for nothing: it has to stand alone
    ),
)


def check(user: str) -> None:
    """Look for the parts that a module uses. Raises SetupError when one is missing."""
    for parts in RELIED_ON:
        if user in parts.users and (names := missing(parts)):
            owner = parts.owner.partition(":")[2] or parts.owner
            raise SetupError(
                f"{parts.library} {importlib.metadata.version(parts.library)} has no {owner}.{names[0]}, which "
                f"localmme needs to {parts.why}. Install a version that it knows: pip install --upgrade localmme"
            )


def missing(parts: Parts) -> list[str]:
    """Those of the parts that are not there. The library has to be imported already."""
    module, _, class_name = parts.owner.partition(":")
    owner = sys.modules.get(module)
    if class_name:
        owner = getattr(owner, class_name, None)
    return [name for name in parts.names.split() if not hasattr(owner, name) and name not in _named_in_methods(owner)]


def _named_in_methods(owner: object) -> set[str]:
    """What the methods of a class name: among it, the attributes that they give to their objects."""
    functions = (each for ancestor in getattr(owner, "__mro__", ()) for each in vars(ancestor).values())
    return {name for each in functions if isinstance(each, FunctionType) for name in each.__code__.co_names}
