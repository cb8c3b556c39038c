"""A multi-model endpoint by the SageMaker Python SDK 3, from its archives to its end, and a transform job.

``python sdk_3.py IMAGE DIRECTORY``: DIRECTORY has the archives. Prints what it saw as one line of JSON.
"""

import json
import sys
from pathlib import Path

from botocore.exceptions import ClientError
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, MultiModelConfig, ProductionVariant, Tag
from sagemaker.core.transformer import Transformer
from sagemaker.core.utils.utils import SageMakerClient

image, directory = sys.argv[1], Path(sys.argv[2])
*archives, last = sorted(directory.glob("*.tar.gz"))

session = Session()
role = get_execution_role()
bucket = session.default_bucket()
name = f"cities-{directory.name}"
saw = {"role": role, "bucket": bucket, "name": name}
saw["reports to AWS"] = not session.sagemaker_config["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"]

for archive in archives:
    session.upload_data(str(archive), bucket=bucket, key_prefix=f"{name}/cities")
model = Model.create(
    model_name=name,
    primary_container=ContainerDefinition(
        image=image,
        mode="MultiModel",
        model_data_url=f"s3://{bucket}/{name}/",
        multi_model_config=MultiModelConfig(model_cache_setting="Enabled"),
        environment={"FEATURES": "2"},
    ),
    execution_role_arn=role,
)
config = EndpointConfig.create(
    endpoint_config_name=name,
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic",
            model_name=model.model_name,
            instance_type="ml.m5.xlarge",
            initial_instance_count=1,
            initial_variant_weight=1.0,
        )
    ],
)
endpoint = Endpoint.create(
    endpoint_name=name, endpoint_config_name=config.endpoint_config_name, tags=[Tag(key="project", value="prices")]
)
endpoint.wait_for_status("InService", poll=1, timeout=120)
saw["status"] = endpoint.endpoint_status
saw["variants"] = [variant.variant_name for variant in endpoint.production_variants]


def predict(target_model: str) -> list[float]:
    answer = endpoint.invoke(
        body=json.dumps({"features": [[1, 1], [0, -2]]}), content_type="application/json", target_model=target_model
    )
    return json.loads(answer.body.read())["predictions"]


saw["predictions"] = {f"cities/{archive.name}": predict(f"cities/{archive.name}") for archive in archives}
session.upload_data(str(last), bucket=bucket, key_prefix=f"{name}/later")
saw["prediction of added"] = predict(f"later/{last.name}")
saw["listed with added"] = session.list_s3_files(bucket, f"{name}/")
try:
    predict("atlantis.tar.gz")
except ClientError as error:
    saw["error"] = error.response["Error"]["Message"]

saw["got"] = [
    Model.get(model_name=name).primary_container.mode,
    EndpointConfig.get(endpoint_config_name=name).production_variants[0].model_name,
    Endpoint.get(endpoint_name=name).endpoint_config_name,
]

single = Model.create(
    model_name=f"{name}-single",
    primary_container=ContainerDefinition(
        image=image, model_data_url=f"s3://{bucket}/{name}/later/{last.name}", environment={"FEATURES": "2"}
    ),
    execution_role_arn=role,
)
session.upload_string_as_file_body('{"features": [[1, 1]]}', bucket=bucket, key=f"{name}/records/one.json")
transformer = Transformer(single.model_name, 1, "ml.m5.xlarge", output_path=f"s3://{bucket}/{name}/out")
transformer.sagemaker_session = session
transformer.transform(f"s3://{bucket}/{name}/records/", content_type="application/json", wait=False, logs=False)
transformer.latest_transform_job.wait(poll=1, timeout=120, logs=True)
saw["transform job"] = transformer.latest_transform_job.transform_job_status
saw["transformed"] = json.loads(session.read_s3_file(bucket, f"{name}/out/one.json.out"))
single.delete()

endpoint.delete()
endpoint.wait_for_delete(poll=1, timeout=60)
config.delete()
model.delete()
control = SageMakerClient().get_client("sagemaker")
saw["left"] = [
    *control.list_models(NameContains=name)["Models"],
    *control.list_endpoint_configs(NameContains=name)["EndpointConfigs"],
    *control.list_endpoints(NameContains=name)["Endpoints"],
]
print("\n" + json.dumps(saw, default=str))  # what waits for an endpoint leaves its line unended
